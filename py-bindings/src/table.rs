//! Private tables: columns in, plans and releases out.

mod arrow;
mod columns;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyInt, PyString, PyTuple};
use std::collections::BTreeMap;
use std::sync::Arc;
use veilsum_dp_core::domain::Bounds;
use veilsum_dp_core::ledger::Ledger as _;
use veilsum_dp_core::mechanism::noiseless::is_noiseless;
use veilsum_dp_core::privacy::{Delta, Epsilon, Positive, Rational};
use veilsum_dp_core::table::{
    self, Aggregate, Batch, Builder, Groups, Key, Limits, Measure, Noise, Range, Spec, Unit, Value,
};
use veilsum_dp_core::{Error, sensitivity::Neighbors};

use crate::event::Event;
use crate::ledger::Ledger;
use crate::{error, number};

pub(crate) use columns::{Column, Table};

/// Rows between two looks at Ctrl-C.
const ROWS_AT_ONCE: usize = 1 << 22;

/// A key as Python holds it; missing values are an error.
fn key(value: &Bound<'_, PyAny>) -> PyResult<Key> {
    optional_key(value)?.ok_or_else(|| {
        error::exception(
            "ArgumentError",
            "None, NaN and infinities cannot be keys: rows without a key are dropped".into(),
        )
    })
}

fn optional_key(value: &Bound<'_, PyAny>) -> PyResult<Option<Key>> {
    if value.is_none() {
        return Ok(None);
    }
    if let Ok(truth) = value.cast::<PyBool>() {
        return Ok(Some(Key::Int(truth.is_true().into())));
    }
    if value.is_instance_of::<PyInt>() {
        return value.extract().map(|int| Some(Key::Int(int))).map_err(|_| {
            error::exception("ArgumentError", "a key is beyond 2^127: use texts for such identifiers".into())
        });
    }
    if let Ok(float) = value.cast::<PyFloat>() {
        return Ok(Key::from_f64(float.value()));
    }
    if let Ok(text) = value.cast::<PyString>() {
        // A lone surrogate is not text: missing.
        return Ok(text.to_str().ok().map(|text| Key::Text(text.to_owned())));
    }
    // NumPy's scalars.
    match value.call_method0("item") {
        Ok(plain) if !plain.is(value) && plain.get_type().is(value.get_type()) => Ok(None),
        Ok(plain) => optional_key(&plain),
        Err(_) => Err(PyTypeError::new_err(format!(
            "a key cannot be {}: keys are texts, numbers and truth values",
            value.get_type().name()?
        ))),
    }
}

fn to_python<'py>(py: Python<'py>, key: &Key) -> PyResult<Bound<'py, PyAny>> {
    match key {
        Key::Int(value) => Ok(value.into_pyobject(py)?.into_any()),
        Key::Float(value) => Ok(value.into_pyobject(py)?.into_any()),
        Key::Text(value) => Ok(value.into_pyobject(py)?.into_any()),
    }
}

fn tuples<'py>(py: Python<'py>, keys: &[Vec<Key>]) -> PyResult<Vec<Bound<'py, PyTuple>>> {
    let tuple =
        |key: &Vec<Key>| PyTuple::new(py, key.iter().map(|part| to_python(py, part)).collect::<PyResult<Vec<_>>>()?);
    keys.iter().map(tuple).collect()
}

/// A plan: what is computed and what it costs, before any data.
#[pyclass(frozen, name = "Plan", module = "veilsum._core")]
pub(crate) struct Plan(Arc<table::Plan>);

fn epsilon(value: &Bound<'_, PyAny>) -> PyResult<Epsilon> {
    Epsilon::new(number::decimal("epsilon", value)?).map_err(error::core)
}

fn delta(value: &Bound<'_, PyAny>) -> PyResult<Delta> {
    Delta::new(number::decimal("delta", value)?).map_err(error::core)
}

