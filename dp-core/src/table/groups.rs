//! Which group a row belongs to: keys read once per row and turned into small numbers.

use super::column::{Column, Holds, Values, decimal_key};
use super::key::Key;
use super::plan::Groups;
use crate::Error;
use std::collections::HashMap;

/// The group of a row that is in none: its key is missing, or not among the public keys.
pub(super) const NONE: u32 = u32::MAX;

/// Numbers the groups of a plan as rows present them.
#[derive(Clone, Debug)]
pub(super) struct GroupIndex {
    columns: Vec<String>,
    parts: Vec<PartIndex>,
    /// One level a column after the first: (number so far, the column's number) to the number of the pair.
    levels: Vec<HashMap<(u32, u32), u32>>,
    keys: Vec<Vec<Key>>,
    open: bool,
}

impl GroupIndex {
    pub(super) fn new(groups: &Groups) -> Self {
        let (columns, keys, open) = match groups {
            Groups::Whole => (vec![], vec![vec![]], false),
            Groups::Public { by, keys } => (by.clone(), keys.clone(), false),
            Groups::Private { by, .. } => (by.clone(), vec![], true),
        };
        let mut index = Self {
            parts: vec![PartIndex::default(); columns.len()],
            levels: vec![HashMap::new(); columns.len().saturating_sub(1)],
            columns,
            keys: vec![],
            open: true,
        };
        for key in keys {
            let parts: Vec<_> =
                key.iter().zip(&mut index.parts).map(|(part, known)| known.of_key(part, true)).collect();
            index.number(&parts);
        }
        index.open = open;
        index
    }

    /// The keys in the order of their numbers.
    pub(super) fn keys(&self) -> &[Vec<Key>] {
        &self.keys
    }

    pub(super) fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Reads the key columns of a batch, in the order of [`GroupIndex::columns`].
    pub(super) fn reader<'b>(&mut self, columns: Vec<&'b Column<'b>>) -> Result<GroupReader<'_, 'b>, Error> {
        let open = self.open;
        let mut coded = Vec::with_capacity(columns.len());
        for ((column, part), name) in columns.iter().zip(&mut self.parts).zip(&self.columns) {
            part.check(column, name, open)?;
            coded.push(match column.values() {
                // Each category is looked up once. One that no row has must not become a key, so it stays UNSEEN
                // until a row shows it.
                Values::Coded(_, keys) => {
                    let unknown = if open { UNSEEN } else { NONE };
                    let number = |key: &Key| part.known(key).unwrap_or(unknown);
                    keys.iter().map(|key| key.as_ref().map_or(NONE, number)).collect()
                }
                _ => vec![],
            });
        }
        Ok(GroupReader { parts: vec![NONE; columns.len()], index: self, columns, coded })
    }

    /// The number of the group whose columns have these numbers, none of them [`NONE`].
    fn number(&mut self, parts: &[u32]) -> u32 {
        let mut number = parts.first().copied().unwrap_or(0);
        for (pairs, &part) in self.levels.iter_mut().zip(parts.iter().skip(1)) {
            let next = pairs.len() as u32;
            number = match (pairs.get(&(number, part)), self.open) {
                (Some(&known), _) => known,
                (None, false) => return NONE,
                (None, true) => {
                    pairs.insert((number, part), next);
                    next
                }
            };
        }
        if self.keys.len() == number as usize {
            self.keys.push(parts.iter().zip(&self.parts).map(|(n, p)| p.keys[*n as usize].clone()).collect());
        }
        number
    }
}

/// A category that no row has shown yet.
const UNSEEN: u32 = u32::MAX - 1;

/// Reads groups row by row.
pub(super) struct GroupReader<'i, 'b> {
    index: &'i mut GroupIndex,
    columns: Vec<&'b Column<'b>>,
    coded: Vec<Vec<u32>>,
    parts: Vec<u32>,
}

impl GroupReader<'_, '_> {
    /// The key of a group that [`GroupReader::group`] returned.
    pub(super) fn key(&self, group: u32) -> Option<&[Key]> {
        self.index.keys.get(group as usize).map(Vec::as_slice)
    }

