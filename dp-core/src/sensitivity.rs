//! Neighbouring relations and sensitivities, as types.
//!
//! "One person more or less" and "one person's data replaced" are different promises, and an L2 bound is not an L1
//! bound. Each is a type of its own, so a Laplace mechanism with an L2 sensitivity does not compile.

use crate::Error;
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
