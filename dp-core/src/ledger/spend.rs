//! What goes into a ledger, and what comes out.

use super::budget::Charge;
use super::record::Head;
use crate::Error;
use crate::accounting::Event;
use std::collections::BTreeMap;

/// Longest texts, in bytes.
const MAX_LABEL: usize = 4096;
const MAX_KEY: usize = 1024;
const MAX_PROVENANCE: usize = 1 << 20;

/// One spend: an event, and public text about it.
///
/// Labels, keys and provenance are stored as they are and are meant to be read by anybody: no private data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spend {
    pub(crate) event: Event,
    pub(crate) label: String,
    pub(crate) key: Option<String>,
    pub(crate) provenance: BTreeMap<String, String>,
}

impl Spend {
    /// A spend for `event`, without label, key or provenance.
    #[must_use]
    pub fn new(event: Event) -> Self {
        Self { event, label: String::new(), key: None, provenance: BTreeMap::new() }
    }

    /// What the release is for: public text.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// An idempotency key: the same spend under the same key is charged once.
    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// One parameter and where it came from, such as `("bounds", "[0, 120], stated")`. A key that is used again must
    /// come with the same provenance, so put here whatever tells two releases with equal events apart.
    #[must_use]
    pub fn provenance(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.provenance.insert(name.into(), value.into());
        self
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        let short = |what, length: usize, most: usize, bound| {
            if length <= most { Ok(()) } else { Err(Error::out_of_range(what, format!("{length} bytes"), bound)) }
        };
        let provenance = self.provenance.iter().map(|(name, value)| name.len() + value.len()).sum();
        short("label", self.label.len(), MAX_LABEL, "at most 4096 bytes long")?;
        short("key", self.key.as_ref().map_or(0, String::len), MAX_KEY, "at most 1024 bytes long")?;
        short("provenance", provenance, MAX_PROVENANCE, "at most 1 MiB long")
    }
}

/// A spend that is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The row that records it.
    pub row: u64,
    /// The ledger's head when this call returned.
    pub head: Head,
    /// Whether an earlier call under the same key had paid already.
    pub repeated: bool,
}

/// A paid answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What the mechanism returned.
    pub bytes: Vec<u8>,
    /// The spend that paid for it.
    pub receipt: Receipt,
}

/// One spend as the ledger remembers it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// The row's number; row 0 holds the policy.
    pub row: u64,
    /// When, in milliseconds since 1970 by the clock of the machine that wrote it.
    pub time: u64,
    /// What happened.
    pub event: Event,
    /// What it cost, in every measure that the ledger's rule sums.
    pub charge: Charge,
    /// What for.
    pub label: String,
    /// Its idempotency key.
    pub key: Option<String>,
    /// Parameters and where they came from.
    pub provenance: BTreeMap<String, String>,
    /// The version of this library that wrote the row.
    pub version: String,
    /// Whether the row belongs to [`super::Ledger::release`] with a key, so that an answer is or will be stored.
    pub keeps_answer: bool,
}
