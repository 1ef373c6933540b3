//! Streams over Python's file objects.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::sync::{Mutex, MutexGuard, TryLockError};

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};
use veilsum_crypto::stream;

use super::memory::{View, ViewMut, handed_over};
use super::{people, refused_io};

/// A Python file object as a source and a sink. Whatever it raises passes through unchanged; Ctrl-C is answered wherever
/// it is called.
pub(crate) struct PythonFile(Py<PyAny>);

impl PythonFile {
    /// `file`, which must have this method.
    pub(crate) fn with(py: Python<'_>, file: Py<PyAny>, method: &str) -> PyResult<Self> {
        let object = file.bind(py);
        if object.hasattr(method)? {
            return Ok(Self(file));
        }
        let kind = object.get_type().name()?.to_string();
        Err(PyTypeError::new_err(format!("fileobj must be an open binary file: {kind} has no {method}()")))
    }
}

impl Write for PythonFile {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        Python::attach(|py| {
            py.check_signals()?;
            let written = self.0.bind(py).call_method1("write", (PyBytes::new(py, data),))?;
            if written.is_none() {
                // Some writers say nothing, and take everything.
                return Ok(data.len());
            }
            match written.extract::<usize>() {
                Ok(written) if written <= data.len() => Ok(written),
                _ => Err(PyValueError::new_err("write() of the file did not say how many bytes it took").into()),
            }
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Python::attach(|py| {
            let file = self.0.bind(py);
            if file.hasattr("flush")? {
                file.call_method0("flush")?;
            }
            Ok(())
        })
    }
}

impl Read for PythonFile {
    fn read(&mut self, data: &mut [u8]) -> io::Result<usize> {
        Python::attach(|py| {
            py.check_signals()?;
            let read = self.0.bind(py).call_method1("read", (data.len(),))?;
            let read: View = read.extract().map_err(|_| PyTypeError::new_err("read() of the file gave no bytes"))?;
            let taken = data.get_mut(..read.len()).ok_or_else(|| PyValueError::new_err("read() gave too much"))?;
            taken.copy_from_slice(&read);
            Ok(read.len())
        })
    }
}

impl Seek for PythonFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        Python::attach(|py| {
            let arguments = match to {
                SeekFrom::Start(at) => (i128::from(at), 0),
                SeekFrom::Current(by) => (by.into(), 1),
                SeekFrom::End(by) => (by.into(), 2),
            };
            let file = self.0.bind(py);
            file.call_method1("seek", arguments)?;
            Ok(file.call_method0("tell")?.extract()?)
        })
    }
}

/// What a key's ``writer`` gives: ``write``, ``flush`` and ``close``, in a ``with`` statement.
///
/// Only ``close`` (or leaving the ``with`` statement without an exception) seals the end. An object that is merely
/// dropped leaves a stream that no reader accepts.
#[pyclass(frozen, module = "veilsum.crypto")]
pub(crate) struct Writer(Mutex<Option<stream::Writer<PythonFile>>>);

impl Writer {
    pub(crate) fn new(writer: stream::Writer<PythonFile>) -> Self {
        Self(Mutex::new(Some(writer)))
    }
}

/// What an identity's ``writer`` gives: as :class:`Writer`, and ``close`` signs.
#[pyclass(frozen, module = "veilsum.crypto")]
pub(crate) struct SealedWriter {
    pub(crate) state: Mutex<Option<veilsum_crypto::SealedWriter<people::SharedIdentity, PythonFile>>>,
}

