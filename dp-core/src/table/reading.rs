//! Reading a table: every slot once, in order, into people's buckets.

use super::accumulate::Accumulator;
use super::bounding::{Bounder, Hashes, Piece, Rows};
use super::cells;
use super::column::{Batch, Column, Values, whole_decimal};
use super::groups::GroupIndex;
use super::key::{Key, write_int, write_text};
use super::partial::{Partial, Range};
use super::plan::{Map, Part, Plan, Unit};
use crate::Error;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::thread;

/// People are spread over this many buckets by hash, each small enough for a processor's cache.
const BUCKETS: usize = 1024;

/// Fewest rows that are worth a thread of their own.
const ROWS_PER_THREAD: usize = 1 << 16;

/// Takes batches of rows, keeps what the plan needs of them, and ends in a [`Partial`].
#[derive(Debug)]
pub struct Builder<'p> {
    plan: &'p Plan,
    range: Range,
    hashes: Hashes,
    people: People,
    workers: Vec<Worker>,
}

/// What type tells people apart: one for all batches, since numbers of different types are not compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum People {
    Unknown,
    Rows,
    Bool,
    Signed,
    Unsigned,
    Float,
    Decimal,
    Texts,
}

impl People {
    /// Whether people are told apart by two keyed hashes rather than by 64 bits of their own.
    fn are_wide(self) -> bool {
        matches!(self, Self::Decimal | Self::Texts)
    }
}

/// What one thread has read.
#[derive(Debug)]
struct Worker {
    groups: GroupIndex,
    store: Store,
}

/// Rows by person: whole numbers and floats identify themselves in 64 bits; texts, categories and decimals by two keyed
/// 64-bit hashes, under which two people are mistaken for one with probability below n^2 / 2^129.
#[derive(Debug)]
enum Store {
    Empty,
    Narrow(Vec<Rows<u64>>),
    Wide(Vec<Rows<u128>>),
    /// Rows are people: nothing to bound.
    Counted(Accumulator),
}

impl<'p> Builder<'p> {
    /// An empty builder for the people of `range`.
    #[must_use]
    pub fn new(plan: &'p Plan, range: Range, threads: usize) -> Self {
        let worker = || Worker { groups: GroupIndex::new(&plan.spec().groups), store: Store::Empty };
        let workers = (0..threads.clamp(1, 256)).map(|_| worker()).collect();
        Self { plan, range, hashes: Hashes::new(&plan.spec().seed), people: People::Unknown, workers }
    }

    /// Reads a batch; every slot is read once. Errors are about names and types of columns alone.
    pub fn push(&mut self, batch: &Batch<'_>) -> Result<(), Error> {
        self.push_rows(batch, 0..batch.rows())
    }

