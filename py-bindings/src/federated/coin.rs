//! The native half of `veilsum.federated.Coin`.

use super::parties::{locked, roster};
use super::{RoundConfig, raised};
use crate::crypto::Identity;
use crate::error;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use std::collections::BTreeMap;
use std::sync::Mutex;
use veilsum_federated::coin::{Coin, Signed};

/// A coin; empty once it was tossed again.
#[pyclass(frozen, module = "veilsum._core")]
pub(crate) struct CoinCore(Mutex<Option<Coin>>);

/// 32 bytes and a signature.
fn signed(bytes: &[u8]) -> PyResult<Signed> {
    let (value, signature) = bytes.split_first_chunk::<32>().unwrap_or((&[0; 32], &[]));
    let malformed =
        |_| error::exception("ProtocolError", "a coin's message is 96 bytes: a value and a signature".into());
    Ok((*value, signature.try_into().map_err(malformed)?))
}

fn all(messages: BTreeMap<u32, Vec<u8>>) -> PyResult<BTreeMap<u32, Signed>> {
    messages.into_iter().map(|(client, bytes)| Ok((client, signed(&bytes)?))).collect()
}

impl CoinCore {
    fn with<T>(&self, work: impl FnOnce(&mut Coin) -> Result<T, veilsum_federated::Error>) -> PyResult<T> {
        match locked(&self.0).as_mut() {
            Some(coin) => work(coin).map_err(raised),
            None => Err(error::exception("ProtocolError", "this coin was tossed again: use the new one".into())),
        }
    }
}

#[pymethods]
impl CoinCore {
    #[new]
    fn new(config: &RoundConfig, identity: &Identity, peers: &Bound<'_, PyAny>, session: Vec<u8>) -> PyResult<Self> {
        let coin = Coin::new(identity.shared().clone(), roster(peers)?, &session, &config.0).map_err(raised)?;
        Ok(Self(Mutex::new(Some(coin))))
    }

    fn again(&self, config: &RoundConfig, peers: &Bound<'_, PyAny>) -> PyResult<Self> {
        let roster = roster(peers)?;
        self.with(|_| Ok(()))?;
        let next = locked(&self.0).take().map(|coin| coin.again(roster, &config.0)).transpose().map_err(raised)?;
        Ok(Self(Mutex::new(next)))
    }

    fn commit<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let (value, signature) = self.with(|coin| Ok(coin.commit()))?;
        Ok(PyBytes::new(py, &[&value[..], &signature].concat()))
    }

    fn reveal<'py>(&self, py: Python<'py>, commitments: BTreeMap<u32, Vec<u8>>) -> PyResult<Bound<'py, PyBytes>> {
        let commitments = all(commitments)?;
        let (value, signature) = self.with(|coin| coin.reveal(&commitments))?;
        Ok(PyBytes::new(py, &[&value[..], &signature].concat()))
    }

    fn beacon<'py>(&self, py: Python<'py>, openings: BTreeMap<u32, Vec<u8>>) -> PyResult<Bound<'py, PyBytes>> {
        let openings = all(openings)?;
        Ok(PyBytes::new(py, &self.with(|coin| coin.beacon(&openings))?))
    }
}