    /// The group of a row, or [`NONE`].
    #[inline]
    pub(super) fn group(&mut self, row: usize) -> u32 {
        if self.columns.is_empty() {
            return 0;
        }
        let open = self.index.open;
        for (i, column) in self.columns.iter().enumerate() {
            let part = &mut self.index.parts[i];
            self.parts[i] = if !column.present(row) {
                NONE
            } else {
                match column.values() {
                    Values::Bool(v) => part.of_int(i64::from(v[row]), open),
                    Values::Signed(v) => part.of_int(v[row], open),
                    Values::Unsigned(v) => match i64::try_from(v[row]) {
                        Ok(value) => part.of_int(value, open),
                        Err(_) => part.of_key(&Key::Int(v[row].into()), open),
                    },
                    Values::Float(v) => Key::from_f64(v[row]).map_or(NONE, |key| part.of_key(&key, open)),
                    Values::Decimal(v, scale) => {
                        decimal_key(v[row], *scale).map_or(NONE, |key| part.of_key(&key, open))
                    }
                    Values::Text(v) => part.of_text(v[row], open),
                    Values::Coded(codes, keys) => {
                        let code = codes[row] as usize;
                        match self.coded[i].get(code).copied() {
                            Some(UNSEEN) => {
                                let number = keys[code].as_ref().map_or(NONE, |key| part.of_key(key, open));
                                self.coded[i][code] = number;
                                number
                            }
                            Some(number) => number,
                            None => NONE,
                        }
                    }
                }
            };
            if self.parts[i] == NONE {
                return NONE;
            }
        }
        if let (&[only], false) = (self.parts.as_slice(), open) {
            return only;
        }
        self.index.number(&self.parts)
    }
}

/// Numbers the values of one key column.
#[derive(Clone, Debug, Default)]
struct PartIndex {
    small: Vec<u32>,
    ints: HashMap<i64, u32>,
    texts: HashMap<String, u32>,
    others: HashMap<Key, u32>,
    keys: Vec<Key>,
}

/// Integers in 0 .. SMALL are looked up in a list.
const SMALL: usize = 4096;

impl PartIndex {
    fn next(&self) -> u32 {
        u32::try_from(self.keys.len()).unwrap_or(UNSEEN).min(UNSEEN - 1)
    }

    #[inline]
    fn of_int(&mut self, value: i64, open: bool) -> u32 {
        if let Some(&number) = usize::try_from(value).ok().and_then(|i| self.small.get(i))
            && number != NONE
        {
            return number;
        }
        if let Some(&number) = self.ints.get(&value) {
            return number;
        }
        if open { self.add(Key::Int(value.into())) } else { NONE }
    }

    fn of_text(&mut self, value: &str, open: bool) -> u32 {
        if let Some(&number) = self.texts.get(value) {
            return number;
        }
        if open { self.add(Key::Text(value.to_owned())) } else { NONE }
    }

    fn of_key(&mut self, key: &Key, open: bool) -> u32 {
        self.known(key).unwrap_or_else(|| if open { self.add(key.clone()) } else { NONE })
    }

    fn known(&self, key: &Key) -> Option<u32> {
        match key {
            Key::Int(value) => match i64::try_from(*value) {
                Ok(value) => self.ints.get(&value),
                Err(_) => self.others.get(key),
            },
            Key::Text(text) => self.texts.get(text),
            Key::Float(_) => self.others.get(key),
        }
        .copied()
    }

    fn add(&mut self, key: Key) -> u32 {
        let number = self.next();
        match &key {
            Key::Int(value) => match i64::try_from(*value) {
                Ok(value) => {
                    if let Some(i) = usize::try_from(value).ok().filter(|i| *i < SMALL) {
                        self.small.resize(SMALL, NONE);
                        self.small[i] = number;
                    }
                    self.ints.insert(value, number);
                }
                Err(_) => {
                    self.others.insert(key.clone(), number);
                }
            },
            Key::Text(text) => {
                self.texts.insert(text.clone(), number);
            }
            Key::Float(_) => {
                self.others.insert(key.clone(), number);
            }
        }
        self.keys.push(key);
        number
    }

    /// Public keys of a type that the column cannot hold are a mistake, not an empty result.
    fn check(&self, column: &Column<'_>, name: &str, open: bool) -> Result<(), Error> {
        let fits = |key: &Key| match column.holds() {
            Holds::Numbers => !matches!(key, Key::Text(_)),
            Holds::Texts => matches!(key, Key::Text(_)),
            Holds::Anything => true,
        };
        if !open && !self.keys.iter().all(fits) {
            let has = if column.holds() == Holds::Texts { "a number" } else { "a text" };
            return Err(Error::Table(format!(
                "column {name:?} holds {}, but {has} is among the keys",
                column.described()
            )));
        }
        Ok(())
    }
}
