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
    let squared_l2 = l1.saturating_mul(l1);
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
/// a relative 1e-8 in about ten evaluations; for events whose epsilon falls as sigma grows.
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
    if !(epsilon > 0.0 && epsilon.is_finite()) {
        return Err(Error::out_of_range("epsilon", epsilon, "a finite number > 0"));
    }
    if steps == 0 {
        return Err(Error::out_of_range("steps", steps, "a whole number >= 1"));
    }
    // ln of the certified epsilon over the target: falls through zero.
    let mut excess = |log_sigma: f64| -> Result<f64, Error> {
        let mut accountant = PldAccountant::new(neighbors);
        accountant.compose(&event(libm::exp(log_sigma))?, steps)?;
        let certified = accountant.epsilon(delta)?.hi();
        Ok(if certified <= epsilon {
            libm::log(certified / epsilon).clamp(-40.0, 0.0)
        } else {
            libm::log(certified / epsilon).clamp(1e-15, 40.0)
        })
    };
    let out_of_reach = || Error::out_of_range("target", "this budget", "reachable with sigma between 1e-6 and 1e12");
    let (mut a, mut step) = (0.0, 0.7);
    let mut fa = excess(a)?;
    let (mut b, mut fb);
    loop {
        b = if fa > 0.0 { a + step } else { a - step };
        if !(-14.0..28.0).contains(&b) {
            return Err(out_of_reach());
        }
        fb = excess(b)?;
        if (fa > 0.0) != (fb > 0.0) {
            break;
        }
        (a, fa, step) = (b, fb, step * 1.7);
    }
    // From here `good` certifies and `bad` does not.
    let ((mut bad, mut f_bad), (mut good, mut f_good)) = if fa > 0.0 { ((a, fa), (b, fb)) } else { ((b, fb), (a, fa)) };
    for round in 0..80 {
        if good - bad <= 1e-8 {
            break;
        }
        let mut x = (bad * f_good - good * f_bad) / (f_good - f_bad);
        // Close in from both sides: once the root is known well, a step just beyond it ends the search.
        let nudge = 4e-9;
        x = if round % 2 == 0 { x + nudge } else { x - nudge };
        if !(x > bad && x < good) || round > 24 {
            x = 0.5 * (bad + good);
        }
        let fx = excess(x)?;
        if fx > 0.0 {
            (bad, f_bad) = (x, fx);
            f_good = if round % 4 == 3 { 0.5 * f_good } else { f_good };
        } else {
            (good, f_good) = (x, fx);
            f_bad = if round % 4 == 2 { 0.5 * f_bad } else { f_bad };
        }
    }
    Ok(libm::exp(good))
}

/// The most runs of `event` that certainly are (epsilon, delta)-differentially private together; zero if one is too much.
///
/// # Errors
/// An event that the PLD accountant refuses; a target out of range.
pub fn steps(event: &Event, epsilon: f64, delta: f64, neighbors: Neighbors) -> Result<u64, Error> {
    let fits = |count: u64| -> Result<bool, Error> {
        let mut accountant = PldAccountant::new(neighbors);
        accountant.compose(event, count)?;
        Ok(accountant.epsilon(delta)?.hi() <= epsilon)
    };
    let (mut good, mut bad) = (0, 1);
    while fits(bad)? {
        good = bad;
        bad = bad.checked_mul(4).filter(|n| *n < 1 << 50).ok_or(Error::Overflow {
            what: "the number of steps",
            fits: "2^50",
            remedy: "the event costs nothing to speak of",
        })?;
    }
    while bad - good > 1 {
        let middle = good + (bad - good) / 2;
        if fits(middle)? { good = middle } else { bad = middle }
    }
    Ok(good)
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
