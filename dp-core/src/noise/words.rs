//! Random words by address: which AES block serves which sample. The map is written down in `docs/sampler.md`.
//!
//! A release key encrypts nothing but chunk keys. A chunk key serves [`CHUNK`] samples: at most 2^13 blocks of primary
//! words, and one or two more for each sample (about one in thirty) that needs a second look. So no key encrypts more
//! than 2^14 blocks, and the advantage in telling the words from uniform ones stays at the 2^-101 a chunk of the
//! PRP-PRF switch, plus that of telling AES-256 from a random permutation.

use super::cover::counters;
use super::source::Key;
use aes::Aes256;
use aes::cipher::{Block, BlockCipherEncrypt, KeyInit};
use zeroize::Zeroize;

/// Samples served by one chunk key.
pub(crate) const CHUNK: usize = 1 << 14;

/// Blocks that the widest instructions encrypt together.
const TOGETHER: usize = 64;

/// What a chunk key is for. The numbers are part of the map.
#[derive(Clone, Copy)]
pub(crate) enum Domain {
    Samples = 0,
    Stream = 1,
}

/// The words of one chunk of samples.
pub(crate) struct Chunk(Aes256);

impl Chunk {
    /// Chunk `number` under a release key.
    pub(crate) fn new(release: &Aes256, domain: Domain, number: u64) -> Self {
        let mut pair = [block(domain as u64, 2 * number), block(domain as u64, 2 * number + 1)];
        release.encrypt_blocks(&mut pair);
        let mut key = [0; 32];
        key[..16].copy_from_slice(&pair[0]);
        key[16..].copy_from_slice(&pair[1]);
        let cipher = Aes256::new(&key.into());
        key.zeroize();
        for half in &mut pair {
            half.as_mut_slice().zeroize();
        }
        Self(cipher)
    }

    /// Encrypts counter blocks `first`, `first + 1`, ... into `blocks`.
    pub(crate) fn primary(&self, first: u64, blocks: &mut [Block<Aes256>]) {
        counters(first, blocks);
        self.0.encrypt_blocks(blocks);
    }

    /// Two words for sample `index` of the chunk: block `m` of attempt `attempt`.
    pub(crate) fn extra(&self, index: usize, attempt: u32, m: u32) -> [u64; 2] {
        let mut out = extra_address(index, attempt, m);
        self.0.encrypt_block(&mut out);
        words(&out)
    }

    /// Encrypts addresses made by [`extra_address`], all at once.
    pub(crate) fn extras(&self, addresses: &mut Vec<Block<Aes256>>) {
        // Repeated addresses fill up to what the cipher takes in one go: a block alone costs as much as many together.
        let n = addresses.len();
        if let Some(&last) = addresses.last()
            && n > 4
        {
            addresses.resize(n.next_multiple_of(TOGETHER), last);
        }
        self.0.encrypt_blocks(addresses);
        addresses.truncate(n);
    }
}

/// The address of block `m` of attempt `attempt` of sample `index`.
pub(crate) fn extra_address(index: usize, attempt: u32, m: u32) -> Block<Aes256> {
    block(index as u64 + 1, u64::from(attempt) << 32 | u64::from(m))
}

/// A block as two words.
pub(crate) fn words(block: &Block<Aes256>) -> [u64; 2] {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = block.0;
    [u64::from_le_bytes([a, b, c, d, e, f, g, h]), u64::from_le_bytes([i, j, k, l, m, n, o, p])]
}

fn block(high: u64, low: u64) -> Block<Aes256> {
    (u128::from(high) << 64 | u128::from(low)).to_be_bytes().into()
}

/// A plain stream of words under one release key: for decisions that are not samples of a batch.
pub(crate) struct Stream {
    release: Aes256,
    chunk: Chunk,
    number: u64,
    next: u64,
    spare: Option<u64>,
}

impl Stream {
    const BLOCKS: u64 = 1 << 13;

    pub(crate) fn new(key: &Key) -> Self {
        let release = key.cipher();
        let chunk = Chunk::new(&release, Domain::Stream, 0);
        Self { release, chunk, number: 0, next: 0, spare: None }
    }

    pub(crate) fn word(&mut self) -> u64 {
        if let Some(word) = self.spare.take() {
            return word;
        }
        if self.next == Self::BLOCKS {
            self.number += 1;
            self.next = 0;
            self.chunk = Chunk::new(&self.release, Domain::Stream, self.number);
        }
        let mut block = [Block::<Aes256>::default()];
        self.chunk.primary(self.next, &mut block);
        self.next += 1;
        let [first, second] = words(&block[0]);
        block[0].as_mut_slice().zeroize();
        self.spare = Some(second);
        first
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.spare.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_changes_its_key_within_its_bound() {
        let mut stream = Stream::new(&Key::known([3; 32]));
        let release = Key::known([3; 32]).cipher();
        let words_each = 2 * Stream::BLOCKS;
        let drawn: Vec<u64> = (0..2 * words_each + 2).map(|_| stream.word()).collect();
        for (number, part) in drawn.chunks(words_each as usize).enumerate() {
            let chunk = Chunk::new(&release, Domain::Stream, number as u64);
            let mut first = [Block::<Aes256>::default()];
            chunk.primary(0, &mut first);
            assert_eq!(part[..2], words(&first[0]), "chunk {number} starts a key of its own at counter 0");
        }
        const { assert!(Stream::BLOCKS <= 1 << 14) };
    }

    #[test]
    fn addresses_never_meet() {
        let mut seen = std::collections::HashSet::new();
        for i in 0..CHUNK as u64 / 2 {
            assert!(seen.insert(block(0, i)));
        }
        for index in [0, 1, 2, CHUNK - 1] {
            for attempt in 0..5 {
                for m in 0..5 {
                    assert!(seen.insert(extra_address(index, attempt, m)));
                }
            }
        }
    }
}
