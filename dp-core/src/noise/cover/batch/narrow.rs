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
        let Scratch { blocks, flags, entries, x, suspects, again, slow, boundary, addresses, .. } = scratch;
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

        self.redraw(chunk, index, out, sink, scratch);
    }
}
