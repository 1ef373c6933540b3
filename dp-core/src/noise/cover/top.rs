//! The top level in the form that the fast stages read: one word a slot, and a test for boundary rows.

use super::kernel::{self, Grid};
use super::{Format, Level, Slot, Split, decide, power};
use crate::noise::interval::Interval;
use crate::noise::shape::Shape;
use aes::Aes256;
use aes::cipher::Block;
use num_traits::ToPrimitive;

/// Slots of the two formats.
pub(crate) const NARROW_SLOTS: usize = 1 << 15;
pub(crate) const WIDE_SLOTS: usize = 1 << 14;

/// What slots and boundary rows mean, by format.
#[derive(Debug)]
pub(crate) enum Top {
    Narrow {
        /// The cell; the top bit asks for a second look: at a boundary row, or at [`TAIL`] or [`UNUSED`].
        slots: Box<[u16; NARROW_SLOTS]>,
        /// For each column, 2^64 times the part of its first boundary row that lies under the shape, rounded down. The
        /// true number is in [t, t + 2).
        thresholds: Vec<u64>,
    },
    Wide {
        /// The column; the top bit asks for a second look, as above.
        slots: Box<[u32; WIDE_SLOTS]>,
        /// j.
        width: u32,
        /// For each column, R f(center + u w / 2) as a polynomial in u from -1 to 1, lowest power first.
        polynomials: Vec<[f64; DEGREE + 1]>,
        /// An upper bound on the distance from polynomial, row and rounding to the truth, in rows.
        band: f64,
    },
}

/// Entries of slots that are no rectangles, cut to the width of the table.
const TAIL: u32 = u32::MAX - 1;
const UNUSED: u32 = u32::MAX;

/// Degree of the Taylor polynomials.
pub(crate) const DEGREE: usize = 5;

/// The absolute error of a boundary test, as a fraction of R rows.
///
/// - Truncation: |f^(6)| / 6! times the sixth power of the half width. Columns are at most 2^-5 spreads wide, so the half
///   width is at most 2^-6. Gaussian: |f^(6)| <= 15 (Cramer's bound with He_6(0) = -15 as its peak), 15 / 720 2^-36 <
///   2^-41.5. Laplace: 1 / 720 2^-36 < 2^-45.4. Skellam: from the Fourier sum, below 16 / 720 2^-36 < 2^-41.4.
/// - Coefficients: the first is correctly rounded but for 2 ulp; the others come from it in at most 12 roundings each and
///   are at most 2^-5 of it together: below 2^-49.
/// - Evaluation: u is a number below 2^53 over a power of two, rounded once; Horner's rule in five steps, |u| <= 1, with
///   all but the first coefficient small: below 2^-50. The row plus the height, rounded once: 2^-52.
/// - Real laws: the fraction beyond its 14 known bits moves f by at most 2^-15 cells, that is 2^-45 spreads, in slope at
///   most 1.
///
/// The sum is below 2^-41; four times that is claimed.
pub(crate) const RELATIVE_BAND: f64 = 1.0 / (1u64 << 39) as f64;

impl Top {
    pub(crate) fn new(shape: &dyn Shape, format: Format, level: &Level, edges: &[Interval]) -> Self {
        if format.is_narrow() {
            let slots = entries(level, NARROW_SLOTS, 15).map(|entry| entry as u16).collect();
            let thresholds = (0..level.columns()).map(|cell| threshold(level, cell, &edges[cell])).collect();
            Self::Narrow { slots: boxed(slots), thresholds }
        } else {
            let slots = entries(level, WIDE_SLOTS, 31).collect();
            let rows = level.rows.to_f64().unwrap_or(f64::MAX);
            let polynomials =
                shape.taylor(format.width, level.columns()).into_iter().map(|p| p.map(|c| c * rows)).collect();
            Self::Wide { slots: boxed(slots), width: format.width, polynomials, band: rows * RELATIVE_BAND }
        }
    }
}

