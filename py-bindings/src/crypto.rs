//! Keys and messages: thin wrappers of `veilsum-crypto`. No secret byte passes through a Python object.

mod files;
mod keyring;
mod memory;
mod people;

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyModule};
use veilsum_crypto::{Error, Protection, Suite, Threads, UnixTime, hazmat, secret::Secret};

use crate::error::exception;
pub(crate) use files::{RawReader, SealedWriter, Writer};
pub(crate) use keyring::Keyring;
use memory::{View, ViewMut};
pub(crate) use people::{Identity, Member, Peer, PeerSet, ReplayGuard, RoundKey, RoundOffer, seal_anonymously};

/// The exception for an error of `veilsum-crypto`.
fn refused(error: Error) -> PyErr {
    let class = match error {
        Error::Malformed { .. } => "Malformed",
        Error::NoKey { .. } => "NoKey",
        Error::Rejected => "Rejected",
        Error::KeyExhausted { .. } => "KeyExhausted",
        Error::Entropy => "EntropyError",
        _ => "ArgumentError",
    };
    exception(class, error.to_string())
}

/// The exception for an error of a stream: ours, one that a Python file raised, or the system's.
fn refused_io(error: std::io::Error) -> PyErr {
    match Error::inside(&error) {
        Some(own) => refused(own.clone()),
        None => error.into(),
    }
}

/// A whole number that 64 bits hold; others are an `ArgumentError`.
#[derive(Clone, Copy)]
struct Whole(u64);

impl FromPyObject<'_, '_> for Whole {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        crate::number::count("a count, number or date", &object).map(Self)
    }
}

fn threads(count: Option<Whole>) -> PyResult<Threads> {
    let Some(Whole(count)) = count else { return Ok(Threads::Auto) };
    NonZeroUsize::new(usize::try_from(count).unwrap_or(usize::MAX))
        .map(Threads::AtMost)
        .ok_or_else(|| exception("ArgumentError", "threads is 0: it must be 1 or more, or None".into()))
}

/// The exception for a file of keys, with its name where the system refused it.
fn refused_file(path: &std::path::Path, error: std::io::Error) -> PyErr {
    match error.raw_os_error() {
        Some(code) => Python::attach(|py| {
            let reason = py.import("os").and_then(|os| os.call_method1("strerror", (code,))).map(Bound::unbind);
            reason.map_or_else(
                |raised| raised,
                |reason| pyo3::exceptions::PyOSError::new_err((code, reason, path.as_os_str().to_owned())),
            )
        }),
        None => refused_io(error),
    }
}

/// The time that was given in seconds since 1970, or the system's.
fn time(now: Option<f64>) -> PyResult<UnixTime> {
    match now {
        None => Ok(UnixTime(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))),
        Some(now) if now.is_finite() && (0.0..=9e15).contains(&now) => Ok(UnixTime(now as u64)),
        Some(now) => {
            Err(exception("ArgumentError", format!("now is {now}: it must be in seconds since 1970, from 0 to 9e15")))
        }
    }
}

fn suite(name: &str) -> PyResult<Suite> {
    match name {
        "aes-256-gcm" => Ok(Suite::Aes256Gcm),
        "chacha20-poly1305" => Ok(Suite::ChaCha20Poly1305),
        _ => Err(exception(
            "ArgumentError",
            format!("suite is {name:?}: it must be \"aes-256-gcm\" or \"chacha20-poly1305\""),
        )),
    }
}

fn protection<'k>(passphrase: Option<&'k str>, key: Option<&'k Key>) -> PyResult<Protection<'k>> {
    match (passphrase, key) {
        (Some(words), None) => Protection::passphrase(words).map_err(refused),
        (None, Some(key)) => Ok(Protection::Key(&key.0)),
        _ => Err(pyo3::exceptions::PyTypeError::new_err("give either passphrase= or key=")),
    }
}

