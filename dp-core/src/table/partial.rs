//! Partials: exact sums over some people of a table. They are **raw data**: seal them in transit, never log them.
//!
//! The bytes are canonical: one state, one encoding. All integers are little-endian; a *varint* is LEB128 in its
//! shortest form.
//!
//! ```text
//! "veilsum partial\x01"                              16 bytes
//! plan                                               32 bytes, the hash of the plan
//! slots, counters, key parts                         u32 each
//! ranges                                             u32, then (first u64, last u64) each: disjoint, ascending, not
//!                                                    adjacent, both ends included
//! groups                                             u32, then for each
//!   key                                              its parts: tag and value
//!   slots                                            i128 each
//!   counters                                         for each: number of runs u32, then (varint cell - previous cell
//!                                                    - 1, varint count - 1) with a "previous cell" of -1 at first
//! ```
//!
//! Tags of key parts: 0 and an i64; 1 and an i128 that no i64 holds; 2 and an f64 that is not whole; 3, a u32 and as many
//! bytes of UTF-8. A parser refuses everything else, leftover bytes too.

use super::key::{Key, take};
use super::plan::{Groups, Plan};
use crate::Error;

const MAGIC: &[u8; 16] = b"veilsum partial\x01";

/// A part of all people: those whose keyed hash lies in it. Ranges are public.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Range {
    first: u64,
    last: u64,
}

impl Range {
    /// Everyone.
    #[must_use]
    pub fn whole() -> Self {
        Self { first: 0, last: u64::MAX }
    }

    /// The `index`-th of `count` equal parts, from 0.
    pub fn part(index: u32, count: u32) -> Result<Self, Error> {
        if index >= count {
            return Err(Error::out_of_range(
                "part",
                format!("{index} of {count}"),
                "a number from 0 to count - 1, count >= 1",
            ));
        }
        let start = |i: u32| ((u128::from(i) << 64) / u128::from(count)) as u64;
        let last = if index + 1 == count { u64::MAX } else { start(index + 1) - 1 };
        Ok(Self { first: start(index), last })
    }

    /// Whether it is everyone.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        *self == Self::whole()
    }

    #[inline]
    pub(super) fn contains(&self, hash: u64) -> bool {
        (self.first..=self.last).contains(&hash)
    }

    /// Which of `count` (a power of two) pieces of the range a hash in it falls into: at least half of them are used.
    #[inline]
    pub(super) fn place(&self, hash: u64, count: usize) -> usize {
        let bits = (u64::BITS - (self.last - self.first).leading_zeros()).saturating_sub(count.ilog2());
        ((hash - self.first) >> bits) as usize
    }
}

/// Exact sums over some people.
#[derive(Clone, PartialEq, Eq)]
pub struct Partial {
    plan: [u8; 32],
    /// Slots and counters a group, and parts of a key.
    shape: [u32; 3],
    ranges: Vec<Range>,
    groups: Vec<GroupState>,
}

#[derive(Clone, PartialEq, Eq)]
pub(super) struct GroupState {
    pub(super) key: Vec<Key>,
    pub(super) slots: Vec<i128>,
    pub(super) cells: Vec<Runs>,
}

/// Prints what is public alone.
impl std::fmt::Debug for Partial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Partial").field("ranges", &self.ranges).finish_non_exhaustive()
    }
}

impl Partial {
    pub(super) fn new(plan: &Plan, range: Range, groups: Vec<GroupState>) -> Self {
        Self { plan: *plan.hash(), shape: shape(plan), ranges: vec![range], groups }
    }

    /// The partial of everyone in either. It refuses partials of different plans, or that own the same people: both
    /// are public facts.
    pub fn merge(self, other: Self) -> Result<Self, Error> {
        if self.plan != other.plan || self.shape != other.shape {
            return Err(Error::Table("these partials belong to different plans".into()));
        }
        let ranges = join(self.ranges, other.ranges)
            .ok_or_else(|| Error::Table("these partials own the same people: give each worker its own part".into()))?;
        let mut groups = Vec::with_capacity(self.groups.len().max(other.groups.len()));
        let (mut a, mut b) = (self.groups.into_iter().peekable(), other.groups.into_iter().peekable());
        loop {
            // Public keys come in the plan's order, the same in both; private ones are sorted.
            let order = match (a.peek(), b.peek()) {
                (Some(x), Some(y)) => x.key.cmp(&y.key),
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (None, None) => break,
            };
            groups.push(match order {
                std::cmp::Ordering::Less => a.next(),
                std::cmp::Ordering::Greater => b.next(),
                std::cmp::Ordering::Equal => a.next().zip(b.next()).map(|(x, y)| x.plus(&y)).transpose()?,
            });
        }
        Ok(Self { ranges, groups: groups.into_iter().flatten().collect(), ..self })
    }

