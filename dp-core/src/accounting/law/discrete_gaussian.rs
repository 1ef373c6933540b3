//! The discrete Gaussian: P(x) proportional to exp(-x^2 / (2 sigma^2)) on the integers, shifted by a whole number D.
//!
//! The loss at x is D (2x - D) / (2 sigma^2).

use super::{Atom, Atoms};
use crate::accounting::interval::{Interval, normal_density, normal_tail};

/// From this sigma on, sums are integrals with the first two Euler-Maclaurin terms and a bounded remainder.
pub(crate) const SMOOTH: f64 = 100.0;
/// Terms beyond this many sigma are charged to infinity: their mass is below 2 exp(-TAIL^2 / 2) < 1e-281.
const TAIL: f64 = 36.0;

/// A discrete Gaussian with sigma >= [`SMOOTH`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct SmoothDiscreteGaussian {
    pub(crate) sigma: Interval,
    /// D, a whole number below 2^53.
    pub(crate) shift: f64,
}

impl SmoothDiscreteGaussian {
    /// The sum over whole x >= t of p(x - D) - e^eps p(x), with t the least x whose loss exceeds epsilon.
    ///
    /// The normalizer is sigma sqrt(2 pi) (1 + 2 exp(-2 pi^2 sigma^2) + ...), by Poisson summation: the correction is
    /// below 10^-85000. For smooth f, the sum over x >= t is the integral from a = t - 1/2, plus f'(a) / 24, minus
    /// 7 f'''(a) / 5760, plus a remainder of at most 6.52e-5 times the integral of the sixth derivative's absolute value
    /// (Euler-Maclaurin for midpoints: the periodic kernel B6(y) - B6(1/2) lies within 1/42 + 31/1344, over 6!).
    pub(crate) fn delta(&self, epsilon: f64) -> Interval {
        let (sigma, d) = (self.sigma, self.shift);
        let threshold = Interval::point(epsilon) * sigma.square() / Interval::point(d) + Interval::point(0.5 * d);
        if threshold.hi > 4.5e15 {
            // Whole numbers are no longer exact: the tail of P alone, whose decreasing terms lie below their integral.
            let a = (threshold - Interval::point(d + 2.0)) / sigma;
            return Interval::new(0.0, if a.lo > 0.0 { normal_tail(a).hi } else { 1.0 });
        }
        let factor = Interval::point(epsilon).exp();
        let sum = |t: f64| self.tail_sum(t - d) - factor * self.tail_sum(t);
        let (first, last) = (threshold.lo.floor() + 1.0, threshold.hi.floor() + 1.0);
        // Every t gives a lower bound. Where rounding hides which t is the best, the terms in doubt are at most
        // p(x - D) (loss - eps), where the loss exceeds eps by D / sigma^2 times the distance to the threshold.
        let doubt = (threshold - Interval::point(threshold.lo)) * (last - first) * d;
        let density = normal_density((Interval::point(first - 1.0 - d) / sigma).clamp(0.0, f64::INFINITY));
        let slack = (doubt * density / (sigma * sigma.square())).hi;
        let found = sum(first);
        Interval::new(found.lo, found.hi + slack).clamp(0.0, 1.0)
    }

    /// P(X >= t) for whole t.
    fn tail_sum(&self, t: f64) -> Interval {
        let a = Interval::point(t - 0.5) / self.sigma;
        let (variance, density) = (self.sigma.square(), normal_density(a));
        // In units of sigma the first derivative is -a density(a), the third -(a^3 - 3a) density(a).
        let first = a * density / (variance * 24.0);
        let third = a * (a.square() - Interval::point(3.0)) * density * 7.0 / (variance.square() * 5760.0);
        let remainder = (sixth_variation(a) * 6.52e-5 / (variance.square() * variance)).hi;
        normal_tail(a) - first + third + Interval { lo: -remainder, hi: remainder }
    }
}

/// An upper bound on the integral from `a` of the density's sixth derivative, in absolute value: beyond its last root, at
/// 3.3243, that is the fifth derivative's size at `a`; the whole line has 13.82.
fn sixth_variation(a: Interval) -> Interval {
    if a.lo < 3.325 {
        return Interval::new(0.0, 13.9);
    }
    let square = a.square();
    (a * (square.square() - square * 10.0 + Interval::point(15.0)) * normal_density(a)).clamp(0.0, f64::INFINITY)
}

/// A discrete Gaussian of any sigma, term by term.
pub(crate) fn atoms(sigma: Interval, sensitivity: u64) -> Atoms {
    let d = sensitivity as f64;
    let twice_variance = sigma.square() * 2.0;
    let reach = (TAIL * sigma.hi).ceil() + 1.0;
    let weight = |x: f64| (-(Interval::point(x).square() / twice_variance)).exp();
    let whole = (1..=reach as u64).rev().fold(Interval::ZERO, |sum, x| sum + weight(x as f64)) * 2.0 + Interval::ONE;
    let tail = Interval::new(0.0, 1e-280);
    let normalizer = whole + tail;
    // x runs over every outcome within `reach` of the centre of P; where Q is far, its probability may underflow to an
    // interval at zero, which loses nothing: only P's probability and the loss are used.
    let (from, to) = (-reach, reach);
    let mut atoms = Vec::with_capacity((to - from) as usize + 1);
    let mut y = from;
    while y <= to {
        let x = y + d;
        let loss = Interval::point(d) * (Interval::point(x) + Interval::point(y)) / twice_variance;
        atoms.push(Atom { loss, p: weight(y) / normalizer, q: weight(x) / normalizer });
        y += 1.0;
    }
    // Q's probability of y < -reach is that of x < d - reach; P(X >= k) <= e^(-k^2 / (2 sigma^2)) (Canonne, Kamath and
    // Steinke 2020, Theorem 3).
    let inside = reach - d;
    let missed = if inside > 0.0 { (-(Interval::point(inside).square() / twice_variance)).exp().hi } else { 1.0 };
    Atoms { atoms, infinite: tail, missed: missed + tail.hi }
}
