//! The natural logarithm of a rational number, between two rationals.

use crate::privacy::{Positive, Rational};
use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{One, Zero};

/// Fixed-point bits, and the width of the answer's enclosure for the mantissa: see [`mantissa`].
const BITS: u32 = 128;
const SLACK: u32 = 9;

/// `(lo, hi)` with `lo <= ln(x) <= hi`, about 2^-119 apart (times the binary exponent of `x`).
pub(crate) fn ln(x: &Positive) -> (Rational, Rational) {
    let (p, q) = (x.numerator(), x.denominator());
    let (lo, hi) = if p < q { ln_above_one(q, p) } else { ln_above_one(p, q) };
    let scaled = |units: BigInt| Rational::exact(BigRational::new(units, BigInt::one() << BITS));
    if p < q { (scaled(-hi), scaled(-lo)) } else { (scaled(lo), scaled(hi)) }
}

/// The same for `p / q >= 1`, in units of 2^-BITS: `p / q = 2^k m` with `1 <= m < 2`.
fn ln_above_one(p: &BigInt, q: &BigInt) -> (BigInt, BigInt) {
    let guess = p.bits() - q.bits();
    let k = if *p < (q << guess) { guess - 1 } else { guess };
    let (two_lo, two_hi) = mantissa(&BigInt::from(2), &BigInt::one());
    let (m_lo, m_hi) = mantissa(p, &(q << k));
    (two_lo * k + m_lo, two_hi * k + m_hi)
}

/// ln(p / q) for `1 <= p / q <= 2`: `2 (y + y^3/3 + y^5/5 + ...)` with `y = (p - q) / (p + q) <= 1/3`.
///
/// Every step rounds down, so the sum is a lower bound. In units of the last place: `y` loses at most 1, `y^2` at most
/// 2; a power loses at most 1/9 of what the one before lost, plus 2/3 + 1, so at most 2; its division one more. There
/// are at most BITS / log2(9) + 2 < 43 powers before one rounds to zero, and what follows is below 4: at most
/// 43 * 3 + 4 = 133 units, twice that with the factor 2, which is less than 2^SLACK.
fn mantissa(p: &BigInt, q: &BigInt) -> (BigInt, BigInt) {
    let y = ((p - q) << BITS) / (p + q);
    let square: BigInt = (&y * &y) >> BITS;
    let (mut power, mut sum, mut odd) = (y, BigInt::zero(), 1_u32);
    while !power.is_zero() {
        sum += &power / odd;
        power = (power * &square) >> BITS;
        odd += 2;
    }
    let lo = sum * 2;
    let hi = &lo + (BigInt::one() << SLACK);
    (lo, hi)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encloses_known_values() {
        // ln 2 and ln 10 to 40 digits (OEIS A002162, A002392).
        for (x, digits) in [
            ("2", "0.6931471805599453094172321214581765680755"),
            ("10", "2.3025850929940456840179914546843642076011"),
            ("1e300", "690.77552789821370520539743640530926228033"),
        ] {
            let positive = Positive::new("x", x.parse().expect("a number")).expect("> 0");
            let (lo, hi) = ln(&positive);
            let near: Rational = digits.parse().expect("a number");
            let last: Rational = "1e-30".parse().expect("a number");
            assert!(lo <= &near + &last && &near - &last <= hi && &hi - &lo < last, "ln {x}");
            let (minus_hi, minus_lo) = ln(&(&Positive::one() / &positive));
            assert_eq!((-minus_lo, -minus_hi), (lo, hi));
        }
        let (lo, hi) = ln(&Positive::one());
        assert!(lo <= Rational::zero() && Rational::zero() <= hi);
    }

    #[test]
    fn agrees_with_floats() {
        for i in 1..2000_i128 {
            let x = Positive::new("x", Rational::new(i * i, 977).expect("not zero")).expect("> 0");
            let (lo, hi) = ln(&x);
            let float = x.nearest().ln();
            assert!(lo <= hi && (lo.nearest() - float).abs() < 1e-14 * (1.0 + float.abs()), "{x}");
        }
    }
}
