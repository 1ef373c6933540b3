//! A law's tables laid open, so that a proof from outside can look at the very numbers that the sampler reads.

use super::cover::{Cover, Slot, Top};
use std::sync::Arc;

/// The tables of a law; the words are those of [`sampler`](super::sampler).
#[derive(Clone, Debug)]
pub struct Tables(pub(super) Arc<Cover>);

/// How one level of a cover is cut.
#[derive(Clone, Debug)]
pub struct LevelTable {
    /// c0.
    pub first_column: u64,
    /// R, little-endian.
    pub rows: Vec<u8>,
    /// The first slot of each column, and the tail's slot.
    pub starts: Vec<u32>,
    /// How many rows of each column are accepted without a test.
    pub interior: Vec<u32>,
}

/// What the fast pass takes a slot of level 0 for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum TableSlot {
    Rectangle { column: u64, row: u32, is_interior: bool },
    Tail,
    Unused,
}

/// How the f64 stage sees a word in a wide cover, in rows.
#[derive(Clone, Copy, Debug)]
pub struct Boundary {
    /// How far the bottom of the word's height lies over the shape.
    pub over: f64,
    /// 2^-(height bits): the height is known to lie less than this above its bottom.
    pub unit: f64,
    /// What the stage claims that `over` is wrong by at most. It decides at no distance below this.
    pub band: f64,
}

impl Tables {
    /// B.
    #[must_use]
    pub fn slot_bits(&self) -> u32 {
        self.0.format.slot_bits
    }

    /// j.
    #[must_use]
    pub fn column_bits(&self) -> u32 {
        self.0.format.width
    }

    /// F.
    #[must_use]
    pub fn fraction_bits(&self) -> u32 {
        self.0.format.fraction_bits
    }

    /// Level `depth`, 0 being the top.
    #[must_use]
    pub fn level(&self, depth: usize) -> LevelTable {
        let level = (0..depth).fold(&self.0.first, |level, _| level.next(&*self.0.shape, self.0.format));
        LevelTable {
            first_column: level.first_column,
            rows: level.rows.to_bytes_le(),
            starts: level.starts.clone(),
            interior: level.interior.clone(),
        }
    }

    /// Slot number `slot` of level 0, below 2^B.
    #[must_use]
    pub fn slot(&self, slot: u32) -> TableSlot {
        match self.0.top.slot(slot, &self.0.first.starts) {
            Slot::Rectangle { column, row, is_interior } => TableSlot::Rectangle { column, row, is_interior },
            Slot::Tail => TableSlot::Tail,
            Slot::Unused => TableSlot::Unused,
        }
    }

    /// Narrow covers: the threshold t of a column's first row that is not interior. Heights of 64 bits below t are
    /// accepted and those from t + 2 on rejected.
    #[must_use]
    pub fn threshold(&self, column: usize) -> Option<u64> {
        match &self.0.top {
            Top::Narrow { thresholds, .. } => thresholds.get(column).copied(),
            Top::Wide { .. } => None,
        }
    }

    /// Wide covers: the f64 stage on a word whose slot is a rectangle of level 0.
    #[must_use]
    pub fn boundary(&self, word: u64) -> Option<Boundary> {
        let Top::Wide { band, .. } = &self.0.top else { return None };
        let TableSlot::Rectangle { column, row, .. } = self.slot(self.0.format.slot(word)) else { return None };
        let (format, split) = (self.0.format, self.0.format.split(word));
        let (over, unit) = self.0.top.over(format, column as usize, row, split.inside(format), split.height);
        Some(Boundary { over, unit, band: *band })
    }
}
