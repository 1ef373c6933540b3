//! The Gaussian law: N(0, 1) against N(1/sigma, 1), with sigma the noise multiplier.

use crate::accounting::interval::{Interval, mills, mills_slope, normal_density, normal_tail};

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Gaussian {
    /// sigma: standard deviation over sensitivity; > 0.
    pub(crate) multiplier: Interval,
}

/// Above this the tail is factored as density times Mills' ratio, which loses nothing far out.
const FACTORED: f64 = 3.0;

impl Gaussian {
    /// Balle and Wang 2018, Theorem 8: delta = P(Z > a) - e^eps P(Z > b) with a, b = eps sigma -+ 1/(2 sigma).
    ///
    /// Since e^eps density(b) = density(a), the second term is density(a) R(b), which cannot overflow. Where a and b are
    /// close the difference cancels, and delta = density(a) times the integral of -R' over [a, b]: -R' is convex, so the
    /// integral lies between the midpoint and the trapezoid rule (Hermite-Hadamard). Both enclosures hold; we intersect.
    pub(crate) fn delta(&self, epsilon: f64) -> Interval {
        let shift = Interval::ONE / self.multiplier;
        let (middle, half) = (Interval::point(epsilon) * self.multiplier, shift * 0.5);
        let (a, b) = (middle - half, middle + half);
        let density = normal_density(a);
        let difference =
            if a.lo < FACTORED { normal_tail(a) - density * mills(b) } else { density * (mills(a) - mills(b)) };
        let trapezoid = (mills_slope(a) + mills_slope(b)) * 0.5;
        let integral = Interval { lo: mills_slope(middle).lo, hi: trapezoid.hi };
        difference.meet(density * integral * shift).clamp(0.0, 1.0)
    }
}