    /// Reads some rows of a batch: a long one in pieces, so that it can be interrupted between them.
    pub fn push_rows(&mut self, batch: &Batch<'_>, rows: std::ops::Range<usize>) -> Result<(), Error> {
        let rows = rows.start.min(batch.rows())..rows.end.min(batch.rows());
        let layout = self.plan.layout();
        let person = match &self.plan.spec().unit {
            Unit::Row => None,
            Unit::Column(name) => Some(batch.column(name)?),
        };
        let people = person.map_or(People::Rows, People::of);
        if self.people != People::Unknown && self.people != people {
            return Err(Error::Table("the person column changes its type between batches".into()));
        }
        self.people = people;
        let source = Source {
            hashes: &self.hashes,
            token: people.token(),
            range: &self.range,
            plan: self.plan,
            person,
            values: layout.columns.iter().map(|name| batch.numbers(name)).collect::<Result<_, _>>()?,
        };
        let threads = self.workers.len().min(rows.len() / ROWS_PER_THREAD).max(1);
        let share = rows.len().div_ceil(threads);
        thread::scope(|scope| {
            let mut running = Vec::new();
            for (i, worker) in self.workers.iter_mut().take(threads).enumerate() {
                let (from, to) = (rows.start + i * share, (rows.start + (i + 1) * share).min(rows.end));
                let columns =
                    worker.groups.columns().iter().map(|name| batch.column(name)).collect::<Result<Vec<_>, _>>()?;
                let source = &source;
                if i + 1 == threads {
                    worker.read(source, columns, from, to)?;
                } else {
                    running.push(scope.spawn(move || worker.read(source, columns, from, to)));
                }
            }
            running
                .into_iter()
                .try_for_each(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        })
    }

    /// Bounds everyone's contribution and adds up.
    #[must_use]
    pub fn finish(self) -> Partial {
        let (keys, renumber) = unify(&self.workers);
        let threads = self.workers.len();
        let bounder = Bounder::new(self.plan, &self.hashes, &keys, self.people.token());
        let total = Accumulator::new(self.plan, keys.len());
        let (mut narrow, mut wide, mut counted) = (vec![], vec![], vec![]);
        for (worker, numbers) in self.workers.into_iter().zip(renumber) {
            match worker.store {
                Store::Empty => {}
                Store::Narrow(buckets) => narrow.push((buckets, numbers)),
                Store::Wide(buckets) => wide.push((buckets, numbers)),
                Store::Counted(accumulator) => counted.push((accumulator, numbers)),
            }
        }
        let total = counted.into_iter().fold(total, |total, (sums, numbers)| total.plus(sums.renumbered(&numbers)));
        let total = bounder.add_up(&transpose(narrow), total, threads);
        let total = bounder.add_up(&transpose(wide), total, threads);
        total.into_partial(self.plan, self.range, keys)
    }
}

impl Plan {
    /// About how many bytes of memory a row takes, at most, until all rows of its person are known: for whoever reads a
    /// table in parts. Tables of counts come on top: 16 MB at most for each quantile and thread.
    #[must_use]
    pub fn row_bytes(&self) -> usize {
        let layout = self.layout();
        // A person (16), a group (4) and the values, with a quarter of slack; then a quantile's cell, in a list that doubles.
        let is_list =
            |part: &&Part| matches!(&part.map, Map::Cells(lattice) if !cells::is_bounded(self, lattice.last()));
        let lists = layout.parts.iter().filter(is_list).count();
        (20 + 8 * layout.columns.len()) * 5 / 4 + 16 * lists
    }
}

/// What a batch is read through.
struct Source<'s, 'b> {
    hashes: &'s Hashes,
    token: fn(&Hashes, u64) -> u64,
    range: &'s Range,
    plan: &'s Plan,
    person: Option<&'s Column<'b>>,
    values: Vec<&'s Column<'b>>,
}

impl People {
    fn of(column: &Column<'_>) -> Self {
        match column.values() {
            Values::Bool(_) => Self::Bool,
            Values::Signed(_) => Self::Signed,
            Values::Unsigned(_) => Self::Unsigned,
            Values::Float(_) => Self::Float,
            Values::Decimal(..) => Self::Decimal,
            Values::Text(_) | Values::Coded(..) => Self::Texts,
        }
    }

