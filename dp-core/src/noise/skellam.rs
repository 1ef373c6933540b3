//! The Skellam law: the difference of two independent Poisson variables with the same mean.

mod fourier;

use super::cache::{self, Law};
use super::cover::Cover;
use super::integer::Integers;
use super::interval::Interval;
use super::range;
use super::shape::{Shape, Taylor, UPWARDS, floor_log2, integer};
use crate::Error;
use crate::privacy::Positive;
use fourier::Fourier;
use num_bigint::BigUint;
use num_rational::BigRational;
use num_traits::{One, ToPrimitive, Zero};
use std::sync::OnceLock;

/// The Skellam law on the integers: weight e^-v I_k(v) at k for total variance v, exactly.
#[derive(Clone, Debug)]
pub struct Skellam(Integers);

impl Skellam {
    /// The total variance, in [2^-20, 2^50].
    pub fn new(variance: &Positive) -> Result<Self, Error> {
        range::integers("variance", variance)?;
        let variance = variance.as_big();
        let build = || Cover::integers(Box::new(Bessel::new(variance.clone())));
        Ok(Self(Integers::new(cache::cover(Law::Skellam, variance, build))))
    }
}

super::integer_law!(Skellam);

/// I_k(v) / I_0(v).
#[derive(Debug)]
struct Bessel {
    variance: BigRational,
    /// Nodes for large variances, at a precision for tables and one for almost everything else.
    coarse: OnceLock<Fourier>,
    fine: OnceLock<Fourier>,
}

/// From this variance on the Fourier sum is used, below it the continued fraction. Covers are wide from here on too.
const LARGE: u32 = 1 << 14;
/// Precisions of the nodes that are kept.
const COARSE: u64 = 96;
const FINE: u64 = 192;

impl Bessel {
    fn new(variance: BigRational) -> Self {
        Self { variance, coarse: OnceLock::new(), fine: OnceLock::new() }
    }

    /// Whether the Fourier sum is used: it wants fewer bits than v, which is all that anyone will ever ask for.
    fn is_large(&self, bits: u64) -> bool {
        self.variance >= BigRational::from_integer(LARGE.into()) && bits < u64::from(LARGE)
    }

    /// Nodes of at least so many bits, if they are worth keeping.
    fn kept(&self, bits: u64) -> Option<&Fourier> {
        if bits <= COARSE {
            Some(self.coarse.get_or_init(|| Fourier::new(&self.variance, COARSE)))
        } else if bits <= FINE {
            Some(self.fine.get_or_init(|| Fourier::new(&self.variance, FINE)))
        } else {
            None
        }
    }

    /// I_n(v) / I_(n-1)(v) for n = 1 ..= `last`, by Gauss's continued fraction I_n / I_(n-1) = 1 / (2n/v + I_(n+1) / I_n).
    /// It starts from an enclosure in [0, 1] far out and each step backward shrinks what is not known.
    fn ratios(&self, last: u64, bits: u64) -> Vec<Interval> {
        // The enclosure shrinks by the square of the ratio, which is below e^(-n/v) or so, at each step.
        let v = self.variance.ceil().to_integer().to_u64().unwrap_or(u64::MAX);
        let start = last + bits + v.saturating_add(1).saturating_mul(bits).isqrt();
        let mut ratio = Interval { lo: BigUint::zero(), hi: Interval::one(bits).hi, bits };
        let mut ratios = Vec::new();
        for n in (1..=start).rev() {
            let term = Interval::ratio(
                &(self.variance.denom().magnitude() * (2 * n)),
                self.variance.numer().magnitude(),
                bits,
            );
            ratio = term.reciprocal_of_sum(&ratio);
            if n <= last {
                ratios.push(ratio.clone());
            }
        }
        ratios.reverse();
        ratios
    }

    /// f(0), f(1), ... with `bits` + 40 bits.
    fn small(&self, bits: u64) -> impl Iterator<Item = Interval> {
        let work = bits + 40;
        // f(k) <= 2^-bits from here on: Bernstein's inequality and p(0) >= 2^-28, as in `fourier`.
        let v = self.variance.ceil().to_integer().to_u64().unwrap_or(u64::MAX);
        let b = fourier::exponent(bits + 28);
        let last = 2 * b + (2 * b * v).isqrt() + 2;
        let products = self.ratios(last, work).into_iter().scan(Interval::one(work), |f, ratio| {
            *f = f.mul(&ratio);
            Some(f.clone())
        });
        let beyond = Interval { lo: BigUint::zero(), hi: BigUint::one() << (work - bits), bits: work };
        std::iter::once(Interval::one(work)).chain(products).chain(std::iter::repeat(beyond))
    }
}

impl Shape for Bessel {
    /// That of sqrt(v), halved before it is rounded.
    fn log2_spread(&self) -> i64 {
        floor_log2(&self.variance).div_euclid(2)
    }

    fn at(&self, t: &BigRational, bits: u64) -> Interval {
        let k = t.to_integer().to_u64().unwrap_or(u64::MAX);
        if self.is_large(bits) {
            match self.kept(bits) {
                Some(nodes) => nodes.at(k),
                None => Fourier::new(&self.variance, bits).at(k),
            }
            .coarser(bits)
        } else {
            self.small(bits)
                .nth(usize::try_from(k).unwrap_or(usize::MAX))
                .unwrap_or_else(|| Interval::one(bits))
                .coarser(bits)
        }
    }

