//! Neighbouring relations and sensitivities, as types.
//!
//! "One person more or less" and "one person's data replaced" are different promises, and an L2 bound is not an L1
//! bound. Each is a type of its own, so a Laplace mechanism with an L2 sensitivity does not compile.

use crate::Error;
use crate::accounting::Event;
use crate::privacy::{Positive, Rational};
use serde::{Deserialize, Serialize};

/// When two data sets are neighbours, so that no one can tell which of them a release came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Neighbors {
    /// One unit is present in one data set and absent from the other. The number of units is private.
    AddRemove,
    /// One unit's data are replaced by another's. The number of units is public.
    ReplaceOne,
    /// One unit's contribution becomes zero. Who takes part is public (federated rounds).
    ZeroOut,
}

impl Neighbors {
    /// The name used in files and in Python.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::AddRemove => "add-remove",
            Self::ReplaceOne => "replace-one",
            Self::ZeroOut => "zero-out",
        }
    }
}

impl std::fmt::Display for Neighbors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for Neighbors {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        [Self::AddRemove, Self::ReplaceOne, Self::ZeroOut].into_iter().find(|n| n.name() == text).ok_or_else(|| {
            let shown: String = text.chars().take(64).collect();
            Error::out_of_range("neighbors", format!("{shown:?}"), "\"add-remove\", \"replace-one\" or \"zero-out\"")
        })
    }
}

macro_rules! norm {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Positive);

        impl $name {
            /// The exact bound; > 0.
            pub fn new(bound: Rational) -> Result<Self, Error> {
                Positive::new("sensitivity", bound).map(Self)
            }

            /// The exact binary value of a float.
            pub fn from_f64(bound: f64) -> Result<Self, Error> {
                Positive::from_f64("sensitivity", bound).map(Self)
            }

            /// The bound.
            #[must_use]
            pub fn bound(&self) -> &Positive {
                &self.0
            }
        }
    };
}

norm!(
    /// A bound on the sum of absolute changes over all coordinates between neighbours.
    L1
);
norm!(
    /// A bound on the Euclidean length of the change between neighbours.
    L2
);
norm!(
    /// A bound on the largest absolute change of any one coordinate between neighbours.
    LInf
);

/// The norms in which noise on integers can be accounted for.
///
/// Integers change by whole numbers, so an L1 bound must be one; of an L2 bound, the whole part of the square counts, with
/// room for the rounding of a square root: `3_f64.sqrt()` is a little below its root and counts as 3.
pub trait IntegerNorm: sealed::Sealed {
    /// The event of discrete Gaussian noise at this sensitivity.
    #[doc(hidden)]
    fn discrete_gaussian(&self, sigma: &Positive) -> Result<Event, Error>;

    /// The event of Skellam noise at this sensitivity.
    #[doc(hidden)]
    fn skellam(&self, variance: &Positive) -> Result<Event, Error>;
}

impl IntegerNorm for L1 {
    fn discrete_gaussian(&self, sigma: &Positive) -> Result<Event, Error> {
        Ok(Event::DiscreteGaussian { sigma: sigma.clone(), sensitivity: whole(&self.0)? })
    }

    fn skellam(&self, variance: &Positive) -> Result<Event, Error> {
        let l1 = whole(&self.0)?;
        // The L2 length is at most the L1 length.
        let squared_l2 = l1.checked_mul(l1).ok_or_else(|| too_large(&self.0))?;
        Ok(Event::Skellam { variance: variance.clone(), l1, squared_l2 })
    }
}

impl IntegerNorm for L2 {
    fn discrete_gaussian(&self, sigma: &Positive) -> Result<Event, Error> {
        Ok(Event::DiscreteGaussianVector { sigma: sigma.clone(), squared_l2: squared(&self.0)? })
    }

    fn skellam(&self, variance: &Positive) -> Result<Event, Error> {
        // Integers: |x| <= x^2 in each coordinate, so the L1 length is at most the squared L2 length.
        let squared_l2 = squared(&self.0)?;
        Ok(Event::Skellam { variance: variance.clone(), l1: squared_l2, squared_l2 })
    }
}

/// A sensitivity of integers, which must be a whole number.
pub(crate) fn whole(bound: &Positive) -> Result<u64, Error> {
    if !bound.is_whole() {
        return Err(Error::out_of_range(
            "sensitivity",
            bound,
            "a whole number: integers change by whole numbers, so round the bound down",
        ));
    }
    bound.floor_u64().ok_or_else(|| too_large(bound))
}

fn squared(bound: &Positive) -> Result<u64, Error> {
    // A root that was rounded down is less than a part in 2^52 below.
    let raised =
        bound.rational() * &(Rational::one() + Rational::from_f64(f64::EPSILON).unwrap_or_else(Rational::zero));
    match (&raised * &raised).floor_u64() {
        Some(0) => Err(Error::out_of_range("sensitivity", bound, "at least 1: integers change by whole numbers")),
        Some(squared) => Ok(squared),
        None => Err(too_large(bound)),
    }
}

fn too_large(bound: &Positive) -> Error {
    Error::out_of_range("sensitivity", bound, "below 2^32: count in larger units")
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::L1 {}
    impl Sealed for super::L2 {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rounded_root_counts_as_its_square() {
        let counts = |bound: f64| L2::from_f64(bound).and_then(|l2| squared(l2.bound())).expect("valid");
        for square in 1..2000_u32 {
            assert_eq!(counts(f64::from(square).sqrt()), u64::from(square));
        }
        assert_eq!([counts(1.0), counts(1.7), counts(1.9), counts(3.0)], [1, 2, 3, 9]);
        assert!(L2::from_f64(0.99).and_then(|l2| squared(l2.bound())).is_err());
    }
}
