//! The rows of a ledger: canonical bytes and a chain of hashes over them.

use super::budget::{Charge, Policy};
use super::chain::Chain;
use crate::Error;
use crate::accounting::Event;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// What one row says. Its JSON text, fields in the order below, is what is hashed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Body {
    /// Row 0.
    Policy(Box<Founding>),
    /// A spend.
    Spend(Box<Spent>),
    /// The answer of an earlier spend is stored with this row.
    Answer(Answered),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Founding {
    pub(crate) row: u64,
    /// Random, so that no two ledgers share a head.
    pub(crate) id: String,
    pub(crate) time: u64,
    pub(crate) version: String,
    pub(crate) policy: Policy,
    /// Whether rows are chained by a MAC and not by a hash.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) keyed: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Spent {
    pub(crate) row: u64,
    pub(crate) time: u64,
    pub(crate) version: String,
    pub(crate) event: Event,
    pub(crate) charge: Charge,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) label: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) provenance: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) keeps_answer: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Answered {
    pub(crate) row: u64,
    pub(crate) time: u64,
    pub(crate) version: String,
    /// The row of the spend that paid.
    pub(crate) spend: u64,
}

impl Body {
    /// The row's own number, which must be the one it is stored under.
    pub(crate) fn row(&self) -> u64 {
        match self {
            Self::Policy(founding) => founding.row,
            Self::Spend(spent) => spent.row,
            Self::Answer(answered) => answered.row,
        }
    }

    pub(crate) fn to_text(&self) -> String {
        serde_json::to_string(self).expect("maps with text keys and numbers always serialize")
    }
}

/// A row as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) number: u64,
    pub(crate) body: String,
    pub(crate) answer: Option<Vec<u8>>,
    pub(crate) hash: [u8; 32],
}

impl Row {
    /// Chains a new row to the link of the one before it (all zero before row 0).
    pub(crate) fn new(chain: &Chain, previous: &[u8; 32], number: u64, body: String, answer: Option<Vec<u8>>) -> Self {
        let hash = chain.link(previous, number, &body, answer.as_deref());
        Self { number, body, answer, hash }
    }

    /// Whether the stored link is the one that these contents have after `previous`.
    ///
    /// The comparison need not be constant in time: whoever could learn from it holds the file, and links are in it.
    pub(crate) fn continues(&self, chain: &Chain, previous: &[u8; 32]) -> bool {
        self.hash == chain.link(previous, self.number, &self.body, self.answer.as_deref())
    }
}

/// The last row of a ledger and its hash, which depends on every row before it. Prints as `7:9f86d0...`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Head {
    pub(crate) row: u64,
    pub(crate) hash: [u8; 32],
}

impl Head {
    /// The row's number.
    #[must_use]
    pub fn row(&self) -> u64 {
        self.row
    }
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.row)?;
        self.hash.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Head {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let parsed = text.split_once(':').and_then(|(row, hex)| {
            let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
            let row = Some(row).filter(|row| digits(row) && (*row == "0" || !row.starts_with('0')))?.parse().ok()?;
            let mut hash = [0; 32];
            if hex.len() != 64 || !hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
                return None;
            }
            for (i, byte) in hash.iter_mut().enumerate() {
                *byte = u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).ok()?;
            }
            Some(Self { row, hash })
        });
        parsed.ok_or_else(|| {
            let shown: String = text.chars().take(80).collect();
            Error::out_of_range("head", format!("{shown:?}"), "a row number, a colon and 64 hexadecimal digits")
        })
    }
}
