//! `veilsum.federated`: rounds of secure aggregation.

mod coin;
mod config;
mod local_key;
mod parties;
mod round;

pub(crate) use coin::CoinCore;
pub(crate) use config::{DistributedNoise, RoundConfig, noise_inflation};
pub(crate) use parties::{ClientCore, ServerCore};
pub(crate) use round::{Round, check_strategy, simulate};

use crate::error;
use pyo3::PyErr;
use pyo3::prelude::*;
use veilsum_federated::Error;

/// An error of `veilsum-federated`.
fn raised(error: Error) -> PyErr {
    let class = match error {
        Error::Privacy(inner) => return error::core(inner),
        Error::Entropy => "EntropyError",
        Error::Aborted { .. } => "RoundAborted",
        Error::Malformed { .. } | Error::Refused { .. } | Error::OutOfOrder { .. } => "ProtocolError",
        _ => "ArgumentError",
    };
    error::exception(class, error.to_string())
}

/// A whole number that fits, or an `ArgumentError` that names it.
fn whole<T: TryFrom<i128>>(what: &str, number: &Bound<'_, PyAny>) -> PyResult<T> {
    let wide: i128 = match number.extract() {
        Ok(wide) => wide,
        Err(e) if e.is_instance_of::<pyo3::exceptions::PyOverflowError>(number.py()) => i128::MAX,
        Err(_) => {
            let kind = number.get_type().name()?;
            return Err(pyo3::exceptions::PyTypeError::new_err(format!("{what} must be a whole number, not {kind}")));
        }
    };
    T::try_from(wide).map_err(|_| error::exception("ArgumentError", format!("{what} is {wide}: it is out of range")))
}
