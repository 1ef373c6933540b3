//! I_k(v) / I_0(v) for large v, by the trapezoid rule with a proved error.
//!
//! The Skellam law has characteristic function e^(-v (1 - cos theta)). Sampled at N equidistant angles it gives the law
//! folded modulo N, exactly:
//!
//! (1/N) sum over j mod N of e^(-v (1 - cos theta_j)) cos(k theta_j) = sum over all m of p(k + m N), theta_j = 2 pi j / N.
//!
//! - Folding. Bernstein's inequality, from cosh t - 1 <= (t^2 / 2) / (1 - t / 3), gives p(n) <= e^(-n^2 / (2 (v + n / 3))),
//!   which is at most e^-B from n = 2B + sqrt(2 B v) on. With N at least twice that and 0 <= k below it, what is folded
//!   onto p(k) lies in [0, 4 e^-B].
//! - Truncation. 1 - cos theta grows up to pi, so nodes past the first with v (1 - cos theta) >= B add up to at most e^-B.
//!   There is one before theta = pi, since B <= 2 v: [`Fourier::new`] is asked for fewer than v bits.
//! - Both are measured against p(0) >= 2^-28: the law has at least 3/4 of its mass within two standard deviations
//!   (Chebyshev), of at most 2^25 each, and is largest at 0. With e^-B <= 2^-(bits + 44) they are below 2^-(bits + 13) of it.
//! - Rounding. Fixed point with [`GUARD`] + log2 v bits to spare, counted at each step below.

use crate::noise::interval::Interval;
use num_bigint::{BigInt, BigUint};
use num_integer::Integer;
use num_rational::BigRational;
use num_traits::{One, Signed, ToPrimitive, Zero};

/// Enough that the rounding below, some 2^(32 + log2 v) units, stays under 2^-10 of a unit of what is asked.
const GUARD: u64 = 48;

/// The nodes and weights for one precision.
#[derive(Debug)]
pub(super) struct Fourier {
    /// What is asked for.
    bits: u64,
    /// What is computed with.
    work: u64,
    /// log2 N.
    log_nodes: u64,
    /// Beyond this k the shape is below 2^-bits.
    reach: u64,
    /// Weights of nodes 0, 1, 2, ...: once for 0, twice for the others, over 2^work.
    weights: Vec<BigInt>,
    /// Half width of the enclosure of every sum, in units of 2^-work.
    error: BigInt,
    at_zero: BigInt,
}

impl Fourier {
    pub(super) fn new(variance: &BigRational, bits: u64) -> Self {
        let v = variance.ceil().to_integer();
        let work = bits + GUARD + v.bits();
        let b = exponent(bits + 44);
        let spread = BigInt::sqrt(&(&v * BigInt::from(2 * b)));
        let reach: u64 = (spread + BigInt::from(2 * b + 1)).to_u64().unwrap_or(u64::MAX >> 2);
        let log_nodes = u64::from((2 * reach).next_power_of_two().trailing_zeros());
        let one = BigInt::one() << work;
        let (p, q) = (variance.numer().magnitude(), variance.denom().magnitude() << work);
        let limit = &q * b;
        let mut weights = vec![one.clone()];
        for cosine in cosines(&BigRational::new(BigInt::one(), BigInt::one() << log_nodes), work).skip(1) {
            let exponent = p * (&one - cosine).to_biguint().unwrap_or_default();
            let weight = Interval::exp_neg_ratio(&exponent, &q, work);
            weights.push(BigInt::from(weight.lo + weight.hi));
            if exponent >= limit {
                break;
            }
        }
        // With J weights: their cosines are wrong by at most 2 work J units, exponents by v times that, weights (which
        // count twice) by twice that and 4, so a sum of J of them by 2^3 work v J^2. The products with cosines that are wrong
        // by 2 work 2^13 units (half a column is at least 2^-7 sqrt(v) wide, so that half a circle has fewer than 2^13)
        // add less than 2^8 2^14 work and J roundings: less than as much again, with v >= 2^14 and J >= 2^6.
        // Then folding and truncation, 2^-(bits + 13) of a sum below 2^8.
        let log = |n: u64| u64::from(u64::BITS - n.leading_zeros());
        let rounding = 2 * log(weights.len() as u64) + log(work) + v.bits() + 4;
        let error = BigInt::from(2) << rounding.max(work - (bits + 5));
        let at_zero = weights.iter().sum();
        Self { bits, work, log_nodes, reach, weights, error, at_zero }
    }

