//! Columns as Python hands them over: NumPy arrays and Arrow chunks, held by reference.

use arrow_array::{Array as _, ArrayRef};
use numpy::{Element, PyArray1, PyArrayMethods, PyReadonlyArray1, PyUntypedArrayMethods};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use std::collections::BTreeSet;
use veilsum_dp_core::table::{self, Batch, Groups, Holds, Key, Unit, Validity, Values};

use super::{arrow, optional_key};
use crate::error;

/// Arrow rows that are made ready at once, where something has to be widened or unpacked for that.
pub(super) const ROWS_AT_ONCE: usize = 1 << 22;

/// One column.
#[pyclass(frozen, module = "veilsum._core")]
pub(crate) struct Column {
    stored: Stored,
    rows: usize,
    holds: Holds,
    type_name: String,
}

enum Stored {
    /// Values, which slots are present, and the categories that values are positions in.
    Array(Array, Option<Py<PyArray1<bool>>>, Option<Vec<Option<Key>>>),
    Chunks(Vec<ArrayRef>),
}

enum Array {
    Bool(Py<PyArray1<bool>>),
    Signed(Py<PyArray1<i64>>),
    Unsigned(Py<PyArray1<u64>>),
    Float(Py<PyArray1<f64>>),
    Codes(Py<PyArray1<u32>>),
}

#[pymethods]
impl Column {
    /// A contiguous array of bool, int64, uint64, float64, or uint32 positions in the categories. ``holds``: what its
    /// type lets it hold, "numbers", "texts" or "anything"; ``type_name``: what errors call the type.
    #[new]
    fn new(
        values: &Bound<'_, PyAny>,
        valid: Option<Bound<'_, PyArray1<bool>>>,
        categories: Option<Vec<Bound<'_, PyAny>>>,
        holds: &str,
        type_name: String,
    ) -> PyResult<Self> {
        let (array, rows) = Array::new(values)?;
        if valid.as_ref().is_some_and(|v| v.len() != rows || !v.is_c_contiguous()) {
            return Err(PyTypeError::new_err("the mask of a column must be contiguous and as long as its values"));
        }
        let holds = match holds {
            "numbers" => Holds::Numbers,
            "texts" => Holds::Texts,
            _ => Holds::Anything,
        };
        let categories = categories.map(|all| all.iter().map(optional_key).collect::<PyResult<_>>()).transpose()?;
        Ok(Self { stored: Stored::Array(array, valid.map(Bound::unbind), categories), rows, holds, type_name })
    }

    /// One Arrow column: anything whose ``__arrow_c_stream__`` is a stream of arrays.
    #[staticmethod]
    fn arrow(source: &Bound<'_, PyAny>) -> PyResult<Self> {
        let (data_type, chunks) = arrow::column(source)?;
        Ok(Self::chunks(&data_type, chunks))
    }

    fn __len__(&self) -> usize {
        self.rows
    }

    /// Whether the type holds whole numbers or truth values alone.
    #[getter]
    fn is_whole(&self) -> bool {
        match &self.stored {
            Stored::Array(Array::Bool(_) | Array::Signed(_) | Array::Unsigned(_), ..) => self.holds == Holds::Numbers,
            Stored::Array(..) => false,
            Stored::Chunks(chunks) => chunks.first().is_some_and(|chunk| arrow::is_whole(chunk.data_type())),
        }
    }
}

impl Column {
    /// At least one chunk, which may be empty: it carries the type.
    pub(super) fn chunks(data_type: &arrow_schema::DataType, mut chunks: Vec<ArrayRef>) -> Self {
        if chunks.is_empty() {
            chunks.push(arrow_array::new_empty_array(data_type));
        }
        let rows = chunks.iter().map(|chunk| chunk.len()).sum();
        Self {
            stored: Stored::Chunks(chunks),
            rows,
            holds: arrow::holds(data_type),
            type_name: arrow::type_name(data_type),
        }
    }

    /// Keeps NumPy's arrays readable while batches borrow from them.
    fn guard<'a, 'py>(&'a self, py: Python<'py>) -> PyResult<Guard<'a, 'py>> {
        let (array, valid, categories) = match &self.stored {
            Stored::Array(array, valid, categories) => (array, valid, categories),
            Stored::Chunks(chunks) => return Ok(Guard::Chunks(chunks)),
        };
        let values = match array {
            Array::Bool(v) => Borrowed::Bool(read(py, v)?),
            Array::Signed(v) => Borrowed::Signed(read(py, v)?),
            Array::Unsigned(v) => Borrowed::Unsigned(read(py, v)?),
            Array::Float(v) => Borrowed::Float(read(py, v)?),
            Array::Codes(v) => Borrowed::Codes(read(py, v)?, categories.as_deref().unwrap_or_default()),
        };
        Ok(Guard::Array(values, valid.as_ref().map(|v| read(py, v)).transpose()?))
    }
}

