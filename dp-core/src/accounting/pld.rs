//! Privacy loss distributions: the tight answer for compositions that were chosen beforehand.

mod cells;
mod component;
mod contour;
mod decay;
mod elementary;
mod merging;
mod points;
mod sampled;
mod solve;

use self::cells::{Resolution, Side};
use self::component::{Component, Direction};
use self::contour::Contour;
use self::merging::{Focus, Product};
use self::sampled::SampledGaussian;
use self::solve::{Saddle, invert, saddle_of_delta, saddle_of_epsilon};
use super::interval::Interval;
use super::law::{Gaussian, Law};
use super::profile::{checked_epsilon, enclosure, least_epsilon};
use super::step::{Sampling, Step, steps};
use super::{Enclosure, Event};
use crate::Error;
use crate::sensitivity::Neighbors;

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
    steps: Vec<(Step, u64)>,
    tolerance: f64,
}

impl PldAccountant {
    /// Nothing composed yet.
    #[must_use]
    pub fn new(neighbors: Neighbors) -> Self {
        Self { neighbors, steps: Vec::new(), tolerance: 1e-3 }
    }

    /// Aims at this relative width where the contour of a continuous loss does not hold; 1e-3 unless set, down to 1e-5.
    #[must_use]
    pub fn with_tolerance(mut self, relative: f64) -> Self {
        self.tolerance = if relative.is_nan() { 1e-3 } else { relative.clamp(1e-5, 0.1) };
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
    /// Refuses by name an event of another relation or without a known dominating pair; nothing was composed then.
    pub fn compose(&mut self, event: &Event, count: u64) -> Result<(), Error> {
        let mut all = self.steps.clone();
        for (step, times) in steps(NAME, event, self.neighbors)? {
            let overflow = Error::Overflow { what: "the number of releases", fits: "64 bits", remedy: "compose fewer" };
            let times = times.checked_mul(count).ok_or(overflow.clone())?;
            match all.iter_mut().find(|(known, _)| *known == step) {
                Some((_, known)) => *known = known.checked_add(times).ok_or(overflow)?,
                None if times > 0 => all.push((step, times)),
                None => {}
            }
        }
        self.steps = all;
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
        Ok(enclosure(self.worst(|direction| direction.epsilon(delta))))
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
        Ok(enclosure(self.worst(|direction| direction.delta(epsilon))))
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
        let multiplier = Interval::ONE / precision.sqrt();
        Some(Step { law: Law::Gaussian(Gaussian { multiplier }), sampling: Sampling::Whole })
    }

    /// The larger of the two directions; one is enough where nothing is Poisson-sampled.
    fn worst(&self, answer: impl Fn(&Composition<'_>) -> Interval) -> Interval {
        let composition = |direction| Composition { steps: &self.steps, direction, tolerance: self.tolerance };
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

/// Everything in one direction.
struct Composition<'a> {
    steps: &'a [(Step, u64)],
    direction: Direction,
    tolerance: f64,
}

/// How wide an answer may be, relative to itself, before the contour of the continuous loss is given up.
const SHARP: f64 = 1e-5;

fn is_sharp(found: Interval) -> bool {
    found.hi.is_finite() && found.hi - found.lo <= SHARP * found.hi
}

/// What is asked.
#[derive(Clone, Copy)]
enum Query {
    Epsilon { delta: f64 },
    Delta { epsilon: f64 },
}

/// More pairings than these are left to the contour.
const MOST_PAIRINGS: f64 = 40.0;
/// Most pairs of outcomes in one evaluation.
const MOST_WORK: f64 = 3e7;
/// Most bins of a merged law.
const MOST_BINS: f64 = 6000.0;

/// Refinements of points and smoothing before the best answer so far is given.
const ROUNDS: u32 = 8;

impl Composition<'_> {
    fn epsilon(&self, delta: f64) -> Interval {
        let target = Interval::point(delta);
        let infinite = self.infinite();
        if infinite.lo > delta {
            return Interval::point(f64::INFINITY);
        }
        let mut best = Interval::new(0.0, if infinite.hi <= delta { self.largest_loss() } else { f64::INFINITY });
        if let Some(all) = self.exact() {
            if let Some(found) = epsilon_of(&all, 0.0, target, &[Side::Lower, Side::Upper]) {
                best = best.meet(found);
                if is_sharp(found) {
                    return found;
                }
            }
            let found = bracketed_epsilon(&all, delta);
            best = best.meet(found);
            if is_sharp(found) {
                return found;
            }
        }
        if let Some(cost) = self.few() {
            best = best.meet(self.merged(Query::Epsilon { delta }, cost));
            if best.hi - best.lo <= self.tolerance * best.hi || best.lo == f64::INFINITY {
                return best;
            }
        }
        let Some(mut rough) = self.rough_epsilon(delta) else { return best };
        for round in 0..ROUNDS {
            let fine = self.tolerance * 0.15_f64.powi(round as i32);
            // Epsilon moves by (c + 1) / 2 times what the variance of the loss grows by.
            let variance = fine * rough.epsilon.max(1e-9) / (rough.tilt + 1.0);
            let ends = [Side::Upper, Side::Lower].map(|side| {
                let (all, infinite) = self.bounded(side, &rough, variance);
                let left = Interval::point(delta) - infinite;
                let smoothing = smoothing(variance);
                (epsilon_of(&all, smoothing, left.clamp(0.0, 1.0), &[side]), infinite)
            });
            let hi = match &ends[0] {
                (Some(found), _) => found.hi,
                _ => f64::INFINITY,
            };
            let lo = ends[1].0.map_or(0.0, |found| found.lo);
            let lo = if ends[1].1.lo > delta { f64::INFINITY } else { lo };
            let hi = if ends[0].1.hi >= delta { f64::INFINITY } else { hi };
            best = best.meet(Interval::new(lo, hi));
            if best.hi - best.lo <= self.tolerance * best.hi || best.lo == f64::INFINITY {
                break;
            }
            if best.hi.is_finite() {
                rough.epsilon = best.hi;
            }
        }
        best
    }

    fn delta(&self, epsilon: f64) -> Interval {
        if epsilon >= self.largest_loss() {
            return self.infinite();
        }
        let mut best = Interval::new(0.0, 1.0);
        if let Some(all) = self.exact()
            && let Some(found) = delta_of(&all, 0.0, epsilon)
        {
            best = best.meet(found);
            if is_sharp(found) {
                return found;
            }
        }
        if let Some(cost) = self.few() {
            best = best.meet(self.merged(Query::Delta { epsilon }, cost));
            if best.hi - best.lo <= self.tolerance * best.hi {
                return best;
            }
        }
        let Some(rough) = self.rough_delta(epsilon) else { return best };
        for round in 0..ROUNDS {
            // ln delta moves by c (c + 1) / 2 times what the variance of the loss grows by.
            let variance = self.tolerance * 0.15_f64.powi(round as i32) / (rough.tilt * (rough.tilt + 1.0));
            let ends = [Side::Upper, Side::Lower].map(|side| {
                let (all, infinite) = self.bounded(side, &rough, variance);
                delta_of(&all, smoothing(variance), epsilon).map(|found| found + infinite)
            });
            let hi = ends[0].map_or(1.0, |found| found.hi);
            let lo = ends[1].map_or(0.0, |found| found.lo);
            best = best.meet(Interval::new(lo.max(0.0), hi));
            if best.hi - best.lo <= self.tolerance * best.hi {
                break;
            }
        }
        best
    }

    /// How many pairings it takes, if they are few.
    fn few(&self) -> Option<f64> {
        let pairings = |count: u64| f64::from(64 - count.leading_zeros() + count.count_ones());
        let all = self.steps.iter().map(|(_, count)| pairings(*count)).sum::<f64>() - 3.0;
        (all <= MOST_PAIRINGS).then_some(all.max(1.0))
    }

    /// The answer by merging, with more and more bins.
    fn merged(&self, query: Query, pairings: f64) -> Interval {
        let mut best = match query {
            Query::Epsilon { .. } => Interval::new(0.0, f64::INFINITY),
            Query::Delta { .. } => Interval::new(0.0, 1.0),
        };
        let most = (MOST_WORK / pairings).sqrt().min(MOST_BINS);
        let mut focus = Focus { bins: 192, tilts: vec![0.0, 1.0, 10.0, 100.0, 1e3, 1e4], cap: f64::INFINITY };
        let releases = self.steps.iter().map(|(_, count)| *count as f64).sum::<f64>();
        let mut log_delta = if let Query::Epsilon { delta } = query { libm::log(delta) } else { -80.0 };
        loop {
            let resolution = Resolution {
                width: f64::INFINITY,
                fineness: (100.0 / focus.bins as f64).min(1.0),
                log_floor: (log_delta - libm::log(releases) - 16.0).clamp(-690.0, -20.0),
                tilt: 0.0,
                rate: 1.0,
                mirrored: false,
            };
            let [lower, upper] = [Side::Lower, Side::Upper].map(|side| {
                let points =
                    |(step, count): &(Step, u64)| (points::points(step, self.direction, side, resolution), *count);
                Product::new(self.steps.iter().map(points).collect(), side, &focus)
            });
            let found = match query {
                Query::Epsilon { delta } => Interval::new(lower.epsilon(delta), upper.epsilon(delta)),
                Query::Delta { epsilon } => Interval::new(lower.delta(epsilon).0, upper.delta(epsilon).0),
            };
            best = best.meet(found);
            let narrow = best.hi - best.lo <= self.tolerance * best.hi;
            if narrow || best.lo == f64::INFINITY || focus.bins as f64 >= most {
                return best;
            }
            let epsilon = match query {
                Query::Epsilon { .. } => {
                    if best.hi < 1.5 * best.lo {
                        best.mid()
                    } else {
                        best.lo
                    }
                }
                Query::Delta { epsilon } => epsilon,
            };
            let (delta, slope) = lower.delta(epsilon);
            log_delta = libm::log(delta.max(1e-290));
            let tilt = (slope / delta.max(1e-300)).clamp(1e-6, 1e12);
            // The width falls with the square of the number of bins.
            let wanted = (1.5 * (best.hi - best.lo) / (self.tolerance * best.hi)).sqrt();
            let bins = focus.bins as f64 * if wanted >= 1.3 { wanted.min(3.0) } else { 1.3 };
            focus = Focus { bins: bins.min(most + 1.0) as usize, tilts: vec![0.0, tilt], cap: epsilon };
        }
    }

    /// No epsilon need exceed the sum of the largest finite losses.
    fn largest_loss(&self) -> f64 {
        let added = self.direction == Direction::Add;
        let sum = self.steps.iter().fold(Interval::ZERO, |sum, (step, count)| {
            sum + step.largest_finite_loss(added) * Interval::point(*count as f64)
        });
        sum.widened(1e-14).hi
    }

    /// The probability of an infinite loss.
    fn infinite(&self) -> Interval {
        let log_finite = self.steps.iter().fold(Interval::ZERO, |sum, (step, count)| {
            sum + (-step.infinite(self.direction == Direction::Add)).ln_1p() * Interval::point(*count as f64)
        });
        (-log_finite.expm1()).clamp(0.0, 1.0)
    }

    /// The components, if all are Gaussians with or without Poisson sampling.
    fn exact(&self) -> Option<Vec<Component>> {
        let mut precision = Interval::ZERO;
        let mut all = Vec::with_capacity(self.steps.len() + 1);
        for (step, count) in self.steps {
            if let Some(part) = gaussian_precision(step, *count) {
                precision = precision + part;
                continue;
            }
            match (&step.law, step.sampling) {
                (Law::Gaussian(law), Sampling::Poisson(rate)) if rate.hi < 1.0 && law.multiplier.hi < 1e100 => {
                    let law =
                        SampledGaussian { sigma: law.multiplier.mid(), rate: rate.mid(), direction: self.direction };
                    all.push(Component::Sampled(law, *count as f64));
                }
                _ => return None,
            }
        }
        all.push(Component::Gaussian(precision));
        Some(all)
    }

    /// The components on one side of the truth, as points, and the probability of an infinite loss.
    fn bounded(&self, side: Side, rough: &Saddle, variance: f64) -> (Vec<Component>, Interval) {
        let releases: f64 = self.steps.iter().map(|(_, count)| *count as f64).sum();
        let width = (3.0 * variance / releases).sqrt();
        let log_floor = (rough.log_delta - libm::log(releases) - 14.0).min(-20.0);
        let resolution = Resolution { width, fineness: 1.0, log_floor, tilt: rough.tilt, rate: 1.0, mirrored: false };
        let (mut precision, mut log_finite) = (Interval::ZERO, Interval::ZERO);
        let mut all = Vec::with_capacity(self.steps.len() + 1);
        for (step, count) in self.steps {
            if let Some(part) = gaussian_precision(step, *count) {
                precision = precision + part;
                continue;
            }
            let points = points::points(step, self.direction, side, resolution);
            let count = *count as f64;
            log_finite = log_finite + (-Interval::point(points.infinite)).ln_1p() * count;
            all.push(Component::Points(points, count));
        }
        all.push(Component::Gaussian(precision));
        (all, (-log_finite.expm1()).clamp(0.0, 1.0))
    }

    /// A first look, through coarse points.
    fn rough_epsilon(&self, delta: f64) -> Option<Saddle> {
        self.rough(libm::log(delta), |all, infinite| {
            let left = delta - infinite;
            if left <= 0.0 {
                return None;
            }
            saddle_of_delta(all, libm::log(left)).or_else(|| saddle_of_epsilon(all, 0.0))
        })
    }

    fn rough_delta(&self, epsilon: f64) -> Option<Saddle> {
        self.rough(-70.0, |all, _| saddle_of_epsilon(all, epsilon))
    }

    fn rough(&self, log_delta: f64, saddle: impl Fn(&[Component], f64) -> Option<Saddle>) -> Option<Saddle> {
        let mut found = Saddle { tilt: 10.0, epsilon: 1.0, log_delta };
        for _ in 0..2 {
            let (all, infinite) = self.bounded(Side::Lower, &found, 0.1 * (found.epsilon + 1e-6) / (found.tilt + 1.0));
            let next = saddle(&all, infinite.mid())?;
            found = Saddle { log_delta: next.log_delta.max(-690.0), ..next };
        }
        Some(found)
    }
}

/// The smoothing's share of a variance that may be added.
fn smoothing(variance: f64) -> f64 {
    (0.3 * variance).sqrt().min(0.5)
}

/// Epsilon of exact or one-sided components, where only that side's end counts.
fn epsilon_of(all: &[Component], smoothing: f64, target: Interval, sides: &[Side]) -> Option<Interval> {
    if target.lo <= 0.0 {
        return None;
    }
    let log_target = libm::log(target.mid());
    let saddle = saddle_of_delta(all, log_target);
    if saddle.is_none_or(|saddle| saddle.epsilon <= 0.0) {
        let at_zero = delta_of(all, smoothing, 0.0)?;
        if at_zero.hi <= target.lo {
            return Some(Interval::ZERO);
        }
    }
    let saddle = saddle?;
    if saddle.log_delta > log_target + 1.0 {
        // Bounded losses, and a delta below what the steepest tilt resolves: between there and the largest loss.
        let there = Contour::new(all, smoothing, saddle.tilt, saddle.epsilon, saddle.log_delta)?.delta(saddle.epsilon);
        let lo = if there.lo > target.hi { saddle.epsilon } else { 0.0 };
        return Some(Interval::new(lo, f64::INFINITY));
    }
    let contour = Contour::new(all, smoothing, saddle.tilt, saddle.epsilon, log_target)?;
    let end = |side: Side| {
        let wanted = sides.contains(&side);
        wanted.then(|| invert(&contour, side.opposite().of(target), saddle.epsilon, side)).flatten()
    };
    Some(Interval::new(end(Side::Lower).unwrap_or(0.0), end(Side::Upper).unwrap_or(f64::INFINITY)))
}

/// delta of exact or one-sided components, without infinite losses.
fn delta_of(all: &[Component], smoothing: f64, epsilon: f64) -> Option<Interval> {
    let saddle = saddle_of_epsilon(all, epsilon)?;
    let contour = Contour::new(all, smoothing, saddle.tilt, epsilon, saddle.log_delta)?;
    Some(contour.delta(epsilon).clamp(0.0, 1.0))
}

/// The same as [`epsilon_of`] by halving, where its first guess leads nowhere: delta falls in epsilon, so an enclosure of
/// delta wholly on one side of the target moves one end, and one that is not decided moves none.
fn bracketed_epsilon(all: &[Component], delta: f64) -> Interval {
    let at = |epsilon: f64| delta_of(all, 0.0, epsilon);
    if at(0.0).is_some_and(|found| found.hi <= delta) {
        return Interval::ZERO;
    }
    let (mut lo, mut hi) = (0.0, f64::INFINITY);
    let mut next = 1e-3;
    for _ in 0..80 {
        match at(next) {
            Some(found) if found.hi <= delta => hi = next,
            Some(found) if found.lo > delta => lo = next,
            _ if hi.is_finite() => break,
            _ => {}
        }
        if hi - lo <= 1e-10 * hi || next > 1e6 {
            break;
        }
        next = if hi.is_finite() { 0.5 * (lo + hi) } else { 2.0 * next };
    }
    Interval::new(lo, hi)
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
