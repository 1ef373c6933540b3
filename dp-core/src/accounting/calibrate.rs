//! Calibration: from a budget to the least noise that certainly meets it.
//!
//! Every answer is certified by an evaluation at the very number that is returned; the search only decides how close it
//! comes to the least one.

use super::{Event, profile};
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
