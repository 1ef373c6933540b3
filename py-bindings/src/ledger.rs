//! `Ledger`: a budget in a file.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use veilsum_dp_core::ledger::{
    Amount, Budget, Entry, Head, Ledger as _, MacKey, Policy, Quiet, Spend, SqliteLedger, quiesce,
};
use veilsum_dp_core::privacy::{Delta, Epsilon, Rational};

use crate::event::Event;
use crate::{error, number};

/// A privacy budget in a file that many processes may share.
///
/// A spend is on the disk before the value that it pays for is handed out, so a crash costs budget and never privacy.
/// Rows are chained by hashes; :attr:`head` kept elsewhere pins all of them. Two ledgers over the same people add up,
/// and nobody but you can know that they do.
///
/// Examples
/// --------
/// >>> import tempfile, veilsum as vs
/// >>> folder = tempfile.TemporaryDirectory()
/// >>> path = folder.name + "/survey.ledger"
/// >>> ledger = vs.accounting.Ledger.open(path, epsilon=1.0, dataset="survey", unit="person")
/// >>> _ = ledger.spend(vs.accounting.Event.from_dict({"kind": "pure", "epsilon": "1/10"}), label="mean age")
/// >>> ledger.spent.epsilon, ledger.remaining.epsilon
/// (Fraction(1, 10), Fraction(9, 10))
/// >>> ledger.history()[0].label
/// 'mean age'
/// >>> folder.cleanup()
#[pyclass(frozen, module = "veilsum.accounting")]
#[derive(Debug)]
pub(crate) struct Ledger(pub(crate) SqliteLedger);

