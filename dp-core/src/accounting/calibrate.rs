//! Calibration: from a budget to the least noise that certainly meets it.
//!
//! Every answer is certified by an evaluation at the very number that is returned; the search only decides how close it
//! comes to the least one.

use super::{Event, PldAccountant, profile};
use crate::Error;
use crate::privacy::{Delta, Epsilon, Positive};
use crate::sensitivity::Neighbors;

/// The least noise multiplier (standard deviation over L2 sensitivity) for which one Gaussian release is
/// (epsilon, delta)-differentially private: the analytic calibration of Balle and Wang 2018, at any epsilon > 0.
///
/// ```
/// use veilsum_dp_core::accounting::calibrate;
/// use veilsum_dp_core::privacy::{Delta, Epsilon};
/// let sigma = calibrate::gaussian(&Epsilon::from_decimal(1.0)?, &Delta::from_decimal(1e-5)?)?;
/// assert!((sigma.nearest() - 3.730631634816464).abs() < 1e-9); // the classic formula gives 4.84
/// # Ok::<(), veilsum_dp_core::Error>(())
/// ```
pub fn gaussian(epsilon: &Epsilon, delta: &Delta) -> Result<Positive, Error> {
    single(|noise_multiplier| Event::Gaussian { noise_multiplier }, epsilon, delta)
}

/// The least sigma for which one discrete Gaussian release of this (L1) sensitivity is (epsilon, delta)-differentially
/// private, on its own curve.
pub fn discrete_gaussian(epsilon: &Epsilon, delta: &Delta, sensitivity: u64) -> Result<Positive, Error> {
    single(|sigma| Event::DiscreteGaussian { sigma, sensitivity }, epsilon, delta)
}

/// The least total variance for which one Skellam release of this L1 sensitivity is (epsilon, delta)-differentially
/// private, on its own curve.
pub fn skellam(epsilon: &Epsilon, delta: &Delta, l1: u64) -> Result<Positive, Error> {
    let too_large = || Error::Overflow {
        what: "the square of the sensitivity",
        fits: "64 bits",
        remedy: "rescale the query to a coarser unit",
    };
    let squared_l2 = l1.checked_mul(l1).ok_or_else(too_large)?;
    single(|variance| Event::Skellam { variance, l1, squared_l2 }, epsilon, delta)
}

/// The least parameter for which one release of `event(parameter)` meets the target, for events whose delta falls as the
/// parameter grows.
fn single(event: impl Fn(Positive) -> Event, epsilon: &Epsilon, delta: &Delta) -> Result<Positive, Error> {
    // Budgets are rounded against the user: down.
    let (epsilon, delta) = (epsilon.rational().lower(), delta.rational().lower());
    if delta <= 0.0 {
        return Err(Error::out_of_range("delta", delta, "in (0, 1): this noise has unbounded losses"));
    }
    let meets = |parameter: f64| -> Result<bool, Error> {
        let event = event(Positive::from_f64("noise", parameter)?);
        Ok(profile::delta(&event, Neighbors::AddRemove, epsilon)?.hi() <= delta)
    };
    Positive::from_f64("noise", least(meets, 1.0)?)
}

/// The least sigma for which `steps` runs of `event(sigma)` certainly are (epsilon, delta)-differentially private, found to
/// a relative 1e-8 in about eight evaluations; for events whose epsilon falls as sigma grows.
///
/// ```
/// use veilsum_dp_core::accounting::{Event, calibrate};
/// use veilsum_dp_core::privacy::{Positive, Rational};
/// use veilsum_dp_core::sensitivity::Neighbors;
///
/// let rate = Rational::new(256, 60_000).unwrap();
/// let step = |sigma: f64| {
///     let noise_multiplier = Positive::from_f64("sigma", sigma)?;
///     Ok(Event::PoissonSampled { rate: rate.clone(), event: Box::new(Event::Gaussian { noise_multiplier }) })
/// };
/// let sigma = calibrate::sigma(step, 1.0, 1e-5, 14_040, Neighbors::AddRemove)?;
/// assert!((sigma - 2.023476591).abs() < 1e-7);
/// # Ok::<(), veilsum_dp_core::Error>(())
/// ```
///
/// # Errors
/// Whatever `event` returns; an event that the PLD accountant refuses; a target out of range or out of reach.
pub fn sigma(
    mut event: impl FnMut(f64) -> Result<Event, Error>,
    epsilon: f64,
    delta: f64,
    steps: u64,
    neighbors: Neighbors,
) -> Result<f64, Error> {
    let epsilon = positive(epsilon)?;
    if steps == 0 {
        return Err(Error::out_of_range("steps", steps, "a whole number >= 1"));
    }
    let mut search = Search::new(LOG_SIGMA, -1.0);
    let mut x = 0.0;
    for _ in 0..120 {
        let mut accountant = PldAccountant::new(neighbors);
        accountant.compose(&event(libm::exp(x))?, steps)?;
        search.note(x, Excess::of(accountant.epsilon(delta)?.hi(), epsilon));
        match search.next(SIGMA_TOLERANCE) {
            Some(next) => x = next,
            None => break,
        }
    }
    let out_of_reach = || Error::out_of_range("target", "this budget", "reachable with sigma between 1e-6 and 1e12");
    search.good.map(|(x, _)| libm::exp(x)).filter(|_| search.bad.is_some()).ok_or_else(out_of_reach)
}

