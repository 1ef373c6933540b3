//! Batches: one pass over all samples, then the few that asked for a second look.

use super::top::Top;
use super::{Cover, Point, Slot, kernel};
use crate::noise::source::Key;
use crate::noise::words::{CHUNK, Chunk, Domain, extra_address, words};
use aes::Aes256;
use aes::cipher::Block;
use zeroize::Zeroize;

/// Samples looked at in one pass: their words, flags and output stay in the nearest cache.
const BATCH: usize = 2048;
/// Below this, samples are drawn one by one.
const FEW: usize = 16;

/// What becomes of points.
pub(crate) trait Sink {
    type Item: Copy;

    /// The first pass, over a whole number of blocks. `at` counts from the start of the request.
    fn pass(&self, top: &Top, blocks: &[Block<Aes256>], at: usize, out: &mut [Self::Item], flags: &mut [u8]);

    /// One accepted point: sample `index` of the chunk, number `at` of the request.
    fn place(&self, point: Point, chunk: &Chunk, index: usize, at: usize) -> Self::Item;
}

impl Cover {
    /// Samples `first`, `first + 1`, ... under a key.
    pub(crate) fn run<S: Sink>(&self, key: &Key, first: u64, out: &mut [S::Item], sink: &S) {
        let release = key.cipher();
        let mut scratch = None;
        let mut at = 0;
        while at < out.len() {
            let number = first + at as u64;
            let mut index = (number % CHUNK as u64) as usize;
            let end = at + (CHUNK - index).min(out.len() - at);
            let chunk = Chunk::new(&release, Domain::Samples, number / CHUNK as u64);
            let per_block = self.format.per_block();
            while at < end {
                // Whole blocks go in batches, what sticks out on either side goes one by one.
                let n = if !index.is_multiple_of(per_block) || end - at < FEW {
                    out[at] = sink.place(self.draw(&chunk, index), &chunk, index, at);
                    1
                } else {
                    let n = BATCH.min((end - at) / per_block * per_block);
                    self.batch(&chunk, index, at, &mut out[at..at + n], sink, scratch.get_or_insert_with(Scratch::new));
                    n
                };
                at += n;
                index += n;
            }
        }
    }

