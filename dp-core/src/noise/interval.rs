//! Enclosures of real numbers in [0, 1]-like ranges by big integers: the arithmetic of last resort.
//!
//! An [`Interval`] holds integers lo <= hi and stands for a real number in [lo, hi] / 2^bits. Every operation rounds
//! lo down and hi up, so an enclosure is proved by construction; there is no error analysis to get wrong.

use num_bigint::BigUint;
use num_integer::Integer;
use num_rational::BigRational;
use num_traits::{One, Signed, ToPrimitive, Zero};

/// A non-negative real number between two integers over 2^bits.
#[derive(Clone, Debug)]
pub(crate) struct Interval {
    pub(crate) lo: BigUint,
    pub(crate) hi: BigUint,
    pub(crate) bits: u64,
}

impl Interval {
    /// Exactly 1.
    pub(crate) fn one(bits: u64) -> Self {
        Self { lo: BigUint::one() << bits, hi: BigUint::one() << bits, bits }
    }

    /// p / q, which need not be in lowest terms: to find those costs more than the division.
    pub(crate) fn ratio(p: &BigUint, q: &BigUint, bits: u64) -> Self {
        let (lo, rest) = (p << bits).div_rem(q);
        let hi = if rest.is_zero() { lo.clone() } else { &lo + 1u32 };
        Self { lo, hi, bits }
    }

    /// The product; both must have the same precision.
    pub(crate) fn mul(&self, other: &Self) -> Self {
        debug_assert_eq!(self.bits, other.bits);
        Self { lo: (&self.lo * &other.lo) >> self.bits, hi: shr_up(&self.hi * &other.hi, self.bits), bits: self.bits }
    }

    /// The product with a rational >= 0.
    pub(crate) fn times_rational(&self, x: &BigRational) -> Self {
        let (p, q) = (x.numer().magnitude(), x.denom().magnitude());
        Self { lo: &self.lo * p / q, hi: div_up(&(&self.hi * p), q), bits: self.bits }
    }

    /// 1 / (self + other) for a sum that is not zero.
    pub(crate) fn reciprocal_of_sum(&self, other: &Self) -> Self {
        let one = BigUint::one() << (2 * self.bits);
        let lo = &one / (&self.hi + &other.hi);
        let hi = div_up(&one, &(&self.lo + &other.lo));
        Self { lo, hi, bits: self.bits }
    }

    /// The floor of `factor` times the lower end.
    pub(crate) fn floor_times(&self, factor: &BigUint) -> BigUint {
        (&self.lo * factor) >> self.bits
    }

    /// The smallest and largest ceiling of `factor` times the number.
    pub(crate) fn ceil_times(&self, factor: &BigUint) -> (BigUint, BigUint) {
        (shr_up(&self.lo * factor, self.bits), shr_up(&self.hi * factor, self.bits))
    }

    /// e^-x for a rational x >= 0.
    pub(crate) fn exp_neg(x: &BigRational, bits: u64) -> Self {
        debug_assert!(!x.is_negative());
        Self::exp_neg_ratio(x.numer().magnitude(), x.denom().magnitude(), bits)
    }

    /// e^-(p / q), which need not be in lowest terms.
    pub(crate) fn exp_neg_ratio(p: &BigUint, q: &BigUint, bits: u64) -> Self {
        // e^-x < 2^-bits as soon as x >= bits (log2 e > 1).
        if *p >= q * bits {
            return Self { lo: BigUint::zero(), hi: BigUint::one(), bits };
        }
        // Halve x until it is below 2^-8, sum the alternating series, square back. Each squaring doubles the relative
        // error and the enclosure keeps the account; `guard` only keeps it narrow.
        let halvings = 8 + p.div_ceil(q).bits();
        let guard = halvings + 24;
        let work = bits + guard;
        let y = Self::ratio(p, &(q << halvings), work);
        let mut result = Self { lo: series(&y.hi, work).0, hi: series(&y.lo, work).1, bits: work };
        for _ in 0..halvings {
            result = result.mul(&result);
        }
        Self { lo: result.lo >> guard, hi: shr_up(result.hi, guard), bits }
    }

    /// The same number with fewer bits.
    pub(crate) fn coarser(&self, bits: u64) -> Self {
        let drop = self.bits - bits;
        Self { lo: &self.lo >> drop, hi: shr_up(self.hi.clone(), drop), bits }
    }
}

impl Interval {
    /// A float within 2 ulp, and the enclosure's width, of the number.
    pub(crate) fn nearest(&self) -> f64 {
        let drop = self.lo.bits().saturating_sub(64);
        let top = (&self.lo >> drop).to_u64().unwrap_or(u64::MAX) as f64;
        top * f64::powi(2.0, drop as i32 - self.bits as i32)
    }
}

/// Bounds on e^-y for y = `y` / 2^work <= 2^-8: consecutive partial sums of an alternating series whose terms shrink
/// enclose its value, and each of the n terms is wrong by less than 2 units from the divisions before it.
fn series(y: &BigUint, work: u64) -> (BigUint, BigUint) {
    let one = BigUint::one() << work;
    let mut term = one.clone();
    let (mut positive, mut negative) = (one, BigUint::zero());
    let mut n = 0u32;
    while !term.is_zero() {
        n += 1;
        term = ((term * y) >> work) / n;
        if n.is_multiple_of(2) { positive += &term } else { negative += &term }
    }
    // The first term left out is below one unit, as is each computed one's error times (y + y^2 + ...) <= 1/255.
    let slack = 2 * n + 2;
    let middle = positive - negative;
    (&middle - slack, middle + slack)
}

/// x / 2^shift, rounded up.
pub(crate) fn shr_up(x: BigUint, shift: u64) -> BigUint {
    let kept = &x >> shift;
    if (&kept << shift) == x { kept } else { kept + 1u32 }
}

/// x / y, rounded up.
pub(crate) fn div_up(x: &BigUint, y: &BigUint) -> BigUint {
    let (quotient, rest) = x.div_rem(y);
    if rest.is_zero() { quotient } else { quotient + 1u32 }
}
