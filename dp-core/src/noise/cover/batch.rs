//! Batches: one pass over all samples, then the few that asked for a second look.

mod narrow;
mod wide;

use super::top::Top;
use super::{Cover, Point, kernel};
use crate::noise::source::Key;
use crate::noise::words::{CHUNK, Chunk, Domain, extra_address};
use aes::Aes256;
use aes::cipher::Block;
use zeroize::Zeroize;

/// Samples looked at in one pass: their words, flags and output stay in the nearest caches.
const BATCH: usize = 2048;
/// Below this, samples are drawn one by one.
const FEW: usize = 16;

/// What becomes of points.
pub(crate) trait Sink {
    type Item: Copy + Default + Zeroize;

    /// Puts what is to be added to the samples from number `at` of the request on, which `out` may hold, into `x`: zeros
    /// on entry, or whatever this sink left there.
    fn load(&self, at: usize, x: &mut [Self::Item], out: &[Self::Item]);

    /// The first pass, over a whole number of blocks. `entries` is room for one a sample.
    fn pass(
        &self,
        top: &Top,
        blocks: &[Block<Aes256>],
        x: &[Self::Item],
        entries: &mut [u16],
        out: &mut [Self::Item],
        flags: &mut [u8],
    );

    /// One accepted point, of sample `index` of the chunk.
    fn place(&self, point: Point, chunk: &Chunk, index: usize, x: Self::Item) -> Self::Item;
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
                    let mut x = [S::Item::default()];
                    sink.load(at, &mut x, &out[at..=at]);
                    out[at] = sink.place(self.draw(&chunk, index), &chunk, index, x[0]);
                    1
                } else {
                    let n = BATCH.min((end - at) / per_block * per_block);
                    let out = &mut out[at..at + n];
                    let scratch = scratch.get_or_insert_with(Scratch::new);
                    sink.load(at, &mut scratch.x[..n], out);
                    if self.format.is_narrow() {
                        self.narrow_batch(&chunk, index, out, sink, scratch);
                    } else {
                        self.wide_batch(&chunk, index, out, sink, scratch);
                    }
                    n
                };
                at += n;
                index += n;
            }
        }
    }
}

impl Cover {
    /// The rejected samples of a batch, which `again` lists: their next words, in a pass of their own.
    fn redraw<S: Sink>(
        &self,
        chunk: &Chunk,
        index: usize,
        out: &mut [S::Item],
        sink: &S,
        scratch: &mut Scratch<S::Item>,
    ) {
        let Scratch { blocks, flags, entries, x, again, addresses, second_x, second_out, .. } = scratch;
        addresses.clear();
        addresses.extend(again.iter().map(|i| extra_address(index + i, 1, 0)));
        chunk.extras(addresses);
        // Laid out as primary words are. Of each block the top bits of the first word count.
        let per_block = self.format.per_block();
        let bytes = 16 / per_block;
        for (block, addresses) in blocks.iter_mut().zip(addresses.chunks(per_block)) {
            for (word, address) in block.chunks_mut(bytes).zip(addresses) {
                word.copy_from_slice(&address[8 - bytes..8]);
            }
        }
        for (second, i) in second_x.iter_mut().zip(again.iter()) {
            *second = x[i];
        }
        let n = addresses.len().next_multiple_of(per_block);
        let (blocks, second_out, flags) = (&blocks[..n / per_block], &mut second_out[..n], &mut flags[..n]);
        sink.pass(&self.top, blocks, &second_x[..n], entries, second_out, flags);
        for (nth, i) in again.iter().enumerate() {
            out[i] = if flags[nth] == 0 {
                second_out[nth]
            } else {
                let word = self.format.word(&blocks[nth / per_block], nth % per_block);
                let result = self.attempt(chunk, index + i, 1, &self.first, word);
                let point = self.resolve(chunk, index + i, 1, result);
                sink.place(point, chunk, index + i, x[i])
            };
        }
    }
}