    /// The place of a person from its 64-bit number.
    fn token(self) -> fn(&Hashes, u64) -> u64 {
        match self {
            Self::Float => |hashes, id| place(hashes, &Key::from_f64(f64::from_bits(id)).unwrap_or(Key::Int(0))),
            Self::Signed => |hashes, id| place(hashes, &Key::Int((id as i64).into())),
            _ => |hashes, id| place(hashes, &Key::Int(id.into())),
        }
    }
}

/// Where a person lies among all people: equal for equal keys, whatever type carried them.
fn place(hashes: &Hashes, person: &Key) -> u64 {
    if let Key::Int(whole) = person
        && let Ok(narrow) = i64::try_from(*whole)
    {
        // What the key writes, without a list for it.
        let mut canonical = [0; 9];
        canonical[1..].copy_from_slice(&narrow.to_le_bytes());
        return hashes.person.hash(&canonical);
    }
    let mut canonical = Vec::with_capacity(24);
    person.write(&mut canonical);
    hashes.person.hash(&canonical)
}

impl Worker {
    fn read<'b>(
        &mut self,
        source: &Source<'_, 'b>,
        columns: Vec<&'b Column<'b>>,
        from: usize,
        to: usize,
    ) -> Result<(), Error> {
        if let Store::Empty = self.store {
            self.store = match source.person.map(People::of) {
                None => Store::Counted(Accumulator::new(source.plan, 0)),
                Some(people) if people.are_wide() => Store::Wide(vec![Rows::default(); BUCKETS]),
                Some(_) => Store::Narrow(vec![Rows::default(); BUCKETS]),
            };
        }
        let mut groups = self.groups.reader(columns)?;
        let values = |row: usize| source.values.iter().map(move |column| column.number(row));
        let mut scratch = Vec::with_capacity(64);
        match (&mut self.store, source.person) {
            (Store::Narrow(buckets), Some(person)) => {
                reserve(buckets, to - from, source.values.len());
                for row in from..to {
                    let Some(id) = narrow(person, row) else { continue };
                    let place = if source.range.is_whole() {
                        // Any spread will do, and costs less than the keyed hash.
                        (id.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - BUCKETS.ilog2())) as usize
                    } else {
                        let hash = (source.token)(source.hashes, id);
                        if !source.range.contains(hash) {
                            continue;
                        }
                        source.range.place(hash, BUCKETS)
                    };
                    buckets[place].push(id, groups.group(row), values(row));
                }
            }
            (Store::Wide(buckets), Some(person)) => {
                reserve(buckets, to - from, source.values.len());
                let categories = categories(person, source.hashes);
                for row in from..to {
                    let Some(id) = wide(person, row, &categories, source.hashes, &mut scratch) else { continue };
                    let hash = (id >> 64) as u64;
                    if source.range.contains(hash) {
                        buckets[source.range.place(hash, BUCKETS)].push(id, groups.group(row), values(row));
                    }
                }
            }
            (Store::Counted(sums), _) => {
                let whole = source.range.is_whole();
                let mut numbers = vec![0.0; source.values.len()];
                for row in from..to {
                    numbers.iter_mut().zip(values(row)).for_each(|(slot, value)| *slot = value);
                    let group = groups.group(row);
                    if whole
                        || source.range.contains(row_place(source.hashes, groups.key(group), &numbers, &mut scratch))
                    {
                        sums.row(source.plan, group, &numbers);
                        sums.person(source.plan, group);
                    }
                }
            }
            (Store::Empty | Store::Narrow(_) | Store::Wide(_), _) => {}
        }
        Ok(())
    }
}

/// The numbers of the people that categories name.
fn categories(column: &Column<'_>, hashes: &Hashes) -> Vec<Option<u128>> {
    let mut canonical = vec![];
    let mut id = |key: &Key| {
        canonical.clear();
        key.write(&mut canonical);
        hashes.wide(&canonical)
    };
    match column.values() {
        Values::Coded(_, keys) => keys.iter().map(|key| key.as_ref().map(&mut id)).collect(),
        _ => vec![],
    }
}

#[inline]
fn wide(
    column: &Column<'_>,
    row: usize,
    categories: &[Option<u128>],
    hashes: &Hashes,
    canonical: &mut Vec<u8>,
) -> Option<u128> {
    if !column.present(row) {
        return None;
    }
    match column.values() {
        Values::Coded(codes, _) => categories.get(codes[row] as usize).copied().flatten(),
        Values::Text(texts) => {
            canonical.clear();
            write_text(texts[row].as_bytes(), canonical);
            Some(hashes.wide(canonical))
        }
        Values::Decimal(units, scale) => {
            canonical.clear();
            match whole_decimal(units[row], *scale) {
                (whole, 0) => write_int(whole, canonical),
                (units, scale) => {
                    // A tag that no key has.
                    canonical.extend([4, scale]);
                    canonical.extend(units.to_le_bytes());
                }
            }
            Some(hashes.wide(canonical))
        }
        _ => None,
    }
}

