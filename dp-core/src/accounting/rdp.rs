//! Renyi differential privacy: upper bounds that add up, order by order.
//!
//! Of a Poisson-subsampled Gaussian the divergence of order a is ln M(a - 1) / (a - 1), with the moment M evaluated by a
//! trapezoid rule whose error is charged (the quantity of Mironov, Talwar and Zhang 2019, at fractional orders too, in both
//! directions). Everything else is bounded by its zCDP or pure guarantee. Conversion: Canonne, Kamath and Steinke 2020,
//! Proposition 12.

use super::filter::Order;
use super::guarantee::Guarantee;
use super::interval::Interval;
use super::law::Law;
use super::pld::sampled_divergence;
use super::profile::checked_epsilon;
use super::step::{Sampling, Step, steps};
use super::{Enclosure, Event};
use crate::Error;
use crate::privacy::{Positive, Rational};
use crate::sensitivity::Neighbors;

const NAME: &str = "the RDP accountant";

/// Composes Renyi divergences at many orders and converts the best of them.
///
/// Its answers are upper bounds: `lo` of an [`Enclosure`] from here is zero, for nothing is claimed about tightness. For the
/// tight answer use [`PldAccountant`](super::PldAccountant).
#[derive(Clone, Debug)]
pub struct RdpAccountant {
    neighbors: Neighbors,
    parts: Vec<(Part, f64)>,
}

#[derive(Clone, Debug)]
enum Part {
    Sampled { sigma: Interval, rate: Interval },
    Bounded(Box<Guarantee>, Rational),
}

impl RdpAccountant {
    /// Nothing composed yet.
    #[must_use]
    pub fn new(neighbors: Neighbors) -> Self {
        Self { neighbors, parts: Vec::new() }
    }

    /// Adds `count` runs of `event`.
    ///
    /// # Errors
    /// Refuses by name an event of another relation or without a Renyi bound; nothing was composed then.
    pub fn compose(&mut self, event: &Event, count: u64) -> Result<(), Error> {
        event.check()?;
        let mut parts = Vec::new();
        self.collect(event, count as f64, &mut parts, 0)?;
        self.parts.extend(parts);
        Ok(())
    }

    fn collect(&self, event: &Event, count: f64, parts: &mut Vec<(Part, f64)>, level: usize) -> Result<(), Error> {
        if count == 0.0 {
            return Ok(());
        }
        if let (Event::Composed { events }, true) = (event, level < 64) {
            return events
                .iter()
                .try_for_each(|(event, times)| self.collect(event, count * *times as f64, parts, level + 1));
        }
        // One rounding of the count for each level, and one here.
        let count = (count * (1.0 + 64.0 * f64::EPSILON)).next_up();
        if let Event::PoissonSampled { .. } = event
            && let [(Step { law: Law::Gaussian(law), sampling }, 1)] = steps(NAME, event, self.neighbors)?.as_slice()
            && let Sampling::Poisson(rate) = sampling
        {
            parts.push((Part::Sampled { sigma: law.multiplier, rate: *rate }, count));
            return Ok(());
        }
        if let Event::PoissonSampled { rate, event: inner } = event
            && *rate == Rational::one()
        {
            return self.collect(inner, count, parts, level + 1);
        }
        for (guarantee, times) in Guarantee::of(event, self.neighbors, NAME)? {
            parts.push((Part::Bounded(Box::new(guarantee), times), count));
        }
        Ok(())
    }

    /// An upper bound on the Renyi divergence of order `alpha` > 1 of everything composed; infinite if none is known.
    ///
    /// # Errors
    /// If the order is not a finite number > 1.
    pub fn divergence(&self, alpha: f64) -> Result<f64, Error> {
        let refused = || Error::out_of_range("order", alpha, "a finite number > 1");
        let order = Order::new(Rational::from_f64(alpha).ok_or_else(refused)?)?;
        let mut sum = Interval::ZERO;
        for (part, count) in &self.parts {
            let one = match part {
                Part::Sampled { sigma, rate } => sampled_divergence(*sigma, *rate, alpha),
                Part::Bounded(guarantee, times) => (&guarantee.renyi(&order) * times).upper(),
            };
            sum = sum + Interval::point(one) * Interval::point(*count);
        }
        Ok(if sum.hi.is_nan() { f64::INFINITY } else { sum.hi })
    }

