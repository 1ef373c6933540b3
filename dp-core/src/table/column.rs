//! Typed columns: how a table reaches this crate, borrowed where its memory already has the right shape.

use super::key::Key;
use crate::Error;
use std::borrow::Cow;

/// One column of a batch. A slot is missing if its validity says so, or if it is NaN or an infinity.
#[derive(Clone, Debug)]
pub struct Column<'a> {
    values: Values<'a>,
    valid: Option<Validity<'a>>,
}

/// The values of a column. Narrower integers and floats are widened by whoever makes the column.
#[derive(Clone, Debug)]
pub enum Values<'a> {
    /// Truth values; as keys and numbers they are 0 and 1.
    Bool(Cow<'a, [bool]>),
    /// Signed integers.
    Signed(Cow<'a, [i64]>),
    /// Unsigned integers.
    Unsigned(Cow<'a, [u64]>),
    /// Floats.
    Float(Cow<'a, [f64]>),
    /// Texts.
    Text(Vec<&'a str>),
    /// Positions in a list of values (categories, dictionaries); a `None` is missing, and so is a position beyond it.
    Coded(Cow<'a, [u32]>, Vec<Option<Key>>),
}

/// Which slots are present.
#[derive(Clone, Debug)]
pub enum Validity<'a> {
    /// One byte a slot: `true` if present.
    Bytes(Cow<'a, [bool]>),
    /// One bit a slot, least significant first, from a bit offset on: set if present (Arrow's layout).
    Bits(&'a [u8], usize),
}

impl<'a> Column<'a> {
    /// A column in which only NaN and infinities are missing.
    #[must_use]
    pub fn new(values: Values<'a>) -> Self {
        Self { values, valid: None }
    }

    /// A column with missing slots.
    pub fn with_validity(values: Values<'a>, valid: Validity<'a>) -> Result<Self, Error> {
        let column = Self { values, valid: Some(valid) };
        let enough = match &column.valid {
            Some(Validity::Bytes(bytes)) => bytes.len() == column.len(),
            Some(Validity::Bits(bytes, offset)) => {
                bytes.len().saturating_mul(8) >= column.len().saturating_add(*offset)
            }
            None => true,
        };
        if enough {
            Ok(column)
        } else {
            Err(Error::Table("the validity of a column has another length than its values".into()))
        }
    }

    /// Number of slots.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.values {
            Values::Bool(v) => v.len(),
            Values::Signed(v) => v.len(),
            Values::Unsigned(v) => v.len(),
            Values::Float(v) => v.len(),
            Values::Text(v) => v.len(),
            Values::Coded(v, _) => v.len(),
        }
    }

    /// Whether there are no slots.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn values(&self) -> &Values<'a> {
        &self.values
    }

    #[inline]
    pub(super) fn present(&self, row: usize) -> bool {
        match &self.valid {
            None => true,
            Some(Validity::Bytes(bytes)) => bytes[row],
            Some(Validity::Bits(bits, offset)) => {
                let bit = row + offset;
                bits[bit / 8] >> (bit % 8) & 1 == 1
            }
        }
    }

    /// The slot as a number, NaN where it is missing. Whole numbers beyond 2^53 round to the nearest float.
    ///
    /// Every slot is read once, so what is bounded is what is used even if another thread writes to the memory.
    #[inline]
    pub(super) fn number(&self, row: usize) -> f64 {
        if !self.present(row) {
            return f64::NAN;
        }
        let value = match &self.values {
            Values::Bool(v) => f64::from(u8::from(v[row])),
            Values::Signed(v) => v[row] as f64,
            Values::Unsigned(v) => v[row] as f64,
            Values::Float(v) => v[row],
            Values::Text(_) => f64::NAN,
            Values::Coded(codes, keys) => match keys.get(codes[row] as usize) {
                Some(Some(Key::Int(value))) => *value as f64,
                Some(Some(Key::Float(value))) => *value,
                _ => f64::NAN,
            },
        };
        // -0.0 becomes 0.0 and every infinity or NaN the one missing value, so that equal rows have equal bits.
        if value.is_finite() { value + 0.0 } else { f64::NAN }
    }

    /// Whether the column can hold numbers, and texts.
    pub(super) fn holds(&self) -> (bool, bool) {
        match &self.values {
            Values::Text(_) => (false, true),
            Values::Coded(..) => (true, true),
            _ => (true, false),
        }
    }
}

/// Some rows of a table: columns of one length, each with a name.
#[derive(Clone, Debug)]
pub struct Batch<'a> {
    rows: usize,
    columns: Vec<(&'a str, Column<'a>)>,
}

impl<'a> Batch<'a> {
    /// Columns must all have `rows` slots.
    pub fn new(rows: usize, columns: Vec<(&'a str, Column<'a>)>) -> Result<Self, Error> {
        match columns.iter().find(|(_, column)| column.len() != rows) {
            Some((name, _)) => Err(Error::Table(format!("column {name:?} has another length than the table"))),
            None => Ok(Self { rows, columns }),
        }
    }

    /// Number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    pub(super) fn column(&self, name: &str) -> Result<&Column<'a>, Error> {
        self.columns.iter().find(|(n, _)| *n == name).map(|(_, column)| column).ok_or_else(|| {
            let names: Vec<_> = self.columns.iter().map(|(n, _)| *n).collect();
            Error::Table(format!("the table has no column {name:?}: it has {names:?}"))
        })
    }

    /// A column of numbers.
    pub(super) fn numbers(&self, name: &str) -> Result<&Column<'a>, Error> {
        let column = self.column(name)?;
        match column.holds() {
            (true, _) => Ok(column),
            _ => {
                Err(Error::Table(format!("column {name:?} holds texts: this aggregate takes numbers or truth values")))
            }
        }
    }
}
