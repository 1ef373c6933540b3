//! A public random rotation: signs, then Hadamard transforms.
//!
//! It spreads an update evenly over its coordinates, so that rounding and a narrow ring cost the same for sparse
//! updates as for dense ones. Nothing about privacy rests on it.

use aes::Aes256;
use cipher::{KeyIvInit, StreamCipher};
use ctr::Ctr128BE;

/// Signs for every coordinate. The vector is cut into powers of two by the binary digits of its length, largest first,
/// and each piece is transformed: nothing is padded.
pub(crate) struct Rotation {
    negative: Vec<bool>,
}

impl Rotation {
    /// Draws the signs from a public seed.
    pub(crate) fn drawn(seed: &[u8; 32], dimension: usize) -> Self {
        let mut bytes = vec![0; dimension.div_ceil(8)];
        Ctr128BE::<Aes256>::new(seed.into(), &[0; 16].into()).write_keystream(&mut bytes);
        Self { negative: (0..dimension).map(|i| bytes[i / 8] >> (i % 8) & 1 == 1).collect() }
    }

    /// Rotates.
    pub(crate) fn forward(&self, row: &mut [f64]) {
        self.flip(row);
        transform(row);
    }

    /// Rotates back.
    pub(crate) fn back(&self, row: &mut [f64]) {
        transform(row);
        self.flip(row);
    }

    fn flip(&self, row: &mut [f64]) {
        row.iter_mut().zip(&self.negative).for_each(|(x, &negative)| *x = if negative { -*x } else { *x });
    }
}

/// Orthonormal Walsh-Hadamard transforms of the pieces; each is its own inverse.
fn transform(mut row: &mut [f64]) {
    while !row.is_empty() {
        let size = 1 << row.len().ilog2();
        let (piece, rest) = row.split_at_mut(size);
        let mut half = 1;
        while half < size {
            for pair in piece.chunks_exact_mut(2 * half) {
                let (left, right) = pair.split_at_mut(half);
                left.iter_mut().zip(right).for_each(|(a, b)| (*a, *b) = (*a + *b, *a - *b));
            }
            half *= 2;
        }
        let scale = (size as f64).sqrt().recip();
        piece.iter_mut().for_each(|x| *x *= scale);
        row = rest;
    }
}
