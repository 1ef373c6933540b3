//! Confidence intervals of results that are quotients of noisy sums.

/// The first of the parts as a share of their sum; 1/2 where noise left no positive sum.
pub(super) fn share(parts: &[i128]) -> f64 {
    let (first, whole) = (parts[0] as f64, parts.iter().sum::<i128>() as f64);
    if whole > 0.0 { (first / whole).clamp(0.0, 1.0) } else { 0.5 }
}

/// Population variance of numbers in [0, 1] from the sums of (t^2, t - t^2, 1 - t).
pub(super) fn variance(parts: &[i128]) -> f64 {
    let whole = parts.iter().sum::<i128>() as f64;
    if whole <= 0.0 {
        return 0.0;
    }
    let (square, mean) = (parts[0] as f64 / whole, (parts[0] + parts[1]) as f64 / whole);
    (square - mean * mean).clamp(0.0, 0.25)
}

/// Shares p = b / (a + b) that are compatible with noisy b and a, each with independent discrete noise (Fieller's
/// argument with the exact law): the true one satisfies b - p (a + b) = (1 - p) Z_b - p Z_a, and the quantile c(p) of that
/// is known for every p.
///
/// c(p) falls towards p = 1/2 (Proschan 1965: averages of symmetric log-concave variables concentrate as the weights
/// even out), so on an interval it is largest at the end farther from 1/2. Starting from [0, 1], each step keeps all
/// compatible shares; it stops when it gains nothing.
pub(super) fn share_interval(parts: &[i128], quantile: impl Fn(f64) -> f64) -> (f64, f64) {
    let (b, whole) = (parts[0] as f64, (parts[0] + parts[1]) as f64);
    let (mut low, mut high) = (0.0_f64, 1.0_f64);
    for _ in 0..64 {
        let p = if 0.5 - low > high - 0.5 { low } else { high };
        // Discrete and continuous variables can be drawn within one step of each other (Gaussian ones but for a part in
        // 24 sigma^2 of the time, which the next step covers); the second step and the factor are for the rounding of these
        // few operations.
        let most = (quantile(p) + 2.0) * (1.0 + 1e-9);
        let (from, to) = if whole > 0.0 {
            ((b - most) / whole, (b + most) / whole)
        } else if whole < 0.0 {
            ((b + most) / whole, (b - most) / whole)
        } else {
            (0.0, 1.0)
        };
        let (from, to) = (from.max(low), to.min(high));
        if from > to {
            return (0.0, 1.0);
        }
        let gained = (from - low) + (high - to);
        (low, high) = (from, to);
        if gained < 1e-12 {
            break;
        }
    }
    (low, high)
}

/// The t with P(|X + Y| > t) = risk, for independent Laplace variables of scales s and r (one may be 0).
pub(super) fn two_laplace(s: f64, r: f64, risk: f64) -> f64 {
    let (large, small) = (s.max(r), s.min(r));
    // P(|X + Y| > t) = (s^2 e^(-t/s) - r^2 e^(-t/r)) / (s^2 - r^2), and e^(-t/s) (1 + t / 2s) where s = r.
    let tail = |t: f64| {
        let near = (large - small) < 1e-6 * large;
        if near {
            // Scales are rounded up to the larger one: an upper bound.
            return (-t / large).exp() * (1.0 + t / (2.0 * large));
        }
        let (a, b) = (large * large, small * small);
        let second = if small > 0.0 { b * (-t / small).exp() } else { 0.0 };
        (a * (-t / large).exp() - second) / (a - b)
    };
    let (mut low, mut high) = (0.0, large * (2.0 / risk).ln() * 2.0 + f64::MIN_POSITIVE);
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        if tail(middle) > risk { low = middle } else { high = middle }
    }
    high
}

/// Variances that are compatible with each part being within `half` of its noisy sum.
pub(super) fn variance_interval(parts: &[i128], half: f64) -> (f64, f64) {
    let low = |i: usize| (parts[i] as f64 - half).max(0.0);
    let high = |i: usize| (parts[i] as f64 + half).max(0.0);
    // A share is smallest with the least of it and the most of the rest.
    let ratio = |part: f64, rest: f64, empty: f64| if part + rest > 0.0 { part / (part + rest) } else { empty };
    let mean = (ratio(low(0) + low(1), high(2), 0.0), ratio(high(0) + high(1), low(2), 1.0));
    let square = (ratio(low(0), high(1) + high(2), 0.0), ratio(high(0), low(1) + low(2), 1.0));
    let bounds = ((square.0 - mean.1 * mean.1).max(0.0), (square.1 - mean.0 * mean.0).min(0.25));
    let value = variance(parts);
    (bounds.0.min(value), bounds.1.max(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quantile_of_a_sum_of_two_laplace_variables_inverts_its_tail() {
        // One variable alone: s ln(1 / risk).
        assert!((two_laplace(2.0, 0.0, 0.05) - 2.0 * 20f64.ln()).abs() < 1e-9);
        // Equal scales: e^-t (1 + t / 2) = 0.05.
        let t = two_laplace(1.0, 1.0, 0.05);
        assert!(((-t).exp() * (1.0 + t / 2.0) - 0.05).abs() < 1e-9);
        // Nearly equal ones join up.
        assert!((two_laplace(1.0, 1.0 - 2e-6, 0.05) - t).abs() < 1e-4);
        // The claim that the loop rests on: weights that are farther apart spread more.
        let spread = |p: f64| two_laplace(1.0 - p, p, 0.05);
        assert!((0..50).all(|i| spread(f64::from(i) / 100.0) >= spread(f64::from(i + 1) / 100.0) - 1e-6));
    }

    #[test]
    fn degenerate_sums_give_the_whole_range() {
        for parts in [[0, 0], [-5, -7], [-1, 1], [3, -3]] {
            let (low, high) = share_interval(&parts, |p| two_laplace((1.0 - p) * 1e6, p * 1e6, 0.05));
            assert!((low, high) == (0.0, 1.0), "{parts:?}: {low} {high}");
        }
        assert_eq!(variance_interval(&[0, 0, 0], 5.0), (0.0, 0.25));
        assert_eq!((share(&[0, 0]), variance(&[0, 0, 0])), (0.5, 0.0));
    }
}
