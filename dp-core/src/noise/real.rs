//! What the real laws share: a real number that is drawn lazily, added to a float exactly, and rounded once to a grid.

use super::cover::{Cover, FRACTION_BITS, Grid, Point, Sink, Top};
use super::integer::SEGMENT;
use super::source::Key;
use super::words::Chunk;
use crate::Error;
use aes::Aes256;
use aes::cipher::Block;
use num_bigint::{BigInt, Sign};
use num_integer::Integer;
use num_traits::{One, ToPrimitive};
use std::sync::Arc;

/// Draws reals and rounds to the grid 2^`grid`.
#[derive(Clone, Debug)]
pub(crate) struct Reals {
    cover: Arc<Cover>,
    grid: i32,
    factors: Grid,
}

impl Reals {
    pub(crate) fn new(cover: Arc<Cover>, grid: i32) -> Self {
        Self { cover, grid, factors: Grid::new(grid) }
    }

    pub(crate) fn grid_exponent(&self) -> i32 {
        self.grid
    }

    /// The tables.
    #[cfg(feature = "testing")]
    pub(crate) fn cover(&self) -> Arc<Cover> {
        Arc::clone(&self.cover)
    }

    pub(crate) fn fill(&self, out: &mut [f64]) -> Result<(), Error> {
        for segment in out.chunks_mut(SEGMENT) {
            self.fill_keyed(&Key::fresh()?, 0, segment);
        }
        Ok(())
    }

    pub(crate) fn add(&self, x: &[f64], out: &mut [f64]) -> Result<(), Error> {
        if x.len() != out.len() {
            return Err(Error::out_of_range("out", out.len(), "as long as x"));
        }
        finite(x)?;
        for (x, out) in x.chunks(SEGMENT).zip(out.chunks_mut(SEGMENT)) {
            self.add_keyed(&Key::fresh()?, 0, x, out);
        }
        Ok(())
    }

    /// Replaces each value, which the caller has found finite.
    pub(crate) fn add_in_place(&self, values: &mut [f64]) -> Result<(), Error> {
        for values in values.chunks_mut(SEGMENT) {
            self.cover.run(&Key::fresh()?, 0, values, &Rounded { laws: self, x: Source::InPlace });
        }
        Ok(())
    }

    pub(crate) fn add_one(&self, x: f64) -> Result<f64, Error> {
        let mut one = [0.0];
        self.add(&[x], &mut one)?;
        Ok(one[0])
    }

    pub(crate) fn fill_keyed(&self, key: &Key, first: u64, out: &mut [f64]) {
        self.cover.run(key, first, out, &Rounded { laws: self, x: Source::Zeros });
    }

    pub(crate) fn add_keyed(&self, key: &Key, first: u64, x: &[f64], out: &mut [f64]) {
        self.cover.run(key, first, out, &Rounded { laws: self, x: Source::Apart(x) });
    }

    /// The multiple of the grid that is nearest to x + Z, in big integers and as many more bits of Z as it takes.
    #[cold]
    fn round(&self, x: f64, point: Point, chunk: &Chunk, index: usize) -> f64 {
        let (mantissa, exponent) = decode(x);
        let exponent = exponent - self.grid;
        let (mut known, mut bits) =
            (BigInt::from(point.cell) << FRACTION_BITS | BigInt::from(point.fraction), FRACTION_BITS);
        for m in 1u32.. {
            // Everything over 2^common: x, Z in [z, z + unit] and one half.
            let common = i32::try_from(bits).unwrap_or(i32::MAX).max(-exponent);
            let x = BigInt::from(mantissa) << (exponent + common) as u32;
            let unit = BigInt::one() << (common as u32 - bits);
            let z = if point.negative { -((&known + 1u32) * &unit) } else { &known * &unit };
            let sum = x + z + (BigInt::one() << (common - 1) as u32);
            let denominator = BigInt::one() << common as u32;
            let (low, high) = (sum.div_floor(&denominator), (sum + unit).div_floor(&denominator));
            if low == high {
                return self.on_grid(&low);
            }
            known = known << 64u32 | BigInt::from(chunk.extra(index, point.attempt, m)[0]);
            bits += 64;
        }
        f64::NAN // 2^38 bits, all ones.
    }

    /// j grid steps as the nearest f64 (ties to even), within the finite ones.
    fn on_grid(&self, j: &BigInt) -> f64 {
        let magnitude = j.magnitude();
        let shift = magnitude.bits().saturating_sub(64);
        let kept = magnitude >> shift;
        let sticky = u64::from(&kept << shift != *magnitude);
        let top = kept.to_u64().unwrap_or(u64::MAX) | sticky;
        let power = i64::try_from(shift).unwrap_or(i64::MAX).saturating_add(self.grid.into());
        let value = times_power_of_two(top as f64, power).min(f64::MAX);
        if j.sign() == Sign::Minus { -value } else { value }
    }
}

/// Refuses NaN and infinity.
pub(crate) fn finite(x: &[f64]) -> Result<(), Error> {
    // Not `all`, which stops early: a whole pass is faster, and its time does not tell where the NaN is.
    if x.iter().fold(true, |finite, x| finite & x.is_finite()) { Ok(()) } else { Err(Error::NotFinite) }
}

/// Points as reals, added to x and rounded.
struct Rounded<'a> {
    laws: &'a Reals,
    x: Source<'a>,
}

/// Where x is.
enum Source<'a> {
    Zeros,
    Apart(&'a [f64]),
    /// In the output.
    InPlace,
}

impl Sink for Rounded<'_> {
    type Item = f64;

    fn load(&self, at: usize, x: &mut [f64], out: &[f64]) {
        match self.x {
            Source::Zeros => {}
            Source::Apart(all) => x.copy_from_slice(&all[at..at + x.len()]),
            Source::InPlace => x.copy_from_slice(out),
        }
    }

    fn pass(
        &self,
        top: &Top,
        blocks: &[Block<Aes256>],
        x: &[f64],
        entries: &mut [u16],
        out: &mut [f64],
        flags: &mut [u8],
    ) {
        top.reals(blocks, self.laws.factors, x, entries, out, flags);
    }

    fn place(&self, point: Point, chunk: &Chunk, index: usize, x: f64) -> f64 {
        let (sum, is_unsure) = self.laws.factors.add(x, point);
        if is_unsure { self.laws.round(x, point, chunk, index) } else { sum }
    }
}

/// A finite float as mantissa 2^exponent.
fn decode(x: f64) -> (i64, i32) {
    let bits = x.to_bits();
    let biased = (bits >> 52 & 0x7ff) as i32;
    let fraction = (bits & ((1 << 52) - 1)) as i64;
    let (magnitude, exponent) = if biased == 0 { (fraction, -1074) } else { (fraction | 1 << 52, biased - 1075) };
    (if x.is_sign_negative() { -magnitude } else { magnitude }, exponent)
}

/// x 2^n where the result is zero, normal or too large.
fn times_power_of_two(x: f64, n: i64) -> f64 {
    let n = n.clamp(-2000, 2000) as i32;
    let half = n / 2;
    x * f64::powi(2.0, half) * f64::powi(2.0, n - half)
}
