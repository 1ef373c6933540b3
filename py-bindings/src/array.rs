//! NumPy arrays in and out: every input becomes an array of our own, and each of its elements is read once.
//!
//! NumPy makes the copy, which then becomes the output in place. So validation and noise see the very same values, even
//! if another thread writes to the caller's array meanwhile, and no memory is used beyond the output.

use numpy::{PyArrayDescrMethods, PyArrayDyn, PyArrayMethods, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple};

use crate::error;

/// A fresh array of floats, C-contiguous, of the input's shape.
pub(crate) fn floats<'py>(x: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyArrayDyn<f64>>> {
    let array = array(x)?;
    match kind(&array) {
        (b'f', ..=8) | (b'b', _) | (b'i' | b'u', ..=4) => copy(&array, "float64"),
        (b'i', _) => {
            converted(&copy::<i64>(&array, "int64")?, |&v| (v as f64 as i128 == i128::from(v)).then_some(v as f64))
        }
        (b'u', ..=8) => {
            converted(&copy::<u64>(&array, "uint64")?, |&v| (v as f64 as u128 == u128::from(v)).then_some(v as f64))
        }
        _ => Err(wrong_type(&array)),
    }
}

/// A fresh array of integers, C-contiguous, of the input's shape.
pub(crate) fn integers<'py>(x: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyArrayDyn<i64>>> {
    let array = array(x)?;
    match kind(&array) {
        (b'b' | b'i', _) | (b'u', ..=4) => copy(&array, "int64"),
        (b'u', ..=8) => converted(&copy::<u64>(&array, "uint64")?, |&v| i64::try_from(v).ok()),
        (b'f', ..=8) => converted(&copy::<f64>(&array, "float64")?, |&v| whole(v)),
        _ => Err(wrong_type(&array)),
    }
}

/// A float that is an `i64`.
pub(crate) fn whole(x: f64) -> Option<i64> {
    // -2^63 is an i64 and 2^63 is not; the cast is exact, or saturates.
    let end = 2f64.powi(63);
    (x.trunc() == x && (-end..end).contains(&x)).then_some(x as i64)
}

/// An uninitialized array from NumPy's own allocator, which keeps warm memory at hand.
pub(crate) fn empty<'py, T: numpy::Element>(
    py: Python<'py>,
    shape: impl IntoPyObject<'py>,
    dtype: &str,
) -> PyResult<Bound<'py, PyArrayDyn<T>>> {
    let fresh = numpy(py)?.call_method1(intern!(py, "empty"), (shape, dtype))?;
    fresh.cast_into().map_err(Into::into)
}

/// The one error for values that a mechanism cannot take; it does not depend on which value it was, or where.
pub(crate) fn lossy() -> PyErr {
    error::exception(
        "ArgumentError",
        "the input has a value that does not convert without loss: pass finite numbers that fit the mechanism's type \
         (64-bit floats, or whole numbers within 64 bits)"
            .into(),
    )
}

fn array<'py>(x: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyUntypedArray>> {
    if let Ok(array) = x.cast_exact::<PyUntypedArray>() {
        return Ok(array.clone());
    }
    let numpy = numpy(x.py())?;
    if numpy.getattr(intern!(x.py(), "ma"))?.call_method1(intern!(x.py(), "isMaskedArray"), (x,))?.is_truthy()? {
        let text = "the input is a masked array: fill or drop what is masked, since the mask would be ignored".into();
        return Err(error::exception("ArgumentError", text));
    }
    match numpy.call_method1(intern!(x.py(), "asarray"), (x,)) {
        Ok(array) => Ok(array.cast_into()?),
        // A ragged list, and the like. What NumPy says may quote the values.
        Err(e) if e.is_instance_of::<pyo3::exceptions::PyException>(x.py()) => Err(error::exception(
            "ArgumentError",
            format!("the input, of type {}, does not make an array of numbers", x.get_type().name()?),
        )),
        Err(e) => Err(e),
    }
}

fn kind(array: &Bound<'_, PyUntypedArray>) -> (u8, usize) {
    (array.dtype().kind(), array.dtype().itemsize())
}

fn wrong_type(array: &Bound<'_, PyUntypedArray>) -> PyErr {
    let text = format!("the input has dtype {}: pass floats of at most 64 bits, integers or booleans", array.dtype());
    error::exception("ArgumentError", text)
}

/// A copy that reads each element once.
fn copy<'py, T: numpy::Element>(
    array: &Bound<'py, PyUntypedArray>,
    dtype: &str,
) -> PyResult<Bound<'py, PyArrayDyn<T>>> {
    let py = array.py();
    let options = PyDict::new(py);
    options.set_item(intern!(py, "dtype"), dtype)?;
    options.set_item(intern!(py, "order"), "C")?;
    let fresh = numpy(py)?.call_method(intern!(py, "array"), (array,), Some(&options))?;
    fresh.cast_into().map_err(Into::into)
}

/// Another array of the same shape, or the one error if any element does not convert.
fn converted<'py, S: numpy::Element + Sync, T: numpy::Element + Send>(
    source: &Bound<'py, PyArrayDyn<S>>,
    convert: impl Fn(&S) -> Option<T> + Sync + Send,
) -> PyResult<Bound<'py, PyArrayDyn<T>>> {
    let py = source.py();
    let shape = PyTuple::new(py, source.shape())?;
    let name = if std::any::type_name::<T>() == "f64" { "float64" } else { "int64" };
    let fresh = empty::<T>(py, shape, name)?;
    {
        let (from, mut to) = (source.readonly(), fresh.readwrite());
        let (from, to) = (from.as_slice()?, to.as_slice_mut()?);
        let done = py.detach(|| from.iter().zip(to).try_for_each(|(from, to)| convert(from).map(|value| *to = value)));
        done.ok_or_else(lossy)?;
    }
    Ok(fresh)
}

fn numpy(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static NUMPY: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    Ok(NUMPY.get_or_try_init(py, || py.import("numpy").map(|m| m.into_any().unbind()))?.bind(py))
}