    fn edges(&self, width: u32, first: u64, bits: u64) -> Box<dyn Iterator<Item = Interval> + '_> {
        if self.is_large(bits) {
            if let Some(nodes) = self.kept(bits) {
                return Box::new(nodes.edges(width, first).map(move |f| f.coarser(bits)));
            }
            // Rare, and never long: a level has a few hundred columns.
            let (nodes, step) = (Fourier::new(&self.variance, bits), 1u64 << width);
            Box::new((first..).map(move |c| nodes.at(c.saturating_mul(step)).coarser(bits)))
        } else {
            let cells = self.small(bits).map(move |f| f.coarser(bits));
            Box::new(cells.skip(usize::try_from(first << width).unwrap_or(usize::MAX)).step_by(1 << width))
        }
    }

    /// Derivatives under the Fourier sum F, which f is at integers up to less than 2^-150: node j turns by h theta_j over
    /// half a column.
    ///
    /// The weights w_j are positive and add up to 1. So |F^(6)| is nowhere larger than the sum of w_j theta_j^6, which is
    /// added up here: no estimate is involved. (It is about 15 / v^3, as for the normal law.)
    ///
    /// Coefficients: fewer than 2^8 nodes count (theta up to sqrt(200 / v) or so, in steps of 2 pi / N with N below four
    /// times [`Fourier`]'s reach). A term w_j (h theta_j)^n / n! has at most 14 roundings behind it, its sine or cosine is
    /// wrong by at most 2^-52, and summing takes 2^8 roundings at most: below 2^-44.9 of the sum of all sizes. That sum,
    /// over n >= 1 and j, is the mean of e^(h theta) - 1, below 2^-5: theta^2 <= (pi^2 / 2) (1 - cos theta), whose mean is
    /// (pi^2 / 2) (1 - I_1 / I_0) <= 2.6 / v, and h <= 2^-6 sqrt(v).
    fn taylor(&self, width: u32, count: usize) -> Taylor {
        let nodes = self.coarse.get_or_init(|| Fourier::new(&self.variance, COARSE));
        let (weights, angle) = nodes.floats();
        let h = (1u64 << (width - 1)) as f64;
        // Multiples of the angle of one half column, all round the circle.
        let half_columns = nodes.circle(width - 1);
        let cosines = nodes.float_circle(&half_columns);
        let circle = cosines.len();
        let terms: Vec<[f64; 5]> = (0..weights.len())
            .map(|j| {
                let turn = j as f64 * angle * h;
                let mut term = weights[j];
                std::array::from_fn(|n| {
                    term *= turn / (n + 1) as f64;
                    term
                })
            })
            .collect();
        let sixth: f64 = terms.iter().enumerate().map(|(j, term)| term[4] * (j as f64 * angle * h) / 6.0).sum();
        let polynomials = nodes
            .centers(&half_columns, count)
            .enumerate()
            .map(|(column, f)| {
                let mut c = [f, 0.0, 0.0, 0.0, 0.0, 0.0];
                for (j, term) in terms.iter().enumerate() {
                    let place = j * (2 * column + 1) % circle;
                    let (cosine, sine) = (cosines[place], cosines[(place + 3 * circle / 4) % circle]);
                    // The derivatives of cos: -sin, -cos, sin, cos, -sin.
                    for (c, t) in c[1..].iter_mut().zip([-sine, -cosine, sine, cosine, -sine].iter().zip(term)) {
                        *c += t.0 * t.1;
                    }
                }
                c
            })
            .collect();
        Taylor { polynomials, remainder: sixth * UPWARDS }
    }

    /// f(k+1) / f(k) <= e^-asinh((k + 1/2) / v) (Amos 1974, "Computation of modified Bessel functions and their ratios",
    /// eq. 9), falling in k. A geometric series then sums to at most 1 + 1 / asinh(a) <= 1 + sqrt(1 + a^2) / a <= 2 + 1/a
    /// times its first term, with 1/a <= v / t.
    fn tail(&self, t: &BigRational) -> BigRational {
        integer(2) + &self.variance / t
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two methods that share nothing but the arithmetic: a continued fraction and a Fourier sum.
    #[test]
    fn the_fourier_sum_agrees_with_the_continued_fraction() {
        for v in [BigRational::from_integer(LARGE.into()), BigRational::new(1_000_001.into(), 3.into())] {
            let bessel = Bessel::new(v.clone());
            let nodes = Fourier::new(&v, 150);
            let cells: Vec<Interval> = bessel.small(150).take(4000).collect();
            for k in [0, 1, 2, 100, 1000, 3999] {
                let (a, b) = (cells[k].coarser(150), nodes.at(k as u64));
                assert!(a.lo <= b.hi && b.lo <= a.hi, "v = {v}, k = {k}");
                assert!(&b.hi - &b.lo <= 2u32.into(), "v = {v}, k = {k}: tight");
            }
            for (c, f) in (7u64..).zip(nodes.edges(3, 7)).take(450) {
                let a = cells[8 * c as usize].coarser(150);
                assert!(a.lo <= f.hi && f.lo <= a.hi, "v = {v}, column {c}");
            }
        }
    }
}