    /// f(k).
    pub(super) fn at(&self, k: u64) -> Interval {
        if k >= self.reach {
            return Interval { lo: BigUint::zero(), hi: BigUint::one(), bits: self.bits };
        }
        let turn = BigRational::new(BigInt::from(k), BigInt::one() << self.log_nodes);
        let sum: BigInt = cosines(&turn, self.work).zip(&self.weights).map(|(c, w)| c * w).sum();
        self.enclose(sum >> self.work)
    }

    /// f(c 2^width) for c = `first`, `first` + 1, ...
    pub(super) fn edges(&self, width: u32, first: u64) -> impl Iterator<Item = Interval> + '_ {
        let table = self.circle(width);
        let circle = 2 * (table.len() as u64 - 1);
        (first..).map(move |c| {
            if c.saturating_mul(1 << width) >= self.reach {
                return Interval { lo: BigUint::zero(), hi: BigUint::one(), bits: self.bits };
            }
            let cosine = |j: u64| {
                let place = j.wrapping_mul(c) % circle;
                &table[place.min(circle - place) as usize]
            };
            let sum: BigInt = (0u64..).zip(&self.weights).map(|(j, w)| cosine(j) * w).sum();
            self.enclose(sum >> self.work)
        })
    }

    /// Cosines of the multiples of the angle by which 2^width cells turn node 1: half the circle, both ends included.
    pub(super) fn circle(&self, width: u32) -> Vec<BigInt> {
        let points = 1u64 << (self.log_nodes - u64::from(width));
        let turn = BigRational::new(BigInt::one(), BigInt::from(points));
        cosines(&turn, self.work).take(points as usize / 2 + 1).collect()
    }

    /// The whole circle, as floats.
    pub(super) fn float_circle(&self, circle: &[BigInt]) -> Vec<f64> {
        let half: Vec<f64> = circle.iter().map(|c| to_f64(c, self.work)).collect();
        half.iter().chain(half[1..half.len() - 1].iter().rev()).copied().collect()
    }

    /// f at the odd multiples of the distance that `circle` was made for, wrong by at most 2^-53.
    ///
    /// Weights, over their sum, and cosines are cut to 62 bits: fewer than 2^8 products are wrong by 2^-62 each on either
    /// account, and their sum is rounded once.
    pub(super) fn centers(&self, circle: &[BigInt], count: usize) -> impl Iterator<Item = f64> {
        let short = |x: BigInt| i128::from(x.to_i64().unwrap_or(i64::MAX));
        let weights: Vec<i128> = self.weights.iter().map(|w| short((w << 62u32) / &self.at_zero)).collect();
        let cosines: Vec<i128> = circle.iter().map(|c| short(c >> (self.work - 62))).collect();
        let points = 2 * (cosines.len() - 1);
        (0..count).map(move |column| {
            let cosine = |j: usize| {
                let place = j * (2 * column + 1) % points;
                cosines[place.min(points - place)]
            };
            let sum: i128 = weights.iter().enumerate().map(|(j, w)| cosine(j) * w).sum();
            sum as f64 * f64::powi(2.0, -124)
        })
    }

    /// The weights, and the angle of node 1, as floats: for derivatives.
    pub(super) fn floats(&self) -> (Vec<f64>, f64) {
        let total = to_f64(&self.at_zero, self.work);
        let weights = self.weights.iter().map(|w| to_f64(w, self.work) / total).collect();
        (weights, std::f64::consts::TAU / (1u64 << self.log_nodes) as f64)
    }

    /// `sum` / `at_zero`, both within `error`.
    fn enclose(&self, sum: BigInt) -> Interval {
        let shifted = |x: BigInt| if x.is_negative() { BigInt::zero() } else { x << self.bits };
        let lo = shifted(&sum - &self.error).div_floor(&(&self.at_zero + &self.error));
        let hi = shifted(sum + &self.error).div_ceil(&(&self.at_zero - &self.error));
        let unsigned = |x: BigInt| x.to_biguint().unwrap_or_default();
        Interval { lo: unsigned(lo), hi: unsigned(hi), bits: self.bits }
    }
}

