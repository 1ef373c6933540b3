//! Batches of wide covers: every decision that its own word settles is made without a branch.

use super::{Cover, Scratch, Sink};
use crate::noise::words::Chunk;

impl Cover {
    pub(super) fn wide_batch<S: Sink>(
        &self,
        chunk: &Chunk,
        index: usize,
        out: &mut [S::Item],
        sink: &S,
        scratch: &mut Scratch<S::Item>,
    ) {
        let Scratch { blocks, flags, entries, x, suspects, again, slow, .. } = scratch;
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

        self.redraw(chunk, index, out, sink, scratch);
    }
}