#[pymethods]
impl Plan {
    /// ``unit``: a column or None; ``limits``: (rows, groups or None, rows a group or None) or None for rows; ``by``:
    /// columns or None; ``keys``: tuples or None; ``measures``: dictionaries, see ``_table.py``. Measures without an
    /// epsilon share what is left of the total by weight, and so does the choice of unknown keys. ``noise``: "laplace", or
    /// "gaussian", where all have weights and ``delta`` is for everything, half of it for the choice of unknown keys.
    #[new]
    #[pyo3(signature = (*, unit, neighbors, limits, by, keys, measures, epsilon, delta, selection, noise, seed))]
    #[expect(clippy::too_many_arguments, reason = "one call from _table.py, all by name")]
    fn new(
        unit: Option<String>,
        neighbors: &str,
        limits: Option<(u32, Option<u32>, Option<u32>)>,
        by: Option<Vec<String>>,
        keys: Option<Vec<Vec<Bound<'_, PyAny>>>>,
        measures: Vec<Bound<'_, PyDict>>,
        epsilon: &Bound<'_, PyAny>,
        delta: &Bound<'_, PyAny>,
        selection: Option<&Bound<'_, PyAny>>,
        noise: &str,
        seed: [u8; 16],
    ) -> PyResult<Self> {
        let neighbors: Neighbors = neighbors.parse().map_err(error::core)?;
        let limits = match limits {
            None => Limits::one_row(),
            Some((rows, groups, per_group)) => Limits::new(rows, groups, per_group).map_err(error::core)?,
        };
        let private = by.is_some() && keys.is_none();
        let mut wants = measures.iter().map(Want::of_measure).collect::<PyResult<Vec<_>>>()?;
        if private {
            wants.push(Want::of_selection(selection)?);
        }
        let (epsilon, delta) = (self::epsilon(epsilon)?, self::delta(delta)?);
        let (noise, delta) = match noise {
            "laplace" => (Noise::Laplace, delta),
            "gaussian" => {
                let half = Delta::new(delta.rational().halved()).map_err(error::core)?;
                let (ours, theirs) = if private { (half.clone(), half) } else { (delta.clone(), delta) };
                (Noise::Gaussian { epsilon: epsilon.clone(), delta: ours }, theirs)
            }
            other => {
                let shown: String = other.chars().take(64).collect();
                return Err(error::core(Error::OutOfRange {
                    what: "noise",
                    value: format!("{shown:?}"),
                    bound: "\"laplace\" or \"gaussian\"",
                }));
            }
        };
        let mut shares = match &noise {
            Noise::Laplace => allot(epsilon, &wants)?,
            Noise::Gaussian { epsilon, delta } => {
                table::split_gaussian(epsilon, delta, &weights(wants)?).map_err(error::core)?
            }
        };
        let groups = match (by, keys) {
            (None, _) => Groups::Whole,
            (Some(by), Some(keys)) => {
                let read = |parts: &Vec<Bound<'_, PyAny>>| parts.iter().map(key).collect::<PyResult<Vec<_>>>();
                Groups::Public { by, keys: keys.iter().map(read).collect::<PyResult<_>>()? }
            }
            (Some(by), None) => {
                let epsilon = shares.pop().ok_or_else(nothing)?;
                Groups::Private { by, epsilon, delta }
            }
        };
        let measures = measures.iter().zip(shares).map(|(m, epsilon)| measure(m, epsilon)).collect::<PyResult<_>>()?;
        let unit = unit.map_or(Unit::Row, Unit::Column);
        let seed = if is_noiseless() { [0; 16] } else { seed };
        let spec = Spec { unit, neighbors, limits, groups, measures, noise, seed };
        table::Plan::new(spec).map(|plan| Self(Arc::new(plan))).map_err(error::core)
    }

    /// Reads what ``to_json`` wrote.
    #[staticmethod]
    fn from_json(text: &str) -> PyResult<Self> {
        table::Plan::from_json(text).map(|plan| Self(Arc::new(plan))).map_err(error::core)
    }

    fn to_json(&self) -> String {
        self.0.to_json()
    }

    /// About how many bytes of memory a row takes while a file is read.
    #[getter]
    fn row_bytes(&self) -> usize {
        self.0.row_bytes()
    }

