//! Privacy loss distributions: the tight answer for compositions that were chosen beforehand.

mod cells;
mod component;
mod composition;
mod contour;
mod decay;
mod elementary;
mod lattice;
mod merging;
mod plans;
mod points;
mod sampled;
mod solve;
mod spread;
mod window;

use self::component::{Component, Direction};
use self::composition::{Composition, Query};
use self::sampled::SampledGaussian;
use super::interval::Interval;
use super::law::{Gaussian, Law};
use super::profile::{checked_epsilon, enclosure, least_epsilon};
use super::step::{Sampling, Step, steps};
use super::{Enclosure, Event};
use crate::Error;
use crate::sensitivity::Neighbors;
use std::collections::HashMap;

const NAME: &str = "the PLD accountant";

/// Composes events and answers with enclosures of the tight (epsilon, delta) curve.
///
/// The events must have been chosen beforehand. For a budget that is spent adaptively, a ledger has a filter: a privacy
/// loss distribution cannot be one, because stopping when a composed curve crosses a target is not valid in general. So
/// nothing turns this accountant into a filter:
///
/// ```compile_fail,E0277
/// use veilsum_dp_core::{accounting::{PldAccountant, filter::RenyiFilter}, sensitivity::Neighbors};
/// let filter = RenyiFilter::from(PldAccountant::new(Neighbors::AddRemove));
/// ```
///
/// ```
/// use veilsum_dp_core::accounting::{Event, PldAccountant};
/// use veilsum_dp_core::privacy::{Positive, Rational};
/// use veilsum_dp_core::sensitivity::Neighbors;
///
/// let step = Event::PoissonSampled {
///     rate: Rational::new(256, 60_000).unwrap(),
///     event: Box::new(Event::Gaussian { noise_multiplier: Positive::from_f64("sigma", 1.1)? }),
/// };
/// let mut accountant = PldAccountant::new(Neighbors::AddRemove);
/// accountant.compose(&step, 14_040)?;
/// let epsilon = accountant.epsilon(1e-5)?;
/// assert!(epsilon.lo() <= 2.379_554_518_8 && 2.379_554_518_8 <= epsilon.hi());
/// # Ok::<(), veilsum_dp_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct PldAccountant {
    neighbors: Neighbors,
    /// No two alike.
    steps: Vec<(Step, u64)>,
    /// Where in `steps` those with a fingerprint are.
    places: HashMap<u64, Vec<usize>>,
    /// How many releases in all.
    releases: u64,
    tolerance: f64,
    lattice_alone: bool,
}

impl PldAccountant {
    /// Nothing composed yet.
    #[must_use]
    pub fn new(neighbors: Neighbors) -> Self {
        Self {
            neighbors,
            steps: Vec::new(),
            places: HashMap::new(),
            releases: 0,
            tolerance: 1e-3,
            lattice_alone: false,
        }
    }

    /// Aims at this relative width where the contour of a continuous loss does not hold; 1e-3 unless set, down to 1e-5.
    #[must_use]
    pub fn with_tolerance(mut self, relative: f64) -> Self {
        self.tolerance = if relative.is_nan() { 1e-3 } else { relative.clamp(1e-5, 0.1) };
        self
    }

    /// Answers by the lattice alone, which shares no step of its proof with the contour: a second opinion. Never sharper.
    #[must_use]
    pub fn by_lattice_alone(mut self) -> Self {
        self.lattice_alone = true;
        self
    }

    /// The relation that every event must fit.
    #[must_use]
    pub fn neighbors(&self) -> Neighbors {
        self.neighbors
    }

    /// Adds `count` runs of `event`.
    ///
    /// # Errors
    /// Refuses by name an event of another relation or without a known dominating pair, and more than 2^64 releases in all;
    /// nothing was composed then.
    pub fn compose(&mut self, event: &Event, count: u64) -> Result<(), Error> {
        let steps = steps(NAME, event, self.neighbors)?;
        let total = |sum: u64, times: u64| sum.checked_add(times.checked_mul(count)?);
        let releases = steps.iter().try_fold(self.releases, |sum, (_, times)| total(sum, *times));
        let overflow = || Error::Overflow { what: "the number of releases", fits: "64 bits", remedy: "compose fewer" };
        self.releases = releases.ok_or_else(overflow)?;
        for (step, times) in steps {
            let times = times * count;
            let places = self.places.entry(step.fingerprint()).or_default();
            match places.iter().find(|place| self.steps[**place].0 == step) {
                Some(place) => self.steps[*place].1 += times,
                None if times > 0 => {
                    places.push(self.steps.len());
                    self.steps.push((step, times));
                }
                None => {}
            }
        }
        Ok(())
    }

