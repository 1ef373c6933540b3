//! `veilsum.testing.fast_sample`: the shipped samplers under a known key.

use crate::{array, error, number};
use numpy::PyArrayMethods;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use veilsum_dp_core::Error;
use veilsum_dp_core::noise::{DiscreteGaussian, DiscreteLaplace, Gaussian, Laplace, Skellam};
use veilsum_dp_core::privacy::Positive;

/// Sample a law, by name and parameter, under a known key: for tests alone.
#[pyfunction]
pub(crate) fn keyed_sample<'py>(
    py: Python<'py>,
    law: &str,
    parameter: &Bound<'py, PyAny>,
    key: [u8; 32],
    n: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let n = number::count("n", n)?;
    let scale = Positive::new("parameter", number::binary("parameter", parameter)?).map_err(error::core)?;
    match law {
        "Laplace" => fill(py, n, "float64", Laplace::new(&scale), |law, out| law.fill_with_key(&key, 0, out)),
        "Gaussian" => fill(py, n, "float64", Gaussian::new(&scale), |law, out| law.fill_with_key(&key, 0, out)),
        "DiscreteLaplace" => {
            fill(py, n, "int64", DiscreteLaplace::new(&scale), |law, out| law.fill_with_key(&key, 0, out))
        }
        "DiscreteGaussian" => {
            fill(py, n, "int64", DiscreteGaussian::new(&scale), |law, out| law.fill_with_key(&key, 0, out))
        }
        "Skellam" => fill(py, n, "int64", Skellam::new(&scale), |law, out| law.fill_with_key(&key, 0, out)),
        _ => Err(PyTypeError::new_err("no such law")),
    }
}

fn fill<'py, L: Sync, T: numpy::Element + Send>(
    py: Python<'py>,
    n: u64,
    dtype: &str,
    law: Result<L, Error>,
    draw: impl Fn(&L, &mut [T]) + Sync,
) -> PyResult<Bound<'py, PyAny>> {
    let law = law.map_err(error::core)?;
    let values = array::empty::<T>(py, n, dtype)?;
    {
        let mut values = values.readwrite();
        let out = values.as_slice_mut()?;
        py.detach(|| draw(&law, out));
    }
    Ok(values.into_any())
}
