//! What the engine must know about a law: its density's shape, enclosed as tightly as asked.

use super::interval::Interval;
use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{One, Signed, ToPrimitive};
use std::fmt;

/// A symmetric law by its shape f on t >= 0: f(0) = 1, decreasing, positive. Lengths are in cells of the output grid.
///
/// Integer laws give cell k > 0 the weight f(k) on either side; real laws have the density f.
pub(crate) trait Shape: fmt::Debug + Send + Sync {
    /// A whole number near log2 of the spread; it fixes the width of the columns.
    fn log2_spread(&self) -> i64;

    /// f(t) at an integer t, or at a dyadic t for laws that are real somewhere.
    fn at(&self, t: &BigRational, bits: u64) -> Interval;

    /// f(c w) for c = `first`, `first + 1`, ... at the column width w = 2^`width`.
    fn edges(&self, width: u32, first: u64, bits: u64) -> Box<dyn Iterator<Item = Interval> + '_>;

    /// Columns 0 .. `count` of width w = 2^`width` as polynomials, where w is at most 2^-5 spreads.
    fn taylor(&self, width: u32, count: usize) -> Taylor;

    /// A rational tau with: the sum of f(k) over integers k >= t, and the integral of f from t on, are at most
    /// tau f(t). Here t is a whole number >= 1.
    fn tail(&self, t: &BigRational) -> BigRational;
}

/// Columns as Taylor polynomials of degree 5 in f64.
///
/// With h for half a column, that of a column is the one of f(center + u h) in u, lowest power first. The first
/// coefficient is wrong by at most 2^-51, the others by at most 2^-49 altogether.
#[derive(Debug)]
pub(crate) struct Taylor {
    pub(crate) polynomials: Vec<[f64; 6]>,
    /// An upper bound on what degree 5 leaves out for |u| <= 1 in any column: h^6 / 6! times the largest |f^(6)|.
    pub(crate) remainder: f64,
}

/// More than the roundings in computing a remainder.
pub(crate) const UPWARDS: f64 = 1.0 + 1.0 / (1u64 << 40) as f64;

/// e^(-t / s), of Laplace laws.
#[derive(Debug)]
pub(crate) struct Exponential {
    /// s, in cells.
    pub(crate) scale: BigRational,
}

impl Shape for Exponential {
    fn log2_spread(&self) -> i64 {
        floor_log2(&self.scale)
    }

    fn at(&self, t: &BigRational, bits: u64) -> Interval {
        Interval::exp_neg(&(t / &self.scale), bits)
    }

    fn edges(&self, width: u32, first: u64, bits: u64) -> Box<dyn Iterator<Item = Interval> + '_> {
        let work = bits + GUARD;
        let step = power_of_two(width) / &self.scale;
        let ratio = Interval::exp_neg(&step, work);
        let start = Interval::exp_neg(&(step * integer(first)), work);
        Box::new(std::iter::successors(Some(start), move |edge| Some(edge.mul(&ratio))).map(move |e| e.coarser(bits)))
    }

    /// The n-th derivative is (-1/s)^n f, and f is at most 1. Each coefficient comes from the first in at most 12 roundings
    /// and h's own, and all but the first add up to at most 2^-5: below 2^-53 altogether.
    fn taylor(&self, width: u32, count: usize) -> Taylor {
        let h = half_column(width, &self.scale);
        let polynomials = centers(self, width, count)
            .map(|(_, f)| {
                let mut c = [f, 0.0, 0.0, 0.0, 0.0, 0.0];
                for n in 0..5 {
                    c[n + 1] = -h * c[n] / (n + 1) as f64;
                }
                c
            })
            .collect();
        Taylor { polynomials, remainder: h.powi(6) / 720.0 * UPWARDS }
    }

    /// A geometric series with ratio e^(-1/s): its sum over its first term is 1 / (1 - e^(-1/s)) <= 1 + s.
    fn tail(&self, _: &BigRational) -> BigRational {
        BigRational::one() + &self.scale
    }
}

/// e^(-t^2 / (2 sigma^2)), of Gaussian laws.
#[derive(Debug)]
pub(crate) struct Bell {
    /// sigma, in cells.
    pub(crate) sigma: BigRational,
}

impl Bell {
    fn exponent(&self, t: &BigRational) -> BigRational {
        let z = t / &self.sigma;
        &z * &z / integer(2)
    }
}

impl Shape for Bell {
    fn log2_spread(&self) -> i64 {
        floor_log2(&self.sigma)
    }

    fn at(&self, t: &BigRational, bits: u64) -> Interval {
        Interval::exp_neg(&self.exponent(t), bits)
    }

