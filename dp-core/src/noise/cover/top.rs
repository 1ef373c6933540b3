//! The top level in the form that the fast stages read: one word a slot, and a test for boundary rows.

use super::batch::Places;
use super::kernel::{self, Grid};
use super::{Format, Level, Slot, power};
use crate::noise::interval::Interval;
use crate::noise::shape::{Shape, Taylor};
use aes::Aes256;
use aes::cipher::Block;
use num_traits::ToPrimitive;

/// Slots of the two formats.
pub(crate) const NARROW_SLOTS: usize = 1 << 15;
pub(crate) const WIDE_SLOTS: usize = 1 << 14;

/// What slots and boundary rows mean, by format.
///
/// An entry of a slot is its column; the top bit asks for a second look: at a boundary row, or at [`TAIL`] or [`UNUSED`].
#[derive(Debug)]
pub(crate) enum Top {
    Narrow {
        slots: Box<[u16; NARROW_SLOTS]>,
        /// For each column, 2^64 times the part of its first boundary row that lies under the shape, rounded down. The
        /// true number is in [t, t + 2).
        thresholds: Vec<u64>,
    },
    Wide {
        slots: Box<[u16; WIDE_SLOTS]>,
        /// j.
        width: u32,
        /// For each column, R f(center + u w / 2) as a polynomial in u from -1 to 1, lowest power first.
        polynomials: Vec<[f64; DEGREE + 1]>,
        /// An upper bound on the distance from polynomial, row and rounding to the truth, in rows.
        band: f64,
    },
}

/// The bit of an entry that asks for a second look.
const LOOK: u16 = 1 << 15;
/// Entries of slots that are no rectangles. Columns are far fewer: some 700 of a wide level, and of a narrow one that is
/// cut at the latest where f falls below 2^-16, some 3000.
const TAIL: u16 = u16::MAX - 1;
const UNUSED: u16 = u16::MAX;

/// Degree of the Taylor polynomials.
pub(crate) const DEGREE: usize = 5;

/// What a boundary test may be wrong by, as a fraction of R rows, beside the polynomial's own remainder. |u| <= 1 and all
/// coefficients but the first add up to at most 2^-5, so that only their last sum counts.
///
/// - Coefficients: 2^-51 and 2^-49 as [`Taylor`](crate::noise::shape::Taylor) says, and 2^-53 for the product with R.
/// - Evaluation: u is a whole number below 2^53 over a power of two, less 1, rounded once: 2^-54 times a slope of 2^-5.
///   Horner's rule rounds five times, with 2^-53 for the last and 2^-57 for the others.
/// - The row plus the height is rounded once, as is the distance, and the one with more bits of the height: 3 2^-53.
/// - Real laws: the fraction beyond its 14 known bits moves the point by at most 2^-15 cells from the middle that is taken,
///   and the slope is at most 2^-30 a cell: 2^-45.
///
/// Together below 2^-44.
const ROUNDING: f64 = 1.0 / (1u64 << 44) as f64;

/// The band is wider than what is derived by this factor; `tests/noise_certificate.rs` finds the derived part kept.
const MARGIN: f64 = 4.0;

impl Top {
    pub(crate) fn new(shape: &dyn Shape, format: Format, level: &Level, edges: &[Interval]) -> Self {
        if format.is_narrow() {
            let slots = entries(level, NARROW_SLOTS).collect();
            let thresholds = (0..level.columns()).map(|cell| threshold(level, cell, &edges[cell])).collect();
            Self::Narrow { slots: boxed(slots), thresholds }
        } else {
            let slots = entries(level, WIDE_SLOTS).collect();
            let rows = level.rows.to_f64().unwrap_or(f64::MAX);
            let Taylor { polynomials, remainder } = shape.taylor(format.width, level.columns());
            let polynomials = polynomials.into_iter().map(|p| p.map(|c| c * rows)).collect();
            let band = rows * MARGIN * (remainder + ROUNDING);
            Self::Wide { slots: boxed(slots), width: format.width, polynomials, band }
        }
    }
}

impl Top {
    /// What a slot stands for.
    pub(crate) fn slot(&self, slot: u32, starts: &[u32]) -> Slot {
        let entry = match self {
            Self::Narrow { slots, .. } => slots[slot as usize],
            Self::Wide { slots, .. } => slots[slot as usize],
        };
        match entry {
            UNUSED => Slot::Unused,
            TAIL => Slot::Tail,
            _ => {
                let column = entry & !LOOK;
                let row = slot - starts[usize::from(column)];
                Slot::Rectangle { column: column.into(), row, is_interior: entry & LOOK == 0 }
            }
        }
    }

