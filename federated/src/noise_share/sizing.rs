//! Nearly the least variance that keeps a promise, by Renyi differential privacy in plain floating point.
//!
//! Where sizing starts, not what is promised: that is certified by the accountant, which rounds outward.
//!
//! For Skellam noise of variance V on every coordinate, and integer orders a > 1 (Agarwal, Kairouz and Liu 2021,
//! Theorem 3.5 and its vector form):
//! `eps(a) <= a L2^2 / (2V) + min( ((2a - 1) L2^2 + 6 L1) / (4V^2), 3 L1 / (2V) )`.
//! Rounds add; the conversion to (epsilon, delta) is Proposition 12 of Canonne, Kamath and Steinke (2020).

use super::DistributedNoise;
use crate::Error;

pub(super) fn approximate_variance(promise: &DistributedNoise, l1: u64, squared_l2: u64) -> Result<f64, Error> {
    let target = promise.epsilon.rational().lower();
    let (delta, rounds) = (promise.delta.rational().lower(), f64::from(promise.rounds));
    let enough = |variance: f64| epsilon(variance, l1 as f64, squared_l2 as f64, rounds, delta) <= target;
    let (mut low, mut high) = (1e-3, 1.0);
    while !enough(high) {
        low = high;
        high *= 4.0;
        if high > 1e40 {
            return Err(Error::Unsafe {
                why: format!(
                    "epsilon {} and delta {} over {} rounds need more noise than integers hold; raise them or take fewer rounds",
                    promise.epsilon, promise.delta, promise.rounds
                ),
            });
        }
    }
    while high / low > 1.0 + 1e-9 {
        let middle = (low * high).sqrt();
        if enough(middle) { high = middle } else { low = middle }
    }
    Ok(high)
}

/// Epsilon at `delta`, but for rounding.
fn epsilon(variance: f64, l1: f64, squared_l2: f64, rounds: f64, delta: f64) -> f64 {
    orders()
        .map(|order| {
            let correction = ((2.0 * order - 1.0) * squared_l2 + 6.0 * l1) / (4.0 * variance * variance);
            let divergence = order * squared_l2 / (2.0 * variance) + correction.min(1.5 * l1 / variance);
            let tail = (-1.0 / order).ln_1p() - (delta.ln() + order.ln()) / (order - 1.0);
            rounds * divergence + tail
        })
        .fold(f64::INFINITY, f64::min)
}

/// Every order up to 512, then steps of an eighth up to a million.
fn orders() -> impl Iterator<Item = f64> {
    let far = std::iter::successors(Some(512_u32), |&order| (order < 1 << 20).then_some(order + order / 8));
    (2..512).chain(far).map(f64::from)
}