    fn batch<S: Sink>(
        &self,
        chunk: &Chunk,
        index: usize,
        at: usize,
        out: &mut [S::Item],
        sink: &S,
        scratch: &mut Scratch,
    ) {
        let per_block = self.format.per_block();
        let Scratch { blocks, flags, suspects, verdicts, waiting, again, addresses } = scratch;
        let blocks = &mut blocks[..out.len() / per_block];
        chunk.primary((index / per_block) as u64, blocks);
        sink.pass(&self.top, blocks, at, out, &mut flags[..out.len()]);

        // Samples that asked for a second look: settled here, or put on a list of those that need another block, which
        // are encrypted all at once. What needs no branch is done for all of them first.
        again.clear();
        waiting.clear();
        suspects.clear();
        verdicts.clear();
        let (whole, rest) = flags[..out.len()].as_chunks::<8>();
        let rest = rest.iter().rev().fold(0, |word, &flag| word << 8 | u64::from(flag));
        let eights = whole.iter().map(|f| u64::from_le_bytes(*f)).chain(std::iter::once(rest));
        for (base, eight) in (0..).step_by(8).zip(eights) {
            let mut raised = (eight | eight >> 1) & 0x0101_0101_0101_0101;
            while raised != 0 {
                suspects.push(base + raised.trailing_zeros() as usize / 8);
                raised &= raised - 1;
            }
        }
        let word = |i: usize| self.format.word(&blocks[i / per_block], i % per_block);
        if !self.format.is_narrow() {
            verdicts.extend(suspects.iter().map(|&i| self.top.first_look(self.format, &self.first.starts, word(i))));
        }
        for (nth, &i) in suspects.iter().enumerate() {
            let place = |point| sink.place(point, chunk, index + i, at + i);
            match self.top.slot(self.format.slot(word(i)), &self.first.starts) {
                Slot::Unused => again.push(i),
                Slot::Tail => out[i] = place(self.draw_on(chunk, index + i, 0, self.below(&self.first))),
                Slot::Rectangle { column, .. } if self.format.is_narrow() => waiting.push((i, column as usize)),
                // Under the shape, and the first pass left the right number. (Column 0 has the zero that counts once.)
                Slot::Rectangle { is_interior: false, column: 1.., .. }
                    if verdicts[nth] == Some(true) && flags[i] & 2 == 0 => {}
                Slot::Rectangle { is_interior: false, .. } if verdicts[nth] == Some(false) => again.push(i),
                Slot::Rectangle { .. } => match self.attempt(chunk, index + i, 0, &self.first, word(i)) {
                    Ok(point) => out[i] = place(point),
                    Err(_) => again.push(i),
                },
            }
        }

        // Narrow boundary rows: their heights.
        addresses.clear();
        addresses.extend(waiting.iter().map(|&(i, _)| extra_address(index + i, 0, 0)));
        chunk.extras(addresses);
        for (&(i, column), block) in waiting.iter().zip(addresses.iter()) {
            match self.top.near_narrow(column, words(block)[1]) {
                Some(true) => {} // As the first pass left it.
                Some(false) => again.push(i),
                None => {
                    let point = self.draw(chunk, index + i);
                    out[i] = sink.place(point, chunk, index + i, at + i);
                }
            }
        }

        // The rejected: their next words.
        addresses.clear();
        addresses.extend(again.iter().map(|&i| extra_address(index + i, 1, 0)));
        chunk.extras(addresses);
        for (&i, block) in again.iter().zip(addresses.iter()) {
            let result = self.attempt(chunk, index + i, 1, &self.first, words(block)[0]);
            let point = self.resolve(chunk, index + i, 1, result);
            out[i] = sink.place(point, chunk, index + i, at + i);
        }
    }
}

/// Room for one batch, wiped when it goes.
struct Scratch {
    blocks: Box<[Block<Aes256>]>,
    flags: Box<[u8]>,
    suspects: Vec<usize>,
    verdicts: Vec<Option<bool>>,
    waiting: Vec<(usize, usize)>,
    again: Vec<usize>,
    addresses: Vec<Block<Aes256>>,
}

impl Scratch {
    fn new() -> Self {
        Self {
            blocks: vec![Block::<Aes256>::default(); BATCH / 2].into_boxed_slice(),
            flags: vec![0; BATCH].into_boxed_slice(),
            suspects: Vec::with_capacity(BATCH),
            verdicts: Vec::with_capacity(BATCH),
            waiting: Vec::with_capacity(BATCH),
            again: Vec::with_capacity(BATCH),
            addresses: Vec::with_capacity(BATCH),
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.flags.zeroize();
        self.suspects.zeroize();
        self.verdicts.zeroize();
        self.waiting.zeroize();
        self.again.zeroize();
        for block in self.blocks.iter_mut().chain(&mut self.addresses) {
            block.as_mut_slice().zeroize();
        }
    }
}

/// Whole numbers.
pub(crate) struct Whole;

impl Sink for Whole {
    type Item = i64;

    fn pass(&self, top: &Top, blocks: &[Block<Aes256>], _at: usize, out: &mut [i64], flags: &mut [u8]) {
        match top {
            Top::Narrow { slots, .. } => {
                kernel::narrow(blocks, slots, out.as_chunks_mut().0, flags.as_chunks_mut().0);
            }
            Top::Wide { slots, width, .. } => {
                kernel::wide(blocks, slots, *width, out.as_chunks_mut().0, flags.as_chunks_mut().0);
            }
        }
    }

    fn place(&self, point: Point, _chunk: &Chunk, _index: usize, _at: usize) -> i64 {
        point.integer()
    }
}
