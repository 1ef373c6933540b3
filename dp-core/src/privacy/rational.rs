//! Exact rational numbers with directed conversions to `f64`.

use crate::Error;
use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{FromPrimitive, One, Signed, ToPrimitive, Zero};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::{Add, Div, Mul, Sub};
use std::str::FromStr;

/// An exact rational number.
///
/// Prints and serializes as `"p/q"` or `"p"`; parses those and decimals such as `"1e-6"` or `"0.25"`.
///
/// ```
/// use veilsum_dp_core::privacy::Rational;
/// let tenth = Rational::from_decimal(0.1).unwrap();
/// assert_eq!(tenth.to_string(), "1/10");
/// assert_ne!(tenth, Rational::from_f64(0.1).unwrap()); // the binary number is a little larger
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Rational(BigRational);

/// Longest texts and largest exponent that parsing accepts: room for every `f64`, no room for a flood. A fraction may
/// be as long as any accepted decimal prints.
const MAX_FRACTION: usize = 16_384;
const MAX_DECIMAL: usize = 4096;
const MAX_EXPONENT: u64 = 4096;

impl Rational {
    /// Zero.
    #[must_use]
    pub fn zero() -> Self {
        Self(BigRational::zero())
    }

    /// One.
    #[must_use]
    pub fn one() -> Self {
        Self(BigRational::one())
    }

    /// `numerator / denominator`; `None` if the denominator is zero.
    #[must_use]
    pub fn new(numerator: i128, denominator: i128) -> Option<Self> {
        (denominator != 0).then(|| Self(BigRational::new(numerator.into(), denominator.into())))
    }

    /// The exact binary value of a float; `None` for NaN and infinities.
    #[must_use]
    pub fn from_f64(value: f64) -> Option<Self> {
        BigRational::from_f64(value).map(Self)
    }

    /// The shortest decimal that prints as this float; `None` for NaN and infinities.
    #[must_use]
    pub fn from_decimal(value: f64) -> Option<Self> {
        value.is_finite().then(|| format!("{value:e}").parse().ok()).flatten()
    }

    /// Whether the value is > 0.
    #[must_use]
    pub fn is_positive(&self) -> bool {
        self.0.is_positive()
    }

    /// Whether the value is < 0.
    #[must_use]
    pub fn is_negative(&self) -> bool {
        self.0.is_negative()
    }

    /// The least `f64` (possibly infinite) that is not below the exact value.
    #[must_use]
    pub fn upper(&self) -> f64 {
        let near = self.nearest();
        match Self::from_f64(near) {
            Some(exact) if exact < *self => near.next_up(),
            Some(exact) if exact > *self => {
                let below = near.next_down();
                if Self::from_f64(below).is_some_and(|b| b >= *self) { below } else { near }
            }
            None if near < 0.0 => f64::MIN,
            _ => near,
        }
    }

    /// The greatest `f64` (possibly infinite) that is not above the exact value.
    #[must_use]
    pub fn lower(&self) -> f64 {
        0.0 - (-self.clone()).upper()
    }

    /// An `f64` within one unit in the last place of the exact value: for display, never for a privacy claim.
    #[must_use]
    pub fn nearest(&self) -> f64 {
        self.0.to_f64().unwrap_or(f64::NAN)
    }

    /// As messages show it: the fraction where that is short, and else about its value.
    pub(crate) fn brief(&self) -> String {
        let exact = self.to_string();
        if exact.len() <= 40 { exact } else { format!("about {:e}", self.nearest()) }
    }

    /// From the big rational that it wraps.
    pub(crate) fn exact(value: BigRational) -> Self {
        Self(value)
    }

    /// Half of it.
    #[must_use]
    pub fn halved(&self) -> Self {
        Self(&self.0 / BigInt::from(2))
    }

    /// The greatest whole number that is not above it.
    #[must_use]
    pub fn floor(&self) -> Self {
        Self(self.0.floor())
    }

    /// The least multiple of 2^-`bits` that is not below it.
    #[must_use]
    pub fn rounded_up(&self, bits: u32) -> Self {
        let unit = BigInt::one() << bits;
        Self(BigRational::new((&self.0 * &unit).ceil().to_integer(), unit))
    }

    /// The number itself.
    #[must_use]
    pub(crate) fn as_big(&self) -> &BigRational {
        &self.0
    }

    /// Whether the value is an integer.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.0.is_integer()
    }

    /// The greatest integer that is not above the value, if it is a `u64`.
    #[must_use]
    pub fn floor_u64(&self) -> Option<u64> {
        self.0.floor().to_integer().to_u64()
    }

    /// The numerator in lowest terms, with the sign.
    #[must_use]
    pub(crate) fn numerator(&self) -> &BigInt {
        self.0.numer()
    }

    /// The denominator in lowest terms, > 0.
    #[must_use]
    pub(crate) fn denominator(&self) -> &BigInt {
        self.0.denom()
    }
}

impl FromStr for Rational {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let refused =
            || Error::out_of_range("number", text.chars().take(64).collect::<String>(), "a decimal or a fraction p/q");
        let parsed = match text.split_once('/') {
            _ if text.len() > MAX_FRACTION => None,
            Some((p, q)) => {
                integer(p).zip(integer(q)).filter(|(_, q)| !q.is_zero()).map(|(p, q)| BigRational::new(p, q))
            }
            None => decimal(text),
        };
        parsed.map(Self).ok_or_else(refused)
    }
}

