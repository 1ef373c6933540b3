//! What the integer laws share: whole numbers drawn from a cover.

use super::cover::Cover;
use super::source::Key;
use super::words::{CHUNK, Chunk, Domain, words};
use crate::Error;
use aes::Aes256;
use aes::cipher::Block;
use std::sync::Arc;

/// Samples under one release key: 2^13 chunk keys.
pub(crate) const SEGMENT: usize = CHUNK << 12;

/// Draws integers.
#[derive(Clone, Debug)]
pub(crate) struct Integers(Arc<Cover>);

impl Integers {
    pub(crate) fn new(cover: Arc<Cover>) -> Self {
        Self(cover)
    }

    pub(crate) fn fill(&self, out: &mut [i64]) -> Result<(), Error> {
        for segment in out.chunks_mut(SEGMENT) {
            self.fill_keyed(&Key::fresh()?, 0, segment);
        }
        Ok(())
    }

    pub(crate) fn sample(&self) -> Result<i64, Error> {
        let mut one = [0];
        self.fill(&mut one)?;
        Ok(one[0])
    }

    /// Samples `first ..` under a key.
    pub(crate) fn fill_keyed(&self, key: &Key, first: u64, out: &mut [i64]) {
        each_point(&self.0, key, first, out, |point, out| *out = point.0.integer());
    }
}

/// Runs `keep` on sample number `first + i` and `out[i]`, with what it takes to ask for more of its bits.
pub(crate) fn each_point<T>(
    cover: &Cover,
    key: &Key,
    first: u64,
    out: &mut [T],
    mut keep: impl FnMut((super::cover::Point, &Chunk, usize), &mut T),
) {
    let release = key.cipher();
    let mut chunk: Option<(u64, Chunk)> = None;
    for (i, out) in (first..).zip(out) {
        let (number, index) = (i / CHUNK as u64, (i % CHUNK as u64) as usize);
        if chunk.as_ref().is_none_or(|(n, _)| *n != number) {
            chunk = Some((number, Chunk::new(&release, Domain::Samples, number)));
        }
        let Some((_, chunk)) = &chunk else { return };
        let per_block = if cover.format.is_narrow() { 8 } else { 2 };
        let mut block = [Block::<Aes256>::default()];
        chunk.primary((index / per_block) as u64, &mut block);
        let pair = words(&block[0]);
        let place = index % per_block;
        let word = if cover.format.is_narrow() { pair[place / 4] << (48 - 16 * (place % 4)) } else { pair[place] };
        keep((cover.draw(chunk, index, word), chunk, index), out);
    }
}