    /// The groups, if this is a partial of that plan and of everyone.
    pub(super) fn complete(self, plan: &Plan) -> Result<Vec<GroupState>, Error> {
        if self.plan != *plan.hash() || self.shape != shape(plan) {
            return Err(Error::Table("this partial belongs to another plan".into()));
        }
        if self.ranges != [Range::whole()] {
            return Err(Error::Table("this partial is not of everyone: merge the partials of all parts first".into()));
        }
        if let Groups::Public { keys, .. } = &plan.spec().groups
            && !self.groups.iter().map(|group| &group.key).eq(keys)
        {
            return Err(malformed());
        }
        if plan.spec().groups == Groups::Whole && self.groups.len() != 1 {
            return Err(malformed());
        }
        Ok(self.groups)
    }

    /// The canonical bytes: **raw data**.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut to = MAGIC.to_vec();
        to.extend(self.plan);
        self.shape.iter().for_each(|n| to.extend(n.to_le_bytes()));
        to.extend((self.ranges.len() as u32).to_le_bytes());
        for range in &self.ranges {
            to.extend(range.first.to_le_bytes());
            to.extend(range.last.to_le_bytes());
        }
        to.extend((self.groups.len() as u32).to_le_bytes());
        for group in &self.groups {
            group.key.iter().for_each(|part| part.write(&mut to));
            group.slots.iter().for_each(|slot| to.extend(slot.to_le_bytes()));
            for runs in &group.cells {
                to.extend(runs.count.to_le_bytes());
                to.extend(&runs.bytes);
            }
        }
        to
    }

    /// Reads what [`Partial::to_bytes`] wrote, and nothing else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let mut from = bytes;
        read(&mut from).filter(|_| from.is_empty()).ok_or_else(malformed)
    }
}

fn shape(plan: &Plan) -> [u32; 3] {
    let parts = match &plan.spec().groups {
        Groups::Whole => 0,
        Groups::Public { by, .. } | Groups::Private { by, .. } => by.len(),
    };
    [plan.layout().slots, plan.layout().counters, parts].map(|n| n as u32)
}

fn malformed() -> Error {
    Error::Table("these bytes are not a partial".into())
}

fn read(from: &mut &[u8]) -> Option<Partial> {
    if take::<16>(from)? != *MAGIC {
        return None;
    }
    let plan = take(from)?;
    let number = |from: &mut &[u8]| Some(u32::from_le_bytes(take(from)?));
    let shape @ [slots, counters, parts] = [number(from)?, number(from)?, number(from)?];
    let mut ranges: Vec<Range> = vec![];
    for _ in 0..number(from)? {
        let range = Range { first: u64::from_le_bytes(take(from)?), last: u64::from_le_bytes(take(from)?) };
        let apart =
            ranges.last().is_none_or(|before| before.last.checked_add(1).is_some_and(|next| next < range.first));
        if !apart || range.first > range.last {
            return None;
        }
        ranges.push(range);
    }
    let mut groups: Vec<GroupState> = vec![];
    for _ in 0..number(from)? {
        // A group without a key, a slot or a counter takes no bytes, and there is at most one of it.
        if shape == [0, 0, 0] && !groups.is_empty() {
            return None;
        }
        let key = (0..parts).map(|_| Key::read(from)).collect::<Option<_>>()?;
        let slots = (0..slots).map(|_| take(from).map(i128::from_le_bytes)).collect::<Option<_>>()?;
        let cells = (0..counters).map(|_| Runs::read(from)).collect::<Option<_>>()?;
        groups.push(GroupState { key, slots, cells });
    }
    Some(Partial { plan, shape, ranges, groups })
}