    /// An epsilon for which everything composed is (epsilon, delta)-differentially private; delta in (0, 1).
    ///
    /// # Errors
    /// If delta is out of range.
    pub fn epsilon(&self, delta: f64) -> Result<Enclosure, Error> {
        if !(delta > 0.0 && delta < 1.0) {
            return Err(Error::out_of_range("delta", delta, "in (0, 1)"));
        }
        let left = (Interval::point(delta) - Interval::point(self.failures())).lo;
        let none = if self.parts.is_empty() { 0.0 } else { f64::INFINITY };
        let best = match left > 0.0 {
            true if none > 0.0 => least_over_orders(|alpha| Ok(epsilon_at(alpha, self.divergence(alpha)?, left)))?,
            true => none,
            false => f64::INFINITY,
        };
        Ok(Enclosure::new(0.0, best).unwrap_or_else(Enclosure::nothing))
    }

    /// A delta for which everything composed is (epsilon, delta)-differentially private; epsilon >= 0.
    ///
    /// # Errors
    /// If epsilon is negative or not finite.
    pub fn delta(&self, epsilon: f64) -> Result<Enclosure, Error> {
        let epsilon = checked_epsilon(epsilon)?;
        let best = match self.parts.is_empty() {
            true => 0.0,
            false => least_over_orders(|alpha| Ok(delta_at(alpha, self.divergence(alpha)?, epsilon)))?.min(1.0),
        };
        let all = (Interval::point(best) + Interval::point(self.failures())).hi.min(1.0);
        Ok(Enclosure::new(0.0, if self.parts.is_empty() { 0.0 } else { all }).unwrap_or_else(Enclosure::nothing))
    }

    /// The sum of the deltas of (epsilon, delta) events, rounded up.
    fn failures(&self) -> f64 {
        let sum = self.parts.iter().fold(Interval::ZERO, |sum, (part, count)| match part {
            Part::Sampled { .. } => sum,
            Part::Bounded(guarantee, times) => {
                let delta = (&guarantee.delta() * times).upper();
                if delta == 0.0 { sum } else { sum + Interval::point(delta) * Interval::point(*count) }
            }
        });
        sum.hi
    }
}

/// The least of a bound that holds at every order: a coarse look over orders from 1 + 1/64 to 2^24, then a finer one around
/// the best. Which orders are looked at is a choice; the bound holds at each of them.
fn least_over_orders(bound: impl Fn(f64) -> Result<f64, Error>) -> Result<f64, Error> {
    // Whole numbers are cheaper for the laws whose bound is proved there, and dense enough.
    let order = |log: f64| {
        let alpha = 1.0 + log.exp2();
        if alpha > 8.0 { alpha.round() } else { (alpha * 1024.0).round() / 1024.0 }
    };
    let (mut best, mut place, mut worse) = (f64::INFINITY, 0.0, 0);
    let (mut from, mut to, mut step) = (-6.0, 24.0, 1.0 / 3.0);
    for _ in 0..3 {
        let mut log = from;
        while log <= to {
            let here = bound(order(log))?;
            if here < best {
                (best, place, worse) = (here, log, 0);
            } else if best.is_finite() {
                worse += 1;
                // A factor of 64 beyond the best order: bounds grow from there on.
                if step > 0.3 && worse > 18 {
                    break;
                }
            }
            log += step;
        }
        (from, to, step) = (place - step, place + step, step / 5.0);
    }
    Ok(best)
}

/// divergence + ln(1 - 1/a) - (ln delta + ln a) / (a - 1), rounded up, at least zero.
pub(crate) fn epsilon_at(alpha: f64, divergence: f64, delta: f64) -> f64 {
    let (a, one) = (Interval::point(alpha), Interval::ONE);
    let conversion = (-(one / a)).ln_1p() - (Interval::point(delta).ln() + a.ln()) / (a - one);
    let epsilon = (Interval::point(divergence) + conversion).hi;
    // Not `max(0.0)` alone, which turns what could not be evaluated into a promise of zero.
    if epsilon.is_nan() { f64::INFINITY } else { epsilon.max(0.0) }
}

