//! The engine: a dyadic rectangle cover of a law's shape.
//!
//! Cut the half line into columns of 2^j cells and each column into rows of height 1/R, as many as the shape's left
//! edge needs. All these rectangles are equally likely, so a few uniform bits choose one of N slots exactly; further
//! bits choose the cell in the column and a height in the row, and the point is kept if it lies under the shape. Slots
//! that no rectangle fills reject. One slot stands for everything beyond the last column: it opens the next level,
//! whose rows are N times finer, and so on without end, so nothing is truncated.
//!
//! The map from words to samples is written down in `docs/sampler.md`; the choices behind it in `docs/noise_design.md`.

mod batch;
mod kernel;
mod level;
mod top;

pub(crate) use batch::{Sink, Whole};
pub(crate) use kernel::{Grid, counters};
pub(crate) use level::Level;
pub(crate) use top::Top;

use super::interval::Interval;
use super::shape::Shape;
use super::words::{Chunk, words};
use aes::Aes256;
use aes::cipher::Block;
use num_bigint::{BigInt, BigUint};
use num_rational::BigRational;
use num_traits::{One, Zero};

/// How a primary word is cut up: from the top, slot, sign, offset in the column, fraction of the cell (real laws),
/// height in the row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Format {
    /// Bits that choose a slot.
    pub(crate) slot_bits: u32,
    /// j: columns are 2^j cells wide.
    pub(crate) width: u32,
    /// Bits of the fraction; 0 for integer laws.
    pub(crate) fraction_bits: u32,
    /// Bits of the height; narrow words have none.
    pub(crate) height_bits: u32,
}

impl Format {
    /// Spreads below 2^7 cells: columns of one cell, 16-bit words.
    const NARROW: Self = Self { slot_bits: 15, width: 0, fraction_bits: 0, height_bits: 0 };

    fn wide(width: u32, fraction_bits: u32) -> Self {
        Self { slot_bits: 14, width, fraction_bits, height_bits: 64 - 15 - width - fraction_bits }
    }

    /// Samples that one block serves.
    fn per_block(self) -> usize {
        if self.is_narrow() { 8 } else { 2 }
    }

    pub(crate) fn is_narrow(self) -> bool {
        self.slot_bits == Self::NARROW.slot_bits
    }

    /// The word of sample `place` of a block, a narrow one at the top. Narrow words are cut from the low end up.
    fn word(self, block: &Block<Aes256>, place: usize) -> u64 {
        let pair = words(block);
        if self.is_narrow() { pair[place / 4] << (48 - 16 * (place % 4)) } else { pair[place] }
    }

    /// The slot alone.
    pub(crate) fn slot(self, word: u64) -> u32 {
        (word >> (64 - self.slot_bits)) as u32
    }

    /// Splits a word whose top 16 bits are the narrow word, or all of which is the wide one.
    pub(crate) fn split(self, word: u64) -> Split {
        let mut rest = word;
        let mut take = |bits: u32| {
            // In two steps, since a field may be empty; none is 64 bits long.
            let taken = rest >> 1 >> (63 - bits);
            rest <<= bits;
            taken
        };
        Split {
            slot: take(self.slot_bits) as u32,
            negative: take(1) == 1,
            offset: take(self.width),
            fraction: take(self.fraction_bits),
            height: take(self.height_bits),
        }
    }
}

pub(crate) struct Split {
    slot: u32,
    negative: bool,
    offset: u64,
    fraction: u64,
    pub(crate) height: u64,
}

impl Split {
    /// How far into the column, in units of the fraction's last bit.
    pub(crate) fn inside(&self, format: Format) -> u64 {
        self.offset << format.fraction_bits | self.fraction
    }
}

/// Real laws have a grid of 2^-30 of the scale's leading power of two, columns of 2^25 cells, and so many bits of fraction
/// in the primary word.
const REAL_WIDTH: u32 = 25;
pub(crate) const FRACTION_BITS: u32 = 14;

/// A law's tables.
#[derive(Debug)]
pub(crate) struct Cover {
    pub(crate) shape: Box<dyn Shape>,
    pub(crate) format: Format,
    pub(crate) first: Level,
    pub(crate) top: Top,
}