impl Top {
    /// What a slot stands for.
    pub(crate) fn slot(&self, slot: u32, starts: &[u32]) -> Slot {
        let (entry, flag) = match self {
            Self::Narrow { slots, .. } => (u32::from(slots[slot as usize]), 1 << 15),
            Self::Wide { slots, .. } => (slots[slot as usize], 1 << 31),
        };
        let column = entry & (flag - 1);
        if column >= TAIL & (flag - 1) {
            return if column == UNUSED & (flag - 1) { Slot::Unused } else { Slot::Tail };
        }
        Slot::Rectangle { column: column.into(), row: slot - starts[column as usize], is_interior: entry & flag == 0 }
    }

    /// The verdict on a wide word of a boundary row by what its own bits say, without branches; for other slots anything.
    pub(crate) fn first_look(&self, format: Format, starts: &[u32], word: u64) -> Option<bool> {
        let Self::Wide { slots, polynomials, band, .. } = self else { return None };
        let split = format.split(word);
        let column = (slots[split.slot as usize] & !(1 << 31)).min(polynomials.len() as u32 - 1) as usize;
        let (over, unit) = self.over(format, column, split.slot.wrapping_sub(starts[column]), &split);
        decide(over + 0.5 * unit, band + unit)
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

    /// How far the bottom of a point's height lies over the shape, in rows, within the band; and the height's unit.
    pub(crate) fn over(&self, format: Format, column: usize, row: u32, split: &Split) -> (f64, f64) {
        let Self::Wide { polynomials, .. } = self else { return (f64::NAN, 0.0) };
        // Integers stand at the left edge of their cell; of a real's fraction the middle of what is known.
        let inside = if format.fraction_bits == 0 { 0.0 } else { 0.5 };
        let cells = (split.offset << format.fraction_bits | split.fraction) as f64 + inside;
        let u = cells * power(1 - (format.width + format.fraction_bits) as i32) - 1.0;
        let under = polynomials[column].iter().rev().fold(0.0, |sum, c| sum * u + c);
        let unit = power(-(format.height_bits as i32));
        (f64::from(row) + split.height as f64 * unit - under, unit)
    }

    /// The first pass of real laws, which are wide.
    pub(crate) fn reals(&self, blocks: &[Block<Aes256>], grid: Grid, x: &[f64], out: &mut [f64], flags: &mut [u8]) {
        match self {
            Self::Wide { slots, .. } => {
                let (x, out, flags) = (x.as_chunks().0, out.as_chunks_mut().0, flags.as_chunks_mut().0);
                kernel::reals(blocks, slots, grid, x, out, flags);
            }
            // Nothing was done: everything needs a second look.
            Self::Narrow { .. } => flags.fill(1),
        }
    }
}

/// The entries of all slots, with the flag in bit `flag`.
fn entries(level: &Level, slots: usize, flag: u32) -> impl Iterator<Item = u32> + '_ {
    let columns = (0u32..).zip(&level.interior).zip(level.starts.windows(2));
    let rectangles = columns.flat_map(move |((column, &interior), ends)| {
        (0..ends[1] - ends[0]).map(move |row| column | u32::from(row >= interior) << flag)
    });
    rectangles.chain([TAIL]).chain(std::iter::repeat(UNUSED)).take(slots)
}

fn boxed<T: std::fmt::Debug, const N: usize>(entries: Vec<T>) -> Box<[T; N]> {
    entries.into_boxed_slice().try_into().expect("one entry a slot")
}

/// 2^64 times the part of row `interior` of the column that lies under the shape; columns have one boundary row at most.
fn threshold(level: &Level, cell: usize, edge: &Interval) -> u64 {
    // (R f) 2^64, or half of it for the shared cell 0, less the interior rows.
    let mut under = (&edge.lo * &level.rows) >> (edge.bits - 64);
    if cell == 0 {
        under >>= 1u32;
    }
    let interior = num_bigint::BigUint::from(level.interior[cell]) << 64u32;
    if under <= interior { 0 } else { (under - interior).to_u64().unwrap_or(u64::MAX) }
}