#[pymethods]
impl Ledger {
    /// Open the ledger at ``path``, or create it if there is no file.
    ///
    /// The whole file is verified; one that does not verify, or was made with other arguments, is refused and left as
    /// it is.
    ///
    /// Parameters
    /// ----------
    /// path : path-like
    ///     The file. A queue file and an (empty) journal appear beside it.
    /// epsilon, delta : number
    ///     The budget. Floats are read as their shortest decimal: ten spends of 0.1 fit into 1.0.
    /// dataset, unit : str
    ///     What is protected, and whose privacy is counted: public text.
    /// neighbors : {"add-remove", "replace-one", "zero-out"}
    ///     When two data sets are neighbours.
    /// filter : {"pure", "basic", "zcdp"}, optional
    ///     How spends add up, fixed at creation. "pure" sums epsilons, "basic" also sums deltas, "zcdp" (the default if
    ///     ``delta`` is positive) sums Renyi divergences at one order, which is far less than the sum of epsilons when
    ///     there are many small spends.
    /// event_delta : number, optional
    ///     For "zcdp": the part of ``delta`` for events that have a delta of their own; half of it by default.
    /// mac_key : bytes, optional
    ///     32 random bytes (``secrets.token_bytes(32)``), kept elsewhere. Rows are then chained by HMAC-SHA-256 under this
    ///     key: the file is refused without it, and nobody without it can write rows that verify.
    ///
    /// Raises
    /// ------
    /// LedgerError
    ///     If the file was made with other arguments, does not verify, or cannot be written.
    #[staticmethod]
    #[pyo3(
        signature = (path, *, epsilon, delta=None, dataset="", unit="", neighbors="add-remove", filter=None, event_delta=None, mac_key=None),
        text_signature = "(path, *, epsilon, delta=0.0, dataset='', unit='', neighbors='add-remove', filter=None, event_delta=None, mac_key=None)"
    )]
    #[expect(clippy::too_many_arguments, reason = "keyword arguments of Python")]
    fn open(
        py: Python<'_>,
        path: PathBuf,
        epsilon: &Bound<'_, PyAny>,
        delta: Option<&Bound<'_, PyAny>>,
        dataset: &str,
        unit: &str,
        neighbors: &str,
        filter: Option<&str>,
        event_delta: Option<&Bound<'_, PyAny>>,
        mac_key: Option<&[u8]>,
    ) -> PyResult<Self> {
        let epsilon = Epsilon::new(number::decimal("epsilon", epsilon)?).map_err(error::core)?;
        let delta = delta.map_or_else(|| Ok(Rational::zero()), |delta| number::decimal("delta", delta))?;
        let delta = Delta::new(delta).map_err(error::core)?;
        let event_delta = event_delta.map(|delta| number::decimal("event_delta", delta)).transpose()?;
        let budget = budget(epsilon, delta, filter, event_delta)?;
        let neighbors = neighbors.parse().map_err(error::core)?;
        let policy = Policy { dataset: dataset.into(), unit: unit.into(), neighbors, budget };
        let key = mac_key.map(MacKey::new).transpose().map_err(error::core)?;
        py.detach(|| match key {
            Some(key) => SqliteLedger::open_authenticated(path, policy, key),
            None => SqliteLedger::open(path, policy),
        })
        .map(Self)
        .map_err(error::core)
    }

    /// Open an existing ledger to look at it. Spending is refused, and the file may be read-only.
    ///
    /// Parameters
    /// ----------
    /// path : path-like
    ///     The file.
    /// mac_key : bytes, optional
    ///     The key that it was made with, if any.
    ///
    /// Raises
    /// ------
    /// LedgerError
    ///     If the file does not verify, cannot be read or is not a ledger.
    #[staticmethod]
    #[pyo3(signature = (path, *, mac_key=None))]
    fn inspect(py: Python<'_>, path: PathBuf, mac_key: Option<&[u8]>) -> PyResult<Self> {
        let key = mac_key.map(MacKey::new).transpose().map_err(error::core)?;
        py.detach(|| match key {
            Some(key) => SqliteLedger::inspect_authenticated(path, key),
            None => SqliteLedger::inspect(path),
        })
        .map(Self)
        .map_err(error::core)
    }

    /// Pay for one event. When this returns, the spend is on the disk.
    ///
    /// Parameters
    /// ----------
    /// event : Event
    ///     What is about to be released.
    /// label : str
    ///     What for: public text.
    /// key : str, optional
    ///     The same spend under the same key is charged once, so that a notebook cell can run twice.
    /// provenance : dict of str to str, optional
    ///     Parameters and where they came from: public text.
    ///
    /// Returns
    /// -------
    /// int
    ///     The row that records the spend.
    ///
    /// Raises
    /// ------
    /// BudgetExceeded
    ///     If the budget does not cover the event. Nothing was spent.
    /// UnsupportedEvent
    ///     If the ledger's filter cannot bound the event. Nothing was spent.
    #[pyo3(signature = (event, *, label="", key=None, provenance=None))]
    fn spend(
        &self,
        py: Python<'_>,
        event: &Event,
        label: &str,
        key: Option<&str>,
        provenance: Option<BTreeMap<String, String>>,
    ) -> PyResult<u64> {
        let spend = spend(event, label, key, provenance.unwrap_or_default());
        py.detach(|| self.0.spend(&spend)).map(|receipt| receipt.row).map_err(error::core)
    }

    /// Pay for a release by ``mechanism``, then make it.
    ///
    /// With a key, the answer is stored under it before it is handed out; the same call made again, by any process,
    /// returns that answer and spends nothing.
    ///
    /// Parameters
    /// ----------
    /// mechanism : object
    ///     Anything with an ``event`` and a ``release(x)``, such as :class:`veilsum.dp.Laplace`.
    /// x : scalar or array-like
    ///     The private value.
    /// label : str
    ///     What for: public text.
    /// key : str, optional
    ///     See :meth:`spend`.
    ///
    /// Returns
    /// -------
    /// scalar or numpy.ndarray
    ///     What ``mechanism.release(x)`` returned.
    ///
    /// Raises
    /// ------
    /// BudgetExceeded
    ///     If the budget does not cover the event. Nothing was spent and nothing released.
    #[pyo3(signature = (mechanism, x, *, label="", key=None))]
    fn release<'py>(
        &self,
        mechanism: &Bound<'py, PyAny>,
        x: &Bound<'py, PyAny>,
        label: &str,
        key: Option<&str>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = x.py();
        let answers = py.import("veilsum._ledger")?;
        answers.call_method1("check_input", (mechanism, x))?;
        let event = mechanism.getattr("event")?;
        let event = event.cast::<Event>()?.get();
        let provenance = BTreeMap::from([("mechanism".to_owned(), mechanism.repr()?.to_string())]);
        let spend = spend(event, label, key, provenance);
        if key.is_none() {
            py.detach(|| self.0.spend(&spend)).map_err(error::core)?;
            return mechanism.call_method1("release", (x,));
        }
        let (mechanism, x) = (mechanism.clone().unbind(), x.clone().unbind());
        let mut failed = None;
        let outcome = py.detach(|| {
            self.0.release(&spend, &mut || {
                Python::attach(|py| {
                    let pack = || {
                        let released = mechanism.call_method1(py, "release", (&x,))?;
                        answers_of(py)?.call_method1("pack", (released,))?.extract::<Vec<u8>>()
                    };
                    pack().map_err(|error| {
                        // What is returned here is only a sign to stop: the exception itself is raised below.
                        failed = Some(error);
                        veilsum_dp_core::Error::Entropy
                    })
                })
            })
        });
        match (failed, outcome) {
            (Some(error), _) => Err(error),
            (None, Err(error)) => Err(error::core(error)),
            (None, Ok(answer)) => answers.call_method1("unpack", (PyBytes::new(py, &answer.bytes),)),
        }
    }

    /// What everything so far adds up to: ``.epsilon`` and ``.delta`` as fractions, never below the exact sums.
    #[getter]
    fn spent<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        amount(py, &py.detach(|| self.0.spent()).map_err(error::core)?)
    }

    /// The budget less what was spent.
    #[getter]
    fn remaining<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        amount(py, &py.detach(|| self.0.remaining()).map_err(error::core)?)
    }

    /// The whole budget.
    #[getter]
    fn budget<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        amount(py, &self.0.policy().budget.total())
    }

    /// How far the sum that the filter bounds may go: of epsilons, or of Renyi divergences for "zcdp".
    #[getter]
    fn limit<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        match &self.0.policy().budget {
            Budget::Zcdp(zcdp) => number::fraction(py, zcdp.filter().limit()),
            plain => number::fraction(py, &plain.total().epsilon),
        }
    }

    /// Every spend, oldest first.
    ///
    /// Returns
    /// -------
    /// list of Entry
    ///     Each with ``row``, ``time``, ``label``, ``key``, ``event``, ``cost``, ``provenance`` and ``version``.
    fn history<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let entries = py.detach(|| self.0.history()).map_err(error::core)?;
        let class = answers_of(py)?.getattr("Entry")?;
        let entries: Vec<_> = entries.into_iter().map(|e| entry(&class, e)).collect::<PyResult<_>>()?;
        PyList::new(py, entries)
    }

    /// The last row and its hash, as text: kept elsewhere, it pins everything up to here.
    #[getter]
    fn head(&self, py: Python<'_>) -> PyResult<String> {
        py.detach(|| self.0.head()).map(|head| head.to_string()).map_err(error::core)
    }

    /// Recompute every hash, charge and sum.
    ///
    /// Parameters
    /// ----------
    /// head : str, optional
    ///     A :attr:`head` that was kept elsewhere: the ledger must still continue it. Without one, a cut end or an old
    ///     copy put back cannot be seen.
    ///
    /// Raises
    /// ------
    /// LedgerError
    ///     Names the first row that was changed, removed or moved.
    #[pyo3(signature = (head=None))]
    fn verify(&self, py: Python<'_>, head: Option<&str>) -> PyResult<()> {
        let head: Option<Head> = head.map(str::parse).transpose().map_err(error::core)?;
        py.detach(|| self.0.verify(head.as_ref())).map_err(error::core)
    }

    /// Draw the budget over time (needs matplotlib).
    ///
    /// Parameters
    /// ----------
    /// ax : matplotlib.axes.Axes, optional
    ///     Where to draw; a new figure by default.
    ///
    /// Returns
    /// -------
    /// matplotlib.axes.Axes
    #[pyo3(signature = (ax=None))]
    fn plot<'py>(slf: &Bound<'py, Self>, ax: Option<&Bound<'py, PyAny>>) -> PyResult<Bound<'py, PyAny>> {
        answers_of(slf.py())?.call_method1("plot", (slf, ax))
    }

    /// Where the ledger is.
    #[getter]
    fn path(&self) -> PathBuf {
        self.0.path().to_owned()
    }

    /// The data set's name.
    #[getter]
    fn dataset(&self) -> &str {
        &self.0.policy().dataset
    }

    /// Whose privacy is counted.
    #[getter]
    fn unit(&self) -> &str {
        &self.0.policy().unit
    }

    /// When two data sets are neighbours.
    #[getter]
    fn neighbors(&self) -> &'static str {
        self.0.policy().neighbors.name()
    }

    /// How spends add up: "pure", "basic" or "zcdp".
    #[getter]
    fn filter(&self) -> &'static str {
        self.0.policy().budget.rule()
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        answers_of(slf.py())?.call_method1("text", (slf,))?.extract()
    }

    fn _repr_html_(slf: &Bound<'_, Self>) -> PyResult<String> {
        answers_of(slf.py())?.call_method1("html", (slf,))?.extract()
    }
}

