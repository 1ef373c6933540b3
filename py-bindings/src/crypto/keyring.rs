//! Keyrings.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use veilsum_crypto::{KeyId, Purpose, State};

use super::memory::{View, handed_over};
use super::{Key, holds_secrets, protection, refused, refused_file};
use crate::error::exception;

/// Keys by purpose, with states, budgets and rotation. See :class:`veilsum.crypto.Keyring`.
#[pyclass(frozen, subclass, module = "veilsum._core")]
#[derive(Debug)]
pub(crate) struct Keyring(Mutex<veilsum_crypto::Keyring>);

#[pymethods]
impl Keyring {
    #[new]
    fn new() -> Self {
        Self(Mutex::new(veilsum_crypto::Keyring::new()))
    }

    #[pyo3(signature = (purpose, /))]
    fn _generate(&self, purpose: &str) -> PyResult<String> {
        Ok(self.ring().generate(&named(purpose)?).map_err(refused)?.to_string())
    }

    /// Make the purpose's oldest pending key primary, or a fresh one. The one before opens and seals no more.
    ///
    /// Returns
    /// -------
    /// str
    ///     The id of the new primary key.
    #[pyo3(signature = (purpose, /))]
    fn rotate(&self, purpose: &str) -> PyResult<String> {
        Ok(self.ring().rotate(&named(purpose)?).map_err(refused)?.to_string())
    }

    /// Take a key out of use until :meth:`enable`.
    #[pyo3(signature = (id, /))]
    fn disable(&self, id: &str) -> PyResult<()> {
        let id = self.find(id)?;
        self.ring().disable(id).map_err(refused)
    }

    /// Let a disabled key open again. It seals no more.
    #[pyo3(signature = (id, /))]
    fn enable(&self, id: &str) -> PyResult<()> {
        let id = self.find(id)?;
        self.ring().enable(id).map_err(refused)
    }

    /// Wipe a key for good.
    #[pyo3(signature = (id, /))]
    fn destroy(&self, id: &str) -> PyResult<()> {
        let id = self.find(id)?;
        self.ring().destroy(id).map_err(refused)
    }

    /// What is public about each key: dictionaries of id, purpose, state, messages and bytes sealed.
    #[getter]
    fn keys<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyDict>>> {
        let facts: Vec<_> = self.ring().keys().collect();
        facts
            .into_iter()
            .map(|facts| {
                let fields = PyDict::new(py);
                fields.set_item("id", facts.id.to_string())?;
                fields.set_item("purpose", facts.purpose.to_string())?;
                fields.set_item("state", state(facts.state))?;
                fields.set_item("messages", facts.messages)?;
                fields.set_item("bytes", facts.bytes)?;
                Ok(fields)
            })
            .collect()
    }

    /// Seal bytes with a purpose's primary key.
    ///
    /// Parameters
    /// ----------
    /// data, context : bytes-like
    /// purpose : str, optional
    ///     It may be left out where the ring's keys have one purpose.
    #[pyo3(signature = (data, *, context, purpose = None))]
    fn seal<'py>(
        &self,
        py: Python<'py>,
        data: View,
        context: View,
        purpose: Option<&str>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let purpose = match purpose {
            Some(purpose) => named(purpose)?,
            None => self.only_purpose()?,
        };
        let sealed = py.detach(|| self.ring().seal(&purpose, &data, &context)).map_err(refused)?;
        Ok(PyBytes::new(py, &sealed))
    }

    /// Open a message by the key that its header names.
    ///
    /// Raises
    /// ------
    /// NoKey
    ///     If that key is not in the ring, disabled or destroyed.
    /// Rejected
    ///     In every other case.
    #[pyo3(signature = (box_, /, *, context), text_signature = "($self, box, /, *, context)")]
    fn open<'py>(&self, py: Python<'py>, box_: View, context: View) -> PyResult<Bound<'py, PyBytes>> {
        let data = py.detach(|| self.ring().open(&box_, &context)).map_err(refused)?;
        handed_over(py, data)
    }

    /// Write the ring to a file, encrypted under a passphrase (Argon2id) or under a key. Save after sealing: the
    /// counts of messages and bytes are part of it.
    #[pyo3(signature = (path, *, passphrase = None, key = None))]
    fn save(&self, py: Python<'_>, path: PathBuf, passphrase: Option<&str>, key: Option<&Key>) -> PyResult<()> {
        let by = protection(passphrase, key)?;
        py.detach(|| self.ring().save(&path, &by)).map_err(|error| refused_file(&path, error))
    }

    #[pyo3(signature = (path, /, *, passphrase = None, key = None))]
    fn _fill(&self, py: Python<'_>, path: PathBuf, passphrase: Option<&str>, key: Option<&Key>) -> PyResult<()> {
        let by = protection(passphrase, key)?;
        let ring = py.detach(|| veilsum_crypto::Keyring::load(&path, &by));
        *self.ring() = ring.map_err(|error| refused_file(&path, error))?;
        Ok(())
    }

    fn __len__(&self) -> usize {
        self.ring().keys().count()
    }

    fn __reduce_ex__(&self, _protocol: i32) -> PyResult<()> {
        Err(holds_secrets("Keyring"))
    }

    fn __hash__(&self) -> PyResult<isize> {
        Err(holds_secrets("Keyring"))
    }

    fn __repr__(&self) -> String {
        let ring = self.ring();
        let keys: Vec<String> =
            ring.keys().map(|facts| format!("{} {} {}", facts.id, facts.purpose, state(facts.state))).collect();
        format!("Keyring({})", keys.join(", "))
    }
}

impl Keyring {
    fn ring(&self) -> MutexGuard<'_, veilsum_crypto::Keyring> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, id: &str) -> PyResult<KeyId> {
        self.ring()
            .keys()
            .map(|facts| facts.id)
            .find(|known| known.to_string() == id)
            .ok_or_else(|| exception("NoKey", "no key of the ring has this id".into()))
    }

    fn only_purpose(&self) -> PyResult<Purpose> {
        let ring = self.ring();
        let mut purposes = ring.keys().map(|facts| facts.purpose);
        match purposes.next() {
            Some(first) if purposes.all(|other| other == first) => Ok(first),
            Some(_) => Err(exception("ArgumentError", "the ring has keys for several purposes: give purpose=".into())),
            None => Err(exception("NoKey", "the ring has no key: generate one".into())),
        }
    }
}

fn named(purpose: &str) -> PyResult<Purpose> {
    Purpose::new(purpose).map_err(refused)
}

fn state(state: State) -> &'static str {
    match state {
        State::Pending => "pending",
        State::Primary => "primary",
        State::DecryptOnly => "decrypt-only",
        State::Disabled => "disabled",
        State::Destroyed => "destroyed",
    }
}
