//! Public parameters: `RoundConfig` and `DistributedNoise`.

use super::{raised, whole};
use crate::{error, number};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::sync::Arc;
use veilsum_dp_core::privacy::{Delta, Epsilon};
use veilsum_federated::{Cohort, Metric, Setup, Unit};

/// Differential privacy with noise from the clients: no server is trusted with a sum that has none.
///
/// Each client adds a Skellam share. Shares are sized so that the noise of the *guaranteed minimum* of honest survivors
/// keeps the promise over all rounds; every round is charged for its actual survivors.
///
/// Parameters
/// ----------
/// epsilon, delta : float, Fraction or Decimal
///     The promise over all rounds: epsilon > 0, delta in (0, 1). Floats are read as their shortest decimal.
/// rounds : int
///     Rounds in which the same people take part, at least 1.
///
/// Notes
/// -----
/// The relation is *zero-out*: one unit's contribution becomes zero, and who takes part is public. Replacing a
/// contribution by another costs at most the sensitivity twice. Dropout is assumed not to depend on private data.
///
/// Examples
/// --------
/// >>> from veilsum.federated import DistributedNoise
/// >>> DistributedNoise(epsilon=1, delta=1e-5, rounds=40)
/// DistributedNoise(epsilon=1, delta=1e-05, rounds=40)
#[pyclass(frozen, module = "veilsum.federated")]
#[derive(Clone)]
pub(crate) struct DistributedNoise(pub(super) veilsum_federated::DistributedNoise);

#[pymethods]
impl DistributedNoise {
    #[new]
    #[pyo3(signature = (*, epsilon, delta, rounds = None))]
    fn new(epsilon: &Bound<'_, PyAny>, delta: &Bound<'_, PyAny>, rounds: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        let epsilon = Epsilon::new(number::decimal("epsilon", epsilon)?).map_err(error::core)?;
        let delta = Delta::new(number::decimal("delta", delta)?).map_err(error::core)?;
        let rounds = rounds.map_or(Ok(1), |rounds| whole("rounds", rounds))?;
        veilsum_federated::DistributedNoise::new(epsilon, delta, rounds).map(Self).map_err(raised)
    }

    /// The promised epsilon.
    #[getter]
    fn epsilon(&self) -> f64 {
        self.0.epsilon().upper()
    }

    /// The promised delta.
    #[getter]
    fn delta(&self) -> f64 {
        self.0.delta().upper()
    }

    /// Rounds over which the promise holds.
    #[getter]
    fn rounds(&self) -> u32 {
        self.0.rounds()
    }

    fn __getnewargs_ex__<'py>(&self, py: Python<'py>) -> PyResult<((), Bound<'py, PyDict>)> {
        let arguments = PyDict::new(py);
        arguments.set_item("epsilon", number::fraction(py, self.0.epsilon().rational())?)?;
        arguments.set_item("delta", number::fraction(py, self.0.delta().rational())?)?;
        arguments.set_item("rounds", self.0.rounds())?;
        Ok(((), arguments))
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let shown = |x: f64| {
            Ok::<_, PyErr>(if x.fract() == 0.0 { format!("{x}") } else { x.into_pyobject(py)?.repr()?.to_string() })
        };
        Ok(format!(
            "DistributedNoise(epsilon={}, delta={}, rounds={})",
            shown(self.epsilon())?,
            shown(self.delta())?,
            self.rounds()
        ))
    }
}

