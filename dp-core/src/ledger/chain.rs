//! The chain over a ledger's rows: a hash that anyone can compute, or a MAC that takes a key.

use crate::Error;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use std::fmt;
use zeroize::Zeroizing;

/// The key of an authenticated ledger: whoever lacks it cannot write a row, or another history, that verifies.
///
/// It does not stop an old copy of the file being put back, which needs a [`Head`](super::Head) kept elsewhere.
/// Printing shows nothing of it, and it is wiped when it is dropped.
#[derive(Clone)]
pub struct MacKey(Zeroizing<[u8; 32]>);

impl MacKey {
    /// Takes 32 bytes that were drawn at random, such as from the operating system.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] if there are not 32 bytes, or they are all the same.
    pub fn new(bytes: &[u8]) -> Result<Self, Error> {
        let range = "32 bytes drawn at random";
        let key: [u8; 32] =
            bytes.try_into().map_err(|_| Error::out_of_range("mac_key", format!("{} bytes", bytes.len()), range))?;
        if key.iter().all(|byte| *byte == key[0]) {
            return Err(Error::out_of_range("mac_key", "one byte over and over", range));
        }
        Ok(Self(Zeroizing::new(key)))
    }
}

impl fmt::Debug for MacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MacKey(..)")
    }
}

/// How rows are chained, fixed at creation.
#[derive(Clone, Debug)]
pub(crate) enum Chain {
    /// SHA-256.
    Hash,
    /// HMAC-SHA-256 (RFC 2104).
    #[cfg_attr(not(feature = "ledger"), expect(dead_code, reason = "rows in memory are nobody else's"))]
    Mac(MacKey),
}

impl Chain {
    pub(crate) fn is_keyed(&self) -> bool {
        matches!(self, Self::Mac(_))
    }

    /// The link of a row: over a domain, the previous link, the row's number and its length-prefixed contents,
    /// injective in all of them.
    pub(crate) fn link(&self, previous: &[u8; 32], number: u64, body: &str, answer: Option<&[u8]>) -> [u8; 32] {
        match self {
            Self::Hash => {
                let mut hash = Sha256::new();
                contents(previous, number, body, answer, |part| hash.update(part));
                hash.finalize().into()
            }
            Self::Mac(key) => {
                let mut mac = Hmac::<Sha256>::new_from_slice(&key.0[..]).expect("HMAC takes keys of every length");
                contents(previous, number, body, answer, |part| mac.update(part));
                mac.finalize().into_bytes().into()
            }
        }
    }
}

fn contents(previous: &[u8; 32], number: u64, body: &str, answer: Option<&[u8]>, mut take: impl FnMut(&[u8])) {
    take(b"veilsum ledger row v1\0");
    take(previous);
    take(&number.to_be_bytes());
    take(&(body.len() as u64).to_be_bytes());
    take(body.as_bytes());
    if let Some(answer) = answer {
        take(&(answer.len() as u64).to_be_bytes());
        take(answer);
    }
}
