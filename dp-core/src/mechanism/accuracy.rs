//! How large noise is: two-sided quantiles, and the scale of the pure mechanisms.
//!
//! Quantiles are computed in f64 by the pure-Rust `libm`, the same bits on every platform, and rounded upwards by a
//! relative 1e-12 or to the next integer. They say how useful a release is; no privacy claim rests on them.

use crate::Error;
use crate::privacy::{Epsilon, Positive, Rational};

/// The probability outside an interval of this confidence.
pub(super) fn tail(confidence: f64) -> Result<f64, Error> {
    if confidence > 0.0 && confidence < 1.0 {
        Ok(1.0 - confidence)
    } else {
        Err(Error::out_of_range("confidence", confidence, "in (0, 1), such as 0.95"))
    }
}

/// The least f64 that is at least sensitivity / epsilon.
///
/// Where the f64 nearest to epsilon lies below it (0.3 does), that f64 is aimed at, so that it can be promised.
pub(super) fn pure_scale(epsilon: &Epsilon, sensitivity: &Positive) -> Result<Positive, Error> {
    let exact = epsilon.rational();
    let nearest = Rational::from_f64(exact.nearest()).filter(|near| near < exact);
    let target = Positive::new("epsilon", nearest.unwrap_or_else(|| exact.clone()))?;
    let scale = (sensitivity.rational() / &target).upper();
    Positive::from_f64("scale (sensitivity / epsilon)", scale)
}

/// Upwards by more than the rounding errors before it.
fn up(x: f64) -> f64 {
    x * (1.0 + 1e-12)
}

/// The t with P(|X| > t) = tail.
pub(super) fn laplace(tail: f64, scale: f64) -> f64 {
    up(-scale * libm::log(tail))
}

/// The least integer t with P(|X| > t) <= tail: P(|X| > t) = 2 q^(t + 1) / (1 + q) for q = exp(-1 / scale).
pub(super) fn discrete_laplace(tail: f64, scale: f64) -> f64 {
    let q = libm::exp(-1.0 / scale);
    up(scale * (libm::log(2.0 / (1.0 + q)) - libm::log(tail)) - 1.0).ceil().max(0.0)
}

/// The t with P(|X| > t) = tail.
pub(crate) fn gaussian(tail: f64, sigma: f64) -> f64 {
    up(sigma * std::f64::consts::SQRT_2 * inverse_erfc(tail))
}

/// The least integer t with P(|X| > t) <= tail, or one more above sigma = 1000.
///
/// There, the sum over x > t of exp(-x^2 / (2 sigma^2)) is below its integral from t, and the norming sum is above
/// sigma sqrt(2 pi) (Poisson summation: all its other terms are positive): the tail is below the continuous one at t.
pub(super) fn discrete_gaussian(tail: f64, sigma: f64) -> f64 {
    if sigma > 1000.0 {
        return gaussian(tail, sigma).ceil();
    }
    quantile(tail, (40.0 * sigma).ceil() as usize + 1, |x| libm::exp(-0.5 * (x / sigma) * (x / sigma)))
}

/// The least integer t with P(|X| > t) <= tail, or one more above variance v = 10^6.
///
/// There, f(k) / f(k - 1) <= e^(-asinh((k - 1/2) / v)) (Amos 1974, "Computation of modified Bessel functions and their
/// ratios", eq. 16) with asinh(a) >= a - a^3 / 6 gives f(k) <= f(0) e^(-k^2 / (2 v) (1 - k^2 / (12 v^2))) by summing up to
/// k. Up to k = 12 sqrt(v) that is below e^(-k^2 / (2 w)) with w = v / (1 - 12 / v); further out lies less than 1e-30
/// (Bernstein), and no confidence leaves less than 1e-16. Next, P(0) <= (1 + 1 / (8 v) + 0.3 / v^2) / sqrt(2 pi v) (DLMF
/// 10.40.11: two terms of Hankel's expansion and its remainder). With sqrt(w / v), the tail is at most 1 + 7 / v
/// times the normal one of variance w, and the quantile z sqrt(v) moves by less than z / 100.
pub(super) fn skellam(tail: f64, variance: f64) -> f64 {
    let sigma = variance.sqrt();
    if variance > 1e6 {
        let wider = variance / (1.0 - 12.0 / variance);
        return gaussian(tail / (1.0 + 7.0 / variance), wider.sqrt()).ceil();
    }
    // P(k) is proportional to I_k(variance). Downwards, with I_(k-1) = I_(k+1) + 2k/variance I_k, every step adds
    // positive numbers, so Miller's algorithm is stable (DLMF 3.6); beyond the start the tail is below 1e-300.
    let start = (45.0 * sigma + 200.0).ceil() as usize;
    let mut weights = vec![0.0; start + 1];
    let (mut above, mut here) = (0.0, 1e-290);
    for k in (0..=start).rev() {
        weights[k] = here;
        (above, here) = (here, above + 2.0 * k as f64 / variance * here);
        if here > 1e290 {
            weights[k..].iter_mut().for_each(|w| *w *= 1e-290);
            (above, here) = (above * 1e-290, here * 1e-290);
        }
    }
    quantile(tail, start, |x| weights[x as usize])
}