/// Room for the rows to come, and a little more than their share in each bucket, so that large tables are not copied
/// again and again as buckets grow.
fn reserve<Id>(buckets: &mut [Rows<Id>], rows: usize, values: usize) {
    let share = rows / BUCKETS;
    for bucket in buckets {
        if share > bucket.people.len() {
            let room = share + share / 16 + 16;
            bucket.people.reserve_exact(room);
            bucket.groups.reserve_exact(room);
            bucket.values.reserve_exact(room * values);
        }
    }
}

/// The number that tells a person apart from others of this column.
#[inline]
fn narrow(column: &Column<'_>, row: usize) -> Option<u64> {
    if !column.present(row) {
        return None;
    }
    match column.values() {
        Values::Bool(v) => Some(u64::from(v[row])),
        Values::Signed(v) => Some(v[row] as u64),
        Values::Unsigned(v) => Some(v[row]),
        // + 0.0 makes -0.0 and 0.0 one person.
        Values::Float(v) => v[row].is_finite().then(|| (v[row] + 0.0).to_bits()),
        Values::Decimal(..) | Values::Text(_) | Values::Coded(..) => None,
    }
}

/// The place of a row that is a person by itself.
fn row_place(hashes: &Hashes, key: Option<&[Key]>, values: &[f64], scratch: &mut Vec<u8>) -> u64 {
    scratch.clear();
    key.into_iter().flatten().for_each(|part| part.write(scratch));
    values.iter().for_each(|value| scratch.extend(value.to_bits().to_le_bytes()));
    hashes.person.hash(scratch)
}

/// One numbering of the groups for all workers: the keys, and each worker's numbers in it.
fn unify(workers: &[Worker]) -> (Vec<Vec<Key>>, Vec<Arc<Vec<u32>>>) {
    let mut keys: Vec<Vec<Key>> = vec![];
    let mut numbers = HashMap::new();
    let mut number = |key: &Vec<Key>| {
        *numbers.entry(key.clone()).or_insert_with(|| {
            keys.push(key.clone());
            (keys.len() - 1) as u32
        })
    };
    let renumbered =
        workers.iter().map(|worker| Arc::new(worker.groups.keys().iter().map(&mut number).collect())).collect();
    (keys, renumbered)
}

/// Something of one worker's, with what its group numbers are called by all.
type Numbered<T> = (T, Arc<Vec<u32>>);

/// From workers with buckets to buckets with each worker's rows.
fn transpose<Id>(workers: Vec<Numbered<Vec<Rows<Id>>>>) -> Vec<Mutex<Vec<Piece<Id>>>> {
    let mut buckets: Vec<Vec<Piece<Id>>> = vec![];
    for (rows, numbers) in workers {
        buckets.resize_with(rows.len(), Vec::new);
        for (bucket, rows) in buckets.iter_mut().zip(rows) {
            bucket.push((rows, numbers.clone()));
        }
    }
    buckets.into_iter().map(Mutex::new).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A column of whole numbers and one of floats or keys put the same person in the same place.
    #[test]
    fn places_are_those_of_the_keys() {
        let hashes = Hashes::new(&[9; 16]);
        for whole in [0, 1, -1, 255, 1 << 40, i128::from(i64::MIN), i128::from(i64::MAX), 1 << 63, i128::MAX] {
            let mut canonical = vec![];
            Key::Int(whole).write(&mut canonical);
            assert_eq!(place(&hashes, &Key::Int(whole)), hashes.person.hash(&canonical));
        }
        let (signed, float) = (People::Signed.token(), People::Float.token());
        assert_eq!(signed(&hashes, 7), float(&hashes, 7.0_f64.to_bits()));
    }
}
