//! Python's bytes-like objects as slices.

use std::ops::{Deref, DerefMut};

use pyo3::buffer::PyUntypedBuffer;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use zeroize::Zeroize;

use crate::error::exception;

/// The bytes of a contiguous buffer, for reading.
pub(crate) struct View(PyUntypedBuffer);

/// The bytes of a contiguous, writable buffer.
pub(crate) struct ViewMut(PyUntypedBuffer);

impl<'py> FromPyObject<'_, 'py> for View {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        contiguous(&object).map(Self)
    }
}

impl<'py> FromPyObject<'_, 'py> for ViewMut {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let buffer = contiguous(&object)?;
        if buffer.readonly() {
            return Err(PyTypeError::new_err("the output buffer is read-only: give a bytearray or a writable array"));
        }
        Ok(Self(buffer))
    }
}

fn contiguous(object: &Bound<'_, PyAny>) -> PyResult<PyUntypedBuffer> {
    if object.is_instance_of::<pyo3::types::PyString>() {
        return Err(PyTypeError::new_err("text is not bytes: encode it first"));
    }
    let kind = || object.get_type().name().map_or_else(|_| "this".to_owned(), |name| name.to_string());
    let buffer = PyUntypedBuffer::get(object)
        .map_err(|_| PyTypeError::new_err(format!("a bytes-like object is required, and {} is not", kind())))?;
    if buffer.format().to_bytes().contains(&b'O') {
        return Err(PyTypeError::new_err("an array of objects holds references, not data: convert it first"));
    }
    if !buffer.is_c_contiguous() {
        return Err(exception("ArgumentError", "the buffer is not contiguous: copy it first".into()));
    }
    Ok(buffer)
}

impl Deref for View {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the buffer is contiguous and its export keeps the memory in place while this lives. Others may write
        // to it meanwhile; what is read is copied before anything is decided on it.
        unsafe { bytes(&self.0) }
    }
}

impl Deref for ViewMut {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: as for `View`.
        unsafe { bytes(&self.0) }
    }
}

impl DerefMut for ViewMut {
    fn deref_mut(&mut self) -> &mut [u8] {
        let length = self.0.len_bytes();
        if length == 0 {
            return &mut [];
        }
        // SAFETY: as for `View`, and the buffer is writable. That nobody else touches it meanwhile is documented as the
        // caller's duty, as it is for `readinto`.
        unsafe { std::slice::from_raw_parts_mut(self.0.buf_ptr().cast(), length) }
    }
}

impl ViewMut {
    /// Refuses to write where `other` is read.
    pub(crate) fn apart_from(&self, other: &View) -> PyResult<()> {
        let (own, others) = (self.as_ptr_range(), other.as_ptr_range());
        if own.start < others.end && others.start < own.end {
            return Err(exception("ArgumentError", "src and dst share memory: give separate buffers".into()));
        }
        Ok(())
    }
}

/// # Safety
/// The buffer is contiguous.
unsafe fn bytes(buffer: &PyUntypedBuffer) -> &[u8] {
    let length = buffer.len_bytes();
    if length == 0 {
        return &[];
    }
    // SAFETY: a contiguous buffer of `length` bytes begins at `buf_ptr`.
    unsafe { std::slice::from_raw_parts(buffer.buf_ptr().cast(), length) }
}

/// Plaintext as a Python object; our own copy is wiped.
pub(crate) fn handed_over(py: Python<'_>, mut data: Vec<u8>) -> PyResult<Bound<'_, PyBytes>> {
    let bytes = PyBytes::new(py, &data);
    data.zeroize();
    Ok(bytes)
}