/// The public parameters of a round, checked once; every party has the same.
///
/// Say how many clients may be corrupt (work with the server) and how many may be lost: as numbers for small cohorts,
/// where everyone shares masks with everyone, or as fractions for large ones, where the sparsest graph is taken that
/// keeps privacy but for 2^-40 and finishes but for 2^-20. Where no graph or ring does, the round is refused and never
/// weakened.
///
/// Parameters
/// ----------
/// clients : int
///     Clients on the roster, 3 to 65,534.
/// dimension : int
///     Coordinates of an update.
/// clip : float
///     Bound on the L2 norm of each unit's contribution, applied with noise or without.
/// value_bits : int
///     Bits of one coordinate, sign included, 2 to 32: the grid is ``clip / (2**(value_bits - 1) - 1)``.
/// max_weight : int
///     The largest weight; weights are whole numbers and travel masked. 1: all count the same.
/// corrupt, dropouts : int, optional
///     Numbers of corrupt and lost clients.
/// corrupt_fraction, dropout_fraction : float, optional
///     The same as fractions in [0, 1), rounded up to numbers.
/// malicious_server : bool
///     Whether the server may deviate from the protocol; if not, it is curious and honest.
/// noise : DistributedNoise, optional
///     Noise from the clients.
/// unit : {"client", "record"}
///     Whose contribution is clipped and protected: a client's whole update, or each row of a site's records.
/// max_records : int
///     With ``unit="record"``, the most records of one site; public, since the ring has room for them.
/// metrics : mapping of str to float, optional
///     Numbers that every client reports beside its update, such as a loss or a count of examples, each with the largest
///     magnitude it may have. They travel masked, outside the clip, and the server learns their sums. Not with noise, which
///     covers the update alone. Sums of counts are exact where the ring has room for them.
/// struck : int
///     How many of ``clients`` were struck from the roster since it was enrolled, for withholding the coin that the beacon
///     is tossed with; they count among the losses.
///
/// Raises
/// ------
/// VeilsumError
///     For a value out of its range, and for a round that could not be made safe.
///
/// Examples
/// --------
/// >>> from veilsum.federated import RoundConfig
/// >>> cfg = RoundConfig(clients=6, dimension=10, clip=1.0, corrupt=1, dropouts=1)
/// >>> cfg.neighbors, cfg.threshold, cfg.modulus_bits
/// (5, 4, 19)
/// >>> big = RoundConfig(clients=1000, dimension=10, clip=1.0, corrupt_fraction=0.05, dropout_fraction=0.05,
/// ...                   malicious_server=False)
/// >>> big.neighbors, big.threshold
/// (30, 17)
#[pyclass(frozen, module = "veilsum.federated")]
#[derive(Clone)]
pub(crate) struct RoundConfig(pub(super) Arc<veilsum_federated::RoundConfig>);

