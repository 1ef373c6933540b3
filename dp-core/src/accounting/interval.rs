//! Outward-rounded interval arithmetic, and the special functions that the accountants stand on.
//!
//! What is trusted, and how far. The four operations and the square root of IEEE 754 are correctly rounded, so one step
//! outward encloses them. Everything else comes from the pure-Rust `libm` crate, which gives the same bits on every
//! platform: `exp`, `expm1`, `log`, `log1p` and `erfc` are ports of the FreeBSD functions, documented there to be within
//! one unit in the last place. We trust four, and tests compare thousands of points with arbitrary precision.

use std::f64::consts::{FRAC_1_SQRT_2, TAU};
use std::ops::{Add, Div, Mul, Neg, Sub};

/// Units in the last place by which a function of `libm` may be wrong; documented and measured: one.
const TRUSTED_ULPS: f64 = 4.0;

/// A closed interval that contains the exact value. Ends may be infinite, never NaN: an operation without a meaning
/// (infinity minus infinity) gives the whole line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Interval {
    pub(crate) lo: f64,
    pub(crate) hi: f64,
}

impl Interval {
    pub(crate) const ZERO: Self = Self { lo: 0.0, hi: 0.0 };
    pub(crate) const ONE: Self = Self { lo: 1.0, hi: 1.0 };
    const LINE: Self = Self { lo: f64::NEG_INFINITY, hi: f64::INFINITY };

    /// The interval from `lo` to `hi`; NaN at either end gives no information.
    pub(crate) fn new(lo: f64, hi: f64) -> Self {
        let lo = if lo.is_nan() { f64::NEG_INFINITY } else { lo };
        let hi = if hi.is_nan() { f64::INFINITY } else { hi };
        Self { lo, hi }
    }

    /// Exactly this number.
    pub(crate) fn point(value: f64) -> Self {
        Self::new(value, value)
    }

    /// Encloses the exact value of a rational.
    pub(crate) fn rational(value: &crate::privacy::Rational) -> Self {
        Self { lo: value.lower(), hi: value.upper() }
    }

    fn outward(lo: f64, hi: f64) -> Self {
        Self::new(lo.next_down(), hi.next_up())
    }

    /// `lo` and `hi` were computed by a function with a relative error of [`TRUSTED_ULPS`].
    fn trusted(lo: f64, hi: f64) -> Self {
        let slack = TRUSTED_ULPS * f64::EPSILON;
        let wider = |x: f64, slack: f64| if x.is_finite() { x + x.abs() * slack } else { x };
        Self::outward(wider(lo, -slack), wider(hi, slack))
    }

    /// Widens to both sides by a relative error.
    pub(crate) fn widened(self, relative: f64) -> Self {
        Self::outward(self.lo - self.lo.abs() * relative, self.hi + self.hi.abs() * relative)
    }

    pub(crate) fn max(self, other: Self) -> Self {
        Self { lo: self.lo.max(other.lo), hi: self.hi.max(other.hi) }
    }

    /// Both contain the value, so their intersection does.
    pub(crate) fn meet(self, other: Self) -> Self {
        Self { lo: self.lo.max(other.lo), hi: self.hi.min(other.hi) }
    }

    /// The value is known to lie in [lo, hi].
    pub(crate) fn clamp(self, lo: f64, hi: f64) -> Self {
        Self { lo: self.lo.clamp(lo, hi), hi: self.hi.clamp(lo, hi) }
    }

    pub(crate) fn mid(self) -> f64 {
        if self.lo == self.hi { self.lo } else { 0.5 * self.lo + 0.5 * self.hi }
    }

    pub(crate) fn square(self) -> Self {
        let (a, b) = (self.lo.abs(), self.hi.abs());
        let least = if self.lo <= 0.0 && self.hi >= 0.0 { 0.0 } else { a.min(b) };
        let square = Self::outward(least * least, a.max(b) * a.max(b));
        square.clamp(0.0, f64::INFINITY)
    }

    pub(crate) fn sqrt(self) -> Self {
        Self::outward(self.lo.max(0.0).sqrt(), self.hi.max(0.0).sqrt()).clamp(0.0, f64::INFINITY)
    }

    pub(crate) fn exp(self) -> Self {
        Self::trusted(libm::exp(self.lo), libm::exp(self.hi)).clamp(0.0, f64::INFINITY)
    }

    /// e^x - 1.
    pub(crate) fn expm1(self) -> Self {
        Self::trusted(libm::expm1(self.lo), libm::expm1(self.hi)).clamp(-1.0, f64::INFINITY)
    }

    /// The natural logarithm; of a value <= 0, minus infinity.
    pub(crate) fn ln(self) -> Self {
        let ln = |x: f64| if x <= 0.0 { f64::NEG_INFINITY } else { libm::log(x) };
        Self::trusted(ln(self.lo), ln(self.hi))
    }

    /// ln(1 + x); minus infinity where 1 + x <= 0.
    pub(crate) fn ln_1p(self) -> Self {
        let ln = |x: f64| if x <= -1.0 { f64::NEG_INFINITY } else { libm::log1p(x) };
        Self::trusted(ln(self.lo), ln(self.hi))
    }
}

