//! Real numbers between two integers over 2^P.

use dashu::base::{BitTest, DivEuclid, Sign, UnsignedAbs};
use dashu::integer::{IBig, UBig};
use dashu::rational::RBig;

/// Bits after the point.
pub(crate) const P: usize = 320;

#[derive(Clone, Debug)]
pub(crate) struct Enclosure {
    pub(crate) lo: IBig,
    pub(crate) hi: IBig,
}

impl Enclosure {
    pub(crate) fn rational(x: &RBig) -> Self {
        Self { lo: floor(&(x.numerator() << P), x.denominator()), hi: ceil(&(x.numerator() << P), x.denominator()) }
    }

    pub(crate) fn halved(self) -> Self {
        Self { lo: self.lo >> 1, hi: (self.hi + IBig::ONE) >> 1 }
    }

    /// The product of numbers >= 0.
    pub(crate) fn times(&self, other: &Self) -> Self {
        Self { lo: (&self.lo * &other.lo) >> P, hi: ((&self.hi * &other.hi) >> P) + IBig::ONE }
    }

    /// The product with p / q of any sign.
    pub(crate) fn times_ratio(&self, p: &IBig, q: &UBig) -> Self {
        let (a, b) = if p.sign() == Sign::Negative { (&self.hi, &self.lo) } else { (&self.lo, &self.hi) };
        Self { lo: floor(&(a * p), q), hi: ceil(&(b * p), q) }
    }

    pub(crate) fn plus(&self, other: &Self) -> Self {
        Self { lo: &self.lo + &other.lo, hi: &self.hi + &other.hi }
    }

    /// The same, wider on both sides.
    pub(crate) fn widened(&self, units: &IBig) -> Self {
        Self { lo: &self.lo - units, hi: &self.hi + units }
    }

    /// The quotient of a number >= 0 and one > 0.
    pub(crate) fn over(&self, other: &Self) -> Self {
        assert!(other.lo > IBig::ZERO);
        let magnitude = |x: &IBig| x.clone().unsigned_abs();
        Self { lo: floor(&(&self.lo << P), &magnitude(&other.hi)), hi: ceil(&(&self.hi << P), &magnitude(&other.lo)) }
    }

    /// e^-x for x >= 0: one over the square, taken m times, of the series at x / 2^m < 2^-8.
    pub(crate) fn exp_neg(x: &RBig) -> Self {
        if *x > RBig::from(2 * P as u32) {
            return Self { lo: IBig::ZERO, hi: IBig::ONE };
        }
        let mut halvings = 8;
        while *x > power_of_two(halvings - 8) {
            halvings += 1;
        }
        let y = Self::rational(&(x / power_of_two(halvings)));
        let mut term = Self { lo: IBig::ONE << P, hi: IBig::ONE << P };
        let mut sum = term.clone();
        for n in 1u32.. {
            term = term.times(&y).times_ratio(&IBig::ONE, &UBig::from(n));
            sum = sum.plus(&term);
            if term.hi <= IBig::ONE {
                // All further terms together are below this one.
                sum.hi += IBig::ONE;
                break;
            }
        }
        for _ in 0..halvings {
            sum = sum.times(&sum);
        }
        Self { lo: IBig::ONE << P, hi: IBig::ONE << P }.over(&sum)
    }

    /// A finite f64 that is a multiple of 2^-P.
    pub(crate) fn float(x: f64) -> IBig {
        let exact = RBig::try_from(x).expect("finite") * power_of_two(P as i64);
        assert!(exact.is_int(), "{x}");
        exact.floor()
    }

    pub(crate) fn to_float(x: &IBig) -> f64 {
        let shift = x.clone().unsigned_abs().bit_len().saturating_sub(100);
        let short: i128 = (x >> shift).try_into().unwrap_or(i128::MAX);
        short as f64 * 2f64.powi(shift as i32 - P as i32)
    }
}

fn floor(p: &IBig, q: &UBig) -> IBig {
    p.div_euclid(&IBig::from(q.clone()))
}

fn ceil(p: &IBig, q: &UBig) -> IBig {
    -floor(&-p, q)
}

pub(crate) fn power_of_two(n: i64) -> RBig {
    let power = UBig::ONE << n.unsigned_abs() as usize;
    if n >= 0 { RBig::from(IBig::from(power)) } else { RBig::from_parts(IBig::ONE, power) }
}