/// What pickling, copying (which Python does by `__reduce_ex__` too) or hashing a secret raises.
fn holds_secrets(class: &str) -> PyErr {
    pyo3::exceptions::PyTypeError::new_err(format!(
        "a {class} holds secrets: it does not pickle, copy or hash; save it, or use its id"
    ))
}

/// A 256-bit key that seals and opens messages and streams.
///
/// ``context`` is required everywhere: it says what a message is and for whom, is authenticated but not stored, and
/// must be given again to open. There is no nonce to choose. A key does not pickle, copy, hash or print its bytes;
/// :meth:`save` writes them encrypted. Plaintext that was handed to Python stays in Python's memory until that is
/// reused: **it cannot be wiped**.
///
/// Examples
/// --------
/// >>> import veilsum as vs
/// >>> key = vs.crypto.Key.generate()
/// >>> box = key.seal(b"an update", context=b"round 7, client 12")
/// >>> key.open(box, context=b"round 7, client 12")
/// b'an update'
/// >>> key.open(box, context=b"round 8, client 12")
/// Traceback (most recent call last):
/// ...
/// veilsum._errors.Rejected: the message was not accepted
#[pyclass(frozen, module = "veilsum.crypto")]
#[derive(Debug)]
pub(crate) struct Key(pub(crate) veilsum_crypto::Key);

#[pymethods]
impl Key {
    /// A fresh key.
    ///
    /// Parameters
    /// ----------
    /// suite : {"aes-256-gcm", "chacha20-poly1305"}
    ///     What encrypts. The second is an extension of veilsum's, for machines without AES instructions.
    #[staticmethod]
    #[pyo3(signature = (*, suite = "aes-256-gcm"))]
    fn generate(suite: &str) -> PyResult<Self> {
        veilsum_crypto::Key::generate_for(self::suite(suite)?).map(Self).map_err(refused)
    }

    /// The key's public name, 32 hexadecimal digits.
    #[getter]
    fn id(&self) -> String {
        self.0.id().to_string()
    }