/// An accepted point: the cell, its side, and where the bits of its fraction come from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Point {
    pub(crate) cell: u64,
    pub(crate) negative: bool,
    pub(crate) fraction: u64,
    pub(crate) attempt: u32,
}

impl Point {
    /// The integer that the point stands for, at the ends of i64 if it lies beyond (which no one will ever see: the
    /// largest scale puts them 2^13 scales out).
    pub(crate) fn integer(self) -> i64 {
        let magnitude = i64::try_from(self.cell).unwrap_or(i64::MAX);
        if self.negative { -magnitude } else { magnitude }
    }
}

impl Cover {
    /// The cover of an integer law.
    pub(crate) fn integers(shape: Box<dyn Shape>) -> Self {
        let spread = shape.log2_spread();
        match u32::try_from(spread - 5) {
            Ok(width) if spread >= 7 => Self::new(shape, Format::wide(width, 0)),
            _ => Self::new(shape, Format::NARROW),
        }
    }

    /// The cover of a real law whose spread is 2^30 cells or a little more.
    pub(crate) fn reals(shape: Box<dyn Shape>) -> Self {
        debug_assert_eq!(shape.log2_spread(), 30);
        Self::new(shape, Format::wide(REAL_WIDTH, FRACTION_BITS))
    }

    fn new(shape: Box<dyn Shape>, format: Format) -> Self {
        let (first, edges) = Level::first(&*shape, format);
        let top = Top::new(&*shape, format, &first, &edges);
        Self { shape, format, first, top }
    }