#[pymethods]
impl RoundConfig {
    #[new]
    #[pyo3(signature = (*, clients, dimension, clip, value_bits = None, max_weight = None, corrupt_fraction = None,
        dropout_fraction = None, corrupt = None, dropouts = None, malicious_server = true, noise = None,
        unit = "client", max_records = None, metrics = None, struck = None))]
    #[expect(clippy::too_many_arguments, reason = "keyword-only in Python")]
    fn new(
        clients: &Bound<'_, PyAny>,
        dimension: &Bound<'_, PyAny>,
        clip: f64,
        value_bits: Option<&Bound<'_, PyAny>>,
        max_weight: Option<&Bound<'_, PyAny>>,
        corrupt_fraction: Option<f64>,
        dropout_fraction: Option<f64>,
        corrupt: Option<&Bound<'_, PyAny>>,
        dropouts: Option<&Bound<'_, PyAny>>,
        malicious_server: bool,
        noise: Option<&DistributedNoise>,
        unit: &str,
        max_records: Option<&Bound<'_, PyAny>>,
        metrics: Option<&Bound<'_, PyAny>>,
        struck: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let argument = |why: &str| error::exception("ArgumentError", why.to_owned());
        let or = |what, number: Option<&Bound<'_, PyAny>>, default| number.map_or(Ok(default), |n| whole(what, n));
        let fractions = corrupt_fraction.is_some() || dropout_fraction.is_some();
        let counts = corrupt.is_some() || dropouts.is_some();
        let cohort = match (counts, fractions) {
            (true, false) => {
                Cohort::Counts { corrupt: or("corrupt", corrupt, 0)?, dropouts: or("dropouts", dropouts, 0)? }
            }
            (false, true) => Cohort::Fractions {
                corrupt: corrupt_fraction.unwrap_or(0.0),
                dropouts: dropout_fraction.unwrap_or(0.0),
            },
            _ => {
                return Err(argument(
                    "say what the round must withstand, in one way: corrupt= and dropouts= (numbers, for small cohorts) or \
                     corrupt_fraction= and dropout_fraction= (for large ones)",
                ));
            }
        };
        let most = or("max_records", max_records, 1 << 16)?;
        let unit = match unit {
            "client" => Unit::Client,
            "record" => Unit::Record { most },
            _ => return Err(argument("unit must be \"client\" or \"record\"")),
        };
        let setup = Setup {
            metrics: metrics.map_or(Ok(Vec::new()), named)?,
            struck: or("struck", struck, 0)?,
            value_bits: or("value_bits", value_bits, 16)?,
            max_weight: or("max_weight", max_weight, 1)?,
            malicious_server,
            unit,
            noise: noise.map(|noise| noise.0.clone()),
            ..Setup::new(whole("clients", clients)?, whole("dimension", dimension)?, clip, cohort)
        };
        setup.check().map(|config| Self(Arc::new(config))).map_err(raised)
    }

    /// Clients on the roster.
    #[getter]
    fn clients(&self) -> u32 {
        self.0.shape().clients
    }

    /// Coordinates of an update.
    #[getter]
    fn dimension(&self) -> usize {
        self.0.dimension()
    }

    /// The L2 bound on each unit's contribution.
    #[getter]
    fn clip(&self) -> f64 {
        self.0.clip()
    }

    /// Bits of one coordinate.
    #[getter]
    fn value_bits(&self) -> u32 {
        self.0.value_bits()
    }

    /// The largest weight.
    #[getter]
    fn max_weight(&self) -> u32 {
        self.0.max_weight()
    }

    /// Neighbours of each client.
    #[getter]
    fn neighbors(&self) -> u32 {
        self.0.shape().neighbors
    }

    /// Shares that rebuild a seed.
    #[getter]
    fn threshold(&self) -> u32 {
        self.0.shape().threshold
    }

    /// Signatures on one survivor set that a client asks for before it opens a share.
    #[getter]
    fn quorum(&self) -> u32 {
        self.0.shape().quorum
    }

    /// Least number of survivors in each half neighbourhood that a client accepts; 0 if none is asked for.
    #[getter]
    fn window(&self) -> u32 {
        self.0.shape().window
    }

    /// Clients assumed to work with the server.
    #[getter]
    fn corrupt(&self) -> u32 {
        self.0.shape().corrupt
    }

    /// Clients that may be lost; with more the round stops.
    #[getter]
    fn dropouts(&self) -> u32 {
        self.0.shape().dropouts
    }

    /// Whether the server may deviate from the protocol.
    #[getter]
    fn malicious_server(&self) -> bool {
        self.0.shape().malicious_server
    }

    /// b of the ring of integers modulo 2^b in which masked vectors are added.
    #[getter]
    fn modulus_bits(&self) -> u32 {
        self.0.modulus_bits()
    }

    /// Whose contribution is clipped and protected: "client" or "record".
    #[getter]
    fn unit(&self) -> &'static str {
        match self.0.unit() {
            Unit::Client => "client",
            Unit::Record { .. } => "record",
        }
    }

    /// What clients report beside their updates, by name: the largest magnitude of each.
    #[getter]
    fn metrics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let metrics = PyDict::new(py);
        self.0.metrics().iter().try_for_each(|metric| metrics.set_item(&metric.name, metric.most))?;
        Ok(metrics)
    }

    /// Whether :class:`Client` and :class:`Server` need ``beacon=``: a sparse graph against a malicious server.
    #[getter]
    fn needs_beacon(&self) -> bool {
        self.0.needs_beacon()
    }

    /// The noise that was asked for, or None.
    #[getter]
    fn noise(&self) -> Option<DistributedNoise> {
        self.0.noise().map(|plan| DistributedNoise(plan.promise().clone()))
    }

    /// Variance of one client's share of the noise, in the updates' units; 0 without noise.
    #[getter]
    fn noise_share_variance(&self) -> f64 {
        let step = self.0.clip() / self.0.top() as f64;
        self.0.noise().map_or(0.0, |plan| plan.share_variance() * step * step)
    }

    /// By how much noise is larger than it would be for real numbers, since what is added up are integers; 1 without noise,
    /// and nearly 1 on a fine grid.
    #[getter]
    fn noise_inflation(&self) -> f64 {
        self.0.noise().map_or(1.0, |plan| plan.inflation())
    }

    /// Bound on the probability that noise wraps around the ring in some coordinate: it costs accuracy, never privacy.
    #[getter]
    fn wrap_probability(&self) -> f64 {
        self.0.noise().map_or(0.0, |_| veilsum_federated::noise_share::WRAP)
    }

    fn __getnewargs_ex__<'py>(&self, py: Python<'py>) -> PyResult<((), Bound<'py, PyDict>)> {
        let arguments = self.arguments(py)?;
        if let Some(noise) = self.noise() {
            arguments.set_item("noise", noise)?;
        }
        Ok(((), arguments))
    }

    fn __eq__(&self, other: &Self) -> bool {
        *self.0 == *other.0
    }

    fn __repr__(&self) -> String {
        let shape = self.0.shape();
        format!(
            "RoundConfig(clients={}, dimension={}, corrupt={}, dropouts={}, neighbors={}, threshold={}, modulus_bits={})",
            shape.clients,
            self.dimension(),
            shape.corrupt,
            shape.dropouts,
            shape.neighbors,
            shape.threshold,
            self.modulus_bits()
        )
    }
}

