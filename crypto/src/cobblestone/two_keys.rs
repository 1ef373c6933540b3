//! The attack that the commitment is there for: one AES-GCM ciphertext that is valid under two keys ("invisible
//! salamanders", Dodis et al. 2018; the algebra is Grubbs, Lu and Ristenpart 2017, section 3).
//!
//! GCM's tag of one block c under a key with hash key H and first pad E is E + c H^2 + L H, where L holds the length.
//! Equal tags under two keys need c = (E1 + E2 + L (H1 + H2)) / (H1 + H2)^2: anyone who knows both keys computes it.

use aes_gcm::aead::KeyInit;
use aes_gcm::aes::Aes256;
use aes_gcm::aes::cipher::BlockCipherEncrypt;

use super::*;

const SALT_BYTES: [u8; SALT] = [5; SALT];

/// What the standard derives for one of the two keys: message key, base nonce, commitment.
fn derived(key: &[u8; 32]) -> ([u8; 32], [u8; 12], [u8; COMMITMENT]) {
    let mut output = [0; 32 + 12 + COMMITMENT];
    kdf::expand(key, &[b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\0", &SALT_BYTES, b"context"], &mut output);
    let part = |from: usize, to: usize| &output[from..to];
    (part(0, 32).try_into().expect("32"), part(32, 44).try_into().expect("12"), part(44, 76).try_into().expect("32"))
}

fn block(key: &[u8; 32], input: [u8; 16]) -> u128 {
    let mut block = input.into();
    Aes256::new(key.into()).encrypt_block(&mut block);
    u128::from_be_bytes(block.into())
}

/// The product in GCM's field (NIST SP 800-38D, algorithm 1).
fn times(x: u128, y: u128) -> u128 {
    let step = |v: u128| (v >> 1) ^ ((v & 1) * (0xe1 << 120));
    (0..128).fold((0, y), |(z, v), bit| (if x >> (127 - bit) & 1 == 1 { z ^ v } else { z }, step(v))).0
}

/// x^(2^128 - 2).
fn inverse(x: u128) -> u128 {
    (1..128)
        .fold((1 << 127, x), |(product, power), _| {
            let power = times(power, power);
            (times(product, power), power)
        })
        .0
}

/// A final chunk, one block and its tag, that is valid under both keys.
fn two_faced(one: &[u8; 32], other: &[u8; 32]) -> [u8; 32] {
    let pad = |(key, nonce, _): &([u8; 32], [u8; 12], [u8; COMMITMENT])| {
        block(key, [&nonce[..], &[0, 0, 0, 1]].concat().try_into().expect("16 bytes"))
    };
    let (one, other) = (derived(one), derived(other));
    let (h1, h2) = (block(&one.0, [0; 16]), block(&other.0, [0; 16]));
    let length = 128;
    let both = inverse(h1 ^ h2);
    let chunk = times(pad(&one) ^ pad(&other) ^ times(length, h1 ^ h2), times(both, both));
    let tag = pad(&one) ^ times(chunk, times(h1, h1)) ^ times(length, h1);
    [chunk.to_be_bytes(), tag.to_be_bytes()].concat().try_into().expect("a block and a tag")
}

#[test]
fn a_chunk_that_is_valid_under_two_keys_opens_under_the_committed_one_alone() {
    let keys = [[1; 32], [2; 32]];
    let chunk = two_faced(&keys[0], &keys[1]);
    let open = |key: &[u8; 32], commitment: &[u8; COMMITMENT]| {
        let prefix = [&SALT_BYTES[..], commitment].concat().try_into().expect("56 bytes");
        let scheme = Cobblestone::check(Suite::default(), key, &prefix, &[b"context"])?;
        let mut text = [0; 16];
        scheme.open_body(&chunk, &mut text, Threads::ONE).map(|()| text)
    };
    let [first, second] = keys.map(|key| derived(&key).2);
    // The attack itself works: each key opens the same chunk, to another text, where the commitment is its own.
    let texts = [open(&keys[0], &first).expect("valid"), open(&keys[1], &second).expect("valid")];
    assert_ne!(texts[0], texts[1]);
    // A message has one commitment.
    assert_eq!(open(&keys[1], &first), Err(Error::Rejected));
    assert_eq!(open(&keys[0], &second), Err(Error::Rejected));
}
