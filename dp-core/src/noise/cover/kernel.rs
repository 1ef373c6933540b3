//! The loops that every sample goes through, compiled for AVX-512, AVX2 and whatever else is there.
//!
//! They are plain loops, and the compiler makes vectors of them; `multiversion` picks the best at run time.

use super::Point;
use super::top::{NARROW_SLOTS, WIDE_SLOTS};
use aes::Aes256;
use aes::cipher::Block;
use multiversion::multiversion;

type Blocks = [Block<Aes256>];

/// Word `half` of a block.
#[inline(always)]
pub(super) fn word(block: &Block<Aes256>, half: usize) -> u64 {
    u64::from_le_bytes(block.0.as_chunks().0[half])
}

/// Counter blocks `first`, `first + 1`, ... below 2^64.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512cd+avx512dq+avx512vl+avx2+bmi1+bmi2", "x86_64+avx2+bmi1+bmi2"))]
pub(crate) fn counters(first: u64, blocks: &mut Blocks) {
    for (i, block) in blocks.iter_mut().enumerate() {
        *block = u128::from(first + i as u64).to_be_bytes().into();
    }
}

/// Integers from narrow words: four a word, from its low bits up. `out` and `flags` are whole blocks of eight.
///
/// Without AVX-512, for which the compiler makes gathers of the look-ups: a third slower than loads.
#[multiversion(targets("x86_64+avx2+bmi1+bmi2"))]
pub(super) fn narrow(blocks: &Blocks, slots: &[u16; NARROW_SLOTS], out: &mut [[i64; 8]], flags: &mut [[u8; 8]]) {
    for ((block, out), flags) in blocks.iter().zip(out).zip(flags) {
        for i in 0..8 {
            let lane = word(block, i / 4) >> (16 * (i % 4)) & 0xffff;
            let entry = slots[(lane >> 1) as usize];
            let cell = i64::from(entry & 0x7fff);
            let sign = -((lane & 1) as i64);
            out[i] = (cell ^ sign) - sign;
            flags[i] = (entry >> 15) as u8;
        }
    }
}

/// The entries of wide words' slots. Not compiled for wider instructions on purpose: plain loads are twice as fast as
/// gathers on the machines that were measured, and the table fits the nearest cache.
#[inline(never)]
pub(super) fn look_up(blocks: &Blocks, slots: &[u16; WIDE_SLOTS], entries: &mut [[u16; 2]]) {
    for (block, entries) in blocks.iter().zip(entries) {
        for i in 0..2 {
            entries[i] = slots[(word(block, i) >> 50) as usize];
        }
    }
}

/// Integers from wide words: slot 14, sign 1, offset `width`, height.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512cd+avx512dq+avx512vl+avx2+bmi1+bmi2", "x86_64+avx2+bmi1+bmi2"))]
pub(super) fn wide(blocks: &Blocks, entries: &[[u16; 2]], width: u32, out: &mut [[i64; 2]], flags: &mut [[u8; 2]]) {
    for (((block, entries), out), flags) in blocks.iter().zip(entries).zip(out).zip(flags) {
        for i in 0..2 {
            let (word, entry) = (word(block, i), entries[i]);
            let cell = (u64::from(entry & 0x7fff) << width | (word << 15) >> (64 - width)) as i64;
            let sign = -((word >> 49 & 1) as i64);
            out[i] = (cell ^ sign) - sign;
            flags[i] = (entry >> 15) as u8 | (u8::from(cell == 0) & sign as u8);
        }
    }
}

/// One bit for each of up to 64 flags below 4: whether it is raised.
pub(super) fn mask(flags: &[u8]) -> u64 {
    let (whole, rest) = flags.as_chunks::<8>();
    let rest = rest.iter().rev().fold(0, |word, &flag| word << 8 | u64::from(flag));
    let eights = whole.iter().map(|f| u64::from_le_bytes(*f)).chain(std::iter::once(rest));
    // The product brings bit 0 of byte i to bit 56 + i, and nothing else there.
    let bits = |eight: u64| ((eight | eight >> 1) & 0x0101_0101_0101_0101).wrapping_mul(0x0102_0408_1020_4080) >> 56;
    (0u32..).zip(eights).take(8).fold(0, |mask, (i, eight)| mask | bits(eight) << (8 * i))
}