    /// The hash that names the plan, in hexadecimal.
    #[getter]
    fn hash(&self) -> String {
        self.0.hash().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[getter]
    fn event(&self) -> Event {
        Event(self.0.event())
    }

    /// What this ledger is charged for a release.
    fn event_for(&self, ledger: &Ledger) -> Event {
        Event(self.0.event_under(&ledger.0.policy().budget))
    }

    /// What a ledger notes about a release: public parameters, and who stated them.
    #[getter]
    fn provenance(&self) -> BTreeMap<String, String> {
        self.0.provenance()
    }

    fn cost<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
        let (epsilon, delta) = self.0.cost();
        Ok((number::fraction(py, &epsilon)?, number::fraction(py, &delta)?))
    }

    fn measure_cost<'py>(&self, py: Python<'py>, measure: usize) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
        let (epsilon, delta) = self.0.measure_cost(measure).ok_or_else(nothing)?;
        Ok((number::fraction(py, &epsilon)?, number::fraction(py, &delta)?))
    }

    fn scale(&self, measure: usize) -> PyResult<f64> {
        self.0.scale(measure).ok_or_else(nothing)
    }

    /// JSON: for each measure its epsilon, scale and the error that noise exceeds with probability 5 %.
    #[pyo3(signature = (rows=None))]
    fn forecast(&self, rows: Option<u64>) -> PyResult<String> {
        let forecast = self.0.forecast(rows).map_err(error::core)?;
        serde_json::to_string(&forecast).map_err(|e| error::exception("VeilsumError", e.to_string()))
    }

    /// The public keys, if there are some.
    #[getter]
    fn keys<'py>(&self, py: Python<'py>) -> PyResult<Option<Vec<Bound<'py, PyTuple>>>> {
        match &self.0.spec().groups {
            Groups::Public { keys, .. } => tuples(py, keys).map(Some),
            _ => Ok(None),
        }
    }

    /// What the plan reads, as (column, role); a role is "person", "key" or "number".
    #[getter]
    fn needs(&self) -> Vec<(&str, &str)> {
        let named = |(name, role)| {
            let role = match role {
                columns::Role::Person => "person",
                columns::Role::Key { .. } => "key",
                columns::Role::Number => "number",
            };
            (name, role)
        };
        columns::needs(&self.0).into_iter().map(named).collect()
    }

    /// The exact sums over a table, or over a stream of tables (anything with ``__arrow_c_stream__``), which is read
    /// once and not kept: raw data. ``part``: (index, count) of the people owned. ``untyped``: binary columns are the
    /// fields of a text file.
    #[pyo3(signature = (source, part, threads, untyped=false))]
    fn partial<'py>(
        &self,
        py: Python<'py>,
        source: &Bound<'py, PyAny>,
        part: (u32, u32),
        threads: usize,
        untyped: bool,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let range = Range::part(part.0, part.1).map_err(error::core)?;
        let mut builder = Builder::new(&self.0, range, threads);
        let push = |batch: &Batch<'_>| {
            let mut from = 0;
            loop {
                let to = batch.rows().min(from + ROWS_AT_ONCE);
                py.detach(|| builder.push_rows(batch, from..to)).map_err(error::core)?;
                py.check_signals()?;
                if to == batch.rows() {
                    return Ok(());
                }
                from = to;
            }
        };
        match source.cast::<Table>() {
            Ok(table) => table.get().read(py, &self.0, push)?,
            Err(_) => arrow::read(source, &self.0, untyped, push)?,
        }
        let bytes = py.detach(|| builder.finish().to_bytes());
        Ok(PyBytes::new(py, &bytes))
    }

    /// Adds noise, once, after ``pay`` returned. ``budget`` is charged too, if given.
    fn release(
        &self,
        py: Python<'_>,
        partial: &[u8],
        budget: Option<&Budget>,
        pay: &Bound<'_, PyAny>,
    ) -> PyResult<Release> {
        let partial = py.detach(|| table::Partial::from_bytes(partial)).map_err(error::core)?;
        let mut refused = None;
        let charge = || {
            pay.call0().map(drop).map_err(|refusal| {
                refused = Some(refusal);
                Error::Table("the ledger refused".into())
            })
        };
        let release = match budget {
            None => self.0.release_after(partial, charge),
            Some(budget) => budget.0.release(&self.0, partial, charge),
        };
        match (release, refused) {
            (Ok(release), _) => Ok(Release(release)),
            (Err(_), Some(refusal)) => Err(refusal),
            (Err(other), None) => Err(error::core(other)),
        }
    }
}