/// Room for one batch, wiped when it goes.
struct Scratch<T: Zeroize> {
    blocks: Box<[Block<Aes256>]>,
    flags: Box<[u8]>,
    entries: Box<[u16]>,
    x: Box<[T]>,
    /// Places in the batch: that asked for a second look, that need another word, that need more than a look, that need
    /// a height.
    suspects: Places,
    again: Places,
    slow: Places,
    boundary: Places,
    addresses: Vec<Block<Aes256>>,
    second_x: Box<[T]>,
    second_out: Box<[T]>,
}

impl<T: Copy + Default + Zeroize> Scratch<T> {
    fn new() -> Self {
        let items = || vec![T::default(); BATCH].into_boxed_slice();
        Self {
            blocks: vec![Block::<Aes256>::default(); BATCH / 2].into_boxed_slice(),
            flags: vec![0; BATCH].into_boxed_slice(),
            entries: vec![0; BATCH].into_boxed_slice(),
            x: items(),
            suspects: Places::new(),
            again: Places::new(),
            slow: Places::new(),
            boundary: Places::new(),
            addresses: Vec::with_capacity(BATCH),
            second_x: items(),
            second_out: items(),
        }
    }
}

impl<T: Zeroize> Drop for Scratch<T> {
    fn drop(&mut self) {
        self.flags.zeroize();
        self.entries.zeroize();
        // What noise is added to is as private as the noise.
        for items in [&mut self.x, &mut self.second_x, &mut self.second_out] {
            items.zeroize();
        }
        for places in [&mut self.suspects, &mut self.again, &mut self.slow, &mut self.boundary] {
            places.places.zeroize();
        }
        for block in self.blocks.iter_mut().chain(&mut self.addresses) {
            block.as_mut_slice().zeroize();
        }
    }
}

/// A list that grows without a branch.
pub(super) struct Places {
    places: Box<[u16; BATCH]>,
    len: usize,
}

impl Places {
    fn new() -> Self {
        Self { places: Box::new([0; BATCH]), len: 0 }
    }

    fn clear(&mut self) {
        self.len = 0;
    }

    /// Adds a place if `wanted`.
    #[inline(always)]
    pub(super) fn push_if(&mut self, place: usize, wanted: bool) {
        self.places[self.len % BATCH] = place as u16;
        self.len += usize::from(wanted);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.places[..self.len.min(BATCH)].iter().map(|&place| place.into())
    }

    /// The places of flags that are not zero; flags are below 4.
    fn raised(&mut self, flags: &[u8]) {
        self.clear();
        for (base, group) in (0..).step_by(64).zip(flags.chunks(64)) {
            let mut raised = kernel::mask(group);
            while raised != 0 {
                self.push_if(base + raised.trailing_zeros() as usize, true);
                raised &= raised - 1;
            }
        }
    }
}

/// Whole numbers.
pub(crate) struct Whole;

impl Sink for Whole {
    type Item = i64;

    fn load(&self, _at: usize, _x: &mut [i64], _out: &[i64]) {}

    fn pass(
        &self,
        top: &Top,
        blocks: &[Block<Aes256>],
        _x: &[i64],
        entries: &mut [u16],
        out: &mut [i64],
        flags: &mut [u8],
    ) {
        match top {
            Top::Narrow { slots, .. } => {
                kernel::narrow(blocks, slots, out.as_chunks_mut().0, flags.as_chunks_mut().0);
            }
            Top::Wide { slots, width, .. } => {
                let entries = entries.as_chunks_mut().0;
                kernel::look_up(blocks, slots, entries);
                kernel::wide(blocks, entries, *width, out.as_chunks_mut().0, flags.as_chunks_mut().0);
            }
        }
    }

    fn place(&self, point: Point, _chunk: &Chunk, _index: usize, _x: i64) -> i64 {
        point.integer()
    }
}