    /// With a = w^2 / (2 sigma^2): f((c+1) w) = f(c w) q with q = e^(-a (2c+1)), and q shrinks by e^(-2a) each time.
    fn edges(&self, width: u32, first: u64, bits: u64) -> Box<dyn Iterator<Item = Interval> + '_> {
        let work = bits + GUARD;
        let a = self.exponent(&power_of_two(width));
        let c = integer(first);
        let start = Interval::exp_neg(&(&a * &c * &c), work);
        let ratio = Interval::exp_neg(&(&a * (integer(2) * c + BigRational::one())), work);
        let shrink = Interval::exp_neg(&(a * integer(2)), work);
        let states = std::iter::successors(Some((start, ratio)), move |(edge, ratio)| {
            Some((edge.mul(ratio), ratio.mul(&shrink)))
        });
        Box::new(states.map(move |(edge, _)| edge.coarser(bits)))
    }

    /// In units of sigma, f' = -s f; so the coefficients obey (n + 1) c_(n+1) = -(s c_n + c_(n-1)). Their errors are those
    /// of the exponential shape, and again below 2^-53: s f(s) <= 1, so that the same sum is at most 2^-5.
    ///
    /// f is the mean of cos(t x) over a standard normal x; so f^(6) is that of -x^6 cos(t x), at most E x^6 = 15 in size.
    fn taylor(&self, width: u32, count: usize) -> Taylor {
        let h = half_column(width, &self.sigma);
        let polynomials = centers(self, width, count)
            .map(|(column, f)| {
                let s = (2 * column + 1) as f64 * h;
                let mut c = [f, -s * h * f, 0.0, 0.0, 0.0, 0.0];
                for n in 1..5 {
                    c[n + 1] = -(s * h * c[n] + h * h * c[n - 1]) / (n + 1) as f64;
                }
                c
            })
            .collect();
        Taylor { polynomials, remainder: 15.0 * h.powi(6) / 720.0 * UPWARDS }
    }

    /// f(t + g) <= f(t) e^(-t g / sigma^2), a geometric series again.
    fn tail(&self, t: &BigRational) -> BigRational {
        BigRational::one() + &self.sigma * &self.sigma / t
    }
}

/// Half a column in spreads; without an f64 for it nothing would be decided in f64.
fn half_column(width: u32, spread: &BigRational) -> f64 {
    (power_of_two(width - 1) / spread).to_f64().unwrap_or(f64::INFINITY)
}

/// f at the middle of columns 0 .. `count`.
fn centers<'a>(shape: &'a dyn Shape, width: u32, count: usize) -> impl Iterator<Item = (usize, f64)> + 'a {
    shape.edges(width - 1, 0, 96).skip(1).step_by(2).take(count).map(|f| f.nearest()).enumerate()
}

/// Bits that recurrences over a few thousand columns may lose and still be tight: a matter of speed alone.
const GUARD: u64 = 40;

pub(crate) fn integer(n: u64) -> BigRational {
    BigRational::from_integer(BigInt::from(n))
}

/// 2^n.
pub(crate) fn power_of_two(n: u32) -> BigRational {
    BigRational::from_integer(BigInt::one() << n)
}

/// x 2^n for any whole n.
pub(crate) fn scaled(x: &BigRational, n: i64) -> BigRational {
    let power = BigInt::one() << n.unsigned_abs();
    if n >= 0 { x * BigRational::from_integer(power) } else { x / BigRational::from_integer(power) }
}

/// The largest n with 2^n <= x, for x > 0.
pub(crate) fn floor_log2(x: &BigRational) -> i64 {
    debug_assert!(x.is_positive());
    let guess = x.numer().bits() as i64 - x.denom().bits() as i64;
    if scaled(&BigRational::one(), guess) <= *x { guess } else { guess - 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logarithms_of_rationals() {
        for (p, q, log) in [(1, 1, 0), (2, 1, 1), (3, 2, 0), (1, 2, -1), (1, 3, -2), (1, 1 << 20, -20), (1023, 1, 9)] {
            assert_eq!(floor_log2(&BigRational::new(p.into(), q.into())), log, "{p}/{q}");
        }
    }

    #[test]
    fn edges_agree_with_single_values() {
        let shapes: [Box<dyn Shape>; 2] = [
            Box::new(Exponential { scale: BigRational::new(12345.into(), 7.into()) }),
            Box::new(Bell { sigma: BigRational::new(12345.into(), 7.into()) }),
        ];
        for shape in shapes {
            for (c, edge) in (3u64..).zip(shape.edges(5, 3, 150)).take(300) {
                let single = shape.at(&integer(c * 32), 150);
                assert!(edge.lo <= single.hi && single.lo <= edge.hi, "{shape:?} {c}");
                assert!(&edge.hi - &edge.lo < 4u32.into(), "{shape:?} {c}: tight");
            }
        }
    }
}