    /// The least epsilon for which everything composed is (epsilon, delta)-differentially private; delta in (0, 1).
    ///
    /// # Errors
    /// If delta is out of range.
    pub fn epsilon(&self, delta: f64) -> Result<Enclosure, Error> {
        if !(delta > 0.0 && delta < 1.0) {
            return Err(Error::out_of_range("delta", delta, "in (0, 1)"));
        }
        if let Some(step) = self.single() {
            return Ok(least_epsilon(|epsilon| step.delta(epsilon), delta));
        }
        Ok(enclosure(self.worst(|direction| direction.answer(Query::Epsilon { delta }))))
    }

    /// The least delta for which everything composed is (epsilon, delta)-differentially private; epsilon >= 0.
    ///
    /// # Errors
    /// If epsilon is negative or not finite.
    pub fn delta(&self, epsilon: f64) -> Result<Enclosure, Error> {
        let epsilon = checked_epsilon(epsilon)?;
        if let Some(step) = self.single() {
            return Ok(enclosure(step.delta(epsilon)));
        }
        Ok(enclosure(self.worst(|direction| direction.answer(Query::Delta { epsilon }))))
    }

    /// The whole as one step with a closed form: one release, or Gaussians alone.
    fn single(&self) -> Option<Step> {
        match self.steps.as_slice() {
            [(step, 1)] => return Some(step.clone()),
            [] => return Some(Step { law: Law::nothing(), sampling: Sampling::Whole }),
            _ => {}
        }
        let mut precision = Interval::ZERO;
        for (step, count) in &self.steps {
            precision = precision + gaussian_precision(step, *count)?;
        }
        Some(gaussian(precision))
    }

    /// The larger of the two directions; one is enough where nothing is Poisson-sampled.
    fn worst(&self, answer: impl Fn(&Composition) -> Interval) -> Interval {
        let composition = |direction| Composition::new(&self.steps, direction, self.tolerance, self.lattice_alone);
        let removed = answer(&composition(Direction::Remove));
        if self.steps.iter().any(|(step, _)| matches!(step.sampling, Sampling::Poisson(_))) {
            removed.max(answer(&composition(Direction::Add)))
        } else {
            removed
        }
    }
}

/// count / sigma^2 of an unsampled Gaussian.
fn gaussian_precision(step: &Step, count: u64) -> Option<Interval> {
    match (&step.law, step.sampling) {
        (Law::Gaussian(law), Sampling::Whole) => {
            // A count beyond 2^53 is rounded.
            let count = Interval::point(count as f64).widened(f64::EPSILON);
            Some(count / law.multiplier.square())
        }
        _ => None,
    }
}

/// One Gaussian release of this 1 / sigma^2.
fn gaussian(precision: Interval) -> Step {
    Step { law: Law::Gaussian(Gaussian { multiplier: Interval::ONE / precision.sqrt() }), sampling: Sampling::Whole }
}

/// An upper bound on the Renyi divergence of order alpha > 1 of one Poisson-subsampled Gaussian: ln M(alpha - 1) over
/// alpha - 1, the larger of the two directions.
pub(crate) fn sampled_divergence(sigma: Interval, rate: Interval, alpha: f64) -> f64 {
    let tilt = alpha - 1.0;
    let at = |direction| {
        let law = SampledGaussian { sigma: sigma.mid(), rate: rate.mid(), direction };
        let moment = Component::Sampled(law, 1.0).moment(tilt);
        // alpha - 1 is itself rounded; ln M grows at the rate of the tilted mean.
        let doubt = moment.error + 4.0 * f64::EPSILON * (moment.log.abs() + alpha * moment.mean.abs());
        ((if moment.log < 0.0 { 0.0 } else { moment.log } + doubt) / tilt).next_up()
    };
    // Not `max`, which drops a NaN: what could not be evaluated is not bounded.
    let (remove, add) = (at(Direction::Remove), at(Direction::Add));
    if remove >= add {
        remove
    } else if add > remove {
        add
    } else {
        f64::INFINITY
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::privacy::{Positive, Rational};

    /// Equal events are found by their fingerprints, so that composing n different ones takes time in proportion to n.
    #[test]
    fn no_two_different_events_share_a_fingerprint() {
        let mut accountant = PldAccountant::new(Neighbors::AddRemove);
        let scale = |i: u32| Positive::from_f64("scale", 1.0 + 1e-9 * f64::from(i)).expect("positive");
        for i in 0..2000 {
            let gaussian = Event::Gaussian { noise_multiplier: scale(i) };
            let sampled = |rate: i128| Event::PoissonSampled {
                rate: Rational::new(rate, 10_000_000).expect("a rate"),
                event: Box::new(gaussian.clone()),
            };
            let discrete = Event::DiscreteLaplace { scale: scale(i), sensitivity: 1 };
            for event in [gaussian.clone(), sampled(1), sampled(i128::from(i) + 2), discrete] {
                accountant.compose(&event, 1).expect("accountable");
                accountant.compose(&event, 1).expect("accountable");
            }
        }
        assert_eq!((accountant.steps.len(), accountant.releases), (8000, 16_000));
        assert!(accountant.places.values().all(|places| places.len() == 1));
    }
}