fn budget(epsilon: Epsilon, delta: Delta, filter: Option<&str>, event_delta: Option<Rational>) -> PyResult<Budget> {
    let has_delta = delta.rational().is_positive();
    let refused = |text: String| Err(error::exception("ArgumentError", text));
    let filter = filter.unwrap_or(if has_delta { "zcdp" } else { "pure" });
    if event_delta.is_some() && filter != "zcdp" {
        return refused(format!("event_delta is for the \"zcdp\" filter, and this ledger's is {filter:?}"));
    }
    match (filter, event_delta) {
        ("pure", _) if has_delta => refused(format!(
            "delta is {delta}: a \"pure\" ledger has none; leave it out, or choose \"zcdp\" or \"basic\""
        )),
        ("pure", _) => Ok(Budget::Pure { epsilon }),
        ("basic", _) => Ok(Budget::Basic { epsilon, delta }),
        ("zcdp", None) => Budget::zcdp(epsilon, delta).map_err(error::core),
        ("zcdp", Some(part)) => Budget::zcdp_with_event_delta(epsilon, delta, part).map_err(error::core),
        (other, _) => {
            let shown: String = other.chars().take(64).collect();
            refused(format!("filter is {shown:?}: it must be \"pure\", \"basic\" or \"zcdp\""))
        }
    }
}

