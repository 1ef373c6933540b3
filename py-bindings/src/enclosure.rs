//! `Enclosure`: an answer with both of its errors.

use pyo3::prelude::*;
use veilsum_dp_core::accounting;

use crate::error;

/// Interval that contains the truth, rounding errors included: `lo <= truth <= hi`.
///
/// `hi` is the number to promise and what ``float()`` gives. `lo` says how much the promise could be improved at best.
///
/// Examples
/// --------
/// >>> from veilsum.accounting import Enclosure
/// >>> e = Enclosure(1.0, 1.5)
/// >>> e.lo, e.hi, float(e)
/// (1.0, 1.5, 1.5)
/// >>> e
/// 1.5 (+0, -5e-01)
#[pyclass(frozen, eq, module = "veilsum.accounting")]
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Enclosure(pub(crate) accounting::Enclosure);

#[pymethods]
impl Enclosure {
    #[new]
    #[pyo3(signature = (lo, hi, /))]
    fn new(lo: f64, hi: f64) -> PyResult<Self> {
        accounting::Enclosure::new(lo, hi)
            .map(Self)
            .ok_or_else(|| error::exception("ArgumentError", format!("[{lo}, {hi}] is not an interval: 0 <= lo <= hi")))
    }

    /// The truth is not below this.
    #[getter]
    fn lo(&self) -> f64 {
        self.0.lo()
    }

    /// The truth is not above this: the number to promise.
    #[getter]
    fn hi(&self) -> f64 {
        self.0.hi()
    }

    fn __float__(&self) -> f64 {
        self.0.hi()
    }

    fn __hash__(&self) -> u64 {
        // Zero and minus zero are equal.
        (self.0.lo() + 0.0).to_bits() ^ (self.0.hi() + 0.0).to_bits().rotate_left(32)
    }

    fn __repr__(&self) -> String {
        self.0.to_string()
    }

    fn __getnewargs__(&self) -> (f64, f64) {
        (self.0.lo(), self.0.hi())
    }
}

impl From<accounting::Enclosure> for Enclosure {
    fn from(enclosure: accounting::Enclosure) -> Self {
        Self(enclosure)
    }
}