/// e^((a - 1) (divergence - epsilon + ln(1 - 1/a))) / a, rounded up.
pub(crate) fn delta_at(alpha: f64, divergence: f64, epsilon: f64) -> f64 {
    let (a, one) = (Interval::point(alpha), Interval::ONE);
    let exponent = (a - one) * (Interval::point(divergence) - Interval::point(epsilon) + (-(one / a)).ln_1p());
    let delta = (exponent.exp() / a).hi;
    if delta.is_nan() { 1.0 } else { delta }
}

/// Composes zCDP losses, exactly; converts at many orders.
#[derive(Clone, Debug)]
pub struct ZcdpAccountant {
    neighbors: Neighbors,
    loss: super::zcdp::ZcdpLoss,
}

impl ZcdpAccountant {
    /// Nothing composed yet.
    #[must_use]
    pub fn new(neighbors: Neighbors) -> Self {
        Self { neighbors, loss: super::zcdp::ZcdpLoss::zero() }
    }

    /// Adds `count` runs of `event`.
    ///
    /// # Errors
    /// Refuses by name an event of another relation or without a zCDP bound, Poisson-sampled ones among them.
    pub fn compose(&mut self, event: &Event, count: u64) -> Result<(), Error> {
        let one = super::zcdp::ZcdpLoss::of(event, self.neighbors)?;
        let count = Rational::from(count);
        self.loss.rho = &self.loss.rho + &(&one.rho * &count);
        self.loss.delta = &self.loss.delta + &(&one.delta * &count);
        Ok(())
    }

    /// What was composed.
    #[must_use]
    pub fn loss(&self) -> &super::zcdp::ZcdpLoss {
        &self.loss
    }

    /// An epsilon for which everything composed is (epsilon, delta)-differentially private; delta in (0, 1).
    ///
    /// # Errors
    /// If delta is out of range.
    pub fn epsilon(&self, delta: f64) -> Result<Enclosure, Error> {
        let exact = Rational::from_f64(delta).filter(|_| delta > 0.0 && delta < 1.0);
        let exact = exact.ok_or_else(|| Error::out_of_range("delta", delta, "in (0, 1)"))?;
        let left = Positive::new("delta", &exact - &self.loss.delta);
        let epsilon = left.map_or(f64::INFINITY, |left| super::zcdp::epsilon(&self.loss.rho, &left).upper());
        Ok(Enclosure::new(0.0, epsilon).unwrap_or_else(Enclosure::nothing))
    }

    /// A delta for which everything composed is (epsilon, delta)-differentially private; epsilon >= 0.
    ///
    /// # Errors
    /// If epsilon is negative or not finite.
    pub fn delta(&self, epsilon: f64) -> Result<Enclosure, Error> {
        let epsilon = checked_epsilon(epsilon)?;
        let (rho, failures) = (self.loss.rho.upper(), self.loss.delta.upper());
        if rho == 0.0 {
            return Ok(Enclosure::new(0.0, failures.min(1.0)).unwrap_or_else(Enclosure::nothing));
        }
        // The exponent is least near (epsilon + rho) / (2 rho); any order > 1 holds.
        let centre = ((epsilon + rho) / (2.0 * rho)).max(1.0);
        let around = (-40..=40).map(|k| 1.0 + (centre - 1.0).max(0.01) * (f64::from(k) / 8.0).exp2());
        let tried = around.map(|alpha| delta_at(alpha, (Interval::point(alpha) * Interval::point(rho)).hi, epsilon));
        let best = tried.fold(1.0, f64::min);
        let all = (Interval::point(best) + Interval::point(failures)).hi.min(1.0);
        Ok(Enclosure::new(0.0, all).unwrap_or_else(Enclosure::nothing))
    }
}
