//! The Skellam law: the difference of two independent Poisson variables with the same mean.

use super::cache::{self, Law};
use super::cover::Cover;
use super::integer::Integers;
use super::interval::Interval;
use super::range;
use super::shape::{Shape, floor_log2, integer};
use crate::Error;
use crate::privacy::Positive;
use num_bigint::BigUint;
use num_rational::BigRational;
use num_traits::{ToPrimitive, Zero};

/// The Skellam law on the integers: weight e^-v I_k(v) at k for total variance v, exactly.
#[derive(Clone, Debug)]
pub struct Skellam(Integers);

impl Skellam {
    /// The total variance, in [2^-20, 2^50].
    pub fn new(variance: &Positive) -> Result<Self, Error> {
        range::integers("variance", variance)?;
        let variance = variance.as_big();
        let build = || Cover::integers(Box::new(Bessel { variance: variance.clone() }));
        Ok(Self(Integers::new(cache::cover(Law::Skellam, variance, build))))
    }
}

super::integer_law!(Skellam);

/// I_k(v) / I_0(v).
#[derive(Debug)]
struct Bessel {
    variance: BigRational,
}

impl Bessel {
    /// I_n(v) / I_(n-1)(v) for n = 1 ..= `last`, by Gauss's continued fraction I_n / I_(n-1) = 1 / (2n/v + I_(n+1) / I_n).
    /// It starts from an enclosure in [0, 1] far out and each step backward shrinks what is not known.
    fn ratios(&self, last: u64, bits: u64) -> Vec<Interval> {
        // The enclosure shrinks by the square of the ratio, which is below e^(-n/v) or so, at each step.
        let reach =
            (self.variance.ceil().to_integer().to_u64().unwrap_or(u64::MAX).saturating_add(1)).saturating_mul(bits);
        let start = last + bits + reach.isqrt();
        let mut ratio = Interval { lo: BigUint::zero(), hi: Interval::one(bits).hi, bits };
        let mut ratios = Vec::new();
        for n in (1..=start).rev() {
            let term = Interval::rational(&(integer(2 * n) / &self.variance), bits);
            ratio = term.reciprocal_of_sum(&ratio);
            if n <= last {
                ratios.push(ratio.clone());
            }
        }
        ratios.reverse();
        ratios
    }
}

impl Shape for Bessel {
    /// That of sqrt(v), halved before it is rounded.
    fn log2_spread(&self) -> i64 {
        floor_log2(&self.variance).div_euclid(2)
    }

    fn at(&self, t: &BigRational, bits: u64) -> Interval {
        let k = t.to_integer().to_u64().unwrap_or(u64::MAX);
        let work = bits + 40;
        self.ratios(k, work).iter().fold(Interval::one(work), |f, ratio| f.mul(ratio)).coarser(bits)
    }

    fn edges(&self, width: u32, first: u64, bits: u64) -> Box<dyn Iterator<Item = Interval> + '_> {
        let work = bits + 40;
        let start = self.at(&(integer(first << width)), work);
        // Past k with k^2 / (2 (v + k/3)) = ln 2^bits the shape is below 2^-bits (Bernstein), and stays there.
        let v = self.variance.ceil().to_integer().to_u64().unwrap_or(u64::MAX);
        let last = (first << width) + 2 * bits + (2 * bits * v).isqrt() + 2;
        let ratios = self.ratios(last, work);
        let tail = std::iter::repeat(Interval { lo: BigUint::zero(), hi: BigUint::from(1u32), bits });
        let mut at = first << width;
        let step = 1u64 << width;
        let states = std::iter::successors(Some(start), move |edge| {
            let from = usize::try_from(at).ok()?;
            at += step;
            let to = usize::try_from(at).ok()?;
            ratios.get(from..to).map(|part| part.iter().fold(edge.clone(), |f, ratio| f.mul(ratio)))
        });
        Box::new(states.map(move |e| e.coarser(bits)).chain(tail))
    }

    /// f(k+1) / f(k) <= e^-asinh((k + 1/2) / v) (Amos 1974, "Computation of modified Bessel functions and their ratios",
    /// eq. 9), falling in k. A geometric series then sums to at most 1 + 1 / asinh(a) <= 1 + sqrt(1 + a^2) / a <= 2 + 1/a
    /// times its first term, with 1/a <= v / t.
    fn tail(&self, t: &BigRational) -> BigRational {
        integer(2) + &self.variance / t
    }
}
