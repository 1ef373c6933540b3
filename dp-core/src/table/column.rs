//! Typed columns: how a table reaches this crate, borrowed where its memory already has the right shape.

use super::key::Key;
use crate::Error;
use std::borrow::Cow;

/// One column of a batch. A slot is missing if its validity says so, or if it is NaN or an infinity.
#[derive(Clone, Debug)]
pub struct Column<'a> {
    values: Values<'a>,
    valid: Option<Validity<'a>>,
    holds: Holds,
    type_name: Option<&'a str>,
}

/// What the *type* of a column lets it hold. It is public, and no value has a part in it: errors rest on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Holds {
    /// Numbers and truth values.
    Numbers,
    /// Texts.
    Texts,
    /// Both: the type says nothing, and a value that does not suit a question counts as missing.
    Anything,
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
    /// Decimals: whole numbers of units of 10^-scale, the scale at most 38. People are told apart by all digits; as a
    /// number or a key a decimal is the nearest float, or the whole number that it is.
    Decimal(Cow<'a, [i128]>, u8),
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
        let holds = match &values {
            Values::Text(_) => Holds::Texts,
            Values::Coded(..) => Holds::Anything,
            _ => Holds::Numbers,
        };
        Self { values, valid: None, holds, type_name: None }
    }

    /// A column with missing slots.
    pub fn with_validity(values: Values<'a>, valid: Validity<'a>) -> Result<Self, Error> {
        let column = Self { valid: Some(valid), ..Self::new(values) };
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

    /// The same column with what its type is called where it comes from, and lets it hold: for errors.
    #[must_use]
    pub fn of_type(self, holds: Holds, name: &'a str) -> Self {
        Self { holds, type_name: Some(name), ..self }
    }

    /// Number of slots.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.values {
            Values::Bool(v) => v.len(),
            Values::Signed(v) => v.len(),
            Values::Unsigned(v) => v.len(),
            Values::Float(v) => v.len(),
            Values::Decimal(v, _) => v.len(),
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
            Values::Decimal(v, scale) => decimal_number(v[row], *scale),
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

    /// The slot as a key; `None` where it is missing, or beyond the last one.
    #[must_use]
    pub fn key(&self, row: usize) -> Option<Key> {
        if row >= self.len() || !self.present(row) {
            return None;
        }
        match &self.values {
            Values::Bool(v) => Some(Key::Int(v[row].into())),
            Values::Signed(v) => Some(Key::Int(v[row].into())),
            Values::Unsigned(v) => Some(Key::Int(v[row].into())),
            Values::Float(v) => Key::from_f64(v[row]),
            Values::Decimal(v, scale) => decimal_key(v[row], *scale),
            Values::Text(v) => Some(Key::Text(v[row].to_owned())),
            Values::Coded(codes, keys) => keys.get(codes[row] as usize).cloned().flatten(),
        }
    }

    /// What the column's type lets it hold.
    pub(super) fn holds(&self) -> Holds {
        self.holds
    }

    /// What the column holds, in words for an error.
    pub(super) fn described(&self) -> String {
        let holds = match self.holds {
            Holds::Numbers => "numbers",
            Holds::Texts => "texts",
            Holds::Anything => "anything",
        };
        self.type_name.map_or_else(|| holds.to_owned(), |name| format!("{holds} (type {name})"))
    }
}

/// Powers of ten: exact up to 22, then the nearest floats.
#[rustfmt::skip]
const POWERS: [f64; 39] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19,
    1e20, 1e21, 1e22, 1e23, 1e24, 1e25, 1e26, 1e27, 1e28, 1e29, 1e30, 1e31, 1e32, 1e33, 1e34, 1e35, 1e36, 1e37, 1e38,
];

/// Greatest scale of a decimal.
const MOST_DECIMALS: u8 = 38;

/// A decimal as a float, within a unit in the last place of the nearest one.
fn decimal_number(units: i128, scale: u8) -> f64 {
    units as f64 / POWERS[usize::from(scale.min(MOST_DECIMALS))]
}

/// A decimal as a key: the whole number that it is, or a float.
pub(super) fn decimal_key(units: i128, scale: u8) -> Option<Key> {
    match whole_decimal(units, scale) {
        (whole, 0) => Some(Key::Int(whole)),
        (units, scale) => Key::from_f64(decimal_number(units, scale)),
    }
}

/// The same decimal without zeros at its end, so that equal decimals of any scale have equal parts.
pub(super) fn whole_decimal(mut units: i128, mut scale: u8) -> (i128, u8) {
    while scale > 0 && units % 10 == 0 {
        (units, scale) = (units / 10, scale - 1);
    }
    (units, scale)
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
        for (name, column) in &columns {
            if column.len() != rows {
                return Err(Error::Table(format!("column {name:?} has another length than the table")));
            }
            if let Values::Decimal(_, scale) = column.values
                && scale > MOST_DECIMALS
            {
                return Err(Error::out_of_range("scale of a decimal column", scale, "0 to 38"));
            }
        }
        Ok(Self { rows, columns })
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
        if column.holds() == Holds::Texts {
            return Err(Error::Table(format!(
                "column {name:?} holds {}, and this aggregate takes numbers or truth values: convert the column, or ask \
                 for a histogram, which takes texts",
                column.described()
            )));
        }
        Ok(column)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_numbers_and_keys() {
        for (units, scale, number) in [(0, 0, 0.0), (12345, 2, 123.45), (-100, 2, -1.0), (1, 38, 1e-38), (3, 22, 3e-22)]
        {
            assert_eq!(decimal_number(units, scale), number, "{units} {scale}");
            assert_eq!(decimal_key(units, scale), Key::from_f64(number));
        }
        assert_eq!(decimal_key(i128::MAX, 0), Some(Key::Int(i128::MAX)), "whole numbers are exact");
        let column = Column::new(Values::Decimal(vec![1200, 5].into(), 2));
        assert_eq!((column.key(0), column.key(1), column.key(2)), (Some(Key::Int(12)), Some(Key::Float(0.05)), None));
        assert_eq!(whole_decimal(1200, 3), (12, 1));
        assert_eq!(whole_decimal(0, 38), (0, 0));
        let column = || Column::new(Values::Decimal(vec![1].into(), 39));
        assert!(Batch::new(1, vec![("x", column())]).is_err());
    }

    #[test]
    fn a_text_column_is_refused_by_its_type_whatever_it_holds() {
        for codes in [vec![], vec![0], vec![7, 7]] {
            let keys = vec![Some(Key::Text("a".into()))];
            let rows = codes.len();
            let column =
                |holds| Column::new(Values::Coded(codes.clone().into(), keys.clone())).of_type(holds, "category");
            let batch = |holds| Batch::new(rows, vec![("x", column(holds))]).expect("one length");
            let refused = batch(Holds::Texts).numbers("x").expect_err("texts").to_string();
            assert!(refused.contains("\"x\"") && refused.contains("type category") && refused.contains("histogram"));
            assert!(batch(Holds::Anything).numbers("x").is_ok());
        }
    }
}