/// The union of disjoint ranges, adjacent ones joined; `None` if they overlap.
fn join(a: Vec<Range>, b: Vec<Range>) -> Option<Vec<Range>> {
    let mut all = [a, b].concat();
    all.sort_unstable_by_key(|range| range.first);
    let mut joined: Vec<Range> = vec![];
    for range in all {
        match joined.last_mut() {
            Some(before) if before.last >= range.first => return None,
            Some(before) if before.last + 1 == range.first => before.last = range.last,
            _ => joined.push(range),
        }
    }
    Some(joined)
}

impl GroupState {
    fn plus(mut self, other: &Self) -> Result<Self, Error> {
        for (sum, part) in self.slots.iter_mut().zip(&other.slots) {
            // Sums of rows cannot overflow; bytes that somebody made up can.
            *sum = sum.checked_add(*part).ok_or_else(malformed)?;
        }
        for (a, b) in self.cells.iter_mut().zip(&other.cells) {
            *a = a.plus(b).ok_or_else(malformed)?;
        }
        Ok(self)
    }
}

/// Counts of the candidates that occur, in ascending order, in their canonical encoding.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Runs {
    count: u32,
    bytes: Vec<u8>,
}

impl Runs {
    /// From (cell, count) pairs in the order of the cells.
    pub(super) fn from_runs(runs: impl Iterator<Item = (u32, u64)>) -> Self {
        let mut writer = RunWriter::default();
        runs.for_each(|(cell, count)| writer.push(cell, count));
        writer.runs
    }

    /// (cell, count) pairs.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, u64)> + '_ {
        let mut from = self.bytes.as_slice();
        let mut next = 0;
        std::iter::from_fn(move || run(&mut from, &mut next))
    }

    fn plus(&self, other: &Self) -> Option<Self> {
        let mut writer = RunWriter::default();
        let (mut a, mut b) = (self.iter().peekable(), other.iter().peekable());
        loop {
            let (cell, count) = match (a.peek().copied(), b.peek().copied()) {
                (Some(x), Some(y)) if x.0 == y.0 => {
                    a.next();
                    b.next();
                    (x.0, x.1.checked_add(y.1)?)
                }
                (Some(x), y) if y.is_none_or(|y| x.0 < y.0) => a.next()?,
                (_, Some(_)) => b.next()?,
                (Some(_), None) => a.next()?,
                (None, None) => return Some(writer.runs),
            };
            writer.push(cell, count);
        }
    }

    fn read(from: &mut &[u8]) -> Option<Self> {
        let count = u32::from_le_bytes(take(from)?);
        let start = *from;
        let mut next = 0;
        for _ in 0..count {
            run(from, &mut next)?;
        }
        Some(Self { count, bytes: start[..start.len() - from.len()].to_vec() })
    }
}

/// One run: its cell is at least `next`.
fn run(from: &mut &[u8], next: &mut u64) -> Option<(u32, u64)> {
    let cell = u32::try_from(next.checked_add(varint(from)?)?).ok()?;
    *next = u64::from(cell) + 1;
    Some((cell, varint(from)?.checked_add(1)?))
}

#[derive(Default)]
struct RunWriter {
    runs: Runs,
    next: u64,
}

impl RunWriter {
    fn push(&mut self, cell: u32, count: u64) {
        self.runs.count += 1;
        write_varint(u64::from(cell) - self.next, &mut self.runs.bytes);
        write_varint(count - 1, &mut self.runs.bytes);
        self.next = u64::from(cell) + 1;
    }
}

fn write_varint(mut value: u64, to: &mut Vec<u8>) {
    while value >= 0x80 {
        to.push(value as u8 | 0x80);
        value >>= 7;
    }
    to.push(value as u8);
}

fn varint(from: &mut &[u8]) -> Option<u64> {
    let (mut value, mut shift) = (0_u64, 0);
    loop {
        let [byte] = take::<1>(from)?;
        let bits = u64::from(byte & 0x7f);
        if shift > 63 || (shift == 63 && bits > 1) || (shift > 0 && byte == 0) {
            return None;
        }
        value |= bits << shift;
        if byte < 0x80 {
            return Some(value);
        }
        shift += 7;
    }
}
