//! A simulated round and its result.

use super::{RoundConfig, raised};
use crate::event::Event;
use numpy::{IntoPyArray, PyArray1, PyReadonlyArray1, PyReadonlyArray2};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::collections::BTreeMap;
use std::sync::Arc;
use veilsum_federated::strategy::Strategy;
use veilsum_federated::{Simulated, Stage, Update};

/// What a round gave and what it cost; see :func:`simulate`.
#[pyclass(frozen, module = "veilsum.federated")]
pub(crate) struct Round {
    pub(super) config: Arc<veilsum_federated::RoundConfig>,
    pub(super) simulated: Simulated,
}

#[pymethods]
impl Round {
    /// Sum of the counted clients' updates in the updates' units, weighted if weights travelled, noise included.
    #[getter]
    fn sum<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        self.simulated.outcome.sum.clone().into_pyarray(py)
    }

    /// The sum over the number of counted clients, or over the sum of their weights.
    ///
    /// With records as units it is still the number of *clients*: how many records there are is private.
    #[getter]
    fn mean<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        self.simulated.outcome.mean().into_pyarray(py)
    }

    /// Numbers of the clients in the sum: everyone not lost before confirm.
    #[getter]
    fn survivors(&self) -> Vec<u32> {
        self.simulated.outcome.survivors.clone()
    }

    /// Sum of the weights in the sum; the number of survivors if weights did not travel.
    #[getter]
    fn weight(&self) -> u64 {
        self.simulated.outcome.weight
    }

    /// Sums of the counted clients' metrics, by name.
    #[getter]
    fn metrics(&self) -> BTreeMap<String, f64> {
        let names = self.config.metrics().iter().map(|metric| metric.name.clone());
        names.zip(self.simulated.outcome.metrics.iter().copied()).collect()
    }

    /// What the round's noise did, for an accountant: charged for the clients counted less the assumed corrupt ones.
    /// None without noise.
    #[getter]
    fn event(&self) -> Option<Event> {
        self.simulated.outcome.event.clone().map(Event)
    }

    /// An :class:`~veilsum.accounting.RdpAccountant` that has composed this round's event once; None without noise.
    #[getter]
    fn privacy<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let Some(event) = self.event() else { return Ok(None) };
        let keywords = PyDict::new(py);
        keywords.set_item("neighbors", "zero-out")?;
        let accountant = py.import("veilsum.accounting")?.getattr("RdpAccountant")?.call((), Some(&keywords))?;
        accountant.call_method1("compose", (event,))?;
        Ok(Some(accountant))
    }

    /// What the round promises, in one sentence.
    #[getter]
    fn statement(&self) -> String {
        self.config.statement(self.simulated.outcome.survivors.len() as u32)
    }

    /// The masked words that the server received, by client; empty unless they were kept.
    #[getter]
    fn masked<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let kept = PyDict::new(py);
        for (client, words) in &self.simulated.masked {
            kept.set_item(client, words.clone().into_pyarray(py))?;
        }
        Ok(kept)
    }

    /// Bytes that each client sent.
    #[getter]
    fn bytes_up<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<u64>> {
        self.simulated.bytes_up.clone().into_pyarray(py)
    }

    /// Bytes that each client received.
    #[getter]
    fn bytes_down<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<u64>> {
        self.simulated.bytes_down.clone().into_pyarray(py)
    }

    /// Seconds that each client worked.
    #[getter]
    fn client_seconds<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        let seconds: Vec<f64> = self.simulated.client_time.iter().map(std::time::Duration::as_secs_f64).collect();
        seconds.into_pyarray(py)
    }

    /// Seconds that the server worked.
    #[getter]
    fn server_seconds(&self) -> f64 {
        self.simulated.server_time.as_secs_f64()
    }

    fn __repr__(&self) -> String {
        let noise = if self.config.noise().is_some() { "with noise" } else { "NOT differentially private: no noise" };
        format!(
            "Round({} of {} clients counted, {noise})",
            self.simulated.outcome.survivors.len(),
            self.config.shape().clients
        )
    }
}

/// Refuses strategies that would have to see single updates.
#[pyfunction]
pub(crate) fn check_strategy(name: &str) -> PyResult<()> {
    name.parse::<Strategy>().and_then(Strategy::check_under_masks).map_err(raised)
}

/// The core of `veilsum.federated.simulate`, which parses its arguments.
#[pyfunction]
#[pyo3(signature = (vectors, records, config, weights, metrics, dropouts, keep_masked, tick))]
#[expect(clippy::too_many_arguments, reason = "private: the public face is keyword-only")]
pub(crate) fn simulate(
    py: Python<'_>,
    vectors: Option<PyReadonlyArray2<'_, f64>>,
    records: Option<Vec<PyReadonlyArray2<'_, f64>>>,
    config: &RoundConfig,
    weights: Option<PyReadonlyArray1<'_, u32>>,
    metrics: Option<Vec<Vec<f64>>>,
    dropouts: BTreeMap<u32, String>,
    keep_masked: bool,
    tick: Option<Py<PyAny>>,
) -> PyResult<Round> {
    let config = config.0.clone();
    // Copied while nothing else runs: what is checked is what is used, whatever happens to the arrays meanwhile.
    let dimension = config.dimension();
    let mut width_ok = true;
    let mut copied = |array: &PyReadonlyArray2<'_, f64>| {
        width_ok &= array.as_array().ncols() == dimension;
        array.as_array().iter().copied().collect::<Vec<f64>>()
    };
    let vectors = vectors.as_ref().map(&mut copied);
    let records: Option<Vec<Vec<f64>>> = records.map(|records| records.iter().map(&mut copied).collect());
    let weights: Option<Vec<u32>> = weights.map(|weights| weights.as_array().iter().copied().collect());
    if !width_ok {
        let why = format!("the updates do not have the round's {dimension} coordinates each");
        return Err(crate::error::exception("ArgumentError", why));
    }
    let dropouts = dropouts
        .into_iter()
        .map(|(client, stage)| Ok((client, stage.parse::<Stage>().map_err(raised)?)))
        .collect::<PyResult<BTreeMap<u32, Stage>>>()?;
    let simulated = py.detach(|| {
        let updates: Vec<Update<'_>> = match (&vectors, &records) {
            (Some(vectors), _) => vectors.chunks_exact(dimension).map(Update::Vector).collect(),
            (None, Some(records)) => records.iter().map(|rows| Update::Records(rows)).collect(),
            (None, None) => Vec::new(),
        };
        let interrupted = |clients: usize| {
            Python::attach(|py| {
                py.check_signals()?;
                tick.as_ref().map_or(Ok(()), |tick| tick.call1(py, (clients,)).map(drop))
            })
        };
        let mut signal = None;
        let done = veilsum_federated::simulate(
            &config,
            &updates,
            weights.as_deref(),
            metrics.as_deref(),
            &dropouts,
            keep_masked,
            &mut |clients| interrupted(clients).map_err(|e| signal = Some(e)).is_err(),
        );
        (done, signal)
    });
    match simulated {
        (_, Some(signal)) => Err(signal),
        (Err(error), None) => Err(raised(error)),
        (Ok(simulated), None) => Ok(Round { config, simulated }),
    }
}
