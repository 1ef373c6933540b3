//! Values that name things: people and groups.

use crate::Error;
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

/// One group's name in one column: a whole number, another finite number, or a text.
///
/// The same number is the same key whatever type carried it (`true`, `1`, `1.0`), so partials agree between workers
/// that read a column as integers and as floats. Keys are ordered: numbers by value, then texts by code points.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Key {
    /// A whole number.
    Int(i128),
    /// A finite number that is not whole, or is beyond 2^127.
    Float(f64),
    /// A text.
    Text(String),
}

impl Key {
    /// The key of a float: `None` for NaN and the infinities, which are missing.
    #[must_use]
    pub fn from_f64(value: f64) -> Option<Self> {
        if !value.is_finite() {
            return None;
        }
        let whole = value.trunc() == value && value.abs() < 1.7e38;
        Some(if whole { Self::Int(value as i128) } else { Self::Float(value) })
    }

    /// Injective bytes: the same key gives the same bytes on every machine, and no other key does.
    pub(crate) fn write(&self, to: &mut Vec<u8>) {
        match self {
            Self::Int(value) => write_int(*value, to),
            Self::Float(value) => {
                to.push(2);
                to.extend(value.to_bits().to_le_bytes());
            }
            Self::Text(text) => write_text(text.as_bytes(), to),
        }
    }

    /// Reads what [`Key::write`] wrote, and nothing else.
    pub(crate) fn read(from: &mut &[u8]) -> Option<Self> {
        Some(match take::<1>(from)?[0] {
            0 => Self::Int(i64::from_le_bytes(take(from)?).into()),
            1 => Self::Int(Some(i128::from_le_bytes(take(from)?)).filter(|wide| i64::try_from(*wide).is_err())?),
            2 => match Self::from_f64(f64::from_bits(u64::from_le_bytes(take(from)?)))? {
                key @ Self::Float(_) => key,
                _ => return None,
            },
            3 => {
                let length = usize::try_from(u32::from_le_bytes(take(from)?)).ok()?;
                let (text, rest) = from.split_at_checked(length)?;
                *from = rest;
                Self::Text(std::str::from_utf8(text).ok()?.to_owned())
            }
            _ => return None,
        })
    }
}

pub(crate) fn write_int(value: i128, to: &mut Vec<u8>) {
    match i64::try_from(value) {
        Ok(narrow) => {
            to.push(0);
            to.extend(narrow.to_le_bytes());
        }
        Err(_) => {
            to.push(1);
            to.extend(value.to_le_bytes());
        }
    }
}

pub(crate) fn write_text(text: &[u8], to: &mut Vec<u8>) {
    to.push(3);
    // Texts beyond 4 GiB do not occur: columns refuse them.
    to.extend(u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
    to.extend(text);
}

pub(crate) fn take<const N: usize>(from: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = from.split_first_chunk::<N>()?;
    *from = rest;
    Some(*head)
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => a.cmp(b),
            (Self::Float(a), Self::Float(b)) => a.total_cmp(b),
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            // A float that is not whole is below 2^53, where integers convert exactly; beyond 2^127 the order of the
            // conversion is the order of the numbers.
            (Self::Int(a), Self::Float(b)) => (*a as f64).total_cmp(b).then(Ordering::Less),
            (Self::Float(_), Self::Int(_)) => other.cmp(self).reverse(),
            (Self::Text(_), _) => Ordering::Greater,
            (_, Self::Text(_)) => Ordering::Less,
        }
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let mut bytes = Vec::new();
        self.write(&mut bytes);
        bytes.hash(state);
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(value) => value.fmt(f),
            Self::Float(value) => value.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}

impl From<Key> for String {
    fn from(key: Key) -> Self {
        match key {
            Key::Int(value) => format!("i:{value}"),
            Key::Float(value) => format!("f:{value:?}"),
            Key::Text(text) => format!("t:{text}"),
        }
    }
}

impl TryFrom<String> for Key {
    type Error = Error;
    fn try_from(text: String) -> Result<Self, Error> {
        let key = match text.split_at_checked(2) {
            Some(("i:", value)) => value.parse().ok().map(Self::Int),
            Some(("f:", value)) => value.parse().ok().and_then(Self::from_f64),
            Some(("t:", value)) => Some(Self::Text(value.to_owned())),
            _ => None,
        };
        key.ok_or_else(|| Error::out_of_range("key", "a malformed text", "\"i:\", \"f:\" or \"t:\" and a value"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> Vec<Key> {
        let floats = [-1e300, -0.5, 0.5, 1.5, 2.0, 1e30, 2e38, f64::MAX, -0.0];
        let ints = [i128::MIN, -1, 0, 1, 2, 1 << 53, (1 << 53) + 1, i128::from(i64::MAX) + 1, i128::MAX];
        let texts = ["", "a", "b", "é"];
        let floats = floats.into_iter().filter_map(Key::from_f64);
        floats.chain(ints.map(Key::Int)).chain(texts.map(|t| Key::Text(t.into()))).collect()
    }

    #[test]
    fn order_bytes_and_text_agree_with_equality() {
        for a in samples() {
            let mut bytes = Vec::new();
            a.write(&mut bytes);
            assert_eq!(Key::read(&mut bytes.as_slice()), Some(a.clone()));
            assert_eq!(Key::try_from(String::from(a.clone())).expect("round trip"), a);
            for b in samples() {
                let mut other = Vec::new();
                b.write(&mut other);
                assert_eq!(a == b, bytes == other, "{a} {b}");
                assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
                for c in samples() {
                    assert!(!(a <= b && b <= c) || a <= c, "{a} {b} {c}");
                }
            }
        }
    }

    #[test]
    fn one_number_is_one_key() {
        assert_eq!(Key::from_f64(1.0), Some(Key::Int(1)));
        assert_eq!(Key::from_f64(-0.0), Some(Key::Int(0)));
        assert_eq!(Key::from_f64(f64::NAN), None);
        assert_eq!(Key::from_f64(f64::NEG_INFINITY), None);
    }
}
