//! One level of a cover: how many rows each column has.

use super::{Format, Slot};
use crate::noise::interval::Interval;
use crate::noise::shape::{Shape, integer, power_of_two};
use num_bigint::BigUint;
use num_rational::BigRational;
use num_traits::{One, ToPrimitive};
use std::sync::OnceLock;

/// Columns `first_column ..` with rows of height 1 / `rows`.
#[derive(Debug)]
pub(crate) struct Level {
    pub(crate) first_column: u64,
    /// R: rows in a column of height 1.
    pub(crate) rows: BigUint,
    /// The first slot of each column, and after the last column the tail's slot.
    pub(crate) starts: Vec<u32>,
    /// How many rows of each column lie under the shape as a whole. Fewer would be as right, and slower.
    pub(crate) interior: Vec<u32>,
    next: OnceLock<Box<Level>>,
}

/// The first try at precision; more is taken wherever an enclosure leaves an integer open.
const BITS: u64 = 96;

impl Level {
    pub(crate) fn is_top(&self) -> bool {
        self.first_column == 0
    }

    /// The top level, and the shape at its columns' left edges, known to 2^-80: R is the largest number of rows whose
    /// rectangles, and the tail's slot, fit.
    pub(crate) fn first(shape: &dyn Shape, format: Format) -> (Self, Vec<Interval>) {
        (0..).find_map(|doubling| Self::first_at(shape, format, BITS << doubling)).expect("precision has no end")
    }

    fn first_at(shape: &dyn Shape, format: Format, bits: u64) -> Option<(Self, Vec<Interval>)> {
        let slots = 1u32 << format.slot_bits;
        // Column 0 needs at least R / 2 rows.
        let columns = Columns::new(shape, format, 0, &BigUint::from(2 * slots), bits)?;
        if columns.edges.iter().any(|edge| (&edge.hi - &edge.lo).bits() > bits - 80) {
            return None;
        }
        let fits = |rows: u32| match columns.total(rows) {
            Some(total) => Some(total < slots),
            None => columns.starts(&BigUint::from(rows)).map(|starts| starts[starts.len() - 1] < slots),
        };
        let (mut good, mut bad) = (1, 2 * slots);
        while bad - good > 1 {
            let middle = good + (bad - good) / 2;
            if fits(middle)? { good = middle } else { bad = middle }
        }
        Some((Self::assemble(&columns, BigUint::from(good))?, columns.edges))
    }

    /// The level that this one's tail slot opens.
    pub(crate) fn next(&self, shape: &dyn Shape, format: Format) -> &Self {
        self.next.get_or_init(|| {
            let first = self.first_column + self.columns() as u64;
            let rows = &self.rows << format.slot_bits;
            let level = (0..).find_map(|doubling| {
                let columns = Columns::new(shape, format, first, &rows, (BITS << doubling) + rows.bits())?;
                Self::assemble(&columns, rows.clone())
            });
            Box::new(level.expect("precision has no end"))
        })
    }

    fn assemble(columns: &Columns, rows: BigUint) -> Option<Self> {
        let starts = columns.starts(&rows)?;
        let interior = (0..starts.len() - 1).map(|i| columns.interior(i, &rows)).collect();
        Some(Self { first_column: columns.first, rows, starts, interior, next: OnceLock::new() })
    }

    pub(crate) fn columns(&self) -> usize {
        self.starts.len() - 1
    }

    /// What slot number `slot` stands for.
    pub(crate) fn slot(&self, slot: u32) -> Slot {
        let tail = self.starts[self.columns()];
        if slot >= tail {
            return if slot == tail { Slot::Tail } else { Slot::Unused };
        }
        let column = self.starts.partition_point(|&start| start <= slot) - 1;
        let row = slot - self.starts[column];
        Slot::Rectangle { column: self.first_column + column as u64, row, is_interior: row < self.interior[column] }
    }
}

/// The columns from `first` on that a level with at most so many rows can need.
struct Columns {
    format: Format,
    first: u64,
    edges: Vec<Interval>,
    /// 2 f(t) (w + tau(t)) / w at each edge t. Where R times this is at most 1, the tail from t on fills at most half a
    /// slot, and the next level's columns, left edges included, fit in the slots that the tail slot opens.
    reach: Vec<Interval>,
    /// Both, where they fit machine words: at the first precision.
    quick: Vec<([u128; 2], [u128; 2])>,
}