fn nothing() -> PyErr {
    error::exception("ArgumentError", "there is no such aggregate in this plan".into())
}

/// What an aggregate asks of the total: a fixed epsilon, or a weight.
enum Want {
    Fixed(Epsilon),
    Weight(Positive),
}

impl Want {
    fn of_measure(measure: &Bound<'_, PyDict>) -> PyResult<Self> {
        if let Some(fixed) = present(measure, "epsilon")? {
            return epsilon(&fixed).map(Self::Fixed);
        }
        if let Some(weight) = present(measure, "weight")? {
            let weight = Positive::new("weight", number::decimal("weight", &weight)?);
            return weight.map(Self::Weight).map_err(error::core);
        }
        aggregate(measure).map(|aggregate| Self::Weight(aggregate.difficulty()))
    }

    fn of_selection(fixed: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        fixed.map_or_else(|| Ok(Self::Weight(Positive::one())), |fixed| epsilon(fixed).map(Self::Fixed))
    }
}

/// Weights alone: what an aggregate's epsilon would be where concentrated privacy adds up is not what anyone expects.
fn weights(wants: Vec<Want>) -> PyResult<Vec<Positive>> {
    let weight = |want| {
        match want {
        Want::Weight(weight) => Ok(weight),
        Want::Fixed(_) => Err(error::exception(
            "ArgumentError",
            "with Gaussian noise the parts of a plan share its epsilon and delta as a whole: give them weight=, not epsilon"
                .into(),
        )),
    }
    };
    wants.into_iter().map(weight).collect()
}

fn allot(total: Epsilon, wants: &[Want]) -> PyResult<Vec<Epsilon>> {
    let fixed = wants.iter().filter_map(|want| match want {
        Want::Fixed(epsilon) => Some(epsilon.rational().clone()),
        Want::Weight(_) => None,
    });
    let rest = total.rational() - &fixed.fold(Rational::zero(), |sum, epsilon| sum + epsilon);
    let weights: Vec<Positive> = wants
        .iter()
        .filter_map(|want| match want {
            Want::Fixed(_) => None,
            Want::Weight(weight) => Some(weight.clone()),
        })
        .collect();
    let mut shared = match weights.is_empty() {
        true if rest.is_negative() => return Err(over(&total)),
        true => vec![],
        false => {
            let rest = Epsilon::new(rest).map_err(|_| over(&total))?;
            table::split(&rest, &weights).map_err(error::core)?
        }
    }
    .into_iter();
    let allotted = wants.iter().map(|want| match want {
        Want::Fixed(epsilon) => Some(epsilon.clone()),
        Want::Weight(_) => shared.next(),
    });
    allotted.collect::<Option<_>>().ok_or_else(nothing)
}

fn over(total: &Epsilon) -> PyErr {
    error::exception("ArgumentError", format!("the aggregates ask for more than the plan's epsilon of {total}"))
}

fn present<'py>(fields: &Bound<'py, PyDict>, name: &str) -> PyResult<Option<Bound<'py, PyAny>>> {
    Ok(fields.get_item(name)?.filter(|value| !value.is_none()))
}

fn measure(fields: &Bound<'_, PyDict>, epsilon: Epsilon) -> PyResult<Measure> {
    let name = present(fields, "name")?.ok_or_else(nothing)?.extract()?;
    Ok(Measure { name, aggregate: aggregate(fields)?, epsilon })
}