/// The least t with P(|X| > t) <= tail for a symmetric law on integers with these weights, which vanish above `end`.
fn quantile(tail: f64, end: usize, weight: impl Fn(f64) -> f64) -> f64 {
    // From the far end inwards, so that small terms are summed first.
    let outside: f64 = (1..=end).rev().map(|x| weight(x as f64)).sum();
    let allowed = tail * (2.0 * outside + weight(0.0)) * (1.0 - 1e-12);
    let mut beyond = 0.0;
    for t in (1..=end).rev() {
        beyond += 2.0 * weight(t as f64);
        if beyond > allowed {
            return t as f64;
        }
    }
    0.0
}

/// The x >= 0 with erfc(x) = y, for y in (0, 1].
fn inverse_erfc(y: f64) -> f64 {
    // erfc falls from 1 at 0 to below the least f64 at 28.
    let (mut low, mut high) = (0.0, 28.0);
    for _ in 0..70 {
        let middle = 0.5 * (low + high);
        if libm::erfc(middle) > y { low = middle } else { high = middle }
    }
    high
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_quantiles() {
        // Tables of the normal law, and -ln(0.05).
        assert!((gaussian(0.05, 1.0) - 1.959_963_984_540_054).abs() < 1e-11);
        assert!((gaussian(1e-9, 2.0) - 2.0 * 6.109_410_204_869_004).abs() < 1e-9);
        assert!((laplace(0.05, 1.0) - 2.995_732_273_553_991).abs() < 1e-11);
    }

    #[test]
    fn discrete_quantiles_agree_with_sums() {
        for scale in [0.1, 1.0, 10.0 / 3.0, 100.0] {
            for tail in [0.5, 0.05, 1e-3, 1e-9] {
                let direct = quantile(tail, (50.0 * scale) as usize + 50, |x| libm::exp(-x / scale));
                assert_eq!(discrete_laplace(tail, scale), direct, "scale {scale}, tail {tail}");
            }
        }
    }

    #[test]
    fn discrete_laws_meet_their_continuous_limits() {
        for tail in [0.5, 0.05, 1e-3, 1e-9] {
            let normal = gaussian(tail, 900.0);
            assert!((discrete_gaussian(tail, 900.0) - normal).abs() <= 1.0, "tail {tail}");
            assert!((skellam(tail, 810_000.0) - normal).abs() <= 1.0, "tail {tail}");
            let above = skellam(tail, 1_000_001.0);
            assert!(
                (0.0..=2.0).contains(&(above - skellam(tail, 999_999.0))),
                "tail {tail}: no jump where methods change"
            );
            let above = discrete_gaussian(tail, 1000.1);
            assert!((0.0..=2.0).contains(&(above - discrete_gaussian(tail, 999.9))), "tail {tail}");
        }
    }

    #[test]
    fn small_skellam_by_hand() {
        // Variance 1: P(0) = e^-1 I_0(1) = 0.4657596, P(|x| <= 1) = 0.8814992, P(|x| <= 2) = 0.9814...
        assert_eq!(skellam(1.0 - 0.46, 1.0), 0.0);
        assert_eq!(skellam(1.0 - 0.47, 1.0), 1.0);
        assert_eq!(skellam(1.0 - 0.881, 1.0), 1.0);
        assert_eq!(skellam(1.0 - 0.882, 1.0), 2.0);
        assert_eq!(skellam(0.05, 1e-6), 0.0);
    }

    #[test]
    fn the_nearest_float_can_be_promised() {
        for epsilon in [0.1, 0.3, 0.7, 1.0, 1.1, 3.3, 1e-5, 12.34] {
            let exact = Epsilon::from_decimal(epsilon).expect("in range");
            for sensitivity in [1.0, 0.1, 7.0, 1e6] {
                let sensitivity = Positive::from_f64("sensitivity", sensitivity).expect("positive");
                let scale = pure_scale(&exact, &sensitivity).expect("in range");
                let promised = sensitivity.rational() / &scale;
                assert!(promised.upper() <= epsilon && promised <= *exact.rational(), "{epsilon}");
                assert!(promised.lower() >= epsilon * (1.0 - 1e-15), "{epsilon}: least scale");
            }
        }
    }
}