impl Columns {
    /// `None` if the precision does not tell where to stop.
    fn new(shape: &dyn Shape, format: Format, first: u64, most_rows: &BigUint, bits: u64) -> Option<Self> {
        let width = power_of_two(format.width);
        let mut columns = Self { format, first, edges: Vec::new(), reach: Vec::new(), quick: Vec::new() };
        for (i, edge) in shape.edges(format.width, first, bits).enumerate() {
            let t = integer(first + i as u64) * &width;
            let factor = if i == 0 { BigRational::one() } else { integer(2) * (&width + shape.tail(&t)) / &width };
            let reach = edge.times_rational(&factor);
            let words = |x: &Interval| Some([x.lo.to_u128()?, x.hi.to_u128()?]);
            if bits == BITS
                && let (Some(edge), Some(reach)) = (words(&edge), words(&reach))
            {
                columns.quick.push((edge, reach));
            }
            columns.reach.push(reach);
            columns.edges.push(edge);
            if i > 0 && columns.ends_before(i, most_rows)? {
                break;
            }
        }
        Some(columns)
    }

    /// Whether a level of 1 / `rows` may end before its column `i`.
    fn ends_before(&self, i: usize, rows: &BigUint) -> Option<bool> {
        let (least, most) = self.reach[i].ceil_times(rows);
        match (least <= BigUint::one(), most <= BigUint::one()) {
            (true, false) => None,
            (_, ends) => Some(ends),
        }
    }

    /// The first slot of each column when the rows are 1 / `rows` high, and the first slot after them.
    fn starts(&self, rows: &BigUint) -> Option<Vec<u32>> {
        let mut starts = vec![0u32];
        let mut total = 0u32;
        for (i, edge) in self.edges.iter().enumerate() {
            if i > 0 && self.ends_before(i, rows)? {
                return Some(starts);
            }
            let (least, most) = if self.first + i as u64 == 0 {
                let all = if self.format.is_narrow() { (rows + 1u32) >> 1u32 } else { rows.clone() };
                (all.clone(), all)
            } else {
                // f > 0: every column has a row.
                let (least, most) = edge.ceil_times(rows);
                (least.max(BigUint::one()), most.max(BigUint::one()))
            };
            if least != most {
                return None;
            }
            total = total.saturating_add(least.to_u32().unwrap_or(u32::MAX));
            starts.push(total);
        }
        None
    }

    /// The number of rectangles, by machine words; `None` where they do not tell or where `starts` would not either.
    fn total(&self, rows: u32) -> Option<u32> {
        let rows = u128::from(rows);
        let mut total = 0u32;
        for (i, (edge, reach)) in self.quick.iter().enumerate() {
            let ceiling = |x: u128| x.checked_mul(rows).map(|x| (x >> BITS) + u128::from(x << (128 - BITS) != 0));
            if i > 0 {
                let (least, most) = (ceiling(reach[0])?, ceiling(reach[1])?);
                match (least <= 1, most <= 1) {
                    (true, true) => return Some(total),
                    (true, false) => return None,
                    _ => {}
                }
            }
            let (least, most) = if self.first + i as u64 > 0 {
                (ceiling(edge[0])?.max(1), ceiling(edge[1])?.max(1))
            } else if self.format.is_narrow() {
                (rows.div_ceil(2), rows.div_ceil(2))
            } else {
                (rows, rows)
            };
            if least != most {
                return None;
            }
            total = total.saturating_add(least as u32);
        }
        None
    }

    /// Rows of column `i` that are certainly under the shape over the whole column: over its one cell, or up to the next
    /// column's left edge.
    fn interior(&self, i: usize, rows: &BigUint) -> u32 {
        let lowest = if self.format.is_narrow() { &self.edges[i] } else { &self.edges[i + 1] };
        let least = lowest.floor_times(rows);
        let shared = self.format.is_narrow() && self.first + i as u64 == 0;
        (if shared { least >> 1u32 } else { least }).to_u32().unwrap_or(0)
    }
}