/// The most runs of `event` that certainly are (epsilon, delta)-differentially private together; zero if one is too much.
///
/// # Errors
/// An event that the PLD accountant refuses; a target out of range; more than 2^50 runs.
pub fn steps(event: &Event, epsilon: f64, delta: f64, neighbors: Neighbors) -> Result<u64, Error> {
    let epsilon = positive(epsilon)?;
    let excess = |count: u64| -> Result<Excess, Error> {
        let mut accountant = PldAccountant::new(neighbors);
        accountant.compose(event, count)?;
        Ok(Excess::of(accountant.epsilon(delta)?.hi(), epsilon))
    };
    // In ln count, at whole counts alone: `good` fits and `bad` does not.
    let mut search = Search::new(LOG_STEPS, 0.7);
    let (mut good, mut bad, mut count) = (0, u64::MAX, 1);
    loop {
        let found = excess(count)?;
        if found.0 > 0.0 {
            bad = count
        } else {
            good = count
        }
        if bad - good <= 1 {
            return Ok(good);
        }
        search.note(libm::log(count as f64), found);
        let endless =
            Error::Overflow { what: "the number of steps", fits: "2^50", remedy: "the event costs next to nothing" };
        let next = search.next(0.0).ok_or(endless)?;
        count = (libm::exp(next) as u64).clamp(good + 1, bad - 1);
    }
}

fn positive(epsilon: f64) -> Result<f64, Error> {
    if epsilon > 0.0 && epsilon.is_finite() {
        Ok(epsilon)
    } else {
        Err(Error::out_of_range("epsilon", epsilon, "a finite number > 0"))
    }
}

/// ln of the certified epsilon over the target: at most zero if and only if the target is met. Never NaN: an enclosure has
/// none, and the target is finite and > 0.
#[derive(Clone, Copy, Debug)]
struct Excess(f64);

/// Beyond this an excess is only known to be large.
const LARGE: f64 = 40.0;

impl Excess {
    fn of(certified: f64, target: f64) -> Self {
        let log = libm::log(certified / target);
        Self(if certified <= target { log.clamp(-LARGE, 0.0) } else { log.clamp(1e-15, LARGE) })
    }

    fn is_rough(self) -> bool {
        self.0.abs() >= LARGE
    }
}

/// Where ln sigma, and ln of a count, are looked for.
const LOG_SIGMA: (f64, f64) = (-14.0, 28.0);
const LOG_STEPS: (f64, f64) = (0.0, 34.66);
/// How close to the least sigma, relative.
const SIGMA_TOLERANCE: f64 = 1e-8;

/// Closes in on the border between parameters that meet a target and those that do not: by secants in logarithms, where
/// epsilon is nearly a power, kept honest by a bracket.
struct Search {
    range: (f64, f64),
    /// Of the excess, where two points do not say.
    slope: f64,
    good: Option<(f64, Excess)>,
    bad: Option<(f64, Excess)>,
    last: [Option<(f64, Excess)>; 2],
    rounds: u32,
}

impl Search {
    fn new(range: (f64, f64), slope: f64) -> Self {
        Self { range, slope, good: None, bad: None, last: [None; 2], rounds: 0 }
    }

    fn note(&mut self, x: f64, excess: Excess) {
        let side = if excess.0 > 0.0 { &mut self.bad } else { &mut self.good };
        *side = Some((x, excess));
        self.last = [self.last[1], Some((x, excess))];
        self.rounds += 1;
    }

    /// The next point to try; `None` if the bracket is narrow enough, or the range has ended.
    fn next(&self, tolerance: f64) -> Option<f64> {
        let (x, excess) = self.last[1]?;
        let slope = match self.last[0] {
            Some((before, other)) if before != x && !other.is_rough() && !excess.is_rough() => {
                let found = (excess.0 - other.0) / (x - before);
                let sensible = found / self.slope > 0.05 && found / self.slope < 20.0;
                if sensible { found } else { self.slope }
            }
            _ => self.slope,
        };
        // A step just beyond the root ends the search, if the root is known well.
        let beyond = 0.4 * tolerance * (excess.0 / slope).signum();
        let towards = x - excess.0 / slope - beyond;
        match (self.good, self.bad) {
            (Some((a, _)), Some((b, _))) => {
                let (low, high) = if a < b { (a, b) } else { (b, a) };
                if high - low <= tolerance {
                    return None;
                }
                let inside = towards > low && towards < high && (self.rounds <= 12 || self.rounds.is_multiple_of(2));
                Some(if inside { towards } else { 0.5 * (low + high) })
            }
            _ => {
                let (low, high) = self.range;
                let next = towards.clamp(x - 4.0, x + 4.0).clamp(low, high);
                let next = if (next - x).abs() < 1e-9 { x + 1e-6 * (next - x).signum() } else { next };
                (x > low || next > x).then_some(next).filter(|next| x < high || *next < x)
            }
        }
    }
}

/// The least float, to a relative 1e-14, at which `meets` is true, if it is false below and true above some border.
fn least(mut meets: impl FnMut(f64) -> Result<bool, Error>, start: f64) -> Result<f64, Error> {
    let out_of_reach = || Error::out_of_range("target", "this budget", "reachable with noise between 1e-100 and 1e100");
    let (mut lo, mut hi) = (start, start);
    while !meets(hi)? {
        lo = hi;
        hi *= 2.0;
        if hi > 1e100 {
            return Err(out_of_reach());
        }
    }
    while lo == hi || meets(lo)? {
        hi = lo;
        lo *= 0.5;
        if lo < 1e-100 {
            return Err(out_of_reach());
        }
    }
    while hi - lo > 1e-14 * hi {
        let middle = 0.5 * (lo + hi);
        if meets(middle)? { hi = middle } else { lo = middle }
    }
    Ok(hi)
}
