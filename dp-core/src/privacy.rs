//! Exact rationals, and the privacy parameters made of them.
//!
//! A budget of 0.1 spent ten times is exactly 1, so amounts are rationals and never floats. There are two ways in
//! from an `f64`, and each parameter says which one it takes: [`Rational::from_decimal`] reads the shortest decimal
//! that prints as the float (`0.1` is one tenth: budgets), [`Rational::from_f64`] reads the exact binary value
//! (scales and standard deviations).

mod rational;

pub use rational::{Positive, Rational};

use crate::Error;
use serde::{Deserialize, Serialize};

macro_rules! parameter {
    ($(#[$doc:meta])* $name:ident, $label:literal, $bound:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "Rational", into = "Rational")]
        pub struct $name(Rational);

        impl $name {
            /// Checks the range; the bound is in the error.
            pub fn new(value: Rational) -> Result<Self, Error> {
                let valid: fn(&Rational) -> bool = $valid;
                if valid(&value) {
                    Ok(Self(value))
                } else {
                    Err(Error::out_of_range($label, value.brief(), $bound))
                }
            }

            /// Reads a float as its shortest decimal, so that `0.1` is exactly one tenth.
            pub fn from_decimal(value: f64) -> Result<Self, Error> {
                match Rational::from_decimal(value) {
                    Some(exact) => Self::new(exact),
                    None => Err(Error::out_of_range($label, value, $bound)),
                }
            }

            /// The exact value.
            #[must_use]
            pub fn rational(&self) -> &Rational {
                &self.0
            }

            /// The least `f64` that is not below the exact value.
            #[must_use]
            pub fn upper(&self) -> f64 {
                self.0.upper()
            }
        }

        impl TryFrom<Rational> for $name {
            type Error = Error;
            fn try_from(value: Rational) -> Result<Self, Error> {
                Self::new(value)
            }
        }

        impl From<$name> for Rational {
            fn from(value: $name) -> Self {
                value.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

parameter!(
    /// A finite epsilon > 0 of (epsilon, delta) differential privacy.
    Epsilon, "epsilon", "a finite number > 0 in the normal range of floats", |e| e.is_positive() && !e.upper().is_infinite() && e.upper() >= f64::MIN_POSITIVE
);
parameter!(
    /// A delta in [0, 1) of (epsilon, delta) differential privacy.
    Delta, "delta", "in [0, 1)", |d| !d.is_negative() && *d < Rational::one()
);
parameter!(
    /// A finite rho > 0 of zero-concentrated differential privacy (Bun and Steinke 2016).
    Rho, "rho", "a finite number > 0 in the normal range of floats", |r| r.is_positive() && !r.upper().is_infinite()
);