fn spend(event: &Event, label: &str, key: Option<&str>, provenance: BTreeMap<String, String>) -> Spend {
    let spend = Spend::new(event.0.clone()).label(label);
    let spend = provenance.into_iter().fold(spend, |spend, (name, value)| spend.provenance(name, value));
    match key {
        Some(key) => spend.key(key),
        None => spend,
    }
}

fn answers_of(py: Python<'_>) -> PyResult<Bound<'_, PyModule>> {
    py.import("veilsum._ledger")
}

/// `(epsilon, delta)` as Python has it.
pub(crate) fn amount<'py>(py: Python<'py>, amount: &Amount) -> PyResult<Bound<'py, PyAny>> {
    let parts = (number::fraction(py, &amount.epsilon)?, number::fraction(py, &amount.delta)?);
    answers_of(py)?.getattr("Amount")?.call1(parts)
}

fn entry<'py>(class: &Bound<'py, PyAny>, entry: Entry) -> PyResult<Bound<'py, PyAny>> {
    let py = class.py();
    let cost = PyDict::new(py);
    let charge = entry.charge;
    let measures =
        [("epsilon", charge.epsilon), ("delta", Some(charge.delta)), ("rho", charge.rho), ("renyi", charge.renyi)];
    for (name, value) in measures {
        if let Some(value) = value {
            cost.set_item(name, number::fraction(py, &value)?)?;
        }
    }
    let fields = PyDict::new(py);
    fields.set_item("row", entry.row)?;
    fields.set_item("milliseconds", entry.time)?;
    fields.set_item("label", entry.label)?;
    fields.set_item("key", entry.key)?;
    fields.set_item("event", Event(entry.event))?;
    fields.set_item("cost", cost)?;
    fields.set_item("provenance", entry.provenance)?;
    fields.set_item("version", entry.version)?;
    class.call((), Some(&fields))
}

thread_local! {
    static HELD: RefCell<Vec<Quiet>> = const { RefCell::new(Vec::new()) };
}

/// Wait for the ledger calls of this process and hold off new ones: before a fork.
#[pyfunction]
pub(crate) fn ledger_quiesce(py: Python<'_>) {
    py.detach(|| HELD.with_borrow_mut(|held| held.push(quiesce())));
}

/// Let ledger calls run again: after a fork, in the parent and in the child.
#[pyfunction]
pub(crate) fn ledger_resume() {
    HELD.with_borrow_mut(Vec::pop);
}
