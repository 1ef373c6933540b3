//! Batches of wide covers: every decision that its own word settles is made without a branch.

use super::{Cover, Scratch, Sink};
use crate::noise::words::{Chunk, extra_address};

impl Cover {
    pub(super) fn wide_batch<S: Sink>(
        &self,
        chunk: &Chunk,
        index: usize,
        out: &mut [S::Item],
        sink: &S,
        scratch: &mut Scratch<S::Item>,
    ) {
        let Scratch { blocks, flags, entries, x, suspects, again, slow, addresses, second_x, second_out, .. } = scratch;
        let (n, blocks) = (out.len(), &mut blocks[..out.len() / 2]);
        chunk.primary((index / 2) as u64, blocks);
        sink.pass(&self.top, blocks, &x[..n], entries, out, &mut flags[..n]);

        suspects.raised(&flags[..n]);
        again.clear();
        slow.clear();
        self.top.judge(self.format, &self.first.starts, blocks, flags, suspects, again, slow);

        // The tail, and what an f64 or one rounding left open.
        for i in slow.iter() {
            let word = self.format.word(&blocks[i / 2], i % 2);
            let result = self.attempt(chunk, index + i, 0, &self.first, word);
            let point = self.resolve(chunk, index + i, 0, result);
            out[i] = sink.place(point, chunk, index + i, x[i]);
        }

        // The rejected: their next words, in a pass of their own.
        addresses.clear();
        addresses.extend(again.iter().map(|i| extra_address(index + i, 1, 0)));
        chunk.extras(addresses);
        for (pair, addresses) in blocks.iter_mut().zip(addresses.chunks(2)) {
            pair[..8].copy_from_slice(&addresses[0][..8]);
            pair[8..].copy_from_slice(&addresses[addresses.len() - 1][..8]);
        }
        for (second, i) in second_x.iter_mut().zip(again.iter()) {
            *second = x[i];
        }
        let pairs = addresses.len().div_ceil(2);
        let (second_x, second_out, flags) =
            (&second_x[..2 * pairs], &mut second_out[..2 * pairs], &mut flags[..2 * pairs]);
        sink.pass(&self.top, &blocks[..pairs], second_x, entries, second_out, flags);
        for (nth, i) in again.iter().enumerate() {
            out[i] = if flags[nth] == 0 {
                second_out[nth]
            } else {
                let word = self.format.word(&blocks[nth / 2], nth % 2);
                let result = self.attempt(chunk, index + i, 1, &self.first, word);
                let point = self.resolve(chunk, index + i, 1, result);
                sink.place(point, chunk, index + i, x[i])
            };
        }
    }
}
