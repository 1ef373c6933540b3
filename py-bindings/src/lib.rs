//! The native half of the Python package `veilsum`: an export list, and thin wrappers behind it.

use pyo3::prelude::*;

mod enclosure;
#[allow(dead_code, reason = "not every wrapper is there yet")]
mod error;
mod event;
#[allow(dead_code, reason = "the mechanisms and budgets that read numbers follow")]
mod number;

#[pymodule]
mod _core {
    use super::*;

    #[pymodule_export]
    use super::enclosure::Enclosure;
    #[pymodule_export]
    use super::event::Event;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