/// ``write``, ``flush``, ``close`` and the ``with`` statement over a Rust writer in a mutex.
macro_rules! writer_methods {
    ($class:ident, $field:tt) => {
        #[pymethods]
        impl $class {
            /// Seal these bytes.
            fn write(&self, py: Python<'_>, data: View) -> PyResult<usize> {
                let length = data.len();
                py.detach(|| match &mut *held(&self.$field)? {
                    Some(writer) => writer.write_all(&data),
                    None => Err(ended()),
                })
                .map(|()| length)
                .map_err(refused_io)
            }

            /// Pass on every full chunk. The last, partial one waits for the end.
            fn flush(&self, py: Python<'_>) -> PyResult<()> {
                py.detach(|| match &mut *held(&self.$field)? {
                    Some(writer) => writer.flush(),
                    None => Ok(()),
                })
                .map_err(refused_io)
            }

            /// Seal the end. The underlying file stays open.
            fn close(&self, py: Python<'_>) -> PyResult<()> {
                py.detach(|| match held(&self.$field)?.take() {
                    Some(writer) => writer.finish().map(drop),
                    None => Ok(()),
                })
                .map_err(refused_io)
            }

            /// Leave the stream unfinished: no reader accepts it.
            fn abort(&self) -> PyResult<()> {
                drop(held(&self.$field)?.take());
                Ok(())
            }

            /// Whether it was closed or aborted.
            #[getter]
            fn closed(&self) -> PyResult<bool> {
                Ok(held(&self.$field)?.is_none())
            }

            /// Seal each of these.
            fn writelines(&self, py: Python<'_>, lines: &Bound<'_, PyAny>) -> PyResult<()> {
                lines.try_iter()?.try_for_each(|line| self.write(py, line?.extract()?).map(drop))
            }

            fn writable(&self) -> bool {
                true
            }

            fn readable(&self) -> bool {
                false
            }

            fn seekable(&self) -> bool {
                false
            }

            fn isatty(&self) -> bool {
                false
            }

            #[getter]
            fn mode(&self) -> &'static str {
                "wb"
            }

            #[pyo3(signature = (_size = -1, /))]
            fn read(&self, py: Python<'_>, _size: i64) -> PyResult<()> {
                Err(unsupported(py, "read"))
            }

            #[pyo3(signature = (_offset, _whence = 0, /))]
            fn seek(&self, py: Python<'_>, _offset: i64, _whence: i32) -> PyResult<u64> {
                Err(unsupported(py, "seek"))
            }

            fn tell(&self, py: Python<'_>) -> PyResult<u64> {
                Err(unsupported(py, "tell"))
            }

            fn fileno(&self, py: Python<'_>) -> PyResult<i32> {
                Err(unsupported(py, "fileno"))
            }

            fn __enter__(this: Bound<'_, Self>) -> Bound<'_, Self> {
                this
            }

            #[pyo3(signature = (*exception))]
            fn __exit__(&self, py: Python<'_>, exception: &Bound<'_, PyTuple>) -> PyResult<()> {
                match exception.get_item(0) {
                    Ok(class) if !class.is_none() => self.abort(),
                    _ => self.close(py),
                }
            }
        }
    };
}

writer_methods!(Writer, 0);
writer_methods!(SealedWriter, state);

/// The raw half of what ``reader`` gives; ``io.BufferedReader`` makes it comfortable.
#[pyclass(frozen, module = "veilsum.crypto")]
pub(crate) struct RawReader {
    state: Mutex<State>,
}

enum State {
    Key(Box<stream::Reader<PythonFile>>, Option<bool>),
    Sealed(Box<veilsum_crypto::SealedReader<PythonFile>>, u64),
    Closed,
}

impl RawReader {
    pub(crate) fn of_key(reader: stream::Reader<PythonFile>) -> Self {
        Self { state: Mutex::new(State::Key(Box::new(reader), None)) }
    }

    pub(crate) fn of_identity(reader: veilsum_crypto::SealedReader<PythonFile>) -> Self {
        Self { state: Mutex::new(State::Sealed(Box::new(reader), 0)) }
    }

    pub(crate) fn buffered(self, py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        py.import("io")?.call_method1("BufferedReader", (Bound::new(py, self)?, 64 * 1024))
    }
}

#[pymethods]
impl RawReader {
    /// Fill a buffer as far as the next bytes go; 0 at the end.
    fn readinto(&self, py: Python<'_>, mut buffer: ViewMut) -> PyResult<usize> {
        py.detach(|| match &mut *held(&self.state)? {
            State::Key(reader, _) => reader.read(&mut buffer),
            State::Sealed(reader, position) => {
                let read = reader.read(&mut buffer)?;
                *position += read as u64;
                Ok(read)
            }
            State::Closed => Err(ended()),
        })
        .map_err(refused_io)
    }

