//! An answer with both of its errors: `lo <= truth <= hi`.

use serde::Serialize;
use std::fmt;

/// An interval that contains the truth, rounding errors included.
///
/// Use `hi` for a promise. `lo` says how much the promise could be improved at best.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Enclosure {
    lo: f64,
    hi: f64,
}

impl Enclosure {
    /// `None` unless `0 <= lo <= hi` and neither is NaN; `hi` may be infinite.
    #[must_use]
    pub fn new(lo: f64, hi: f64) -> Option<Self> {
        (0.0 <= lo && lo <= hi).then_some(Self { lo, hi })
    }

    /// The truth is not below this.
    #[must_use]
    pub fn lo(&self) -> f64 {
        self.lo
    }

    /// The truth is not above this: the number to promise.
    #[must_use]
    pub fn hi(&self) -> f64 {
        self.hi
    }
}

/// `2.3796 (+0, -4e-7)`: the promise, and how far below it the truth may lie.
impl fmt::Display for Enclosure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (+0, -{:.0e})", self.hi, self.hi - self.lo)
    }
}