fn integer(text: &str) -> Option<BigInt> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    (!digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

fn decimal(text: &str) -> Option<BigRational> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((m, e)) => (m, e.strip_prefix('+').unwrap_or(e).parse::<i64>().ok()?),
        None => (text, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let digits = integer(&format!("{whole}{fraction}"))?;
    let exponent = exponent.checked_sub(i64::try_from(fraction.len()).ok()?)?;
    if exponent.unsigned_abs() > MAX_EXPONENT || (exponent != 0 && mantissa.len() > MAX_DECIMAL) {
        return None;
    }
    let power = num_traits::pow(BigInt::from(10), usize::try_from(exponent.unsigned_abs()).ok()?);
    Some(if exponent < 0 { BigRational::new(digits, power) } else { BigRational::from(digits * power) })
}

impl fmt::Display for Rational {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl TryFrom<String> for Rational {
    type Error = Error;
    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<Rational> for String {
    fn from(value: Rational) -> Self {
        value.to_string()
    }
}

macro_rules! from_integer {
    ($($int:ty),*) => {$(
        impl From<$int> for Rational {
            fn from(value: $int) -> Self {
                Self(BigRational::from(BigInt::from(value)))
            }
        }
    )*};
}
from_integer!(u32, i32, u64, i64, u128, i128);

macro_rules! operator {
    ($trait:ident, $method:ident) => {
        impl $trait for &Rational {
            type Output = Rational;
            fn $method(self, other: &Rational) -> Rational {
                Rational((&self.0).$method(&other.0))
            }
        }
        impl $trait for Rational {
            type Output = Rational;
            fn $method(self, other: Rational) -> Rational {
                Rational(self.0.$method(other.0))
            }
        }
    };
}
operator!(Add, add);
operator!(Sub, sub);
operator!(Mul, mul);

impl std::ops::Neg for Rational {
    type Output = Rational;
    fn neg(self) -> Rational {
        Rational(-self.0)
    }
}

/// A rational > 0: scales, standard deviations, variances, sensitivities. The only divisor.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Rational", into = "Rational")]
pub struct Positive(Rational);

impl Positive {
    /// Checks that the value is > 0. `what` names the parameter in the error.
    pub fn new(what: &'static str, value: Rational) -> Result<Self, Error> {
        if value.is_positive() {
            Ok(Self(value))
        } else {
            Err(Error::out_of_range(what, value.brief(), "a finite number > 0"))
        }
    }

    /// Reads a float as its exact binary value; NaN, infinities, subnormals and values <= 0 are refused.
    pub fn from_f64(what: &'static str, value: f64) -> Result<Self, Error> {
        match Rational::from_f64(value) {
            Some(exact) if value >= f64::MIN_POSITIVE => Self::new(what, exact),
            _ => Err(Error::out_of_range(what, value, "a finite, normal number > 0")),
        }
    }

    /// One.
    #[must_use]
    pub fn one() -> Self {
        Self(Rational::one())
    }

    /// The exact value.
    #[must_use]
    pub fn rational(&self) -> &Rational {
        &self.0
    }
}

impl std::ops::Deref for Positive {
    type Target = Rational;
    fn deref(&self) -> &Rational {
        &self.0
    }
}

impl TryFrom<Rational> for Positive {
    type Error = Error;
    fn try_from(value: Rational) -> Result<Self, Error> {
        Self::new("number", value)
    }
}

impl From<Positive> for Rational {
    fn from(value: Positive) -> Self {
        value.0
    }
}

impl From<&super::Epsilon> for Positive {
    fn from(epsilon: &super::Epsilon) -> Self {
        Self(epsilon.rational().clone())
    }
}

impl Add for &Positive {
    type Output = Positive;
    fn add(self, other: &Positive) -> Positive {
        Positive(&self.0 + &other.0)
    }
}

impl fmt::Display for Positive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Div<&Positive> for &Rational {
    type Output = Rational;
    fn div(self, other: &Positive) -> Rational {
        Rational(&self.0 / &other.0.0)
    }
}

impl Div for &Positive {
    type Output = Positive;
    fn div(self, other: &Positive) -> Positive {
        Positive(&self.0 / other)
    }
}

impl Mul for &Positive {
    type Output = Positive;
    fn mul(self, other: &Positive) -> Positive {
        Positive(&self.0 * &other.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_tenths_are_one() {
        let tenth = Rational::from_decimal(0.1).expect("finite");
        let sum = (0..10).fold(Rational::zero(), |sum, _| &sum + &tenth);
        assert_eq!(sum, Rational::one());
    }

    #[test]
    fn messages_stay_short() {
        let shown = |text: &str| text.parse::<Rational>().expect("valid").brief();
        assert_eq!([shown("1/3"), shown("1e-310"), shown("1e400")], ["1/3", "about 1e-310", "about inf"]);
        assert!(Rational::zero().lower().is_sign_positive(), "no message says -0");
    }

    #[test]
    fn conversions_are_directed() {
        for text in ["1/3", "-1/3", "0.1", "1e-6", "123456789/1000000007", "1e300", "1e-320", "-1e-400"] {
            let exact: Rational = text.parse().expect("valid");
            let (lower, upper) = (exact.lower(), exact.upper());
            assert!(Rational::from_f64(lower).expect("finite") <= exact, "{text}");
            assert!(Rational::from_f64(upper).expect("finite") >= exact, "{text}");
            assert!(upper <= lower.next_up(), "{text}: one step at most between the two");
        }
        let huge: Rational = "1e400".parse().expect("valid");
        assert_eq!((huge.lower(), huge.upper()), (f64::MAX, f64::INFINITY));
    }

    #[test]
    fn malformed_numbers_are_refused() {
        for text in ["", "-", "1/0", "1/", "/2", "nan", "inf", "1e999999", "0x10", "1.-5", "+1", "1 ", "1e", "--1"] {
            assert!(text.parse::<Rational>().is_err(), "{text:?}");
        }
    }
}
