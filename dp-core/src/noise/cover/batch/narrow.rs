//! Batches of narrow covers, whose boundary rows need another block for their height.

use super::{Cover, Scratch, Sink};
use crate::noise::words::{Chunk, extra_address};

impl Cover {
    pub(super) fn narrow_batch<S: Sink>(
        &self,
        chunk: &Chunk,
        index: usize,
        out: &mut [S::Item],
        sink: &S,
        scratch: &mut Scratch<S::Item>,
    ) {
        let Scratch { blocks, flags, entries, x, suspects, again, slow, boundary, addresses, second_x, second_out } =
            scratch;
        let (n, blocks) = (out.len(), &mut blocks[..out.len() / 8]);
        chunk.primary((index / 8) as u64, blocks);
        sink.pass(&self.top, blocks, &x[..n], entries, out, &mut flags[..n]);

        suspects.raised(&flags[..n]);
        for list in [&mut *again, slow, boundary] {
            list.clear();
        }
        self.top.sort_narrow(self.format, blocks, suspects, boundary, again, slow);

        // Boundary rows: their heights.
        addresses.clear();
        addresses.extend(boundary.iter().map(|i| extra_address(index + i, 0, 0)));
        chunk.extras(addresses);
        self.top.judge_narrow(self.format, blocks, boundary, addresses, again, slow);

        // The tail, and what 64 bits of height left open.
        for i in slow.iter() {
            out[i] = sink.place(self.draw(chunk, index + i), chunk, index + i, x[i]);
        }

        // The rejected: their next words, of which the top 16 bits count, in a pass of their own.
        addresses.clear();
        addresses.extend(again.iter().map(|i| extra_address(index + i, 1, 0)));
        chunk.extras(addresses);
        for (eight, addresses) in blocks.iter_mut().zip(addresses.chunks(8)) {
            for (lane, address) in eight.chunks_mut(2).zip(addresses) {
                lane.copy_from_slice(&address[6..8]);
            }
        }
        for (second, i) in second_x.iter_mut().zip(again.iter()) {
            *second = x[i];
        }
        let eights = addresses.len().div_ceil(8);
        let (second_x, second_out, flags) =
            (&second_x[..8 * eights], &mut second_out[..8 * eights], &mut flags[..8 * eights]);
        sink.pass(&self.top, &blocks[..eights], second_x, entries, second_out, flags);
        for (nth, i) in again.iter().enumerate() {
            out[i] = if flags[nth] == 0 {
                second_out[nth]
            } else {
                let word = self.format.word(&blocks[nth / 8], nth % 8);
                let result = self.attempt(chunk, index + i, 1, &self.first, word);
                let point = self.resolve(chunk, index + i, 1, result);
                sink.place(point, chunk, index + i, x[i])
            };
        }
    }
}