/// 3 2^51: adding it to a number below 2^50 rounds that to a whole number, which then stands in the low bits.
pub(super) const MAGIC: f64 = 6_755_399_441_055_744.0;
/// Inputs up to so many grid steps take the fast path.
pub(super) const NEAR: f64 = (1u64 << 50) as f64;

/// Reals, added to `x` and rounded to the grid: slot 14, sign 1, offset and fraction `width` + `fraction` bits, height.
///
/// In grid steps, x = X + r with X whole and |r| <= 1/2, both exact. Z lies in [d, d + 1] / 2^`fraction` for a whole d
/// (the bits of a negative Z are complemented, so that its unknown bits point up as well). With r rounded to whole 2^-
/// `fraction` steps, wrong by at most half a step, the sum plus one half lies in [e - 1/2, e + 3/2] steps, and rounds down
/// to the same whole number throughout unless the low bits of e are all zeros or all ones: then the exact path decides,
/// and bit 1 of the flag says so.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512cd+avx512dq+avx512vl+avx2+bmi1+bmi2", "x86_64+avx2+bmi1+bmi2"))]
pub(super) fn reals(
    blocks: &Blocks,
    entries: &[[u16; 2]],
    grid: Grid,
    x: &[[f64; 2]],
    out: &mut [[f64; 2]],
    flags: &mut [[u8; 2]],
) {
    for ((((block, entries), x), out), flags) in blocks.iter().zip(entries).zip(x).zip(out).zip(flags) {
        for i in 0..2 {
            let (word, entry) = (word(block, i), entries[i]);
            let z = u64::from(entry & 0x7fff) << REAL_BITS | (word << 15) >> (64 - REAL_BITS);
            let (sum, unsure) = grid.add_bits(x[i], z, word >> 49 & 1);
            out[i] = sum;
            flags[i] = (entry >> 15) as u8 | u8::from(unsure) << 1;
        }
    }
}

/// Offset and fraction bits of real laws.
const REAL_BITS: u32 = super::REAL_WIDTH + super::FRACTION_BITS;

/// A grid 2^g, as the factors that go there and back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grid {
    /// 2^-g.
    pub(crate) per_unit: f64,
    /// 2^g.
    pub(crate) step: f64,
}

impl Grid {
    /// The grid 2^`exponent`, for exponents within +-1000.
    pub(crate) fn new(exponent: i32) -> Self {
        Self { per_unit: super::power(-exponent), step: super::power(exponent) }
    }

    /// The rounded sum of x and the point; and whether that is unsure.
    pub(crate) fn add(self, x: f64, point: Point) -> (f64, bool) {
        // Cells of 2^36 and more lie 2^5 scales out: left to the exact path.
        let z = point.cell << super::FRACTION_BITS | point.fraction;
        let (sum, is_unsure) = self.add_bits(x, z, point.negative.into());
        (sum, is_unsure || point.cell >> 36 != 0)
    }

    /// The rounded sum of x and the number whose magnitude's bits are `z`; and whether that is unsure.
    #[inline(always)]
    fn add_bits(self, x: f64, z: u64, negative: u64) -> (f64, bool) {
        const F: u32 = super::FRACTION_BITS;
        let d = (z ^ negative.wrapping_neg()) as i64;
        let y = x * self.per_unit;
        let whole = y + MAGIC;
        let rest = y - (whole - MAGIC);
        let steps = (rest * f64::from(1u32 << F) + MAGIC).to_bits().wrapping_sub(MAGIC.to_bits()) as i64;
        let e = d.wrapping_add(steps).wrapping_add(1 << (F - 1));
        let unsure = (e.wrapping_add(1) & ((1 << F) - 1)) as u64 <= 1;
        // An arithmetic shift by way of a logical one: |e| < 2^52.
        let noise = (e.wrapping_add(1 << 52) as u64 >> F).wrapping_sub(1 << (52 - F));
        let sum = (f64::from_bits(whole.to_bits().wrapping_add(noise)) - MAGIC) * self.step;
        let near = y.abs() <= NEAR;
        (sum, unsure | !near)
    }
}