    /// Everything that is left.
    fn readall<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        self.read(py, -1)
    }

    /// At most ``size`` bytes, or everything that is left.
    #[pyo3(signature = (size = -1, /), text_signature = "($self, size=-1, /)")]
    fn read<'py>(&self, py: Python<'py>, size: i64) -> PyResult<Bound<'py, PyBytes>> {
        let most = u64::try_from(size).unwrap_or(u64::MAX);
        let mut data = Vec::new();
        py.detach(|| match &mut *held(&self.state)? {
            State::Key(reader, _) => reader.take(most).read_to_end(&mut data),
            State::Sealed(reader, position) => {
                let read = reader.take(most).read_to_end(&mut data)?;
                *position += read as u64;
                Ok(read)
            }
            State::Closed => Err(ended()),
        })
        .map_err(refused_io)?;
        handed_over(py, data)
    }

    /// Go to a place in the plaintext.
    #[pyo3(signature = (offset, whence = 0, /))]
    fn seek(&self, py: Python<'_>, offset: i64, whence: i32) -> PyResult<u64> {
        let to = match (whence, u64::try_from(offset)) {
            (0, Ok(offset)) => SeekFrom::Start(offset),
            (1, _) => SeekFrom::Current(offset),
            (2, _) => SeekFrom::End(offset),
            _ => return Err(PyValueError::new_err("seek: whence is 0 (with an offset of 0 or more), 1 or 2")),
        };
        py.detach(|| match &mut *held(&self.state)? {
            State::Key(reader, _) => reader.seek(to),
            State::Sealed(..) => {
                Err(io::Error::new(io::ErrorKind::Unsupported, "a sealed stream is read once, in order"))
            }
            State::Closed => Err(ended()),
        })
        .map_err(refused_io)
    }

    fn tell(&self) -> PyResult<u64> {
        match &*held(&self.state)? {
            State::Key(reader, _) => Ok(reader.position()),
            State::Sealed(_, position) => Ok(*position),
            State::Closed => Err(refused_io(ended())),
        }
    }

    fn seekable(&self, py: Python<'_>) -> PyResult<bool> {
        match &mut *held(&self.state)? {
            State::Key(reader, known) => match known {
                Some(known) => Ok(*known),
                None => {
                    let source = reader.source().0.bind(py);
                    let seekable = source.hasattr("seekable")? && source.call_method0("seekable")?.is_truthy()?;
                    Ok(*known.insert(seekable))
                }
            },
            State::Sealed(..) | State::Closed => Ok(false),
        }
    }

    fn readable(&self) -> bool {
        true
    }

    fn writable(&self) -> bool {
        false
    }

    fn isatty(&self) -> bool {
        false
    }

    #[getter]
    fn mode(&self) -> &'static str {
        "rb"
    }

    fn fileno(&self, py: Python<'_>) -> PyResult<i32> {
        Err(unsupported(py, "fileno"))
    }

    /// Forget what is buffered. The underlying file stays open.
    fn close(&self) -> PyResult<()> {
        *held(&self.state)? = State::Closed;
        Ok(())
    }

    fn flush(&self) {}

    #[getter]
    fn closed(&self) -> PyResult<bool> {
        Ok(matches!(*held(&self.state)?, State::Closed))
    }

    /// Who signed a sealed stream, once it was read to its end; ``None`` before.
    #[getter]
    fn sender(&self) -> PyResult<Option<people::Peer>> {
        match &*held(&self.state)? {
            State::Sealed(reader, _) => Ok(reader.sender().cloned().map(people::Peer)),
            _ => Ok(None),
        }
    }
}

/// As Python's own files say of what they are closed for.
fn ended() -> io::Error {
    PyValueError::new_err("I/O operation on a closed stream").into()
}

/// As Python's own files say of what they cannot do.
fn unsupported(py: Python<'_>, what: &'static str) -> PyErr {
    let class = py.import("io").and_then(|io| io.getattr("UnsupportedOperation"));
    match class.and_then(|class| class.call1((what,))) {
        Ok(raised) => PyErr::from_value(raised),
        Err(error) => error,
    }
}

/// The state, for this call alone. Two threads, or a file that calls back, do not wait for each other: they would hold
/// what the other waits for.
fn held<T>(state: &Mutex<T>) -> io::Result<MutexGuard<'_, T>> {
    match state.try_lock() {
        Ok(guard) => Ok(guard),
        Err(TryLockError::Poisoned(poisoned)) => Ok(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => Err(io::Error::other("the stream is in use by another call")),
    }
}
