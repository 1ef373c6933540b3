//! The native half of the Python package `veilsum`: an export list, and thin wrappers behind it.

use pyo3::prelude::*;

#[expect(dead_code, reason = "the wrappers that raise these come with the mechanisms")]
mod error;

#[pymodule]
mod _core {
    use super::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
