//! Masks: AES-256-CTR keystreams, generated and added in one pass.
//!
//! A mask key serves one pair (or one client) in one round, so the counter starts at zero. Lane `i` of the mask is the
//! little-endian word at keystream byte `i * L`, with L = 4 for rings of up to 32 bits and 8 above: whole-width words,
//! of which reduction modulo 2^b keeps the low bits, so a mask is uniform on the ring.

use crate::ring::Lane;
use aes::{Aes256Enc, Block};
use cipher::{BlockCipherEncrypt, KeyInit};
use rayon::prelude::*;
use zeroize::Zeroizing;

/// Lanes that one thread works on at a time: small enough to stay in the second-level cache under many masks.
const TILE: usize = 16 * 1024;
/// Keystream blocks generated before they are added: small enough for the first-level cache.
const BURST: usize = 512;
/// Bytes of a block of AES.
const BLOCK: usize = 16;

/// The 32-byte key of one mask, and the direction in which it is applied.
pub(crate) struct Mask {
    pub(crate) key: Zeroizing<[u8; 32]>,
    pub(crate) sign: Sign,
}

/// Whether a mask is added or taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sign {
    Plus,
    Minus,
}

impl Sign {
    /// The sign with which `me` applies the mask it shares with `peer`: the lower number adds.
    pub(crate) fn of(me: u32, peer: u32) -> Self {
        if me < peer { Self::Plus } else { Self::Minus }
    }

    pub(crate) fn reversed(self) -> Self {
        match self {
            Self::Plus => Self::Minus,
            Self::Minus => Self::Plus,
        }
    }
}

/// Applies every mask to `sum`, tile by tile, on all threads of the current pool.
///
/// Counter mode (NIST SP 800-38A, section 6.5) starts at zero under every key, so the counters of a tile are the same for
/// all masks: written once, they are encrypted under each key in turn, as many blocks at a time as the cipher takes.
pub(crate) fn apply<L: Lane>(sum: &mut [L], masks: &[Mask]) {
    sum.par_chunks_mut(TILE).enumerate().for_each(|(tile, lanes)| {
        let first = tile * TILE * L::BYTES / BLOCK;
        let counters = counter_blocks(first, (lanes.len() * L::BYTES).div_ceil(BLOCK));
        let mut burst = Zeroizing::new([[0_u8; BLOCK]; BURST]);
        for mask in masks {
            let cipher = Aes256Enc::new((&*mask.key).into());
            for (part, counters) in lanes.chunks_mut(BURST * BLOCK / L::BYTES).zip(counters.chunks(BURST)) {
                let blocks = &mut burst[..counters.len()];
                cipher
                    .encrypt_blocks_b2b(counters, Block::cast_slice_from_core_mut(blocks))
                    .expect("there are as many blocks as counters");
                let bytes = blocks.as_flattened();
                match mask.sign {
                    Sign::Plus => L::add_words(part, bytes),
                    Sign::Minus => L::subtract_words(part, bytes),
                }
            }
        }
    });
}

/// `first`, `first + 1`, ... as 128-bit big-endian blocks.
fn counter_blocks(first: usize, count: usize) -> Vec<Block> {
    (first..first + count).map(|counter| Block::from((counter as u128).to_be_bytes())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use cipher::{KeyIvInit, StreamCipher};

    fn mask(byte: u8, sign: Sign) -> Mask {
        Mask { key: Zeroizing::new([byte; 32]), sign }
    }

    #[test]
    fn tiles_do_not_show() {
        let count = 2 * TILE + 77;
        let mut tiled = vec![0_u32; count];
        apply(&mut tiled, &[mask(7, Sign::Plus)]);
        let mut whole = vec![0_u8; count * 4];
        ctr::Ctr128BE::<aes::Aes256>::new(&[7; 32].into(), &[0; 16].into()).write_keystream(&mut whole);
        let expected: Vec<u32> = whole.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word)).collect();
        assert_eq!(tiled, expected);
    }

    #[test]
    fn opposite_signs_cancel_and_equal_ones_do_not() {
        let mut sum = vec![0_u64; 300];
        apply(&mut sum, &[mask(1, Sign::Plus), mask(2, Sign::Minus), mask(2, Sign::Plus), mask(1, Sign::Minus)]);
        assert!(sum.iter().all(|&lane| lane == 0));
        apply(&mut sum, &[mask(1, Sign::Plus), mask(1, Sign::Plus)]);
        assert!(sum.iter().any(|&lane| lane != 0));
    }
}
