//! Where values live: public bounds, and what clamping does with everything else.

use crate::Error;
use serde::{Deserialize, Serialize};

/// A closed interval of finite numbers that values are clamped into.
///
/// Bounds are public: they come from what is known about the quantity, from a private quantile that was paid for, or
/// from public data, never from the private data themselves.
///
/// ```
/// use veilsum_dp_core::domain::Bounds;
/// let visits = Bounds::new(0.0, 10.0)?;
/// assert_eq!(visits.clamp(1e300), Some(10.0));
/// assert_eq!(visits.clamp(f64::NAN), None); // missing, by the one rule: NaN, infinity and null
/// assert!(Bounds::new(5.0, 5.0).is_err()); // equal bounds would mean no noise
/// # Ok::<(), veilsum_dp_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "(String, String)", into = "(String, String)")]
pub struct Bounds {
    lower: f64,
    upper: f64,
}

/// Room for exact scaling by powers of two: no bound is larger than this, no interval narrower than its inverse.
const LARGEST: f64 = 1e280;

impl Bounds {
    /// `lower < upper`, both within ±1e280 and at least 1e-280 apart.
    pub fn new(lower: f64, upper: f64) -> Result<Self, Error> {
        let valid = lower.abs() <= LARGEST && upper.abs() <= LARGEST && upper - lower >= 1.0 / LARGEST;
        if !valid {
            return Err(Error::out_of_range(
                "bounds",
                format!("[{lower:?}, {upper:?}]"),
                "two finite numbers, lower < upper (within ±1e280, at least 1e-280 apart), known without looking at the data",
            ));
        }
        // Adding +0.0 turns a bound of -0.0 into 0.0 and changes nothing else.
        Ok(Self { lower: lower + 0.0, upper: upper + 0.0 })
    }

    /// The lower bound.
    #[must_use]
    pub fn lower(&self) -> f64 {
        self.lower
    }

    /// The upper bound.
    #[must_use]
    pub fn upper(&self) -> f64 {
        self.upper
    }

    /// The value moved to the nearest bound if it lies outside; `None` for NaN and the infinities, which are missing.
    #[must_use]
    pub fn clamp(&self, value: f64) -> Option<f64> {
        value.is_finite().then(|| value.clamp(self.lower, self.upper))
    }
}

impl TryFrom<(String, String)> for Bounds {
    type Error = Error;
    fn try_from((lower, upper): (String, String)) -> Result<Self, Error> {
        let read = |text: &str| text.parse::<f64>().unwrap_or(f64::NAN);
        Self::new(read(&lower), read(&upper))
    }
}

/// Floats are written as their shortest decimals, which parse to the same bits everywhere.
impl From<Bounds> for (String, String) {
    fn from(bounds: Bounds) -> Self {
        (format!("{:?}", bounds.lower), format!("{:?}", bounds.upper))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_bounds_are_refused() {
        let nan = f64::NAN;
        for (l, u) in
            [(1.0, 1.0), (2.0, 1.0), (nan, 1.0), (0.0, nan), (0.0, f64::INFINITY), (-1e300, 0.0), (0.0, 1e-300)]
        {
            assert!(Bounds::new(l, u).is_err(), "[{l}, {u}]");
        }
        assert!(Bounds::new(-0.0, 1.0).expect("valid").lower().is_sign_positive());
        Bounds::new((1_u64 << 50) as f64, (1_u64 << 50) as f64 + 1.0).expect("narrow and far from zero");
    }
}