fn aggregate(fields: &Bound<'_, PyDict>) -> PyResult<Aggregate> {
    let kind: String = present(fields, "kind")?.ok_or_else(nothing)?.extract()?;
    match kind.as_str() {
        "count" => return Ok(Aggregate::Rows),
        "count_units" => return Ok(Aggregate::People),
        _ => {}
    }
    let column = present(fields, "column")?.ok_or_else(nothing)?.extract()?;
    let bounds = present(fields, "bounds")?.ok_or_else(nothing)?;
    let (lower, upper) = bounds.extract::<(Bound<'_, PyAny>, Bound<'_, PyAny>)>()?;
    let bounds = Bounds::new(number::float(&lower)?, number::float(&upper)?).map_err(error::core)?;
    let rational = |name| present(fields, name)?.map(|value| number::decimal(name, &value)).transpose();
    Ok(match kind.as_str() {
        "sum" => Aggregate::Sum { column, bounds },
        "mean" => Aggregate::Mean { column, bounds },
        "variance" => Aggregate::Variance { column, bounds },
        _ => {
            let at: Vec<Bound<'_, PyAny>> = present(fields, "q")?.ok_or_else(nothing)?.extract()?;
            let step = rational("step")?.map(|step| Positive::new("step", step)).transpose().map_err(error::core)?;
            let at = at.iter().map(|q| number::decimal("q", q)).collect::<PyResult<_>>()?;
            Aggregate::Quantiles { column, bounds, at, step, interval: rational("confidence")? }
        }
    })
}

/// The budget of a session.
#[pyclass(frozen, name = "SessionBudget", module = "veilsum._core")]
pub(crate) struct Budget(table::Session);

#[pymethods]
impl Budget {
    #[new]
    fn new(epsilon: &Bound<'_, PyAny>, delta: &Bound<'_, PyAny>) -> PyResult<Self> {
        Ok(Self(table::Session::new(self::epsilon(epsilon)?, self::delta(delta)?)))
    }

    fn spent<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
        let (epsilon, delta) = self.0.spent();
        Ok((number::fraction(py, &epsilon)?, number::fraction(py, &delta)?))
    }

    fn remaining<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
        let (epsilon, delta) = self.0.remaining();
        Ok((number::fraction(py, &epsilon)?, number::fraction(py, &delta)?))
    }

    /// Raises if the plan does not fit, before any work.
    fn covers(&self, plan: &Plan) -> PyResult<()> {
        self.0.covers(&plan.0).map_err(error::core)
    }
}

/// What a plan published.
#[pyclass(frozen, name = "TableRelease", module = "veilsum._core")]
pub(crate) struct Release(table::Release);

#[pymethods]
impl Release {
    #[getter]
    fn noiseless(&self) -> bool {
        self.0.is_noiseless()
    }

    /// One tuple a group, of one value a grouping column.
    #[getter]
    fn keys<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyTuple>>> {
        tuples(py, self.0.keys())
    }

    fn value<'py>(&self, py: Python<'py>, measure: usize, group: usize) -> PyResult<Bound<'py, PyAny>> {
        Ok(match self.0.value(measure, group).ok_or_else(nothing)? {
            Value::Count(count) => count.into_pyobject(py)?.into_any(),
            Value::Number(number) => number.into_pyobject(py)?.into_any(),
            Value::Numbers(numbers) => numbers.into_pyobject(py)?.into_any(),
        })
    }

    fn interval(
        &self,
        measure: usize,
        group: usize,
        #[pyo3(from_py_with = number::float)] confidence: f64,
    ) -> PyResult<Vec<(f64, f64)>> {
        self.0.interval(measure, group, confidence).map_err(error::core)
    }

    fn scale(&self, measure: usize) -> PyResult<f64> {
        self.0.scale(measure).ok_or_else(nothing)
    }

    fn grid(&self, measure: usize) -> PyResult<f64> {
        self.0.grid(measure).ok_or_else(nothing)
    }

    fn event(&self, measure: usize) -> Event {
        Event(self.0.event(measure))
    }

    #[getter]
    fn selection_event(&self) -> Option<Event> {
        self.0.selection_event().map(Event)
    }
}

/// The union of two partials of one plan.
#[pyfunction]
pub(crate) fn merge_partials<'py>(py: Python<'py>, a: &[u8], b: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
    let merged = py.detach(|| Ok(table::Partial::from_bytes(a)?.merge(table::Partial::from_bytes(b)?)?.to_bytes()));
    Ok(PyBytes::new(py, &merged.map_err(error::core)?))
}