    /// Seal bytes under a context.
    ///
    /// Parameters
    /// ----------
    /// data : bytes-like
    ///     Anything with a contiguous buffer: bytes, bytearray, memoryview, a NumPy array.
    /// context : bytes-like
    ///     What the message is and for whom.
    /// threads : int, optional
    ///     How many threads may work; as many as the machine has, up to eight, by default.
    ///
    /// Returns
    /// -------
    /// bytes
    ///     72 bytes longer than the data, and 16 more for each 16 KiB.
    #[pyo3(signature = (data, *, context, threads = None))]
    fn seal<'py>(
        &self,
        py: Python<'py>,
        data: View,
        context: View,
        threads: Option<Whole>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let threads = self::threads(threads)?;
        let length = veilsum_crypto::Key::sealed_length(data.len()).ok_or_else(too_long)?;
        PyBytes::new_with(py, length, |sealed| {
            let sealing = || self.0.seal_into(&data, sealed, &context, threads);
            py.detach(sealing).map(drop).map_err(refused)
        })
    }

    /// Open a message that was sealed under the same key and context.
    ///
    /// Raises
    /// ------
    /// Malformed
    ///     If the public header is not one of ours.
    /// Rejected
    ///     In every other case: another key, another context, a changed or cut message.
    #[pyo3(signature = (box_, /, *, context, threads = None), text_signature = "($self, box, /, *, context, threads=None)")]
    fn open<'py>(
        &self,
        py: Python<'py>,
        box_: View,
        context: View,
        threads: Option<Whole>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let threads = self::threads(threads)?;
        let Some(length) = veilsum_crypto::Key::opened_length(box_.len()) else {
            // No message has this length; what to say of it is the library's to decide.
            return Err(self.0.open(&box_, &context).err().map_or_else(|| refused(Error::Rejected), refused));
        };
        PyBytes::new_with(py, length, |data| {
            let opening = || self.0.open_into(&box_, data, &context, threads);
            py.detach(opening).map(drop).map_err(refused)
        })
    }

    /// Seal ``src`` into the beginning of ``dst`` and return how many bytes it took (see :meth:`sealed_length`).
    ///
    /// ``dst`` must be writable and must not share memory with ``src``; no other thread may touch it meanwhile.
    #[pyo3(signature = (src, dst, *, context, threads = None))]
    fn seal_into(
        &self,
        py: Python<'_>,
        src: View,
        mut dst: ViewMut,
        context: View,
        threads: Option<Whole>,
    ) -> PyResult<usize> {
        let threads = self::threads(threads)?;
        dst.apart_from(&src)?;
        py.detach(|| self.0.seal_into(&src, &mut dst, &context, threads)).map_err(refused)
    }

    /// Open ``src`` into the beginning of ``dst`` and return the message's length. On a refusal all of ``dst`` is
    /// wiped.
    #[pyo3(signature = (src, dst, *, context, threads = None))]
    fn open_into(
        &self,
        py: Python<'_>,
        src: View,
        mut dst: ViewMut,
        context: View,
        threads: Option<Whole>,
    ) -> PyResult<usize> {
        let threads = self::threads(threads)?;
        dst.apart_from(&src)?;
        py.detach(|| self.0.open_into(&src, &mut dst, &context, threads)).map_err(refused)
    }

    /// How many bytes ``length`` bytes become when they are sealed.
    #[staticmethod]
    fn sealed_length(length: Whole) -> PyResult<usize> {
        let sealed = usize::try_from(length.0).ok().and_then(veilsum_crypto::Key::sealed_length);
        sealed.ok_or_else(|| {
            exception("ArgumentError", format!("length is {}: one message holds at most 4 PiB", length.0))
        })
    }

    /// How many bytes a message of ``length`` bytes opens to.
    #[staticmethod]
    fn opened_length(length: Whole) -> PyResult<usize> {
        let opened = usize::try_from(length.0).ok().and_then(veilsum_crypto::Key::opened_length);
        opened.ok_or_else(|| exception("ArgumentError", format!("length is {}: no message has this length", length.0)))
    }

    /// A file-like object that seals what is written to it into ``fileobj``.
    ///
    /// Use it in a ``with`` statement: leaving it seals the end, unless an exception is on its way; then the stream
    /// stays unfinished and no reader accepts it. ``fileobj`` is left open.
    ///
    /// Examples
    /// --------
    /// >>> import io, veilsum as vs
    /// >>> key, file = vs.crypto.Key.generate(), io.BytesIO()
    /// >>> with key.writer(file, context=b"model") as out:
    /// ...     _ = out.write(b"weights")
    /// >>> _ = file.seek(0)
    /// >>> key.reader(file, context=b"model").read()
    /// b'weights'
    #[pyo3(signature = (fileobj, *, context, threads = None))]
    fn writer(&self, py: Python<'_>, fileobj: Py<PyAny>, context: View, threads: Option<Whole>) -> PyResult<Writer> {
        let threads = self::threads(threads)?;
        let sink = files::PythonFile::with(py, fileobj, "write")?;
        py.detach(|| self.0.writer(sink, &context, threads)).map(Writer::new).map_err(refused_io)
    }

    /// An ``io.BufferedReader`` over the message that ``fileobj`` holds; it seeks where ``fileobj`` does.
    ///
    /// What it gives was authenticated, chunk by chunk. That the message was *whole* is known at its end: a stream that
    /// was cut raises ``Rejected`` there.
    #[pyo3(signature = (fileobj, *, context, threads = None))]
    fn reader<'py>(
        &self,
        py: Python<'py>,
        fileobj: Py<PyAny>,
        context: View,
        threads: Option<Whole>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let threads = self::threads(threads)?;
        let source = files::PythonFile::with(py, fileobj, "read")?;
        let reader = py.detach(|| self.0.reader(source, &context, threads)).map_err(refused_io)?;
        RawReader::of_key(reader).buffered(py)
    }

    /// Write the key to a file, encrypted under a passphrase (Argon2id) or under another key. The file is replaced
    /// whole or not at all, and only its owner may read it.
    #[pyo3(signature = (path, *, passphrase = None, key = None))]
    fn save(&self, py: Python<'_>, path: PathBuf, passphrase: Option<&str>, key: Option<&Self>) -> PyResult<()> {
        let by = protection(passphrase, key)?;
        py.detach(|| self.0.save(&path, &by)).map_err(|error| refused_file(&path, error))
    }

    /// Read a key that :meth:`save` wrote.
    ///
    /// Raises
    /// ------
    /// Rejected
    ///     If the passphrase is wrong or the file was changed.
    #[staticmethod]
    #[pyo3(signature = (path, *, passphrase = None, key = None))]
    fn load(py: Python<'_>, path: PathBuf, passphrase: Option<&str>, key: Option<&Self>) -> PyResult<Self> {
        let by = protection(passphrase, key)?;
        let key = py.detach(|| veilsum_crypto::Key::load(&path, &by));
        key.map(Self).map_err(|error| refused_file(&path, error))
    }

    fn __reduce_ex__(&self, _protocol: i32) -> PyResult<()> {
        Err(holds_secrets("Key"))
    }

    fn __hash__(&self) -> PyResult<isize> {
        Err(holds_secrets("Key"))
    }

    fn __repr__(&self) -> String {
        format!("Key(id='{}')", self.0.id())
    }
}