    fn below<'a>(&self, level: &'a Level) -> &'a Level {
        level.next(&*self.shape, self.format)
    }

    /// Sample `index` of a chunk.
    fn draw(&self, chunk: &Chunk, index: usize) -> Point {
        let mut block = [Block::<Aes256>::default()];
        let per_block = self.format.per_block();
        chunk.primary((index / per_block) as u64, &mut block);
        let word = self.format.word(&block[0], index % per_block);
        self.resolve(chunk, index, 0, self.attempt(chunk, index, 0, &self.first, word))
    }

    /// The point of an attempt at the top level, or of those after it.
    fn resolve(&self, chunk: &Chunk, index: usize, attempt: u32, result: Result<Point, Slot>) -> Point {
        match result {
            Ok(point) => point,
            Err(Slot::Tail) => self.draw_on(chunk, index, attempt, self.below(&self.first)),
            Err(_) => self.draw_on(chunk, index, attempt, &self.first),
        }
    }

    /// The attempts after `attempt`, from `level` on.
    fn draw_on<'a>(&'a self, chunk: &Chunk, index: usize, mut attempt: u32, mut level: &'a Level) -> Point {
        loop {
            attempt = attempt.wrapping_add(1);
            match self.attempt(chunk, index, attempt, level, chunk.extra(index, attempt, 0)[0]) {
                Ok(point) => return point,
                Err(Slot::Tail) => level = self.below(level),
                Err(_) => level = &self.first,
            }
        }
    }

    /// One attempt at a level: a point, or the slot that had none to give.
    fn attempt(&self, chunk: &Chunk, index: usize, attempt: u32, level: &Level, word: u64) -> Result<Point, Slot> {
        let split = self.format.split(word);
        let slot = if level.is_top() { self.top.slot(split.slot, &level.starts) } else { level.slot(split.slot) };
        let Slot::Rectangle { column, row, is_interior } = slot else { return Err(slot) };
        // At depths where this saturates the shape is below 2^-1000 and no point is ever kept.
        let cell = column.saturating_mul(1 << self.format.width).saturating_add(split.offset);
        let point = Point { cell, negative: split.negative, fraction: split.fraction, attempt };
        let is_kept = is_interior || {
            let near =
                if level.is_top() { self.near(chunk, index, column as usize, row, &split, attempt) } else { None };
            near.unwrap_or_else(|| self.is_under(chunk, index, level, row, split.height, point))
        };
        if is_kept && !self.counted_twice(point) { Ok(point) } else { Err(Slot::Unused) }
    }

    /// The fast test of a boundary row of the top level, by integers or f64; `None` inside its band of doubt.
    fn near(&self, chunk: &Chunk, index: usize, column: usize, row: u32, split: &Split, attempt: u32) -> Option<bool> {
        let more = || chunk.extra(index, attempt, 0)[1];
        match &self.top {
            Top::Narrow { .. } => self.top.near_narrow(column, more()),
            Top::Wide { band, .. } => {
                let (over, unit) = self.top.over(self.format, column, row, split.inside(self.format), split.height);
                decide(over + 0.5 * unit, band + unit)
                    .or_else(|| decide(over + more() as f64 * power(-64) * unit, *band))
            }
        }
    }

    /// Integer laws reach 0 with either sign and keep one of them. (Narrow covers halve the shape at 0 instead.)
    fn counted_twice(&self, point: Point) -> bool {
        !self.format.is_narrow() && self.format.fraction_bits == 0 && point.cell == 0 && point.negative
    }

    /// Whether the point at `height` in `row` lies under the shape, by arbitrary precision and as many more bits of
    /// height and fraction as it takes.
    fn is_under(&self, chunk: &Chunk, index: usize, level: &Level, row: u32, height: u64, point: Point) -> bool {
        let mut y = Lazy::new(BigUint::from(row) << self.format.height_bits | BigUint::from(height));
        y.bits = u64::from(self.format.height_bits);
        let mut t = Lazy::new(BigUint::from(point.cell) << self.format.fraction_bits | BigUint::from(point.fraction));
        t.bits = u64::from(self.format.fraction_bits);
        let is_real = self.format.fraction_bits > 0;
        for m in 0u32.. {
            y.extend(chunk.extra(index, point.attempt, m)[1]);
            if is_real {
                t.extend(chunk.extra(index, point.attempt, m + 1)[0]);
            }
            // Enough bits that the enclosure is finer than what is known of y.
            let bits = y.bits + level.rows.bits() + 8;
            let (low, high) = if is_real {
                (self.height_at(&t.above(), bits).lo, self.height_at(&t.below(), bits).hi)
            } else {
                let exact = self.height_at(&t.below(), bits);
                (exact.lo, exact.hi)
            };
            // y in [v, v + 1) / 2^(its bits) against R f in [low, high] R / 2^bits.
            if (&y.known + 1u32) << bits <= (low * &level.rows) << y.bits {
                return true;
            }
            if &y.known << bits >= (high * &level.rows) << y.bits {
                return false;
            }
        }
        false // 2^38 bits of agreement: after a longer time than anyone has.
    }

    fn height_at(&self, t: &BigRational, bits: u64) -> Interval {
        let mut f = self.shape.at(t, bits + 1);
        if self.format.is_narrow() && t.is_zero() {
            // f(0) = 1 is shared by +0 and -0.
            f.lo >>= 1u32;
            f.hi = super::interval::shr_up(f.hi, 1);
        }
        f.coarser(bits)
    }
}

/// Whether a point `over` the shape is under it, unless `band` leaves that open.
fn decide(over: f64, band: f64) -> Option<bool> {
    (over.abs() > band).then_some(over < 0.0)
}

/// 2^n, exactly, for the exponents of normal floats.
fn power(n: i32) -> f64 {
    f64::from_bits(((1023 + n) as u64) << 52)
}

/// A number of which the leading bits are known.
struct Lazy {
    known: BigUint,
    bits: u64,
}

impl Lazy {
    fn new(known: BigUint) -> Self {
        Self { known, bits: 0 }
    }

    fn extend(&mut self, word: u64) {
        self.known = (&self.known << 64u32) | BigUint::from(word);
        self.bits += 64;
    }

    fn below(&self) -> BigRational {
        ratio(self.known.clone(), self.bits)
    }

    fn above(&self) -> BigRational {
        ratio(&self.known + 1u32, self.bits)
    }
}

fn ratio(numerator: BigUint, bits: u64) -> BigRational {
    BigRational::new(BigInt::from(numerator), BigInt::one() << bits)
}

/// What a slot stands for.
pub(crate) enum Slot {
    Rectangle {
        /// Counted from zero over all levels.
        column: u64,
        row: u32,
        is_interior: bool,
    },
    Tail,
    Unused,
}