/// Metrics from a mapping of names to the largest magnitudes.
fn named(metrics: &Bound<'_, PyAny>) -> PyResult<Vec<Metric>> {
    let pairs: Vec<(String, f64)> =
        metrics.call_method0("items")?.try_iter()?.map(|pair| pair?.extract()).collect::<PyResult<_>>()?;
    Ok(pairs.into_iter().map(|(name, most)| Metric { name, most }).collect())
}

/// By how much a ring of ``bits`` bits inflates noise: what noise costs on the finest grid on which the noisy sum stays in
/// the ring up to ``sigmas`` standard deviations, over what it costs for real numbers.
///
/// Parameters
/// ----------
/// clients, dimension, bits : int
///     Clients in the sum, coordinates of an update, bits of the ring.
/// noise_multiplier : float
///     Standard deviation of all the noise over the clip.
/// sigmas : float
///     Standard deviations that must not wrap.
///
/// Notes
/// -----
/// Kairouz, Liu and Steinke (2021), section 4. It is a guide to the bits that a deployment needs; :class:`RoundConfig`
/// itself lets no signal wrap, however unlikely, and says with ``noise_inflation`` what it came to.
///
/// Examples
/// --------
/// >>> from veilsum.federated import noise_inflation
/// >>> [round(noise_inflation(clients=n, dimension=2**20), 3) for n in (100, 10_000)]
/// [1.002, 1.174]
#[pyfunction]
#[pyo3(signature = (*, clients, dimension, bits = None, noise_multiplier = 1.0, sigmas = 4.0))]
pub(crate) fn noise_inflation(
    clients: &Bound<'_, PyAny>,
    dimension: &Bound<'_, PyAny>,
    bits: Option<&Bound<'_, PyAny>>,
    noise_multiplier: f64,
    sigmas: f64,
) -> PyResult<f64> {
    let bits = bits.map_or(Ok(16), |bits| whole("bits", bits))?;
    let (clients, dimension) = (whole("clients", clients)?, whole("dimension", dimension)?);
    veilsum_federated::noise_share::inflation(clients, dimension, bits, noise_multiplier, sigmas).map_err(raised)
}

impl RoundConfig {
    /// The constructor's arguments, as JSON holds them.
    pub(super) fn arguments<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let (config, setup) = (PyDict::new(py), self.0.setup());
        config.set_item("clients", setup.clients)?;
        config.set_item("dimension", setup.dimension)?;
        config.set_item("clip", setup.clip)?;
        config.set_item("value_bits", setup.value_bits)?;
        config.set_item("max_weight", setup.max_weight)?;
        config.set_item("malicious_server", setup.malicious_server)?;
        match setup.cohort {
            Cohort::Counts { corrupt, dropouts } => {
                config.set_item("corrupt", corrupt)?;
                config.set_item("dropouts", dropouts)?;
            }
            Cohort::Fractions { corrupt, dropouts } => {
                config.set_item("corrupt_fraction", corrupt)?;
                config.set_item("dropout_fraction", dropouts)?;
            }
        }
        config.set_item("unit", setup.unit.name())?;
        config.set_item("struck", setup.struck)?;
        config.set_item("metrics", self.metrics(py)?)?;
        if let Unit::Record { most } = setup.unit {
            config.set_item("max_records", most)?;
        }
        if let Some(noise) = &setup.noise {
            let exact = (noise.epsilon().rational().to_string(), noise.delta().rational().to_string(), noise.rounds());
            config.set_item("noise", exact)?;
        }
        Ok(config)
    }

    /// Reads what [`arguments`](Self::arguments) wrote.
    pub(super) fn from_arguments(py: Python<'_>, arguments: &Bound<'_, PyDict>) -> PyResult<Self> {
        let arguments = arguments.copy()?;
        if let Some(noise) = arguments.get_item("noise")? {
            let fraction = py.import("fractions")?.getattr("Fraction")?;
            let epsilon = fraction.call1((noise.get_item(0)?,))?;
            let delta = fraction.call1((noise.get_item(1)?,))?;
            let rounds = noise.get_item(2)?;
            arguments.set_item("noise", DistributedNoise::new(&epsilon, &delta, Some(&rounds))?)?;
        }
        let made = py.get_type::<Self>().call((), Some(&arguments))?;
        Ok(made.cast::<Self>()?.get().clone())
    }
}
