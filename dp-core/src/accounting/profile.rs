//! The privacy profile of a single release: delta(epsilon) and epsilon(delta), enclosed.
//!
//! Everything here is a closed form, or an exact sum with a bounded tail, in interval arithmetic. Compositions go through
//! [`PldAccountant`](super::PldAccountant).

use super::interval::Interval;
use super::step::{Step, steps};
use super::{Enclosure, Event};
use crate::Error;
use crate::sensitivity::Neighbors;

const NAME: &str = "the privacy profile";

/// The least delta for which one such release is (epsilon, delta)-differentially private; epsilon >= 0.
///
/// ```
/// use veilsum_dp_core::accounting::{Event, profile};
/// use veilsum_dp_core::{privacy::Positive, sensitivity::Neighbors};
/// let event = Event::Gaussian { noise_multiplier: Positive::one() };
/// let delta = profile::delta(&event, Neighbors::AddRemove, 1.0)?;
/// assert!(delta.lo() <= 0.12693673750664397 && 0.12693673750664397 <= delta.hi());
/// # Ok::<(), veilsum_dp_core::Error>(())
/// ```
pub fn delta(event: &Event, neighbors: Neighbors, epsilon: f64) -> Result<Enclosure, Error> {
    let epsilon = checked_epsilon(epsilon)?;
    Ok(enclosure(single(event, neighbors)?.delta(epsilon)))
}

/// The least epsilon for which one such release is (epsilon, delta)-differentially private; delta in [0, 1).
///
/// At delta = 0 this is the largest loss, infinite for Gaussian noise.
pub fn epsilon(event: &Event, neighbors: Neighbors, delta: f64) -> Result<Enclosure, Error> {
    if !(0.0..1.0).contains(&delta) {
        return Err(Error::out_of_range("delta", delta, "in [0, 1)"));
    }
    let step = single(event, neighbors)?;
    Ok(if delta == 0.0 { enclosure(step.largest_loss()) } else { least_epsilon(|epsilon| step.delta(epsilon), delta) })
}

fn single(event: &Event, neighbors: Neighbors) -> Result<Step, Error> {
    let mut steps = steps(NAME, event, neighbors)?;
    match (steps.pop(), steps.is_empty()) {
        (Some((step, 1)), true) => Ok(step),
        _ => Err(Error::UnsupportedEvent {
            accountant: NAME,
            event: event.to_string(),
            why: "it is not a single release: compose it in an accountant",
        }),
    }
}

pub(crate) fn checked_epsilon(epsilon: f64) -> Result<f64, Error> {
    if epsilon >= 0.0 && epsilon.is_finite() {
        Ok(epsilon + 0.0)
    } else {
        Err(Error::out_of_range("epsilon", epsilon, "a finite number >= 0"))
    }
}

pub(crate) fn enclosure(interval: Interval) -> Enclosure {
    Enclosure::new(interval.lo.max(0.0), interval.hi).unwrap_or_else(Enclosure::nothing)
}

/// Inverts a decreasing curve with enclosed values: the least epsilon >= 0 with curve(epsilon) <= delta.
///
/// Both ends are certified by an evaluation of their own: at `hi` the curve is certainly <= delta, at `lo` certainly
/// above it. How they were found does not matter.
pub(crate) fn least_epsilon(curve: impl Fn(f64) -> Interval, delta: f64) -> Enclosure {
    if curve(0.0).hi <= delta {
        return Enclosure::zero();
    }
    if curve(f64::MAX).lo > delta {
        return Enclosure::infinite();
    }
    let guess = root(|epsilon| curve(epsilon).mid() > delta);
    let steps = || (0..54).map(|i| f64::EPSILON * f64::from(i).exp2());
    let hi = steps()
        .map(|step| (guess * (1.0 + step)).next_up())
        .find(|&epsilon| curve(epsilon).hi <= delta)
        .unwrap_or(f64::INFINITY);
    let lo = steps()
        .map(|step| (guess * (1.0 - step)).next_down())
        .find(|&epsilon| epsilon >= 0.0 && curve(epsilon).lo > delta)
        .unwrap_or(0.0);
    Enclosure::new(lo, hi).unwrap_or_else(Enclosure::nothing)
}

/// The border between `true` (below) and `false` (above) on [0, infinity): the largest float if there is none.
fn root(above: impl Fn(f64) -> bool) -> f64 {
    let (mut lo, mut hi) = (0.0, 1.0);
    while above(hi) {
        lo = hi;
        hi *= 4.0;
        if hi > 1e300 {
            return f64::MAX;
        }
    }
    while hi - lo > 4.0 * f64::EPSILON * hi && hi > f64::MIN_POSITIVE {
        // Geometric steps while the answer's size is unknown.
        let middle = if lo == 0.0 { hi / 16.0 } else { 0.5 * (lo + hi) };
        if above(middle) { lo = middle } else { hi = middle }
    }
    hi
}