/// A B with e^-B <= 2^-n.
pub(super) fn exponent(n: u64) -> u64 {
    (7 * n).div_ceil(10)
}

fn to_f64(x: &BigInt, bits: u64) -> f64 {
    let shift = x.bits().saturating_sub(64);
    (x >> shift).to_f64().unwrap_or(0.0) * f64::powi(2.0, shift as i32 - bits as i32)
}

/// cos(0), cos(a), cos(2a), ... over 2^work, for the angle a of `turn` whole turns, 0 <= turn < 1, by rotation.
///
/// The first pair is wrong by at most `work` units each; a rotation adds as much again, in length, and 2 for its own
/// rounding; so entry j is wrong by at most 2 work j units.
fn cosines(turn: &BigRational, work: u64) -> impl Iterator<Item = BigInt> {
    let (c, s) = cosine_and_sine(turn, work);
    let start = (BigInt::one() << work, BigInt::zero());
    std::iter::successors(Some(start), move |(x, y)| Some(((x * &c - y * &s) >> work, (x * &s + y * &c) >> work)))
        .map(|(x, _)| x)
}

/// cos and sin of `turn` whole turns, 0 <= turn < 1, each wrong by at most `work` units of 2^-work.
fn cosine_and_sine(turn: &BigRational, work: u64) -> (BigInt, BigInt) {
    // Fold to an eighth of a turn, where both series alternate with shrinking terms.
    let eighths = (turn * BigInt::from(8)).floor().to_integer().to_u32().unwrap_or(0);
    let quarter = BigRational::new(BigInt::one(), BigInt::from(4));
    let rest = turn - &quarter * BigInt::from(eighths.div_ceil(2));
    // Now |rest| <= 1/8. The angle is wrong by 2 units: one of pi times 2, and one rounding.
    let angle = ((pi(work) * BigInt::from(2) * rest.numer()) / rest.denom()).abs();
    let square = (&angle * &angle) >> work;
    // Fewer than work / 4 terms, each wrong by at most 3 units with what it inherits; the angle moves the sum by 3 more.
    let series = |mut term: BigInt, mut n: u32| {
        let mut sum = BigInt::zero();
        while !term.is_zero() {
            sum += &term;
            term = -((term * &square) >> work) / ((n + 1) * (n + 2));
            n += 2;
        }
        sum
    };
    let cosine = series(BigInt::one() << work, 0);
    let sine = series(angle, 1);
    let sine = if rest.is_negative() { -sine } else { sine };
    match eighths.div_ceil(2) % 4 {
        0 => (cosine, sine),
        1 => (-sine, cosine),
        2 => (-cosine, -sine),
        _ => (sine, -cosine),
    }
}

/// pi over 2^work within a unit, by Machin: pi = 16 atan(1/5) - 4 atan(1/239).
///
/// Each series has fewer than `work` / 4 + 8 terms, each wrong by at most 3 units of its own: 15 `work` + 480 in all, which
/// the bits to spare make less than one.
fn pi(work: u64) -> BigInt {
    let spare = 9 + u64::from(u64::BITS - work.leading_zeros());
    let inverse_tangent = |n: u32| {
        let mut power = (BigInt::one() << (work + spare)) / n;
        let (mut sum, mut k) = (power.clone(), 1u32);
        while !power.is_zero() {
            power = -power / (n * n);
            k += 2;
            sum += &power / k;
        }
        sum
    };
    (inverse_tangent(5) * 16 - inverse_tangent(239) * 4) >> spare
}
