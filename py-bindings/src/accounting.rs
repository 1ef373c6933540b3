//! `veilsum.accounting`: the accountants, and calibration.

use pyo3::prelude::*;
use veilsum_dp_core::accounting::{self as core, calibrate};
use veilsum_dp_core::sensitivity::Neighbors;

use crate::enclosure::Enclosure;
use crate::event::Event;
use crate::{error, number};

fn relation(name: &str) -> PyResult<Neighbors> {
    name.parse().map_err(error::core)
}

macro_rules! accountant {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[pyclass(module = "veilsum.accounting")]
        #[derive(Clone, Debug)]
        pub(crate) struct $name {
            inner: core::$name,
            neighbors: Neighbors,
        }

        #[pymethods]
        impl $name {
            #[new]
            #[pyo3(signature = (*, neighbors))]
            fn new(neighbors: &str) -> PyResult<Self> {
                let neighbors = relation(neighbors)?;
                Ok(Self { inner: core::$name::new(neighbors), neighbors })
            }

            /// The neighbouring relation that every event must fit.
            #[getter]
            fn neighbors(&self) -> &'static str {
                self.neighbors.name()
            }

            /// Add `count` runs of `event`, and return this accountant.
            ///
            /// Raises
            /// ------
            /// UnsupportedEvent
            ///     If the event belongs to another relation or cannot be bounded; nothing was composed then.
            #[pyo3(signature = (event, count = None))]
            fn compose<'py>(
                mut slf: PyRefMut<'py, Self>,
                event: &Event,
                count: Option<&Bound<'py, PyAny>>,
            ) -> PyResult<PyRefMut<'py, Self>> {
                let count = count.map_or(Ok(1), |count| number::count("count", count))?;
                slf.inner.compose(&event.0, count).map_err(error::core)?;
                Ok(slf)
            }

            /// Enclose the least epsilon at this delta, in (0, 1).
            fn epsilon(&self, py: Python<'_>, #[pyo3(from_py_with = number::float)] delta: f64) -> PyResult<Enclosure> {
                let inner = self.inner.clone();
                py.detach(move || inner.epsilon(delta)).map(Enclosure).map_err(error::core)
            }

            /// Enclose the least delta at this epsilon, >= 0.
            fn delta(&self, py: Python<'_>, #[pyo3(from_py_with = number::float)] epsilon: f64) -> PyResult<Enclosure> {
                let inner = self.inner.clone();
                py.detach(move || inner.delta(epsilon)).map(Enclosure).map_err(error::core)
            }

            fn __repr__(&self) -> String {
                format!("{}(neighbors='{}')", stringify!($name), self.neighbors)
            }
        }
    };
}

accountant!(
    /// Tight accounting of events that were chosen beforehand, by privacy loss distributions.
    ///
    /// Parameters
    /// ----------
    /// neighbors : str
    ///     ``"add-remove"``, ``"replace-one"`` or ``"zero-out"``.
    ///
    /// Examples
    /// --------
    /// >>> from veilsum.accounting import PldAccountant, gaussian, poisson_sampled
    /// >>> a = PldAccountant(neighbors="add-remove")
    /// >>> e = a.compose(poisson_sampled(256 / 60000, gaussian(1.1)), 14040).epsilon(1e-5)
    /// >>> e.lo <= 2.3795545188 <= e.hi
    /// True
    PldAccountant
);
accountant!(
    /// Upper bounds by Renyi differential privacy.
    ///
    /// ``lo`` of its answers is zero: nothing is claimed about tightness.
    ///
    /// Parameters
    /// ----------
    /// neighbors : str
    ///     ``"add-remove"``, ``"replace-one"`` or ``"zero-out"``.
    ///
    /// Examples
    /// --------
    /// >>> from veilsum.accounting import RdpAccountant, gaussian
    /// >>> a = RdpAccountant(neighbors="add-remove").compose(gaussian(2.0), 10)
    /// >>> round(float(a.epsilon(1e-5)), 2)
    /// 8.08
    RdpAccountant
);
accountant!(
    /// Upper bounds by zero-concentrated differential privacy, composed as exact rationals.
    ///
    /// ``lo`` of its answers is zero: nothing is claimed about tightness.
    ///
    /// Parameters
    /// ----------
    /// neighbors : str
    ///     ``"add-remove"``, ``"replace-one"`` or ``"zero-out"``.
    ///
    /// Examples
    /// --------
    /// >>> from veilsum.accounting import ZcdpAccountant, gaussian
    /// >>> a = ZcdpAccountant(neighbors="add-remove").compose(gaussian(2.0), 10)
    /// >>> round(float(a.epsilon(1e-5)), 2)
    /// 8.08
    ZcdpAccountant
);

/// The least sigma for which `steps` runs of ``event(sigma)`` certainly meet (epsilon, delta).
#[pyfunction]
#[pyo3(signature = (event, *, epsilon, delta, steps, neighbors))]
pub(crate) fn calibrate_sigma(
    event: &Bound<'_, PyAny>,
    #[pyo3(from_py_with = number::float)] epsilon: f64,
    #[pyo3(from_py_with = number::float)] delta: f64,
    steps: &Bound<'_, PyAny>,
    neighbors: &str,
) -> PyResult<f64> {
    let (steps, neighbors) = (number::count("steps", steps)?, relation(neighbors)?);
    let (py, event) = (event.py(), event.clone().unbind());
    let mut raised = None;
    // The interpreter is held while `event` runs, and let go while its answer is accounted.
    let found = py.detach(|| {
        let made = |sigma: f64| {
            Python::attach(|py| {
                py.check_signals()?;
                Ok(event.call1(py, (sigma,))?.extract::<PyRef<'_, Event>>(py)?.0.clone())
            })
            .map_err(|e: PyErr| {
                raised = Some(e);
                veilsum_dp_core::Error::NotFinite
            })
        };
        calibrate::sigma(made, epsilon, delta, steps, neighbors)
    });
    match raised {
        Some(error) => Err(error),
        None => found.map_err(error::core),
    }
}

/// The most runs of `event` that certainly meet (epsilon, delta) together.
#[pyfunction]
#[pyo3(signature = (event, *, epsilon, delta, neighbors))]
pub(crate) fn calibrate_steps(
    py: Python<'_>,
    event: &Event,
    #[pyo3(from_py_with = number::float)] epsilon: f64,
    #[pyo3(from_py_with = number::float)] delta: f64,
    neighbors: &str,
) -> PyResult<u64> {
    let neighbors = relation(neighbors)?;
    py.detach(|| calibrate::steps(&event.0, epsilon, delta, neighbors)).map_err(error::core)
}
