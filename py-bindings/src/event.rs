//! `Event`: what a release did, without its data.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyType};
use serde_json::Value;
use veilsum_dp_core::accounting;
use veilsum_dp_core::privacy::Rational;

use crate::{error, number};

/// What a release did, described by public parameters alone, for an accountant or a ledger.
///
/// Mechanisms issue events (``m.event``), and the functions of :mod:`veilsum.accounting` make them. Events compare by
/// value, hash, pickle, and go through JSON exactly.
///
/// Examples
/// --------
/// >>> from veilsum.accounting import Event
/// >>> e = Event.from_dict({"kind": "discrete_laplace", "scale": "3/2", "sensitivity": 1})
/// >>> e
/// discrete_laplace(scale=1.5, sensitivity=1)
/// >>> e.kind, e.parameters
/// ('discrete_laplace', {'scale': Fraction(3, 2), 'sensitivity': 1})
/// >>> Event.from_dict(e.to_dict()) == e
/// True
#[pyclass(frozen, eq, hash, module = "veilsum.accounting")]
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Event(pub(crate) accounting::Event);

#[pymethods]
impl Event {
    /// Read an event from what :meth:`to_dict` returned.
    ///
    /// Parameters
    /// ----------
    /// fields : dict
    ///     ``kind``, and the parameters of that kind: fractions as text, counts as integers.
    ///
    /// Raises
    /// ------
    /// VeilsumError
    ///     If the kind is unknown, a parameter is missing or one is out of its range.
    #[classmethod]
    fn from_dict(class: &Bound<'_, PyType>, fields: &Bound<'_, PyDict>) -> PyResult<Self> {
        let text: String = class.py().import("json")?.call_method1("dumps", (fields,))?.extract()?;
        let event: accounting::Event =
            serde_json::from_str(&text).map_err(|e| error::exception("ArgumentError", format!("not an event: {e}")))?;
        event.check().map_err(error::core)?;
        Ok(Self(event))
    }

    /// The event as a dictionary that JSON can hold: fractions are text, so nothing is lost.
    fn to_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let text = serde_json::to_string(&self.0).map_err(|e| error::exception("VeilsumError", e.to_string()))?;
        py.import("json")?.call_method1("loads", (text,))
    }

    /// The same release as a group of ``size`` people sees it, for any accountant.
    ///
    /// Parameters
    /// ----------
    /// size : int
    ///     How many people, at least 1.
    ///
    /// Raises
    /// ------
    /// UnsupportedEvent
    ///     For sampled and (epsilon, delta) events.
    ///
    /// Examples
    /// --------
    /// >>> from veilsum.accounting import gaussian
    /// >>> gaussian(6.0).for_group(2)
    /// gaussian(noise_multiplier=3.0)
    fn for_group(&self, size: &Bound<'_, PyAny>) -> PyResult<Self> {
        self.0.for_group(number::count("group", size)?).map(Self).map_err(error::core)
    }

    /// The kind, such as ``"gaussian"``.
    #[getter]
    fn kind(&self) -> &'static str {
        self.0.kind()
    }

    /// The parameters by name: :class:`fractions.Fraction`, ``int``, events, or pairs of event and count.
    #[getter]
    fn parameters<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let parameters = PyDict::new(py);
        match &self.0 {
            accounting::Event::Composed { events } => {
                let pairs = events.iter().map(|(event, count)| Ok((Self(event.clone()).into_pyobject(py)?, count)));
                parameters.set_item("events", PyList::new(py, pairs.collect::<PyResult<Vec<_>>>()?)?)?;
            }
            _ => {
                for (name, value) in self.fields()? {
                    match value {
                        Value::String(text) => {
                            parameters.set_item(name, number::fraction(py, &text.parse().map_err(error::core)?)?)?;
                        }
                        Value::Number(whole) => parameters.set_item(name, whole.as_u64())?,
                        nested => parameters.set_item(name, Self(parse(nested)?))?,
                    }
                }
            }
        }
        Ok(parameters)
    }

    fn __repr__(&self) -> PyResult<String> {
        if let accounting::Event::Composed { events } = &self.0 {
            let parts = events.iter().map(|(e, n)| Ok(format!("({}, {n})", Self(e.clone()).__repr__()?)));
            return Ok(format!("composed([{}])", parts.collect::<PyResult<Vec<_>>>()?.join(", ")));
        }
        let shown = self.fields()?.into_iter().map(|(name, value)| {
            Ok(match value {
                Value::String(text) => {
                    format!("{name}={:?}", text.parse::<Rational>().map_err(error::core)?.nearest())
                }
                Value::Number(whole) => format!("{name}={whole}"),
                nested => format!("{name}={}", Self(parse(nested)?).__repr__()?),
            })
        });
        Ok(format!("{}({})", self.0.kind(), shown.collect::<PyResult<Vec<_>>>()?.join(", ")))
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, (Bound<'py, PyAny>,))> {
        Ok((py.get_type::<Self>().getattr("from_dict")?, (self.to_dict(py)?,)))
    }
}

impl Event {
    /// Every field but the kind.
    fn fields(&self) -> PyResult<serde_json::Map<String, Value>> {
        let value = serde_json::to_value(&self.0).map_err(|e| error::exception("VeilsumError", e.to_string()))?;
        let Value::Object(mut fields) = value else { return Ok(serde_json::Map::new()) };
        fields.remove("kind");
        Ok(fields)
    }
}

fn parse(value: Value) -> PyResult<accounting::Event> {
    serde_json::from_value(value).map_err(|e| error::exception("ArgumentError", format!("not an event: {e}")))
}

impl From<accounting::Event> for Event {
    fn from(event: accounting::Event) -> Self {
        Self(event)
    }
}