fn read<'py, T: Element>(py: Python<'py>, array: &Py<PyArray1<T>>) -> PyResult<PyReadonlyArray1<'py, T>> {
    array.bind(py).try_readonly().map_err(|_| PyTypeError::new_err("a column is being written to"))
}

impl Array {
    fn new(values: &Bound<'_, PyAny>) -> PyResult<(Self, usize)> {
        fn typed<'a, 'py, T: Element>(values: &'a Bound<'py, PyAny>) -> Option<&'a Bound<'py, PyArray1<T>>> {
            values.cast().ok().filter(|array| array.is_c_contiguous())
        }
        Ok(if let Some(v) = typed::<bool>(values) {
            (Self::Bool(v.clone().unbind()), v.len())
        } else if let Some(v) = typed::<i64>(values) {
            (Self::Signed(v.clone().unbind()), v.len())
        } else if let Some(v) = typed::<u64>(values) {
            (Self::Unsigned(v.clone().unbind()), v.len())
        } else if let Some(v) = typed::<f64>(values) {
            (Self::Float(v.clone().unbind()), v.len())
        } else if let Some(v) = typed::<u32>(values) {
            (Self::Codes(v.clone().unbind()), v.len())
        } else {
            return Err(PyTypeError::new_err("a column must be one-dimensional, of numbers, truth values or texts"));
        })
    }
}