impl Add for Interval {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self::outward(self.lo + other.lo, self.hi + other.hi)
    }
}

impl Sub for Interval {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self::outward(self.lo - other.hi, self.hi - other.lo)
    }
}

impl Neg for Interval {
    type Output = Self;
    fn neg(self) -> Self {
        Self { lo: -self.hi, hi: -self.lo }
    }
}

impl Mul for Interval {
    type Output = Self;
    fn mul(self, other: Self) -> Self {
        // An end of zero times an end of infinity is zero: the end is a limit, never attained.
        let times = |a: f64, b: f64| if a == 0.0 || b == 0.0 { 0.0 } else { a * b };
        let ends =
            [times(self.lo, other.lo), times(self.lo, other.hi), times(self.hi, other.lo), times(self.hi, other.hi)];
        if ends.iter().any(|e| e.is_nan()) {
            return Self::LINE;
        }
        let lo = ends.iter().copied().fold(f64::INFINITY, f64::min);
        let hi = ends.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        // Zero is exact: it arises from a zero factor alone, or from an underflow that one step covers.
        if self == Self::ZERO || other == Self::ZERO { Self::ZERO } else { Self::outward(lo, hi) }
    }
}

impl Mul<f64> for Interval {
    type Output = Self;
    fn mul(self, other: f64) -> Self {
        self * Self::point(other)
    }
}

impl Div for Interval {
    type Output = Self;
    fn div(self, other: Self) -> Self {
        if other.lo <= 0.0 && other.hi >= 0.0 {
            return Self::LINE;
        }
        let ends = [self.lo / other.lo, self.lo / other.hi, self.hi / other.lo, self.hi / other.hi];
        if ends.iter().any(|e| e.is_nan()) {
            return Self::LINE;
        }
        let lo = ends.iter().copied().fold(f64::INFINITY, f64::min);
        let hi = ends.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        Self::outward(lo, hi)
    }
}

/// sqrt(2 pi), rounded to nearest.
fn root_of_tau() -> Interval {
    Interval::outward(TAU, TAU).sqrt()
}

/// The standard normal density at `t`.
pub(crate) fn normal_density(t: Interval) -> Interval {
    (-(t.square() * 0.5)).exp() / root_of_tau()
}

/// The standard normal upper tail, P(Z > t).
pub(crate) fn normal_tail(t: Interval) -> Interval {
    // The argument of erfc is rounded outward first; erfc is decreasing.
    let root = Interval::outward(FRAC_1_SQRT_2, FRAC_1_SQRT_2);
    let x = t * root;
    (Interval::trusted(libm::erfc(x.hi), libm::erfc(x.lo)) * 0.5).clamp(0.0, 1.0)
}

/// Mills' ratio R(t) = P(Z > t) / density(t), decreasing and completely monotone.
pub(crate) fn mills(t: Interval) -> Interval {
    Interval { lo: mills_at(t.hi).lo, hi: mills_at(t.lo).hi }
}

/// Below this, erfc and exp; above, the continued fraction.
const MILLS_FRACTION: f64 = 3.0;

fn mills_at(t: f64) -> Interval {
    if t == f64::INFINITY {
        return Interval::ZERO;
    }
    let t = Interval::point(t);
    if t.lo < MILLS_FRACTION {
        let density = normal_density(t);
        return if density.lo > 0.0 { normal_tail(t) / density } else { Interval::new(1e300, f64::INFINITY) };
    }
    // Laplace's continued fraction 1/(t + 1/(t + 2/(t + 3/...))): with the innermost part between 0 and infinity, two
    // truncations one level apart bracket the value (all terms are positive).
    let depth = (20.0 + 260.0 / (t.lo * t.lo)) as u32;
    // Their distance shrinks like exp(-2t sqrt(2 depth)).
    let truncated = |depth: u32| (1..=depth).rev().fold(t, |below, k| t + Interval::point(f64::from(k)) / below);
    let (a, b) = (Interval::ONE / truncated(depth), Interval::ONE / truncated(depth + 1));
    Interval { lo: a.lo.min(b.lo), hi: a.hi.max(b.hi) }
}

/// -R'(t) = 1 - t R(t), the first moment of exp(-ts - s^2/2) over s > 0: positive, decreasing and convex.
pub(crate) fn mills_slope(t: Interval) -> Interval {
    let at = |t: f64| Interval::ONE - Interval::point(t) * mills_at(t);
    Interval { lo: at(t.hi).lo, hi: at(t.lo).hi }.clamp(0.0, f64::INFINITY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mills_ratio_agrees_with_40_digits_where_its_two_methods_meet() {
        let truth = 0.304_590_298_710_103_3;
        for t in [3.0_f64.next_down(), 3.0] {
            let found = mills(Interval::point(t));
            assert!(found.lo <= truth && truth <= found.hi && found.hi - found.lo < 1e-13, "{found:?}");
        }
    }

    #[test]
    fn operations_without_meaning_give_the_whole_line() {
        let infinity = Interval::point(f64::INFINITY);
        assert_eq!(infinity - infinity, Interval::LINE);
        assert_eq!(Interval::ONE / Interval::new(-1.0, 1.0), Interval::LINE);
    }
}