fn too_long() -> PyErr {
    refused(Error::KeyExhausted { limit: "4 PiB in one message" })
}

fn raw_key(key: &View) -> PyResult<veilsum_crypto::Key> {
    let bytes: &[u8; 32] = (**key)
        .try_into()
        .map_err(|_| exception("ArgumentError", format!("the key has {} bytes: it must have 32", key.len())))?;
    Ok(hazmat::key_from_secret(Secret::copied_from(bytes), Suite::default()))
}

/// Encrypt as raw C2SP Cobblestone-256 bytes, without veilsum's header.
///
/// Parameters
/// ----------
/// key : bytes-like
///     32 uniformly random bytes.
/// data, context : bytes-like
#[pyfunction]
#[pyo3(signature = (key, data, *, context))]
pub(crate) fn cobblestone256_encrypt<'py>(
    py: Python<'py>,
    key: View,
    data: View,
    context: View,
) -> PyResult<Bound<'py, PyBytes>> {
    let key = raw_key(&key)?;
    let sealed = py.detach(|| hazmat::cobblestone256_encrypt(&key, &data, &context)).map_err(refused)?;
    Ok(PyBytes::new(py, &sealed))
}

/// Decrypt raw C2SP Cobblestone-256 bytes.
#[pyfunction]
#[pyo3(signature = (key, data, *, context))]
pub(crate) fn cobblestone256_decrypt<'py>(
    py: Python<'py>,
    key: View,
    data: View,
    context: View,
) -> PyResult<Bound<'py, PyBytes>> {
    let key = raw_key(&key)?;
    let opened = py.detach(|| hazmat::cobblestone256_decrypt(&key, &data, &context)).map_err(refused)?;
    memory::handed_over(py, opened)
}

/// Adds everything of this area to the native module.
pub(crate) fn export(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Key>()?;
    module.add_class::<Writer>()?;
    module.add_class::<RawReader>()?;
    module.add_class::<SealedWriter>()?;
    module.add_class::<Identity>()?;
    module.add_class::<Peer>()?;
    module.add_class::<Member>()?;
    module.add_class::<PeerSet>()?;
    module.add_class::<ReplayGuard>()?;
    module.add_class::<RoundKey>()?;
    module.add_class::<RoundOffer>()?;
    module.add_class::<Keyring>()?;
    module.add_function(wrap_pyfunction!(seal_anonymously, module)?)?;
    module.add_function(wrap_pyfunction!(cobblestone256_encrypt, module)?)?;
    module.add_function(wrap_pyfunction!(cobblestone256_decrypt, module)?)
}