    /// Sorts the suspects of a wide batch by what their own words say, without branches: rejected ones go to `again`,
    /// those that need more than a look to `slow`, and what is under the shape stays as the first pass left it.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn judge(
        &self,
        format: Format,
        starts: &[u32],
        blocks: &[Block<Aes256>],
        flags: &[u8],
        suspects: &Places,
        again: &mut Places,
        slow: &mut Places,
    ) {
        let Self::Wide { slots, polynomials, band, .. } = self else { return };
        let last = polynomials.len() - 1;
        // In column 0 of an integer law there is the zero that counts once.
        let first_kept = u16::from(format.fraction_bits == 0);
        for i in suspects.iter() {
            let word = kernel::word(&blocks[i / 2], i % 2);
            let slot = (word >> 50) as usize;
            let entry = slots[slot];
            let column = usize::from(entry & !LOOK).min(last);
            let row = (slot as u32).wrapping_sub(starts[column]);
            let inside = (word << 15) >> (64 - format.width - format.fraction_bits);
            let height = word & ((1 << format.height_bits) - 1);
            let (over, unit) = self.over(format, column, row, inside, height);
            let over = over + 0.5 * unit;
            let is_clear = (LOOK..TAIL).contains(&entry) & (over.abs() > band + unit);
            let is_rejected = (entry == UNUSED) | (is_clear & (over > 0.0));
            // Under the shape, and the first pass left the right number.
            let is_kept = is_clear & (over < 0.0) & (flags[i] & 2 == 0) & (entry & !LOOK >= first_kept);
            again.push_if(i, is_rejected);
            slow.push_if(i, !(is_rejected | is_kept));
        }
    }

    /// Sorts the suspects of a narrow batch, without branches: boundary rows, which need a height, and unused slots.
    pub(super) fn sort_narrow(
        &self,
        format: Format,
        blocks: &[Block<Aes256>],
        suspects: &Places,
        boundary: &mut Places,
        again: &mut Places,
        slow: &mut Places,
    ) {
        let Self::Narrow { slots, .. } = self else { return };
        for i in suspects.iter() {
            let entry = slots[format.slot(format.word(&blocks[i / 8], i % 8)) as usize];
            boundary.push_if(i, entry < TAIL);
            again.push_if(i, entry == UNUSED);
            slow.push_if(i, entry == TAIL);
        }
    }

    /// The boundary rows among them by the words of their second blocks: rejected, or left open, or as they were left.
    pub(super) fn judge_narrow(
        &self,
        format: Format,
        blocks: &[Block<Aes256>],
        boundary: &Places,
        seconds: &[Block<Aes256>],
        again: &mut Places,
        slow: &mut Places,
    ) {
        let Self::Narrow { slots, thresholds } = self else { return };
        for (i, second) in boundary.iter().zip(seconds) {
            let entry = slots[format.slot(format.word(&blocks[i / 8], i % 8)) as usize];
            let threshold = thresholds[usize::from(entry & !LOOK)];
            let height = kernel::word(second, 1);
            let is_over = height >= threshold.saturating_add(2);
            again.push_if(i, is_over);
            slow.push_if(i, (height >= threshold) & !is_over);
        }
    }

    /// Whether a height of 64 bits in a narrow boundary row lies under the shape, unless they leave that open.
    pub(crate) fn near_narrow(&self, column: usize, height: u64) -> Option<bool> {
        let Self::Narrow { thresholds, .. } = self else { return None };
        match height.checked_sub(thresholds[column]) {
            None => Some(true),
            Some(above) if above >= 2 => Some(false),
            Some(_) => None,
        }
    }

    /// How far the bottom of a point's height lies over the shape, in rows, within the band; and the height's unit. The
    /// point lies `inside` its column by so many units of what is known of it.
    #[inline(always)]
    pub(crate) fn over(&self, format: Format, column: usize, row: u32, inside: u64, height: u64) -> (f64, f64) {
        let Self::Wide { polynomials, .. } = self else { return (f64::NAN, 0.0) };
        // Integers stand at the left edge of their cell; of a real's fraction the middle of what is known.
        let half = if format.fraction_bits == 0 { 0.0 } else { 0.5 };
        let u = (inside as f64 + half) * power(1 - (format.width + format.fraction_bits) as i32) - 1.0;
        let under = polynomials[column].iter().rev().fold(0.0, |sum, c| sum * u + c);
        let unit = power(-(format.height_bits as i32));
        (f64::from(row) + height as f64 * unit - under, unit)
    }

    /// The first pass of real laws, which are wide.
    pub(crate) fn reals(
        &self,
        blocks: &[Block<Aes256>],
        grid: Grid,
        x: &[f64],
        entries: &mut [u16],
        out: &mut [f64],
        flags: &mut [u8],
    ) {
        match self {
            Self::Wide { slots, .. } => {
                let entries = entries.as_chunks_mut().0;
                kernel::look_up(blocks, slots, entries);
                let (x, out, flags) = (x.as_chunks().0, out.as_chunks_mut().0, flags.as_chunks_mut().0);
                kernel::reals(blocks, entries, grid, x, out, flags);
            }
            // Nothing was done: everything needs a second look.
            Self::Narrow { .. } => flags.fill(1),
        }
    }
}

/// The entries of all slots.
fn entries(level: &Level, slots: usize) -> impl Iterator<Item = u16> + '_ {
    let columns = (0u16..).zip(&level.interior).zip(level.starts.windows(2));
    let rectangles = columns.flat_map(move |((column, &interior), ends)| {
        (0..ends[1] - ends[0]).map(move |row| column | if row < interior { 0 } else { LOOK })
    });
    rectangles.chain([TAIL]).chain(std::iter::repeat(UNUSED)).take(slots)
}

fn boxed<T: std::fmt::Debug, const N: usize>(entries: Vec<T>) -> Box<[T; N]> {
    entries.into_boxed_slice().try_into().expect("one entry a slot")
}

/// 2^64 times the part of row `interior` of the column that lies under the shape; columns have one boundary row at most.
///
/// The true number lies in [t, t + 2): rounding down costs less than 1, and so does the width of the edge's enclosure,
/// below 2^-80 (see [`Level::first`]), times R 2^64 with R < 2^16.
fn threshold(level: &Level, cell: usize, edge: &Interval) -> u64 {
    // (R f) 2^64, or half of it for the shared cell 0, less the interior rows.
    let mut under = (&edge.lo * &level.rows) >> (edge.bits - 64);
    if cell == 0 {
        under >>= 1u32;
    }
    let interior = num_bigint::BigUint::from(level.interior[cell]) << 64u32;
    if under <= interior { 0 } else { (under - interior).to_u64().unwrap_or(u64::MAX) }
}