enum Borrowed<'a, 'py> {
    Bool(PyReadonlyArray1<'py, bool>),
    Signed(PyReadonlyArray1<'py, i64>),
    Unsigned(PyReadonlyArray1<'py, u64>),
    Float(PyReadonlyArray1<'py, f64>),
    Codes(PyReadonlyArray1<'py, u32>, &'a [Option<Key>]),
}

enum Guard<'a, 'py> {
    Array(Borrowed<'a, 'py>, Option<PyReadonlyArray1<'py, bool>>),
    Chunks(&'a [ArrayRef]),
}

impl Guard<'_, '_> {
    /// The end of the chunk that a row is in.
    fn end(&self, row: usize) -> usize {
        let Self::Chunks(chunks) = self else { return usize::MAX };
        let mut end = 0;
        for chunk in *chunks {
            end += chunk.len();
            if row < end {
                return end;
            }
        }
        usize::MAX
    }
}

/// Columns of one length, each with a name.
#[pyclass(frozen, module = "veilsum._core")]
pub(crate) struct Table {
    rows: usize,
    columns: Vec<(String, Py<Column>)>,
}

#[pymethods]
impl Table {
    #[new]
    fn new(rows: usize, columns: Vec<(String, Py<Column>)>) -> PyResult<Self> {
        match columns.iter().find(|(_, column)| column.get().rows != rows) {
            Some((name, _)) => {
                Err(error::exception("ArgumentError", format!("column {name:?} has another length than the table")))
            }
            None => Ok(Self { rows, columns }),
        }
    }

    /// All of a table with an ``__arrow_c_stream__``, its columns by reference.
    #[staticmethod]
    fn arrow(py: Python<'_>, source: &Bound<'_, PyAny>) -> PyResult<Self> {
        let (schema, batches) = arrow::table(source)?;
        let rows = batches.iter().map(|batch| batch.num_rows()).sum();
        let column = |(i, field): (usize, &arrow_schema::FieldRef)| {
            let chunks = batches.iter().map(|batch| batch.column(i).clone()).collect();
            Ok((field.name().clone(), Py::new(py, Column::chunks(field.data_type(), chunks))?))
        };
        let columns = schema.fields().iter().enumerate().map(column).collect::<PyResult<_>>()?;
        Ok(Self { rows, columns })
    }

    #[getter]
    fn columns(&self) -> Vec<&str> {
        self.columns.iter().map(|(name, _)| name.as_str()).collect()
    }

    /// Whether a column's type holds whole numbers or truth values alone, by name.
    fn is_whole(&self, name: &str) -> bool {
        self.columns.iter().any(|(known, column)| known == name && column.get().is_whole())
    }
}

impl Table {
    /// Takes the columns that a plan needs, batch by batch, to `push`.
    pub(super) fn read(
        &self,
        py: Python<'_>,
        plan: &table::Plan,
        mut push: impl FnMut(&Batch<'_>) -> PyResult<()>,
    ) -> PyResult<()> {
        let mut guards = vec![];
        for name in needs(plan).into_iter().map(|(name, _)| name).collect::<BTreeSet<_>>() {
            let at = only(name, self.columns.iter().map(|(known, _)| known.as_str()))?;
            let column = self.columns[at].1.get();
            guards.push((name, column, column.guard(py)?));
        }
        let whole = guards.iter().all(|(_, _, guard)| matches!(guard, Guard::Array(..)));
        let mut from = 0;
        loop {
            let end = guards.iter().map(|(_, _, guard)| guard.end(from)).fold(self.rows, usize::min);
            let to = if whole { end } else { end.min(from + ROWS_AT_ONCE) };
            let mut columns = vec![];
            for (name, column, guard) in &guards {
                columns.push((*name, slice(guard, name, from, to)?.of_type(column.holds, &column.type_name)));
            }
            push(&Batch::new(to - from, columns).map_err(error::core)?)?;
            if to == self.rows {
                return Ok(());
            }
            from = to;
        }
    }
}

/// Some rows of a column, which lie in one chunk.
fn slice<'a>(guard: &'a Guard<'_, '_>, name: &str, from: usize, to: usize) -> PyResult<table::Column<'a>> {
    let (values, valid) = match guard {
        Guard::Array(values, valid) => (values, valid),
        Guard::Chunks(chunks) => {
            let mut before = 0;
            for chunk in *chunks {
                if from - before < chunk.len() || (from == to && chunk.len() == from - before) {
                    return arrow::convert(chunk.as_ref(), name, from - before, to - before);
                }
                before += chunk.len();
            }
            return Err(error::exception("ArgumentError", format!("column {name:?} changed its length")));
        }
    };
    let values = match values {
        Borrowed::Bool(v) => Values::Bool(v.as_slice()?[from..to].into()),
        Borrowed::Signed(v) => Values::Signed(v.as_slice()?[from..to].into()),
        Borrowed::Unsigned(v) => Values::Unsigned(v.as_slice()?[from..to].into()),
        Borrowed::Float(v) => Values::Float(v.as_slice()?[from..to].into()),
        Borrowed::Codes(v, keys) => Values::Coded(v.as_slice()?[from..to].into(), keys.to_vec()),
    };
    match valid {
        None => Ok(table::Column::new(values)),
        Some(valid) => {
            let valid = Validity::Bytes(valid.as_slice()?[from..to].into());
            table::Column::with_validity(values, valid).map_err(error::core)
        }
    }
}

/// What a plan reads a column for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Person,
    /// To group by, with public keys that are numbers or not.
    Key {
        numbers: bool,
    },
    Number,
}

/// The columns that a plan reads, and for what.
pub(super) fn needs(plan: &table::Plan) -> Vec<(&str, Role)> {
    let spec = plan.spec();
    let mut needs = vec![];
    if let Unit::Column(name) = &spec.unit {
        needs.push((name.as_str(), Role::Person));
    }
    match &spec.groups {
        Groups::Whole => {}
        Groups::Public { by, keys } => needs.extend(by.iter().enumerate().map(|(i, name)| {
            let numbers = keys.iter().any(|key| !matches!(key.get(i), Some(Key::Text(_)) | None));
            (name.as_str(), Role::Key { numbers })
        })),
        Groups::Private { by, .. } => {
            needs.extend(by.iter().map(|name| (name.as_str(), Role::Key { numbers: false })));
        }
    }
    needs.extend(spec.measures.iter().filter_map(|m| m.aggregate.column()).map(|name| (name, Role::Number)));
    needs
}

/// The place of a name that occurs once.
pub(super) fn only<'a>(name: &str, names: impl Iterator<Item = &'a str> + Clone) -> PyResult<usize> {
    let mut at = names.clone().enumerate().filter(|(_, known)| *known == name).map(|(i, _)| i);
    match (at.next(), at.next()) {
        (Some(i), None) => Ok(i),
        (Some(_), Some(_)) => {
            Err(error::exception("ArgumentError", format!("two columns are named {name:?}: rename one of them")))
        }
        (None, _) => {
            let names: Vec<_> = names.collect();
            Err(error::exception("ArgumentError", format!("the table has no column {name:?}: it has {names:?}")))
        }
    }
}
