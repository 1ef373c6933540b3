//! Rust errors as the Python exceptions of `veilsum._errors`.

use pyo3::prelude::*;
use veilsum_dp_core::Error;

/// An exception of `veilsum._errors` by its class name.
pub(crate) fn exception(class: &str, message: String) -> PyErr {
    Python::attach(|py| {
        let raised = py.import("veilsum._errors").and_then(|m| m.getattr(class)).and_then(|c| c.call1((message,)));
        match raised {
            Ok(instance) => PyErr::from_value(instance),
            Err(error) => error,
        }
    })
}

/// An error of `veilsum-dp-core`.
pub(crate) fn core(error: Error) -> PyErr {
    let class = match error {
        Error::Entropy => "EntropyError",
        Error::BudgetExceeded { .. } | Error::Exhausted { .. } => "BudgetExceeded",
        Error::UnsupportedEvent { .. } => "UnsupportedEvent",
        Error::LedgerKey { .. }
        | Error::LedgerPolicy { .. }
        | Error::LedgerNoiseless
        | Error::LedgerFile { .. }
        | Error::LedgerDamaged { .. } => "LedgerError",
        _ => "ArgumentError",
    };
    exception(class, error.to_string())
}
