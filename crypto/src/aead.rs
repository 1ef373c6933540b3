//! One chunk under one key: the two suites, behind a private trait.

use crate::error::Error;
use crate::secret::scrub_stack;
use crate::threads::{self, Threads};

#[cfg(feature = "fast")]
mod graviola;
mod rust_crypto;

#[cfg(feature = "fast")]
use graviola as backend;
#[cfg(feature = "fast")]
pub(crate) use graviola::runs_here as graviola_runs_here;
#[cfg(not(feature = "fast"))]
use rust_crypto as backend;

/// Bytes of a chunk's authentication tag.
pub(crate) const TAG: usize = 16;

/// What encrypts the chunks. Nothing in a message is left to choose but this.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Suite {
    /// AES-256-GCM: C2SP's Cobblestone-256, and the default.
    #[default]
    Aes256Gcm,
    /// ChaCha20-Poly1305 (RFC 8439) in the same framing: **our extension**, no part of C2SP, for machines without AES
    /// instructions.
    ChaCha20Poly1305,
}

impl Suite {
    /// The name in IANA's registry of AEAD algorithms, which the key derivation binds.
    pub(crate) fn name(self) -> &'static [u8] {
        match self {
            Self::Aes256Gcm => b"AEAD_AES_256_GCM",
            Self::ChaCha20Poly1305 => b"AEAD_CHACHA20_POLY1305",
        }
    }

    /// The byte that stands for it in a header.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Aes256Gcm => 1,
            Self::ChaCha20Poly1305 => 2,
        }
    }

    pub(crate) fn from_code(code: u8) -> Result<Self, Error> {
        match code {
            1 => Ok(Self::Aes256Gcm),
            2 => Ok(Self::ChaCha20Poly1305),
            _ => Err(Error::malformed("the header names a suite that this version does not know: upgrade veilsum")),
        }
    }

    pub(crate) fn cipher(self, key: &[u8; 32]) -> Box<dyn ChunkCipher> {
        let cipher = backend::cipher(self, key);
        scrub_stack();
        cipher
    }

    /// The cipher by every backend of this build.
    #[cfg(test)]
    pub(crate) fn ciphers(self, key: &[u8; 32]) -> Vec<Box<dyn ChunkCipher>> {
        vec![rust_crypto::cipher(self, key), backend::cipher(self, key)]
    }
}

/// An AEAD with a 32-byte key, a 12-byte nonce, a 16-byte tag and no associated data. Every backend gives the same
/// bytes.
pub(crate) trait ChunkCipher: Send + Sync {
    /// Encrypts `text` where it lies and returns the tag.
    fn seal(&self, nonce: &[u8; 12], text: &mut [u8]) -> [u8; TAG];

    /// Encrypts `text` into `sealed`, which has its length, and returns the tag. A chunk is copied first: aes-gcm from one
    /// buffer into another is a third slower, and graviola does not offer it.
    fn seal_into(&self, nonce: &[u8; 12], text: &[u8], sealed: &mut [u8]) -> [u8; TAG] {
        sealed.copy_from_slice(text);
        self.seal(nonce, sealed)
    }

    /// Decrypts `text` where it lies. What it holds after a refusal is not specified.
    fn open(&self, nonce: &[u8; 12], text: &mut [u8], tag: &[u8; TAG]) -> Result<(), Error>;
}

/// Bytes of a payload that are digested at a time.
const SEGMENT: usize = 1 << 20;

/// A digest of `data` under `key` that goes into a salt and is never shown: equal data give equal digests, and two
/// payloads share one with probability at most 2^-108 at 4 PiB. Each segment is digested by the backend's fastest means.
pub(crate) fn salt_digest(key: &[u8; 32], data: &[u8], threads: Threads) -> Result<Vec<u8>, Error> {
    if data.len() <= 16 * 1024 {
        return Ok(blake3::hash(data).as_bytes().to_vec());
    }
    let digester = backend::Digester::new(key);
    let segments: Vec<&[u8]> = data.chunks(SEGMENT).collect();
    let mut digests = vec![[0; 32]; segments.len()];
    let per_chunk = SEGMENT / (16 * 1024);
    let mut left = &mut digests[..];
    let mut jobs = Vec::new();
    for run in threads.runs(segments.len() * per_chunk) {
        let (start, end) = (run.start / per_chunk, run.end / per_chunk);
        let (now, later) = left.split_at_mut(end - start);
        jobs.push((&segments[start..end], now));
        left = later;
    }
    threads::run_all(jobs, |(segments, digests)| {
        for (segment, digest) in segments.iter().zip(digests) {
            *digest = digester.digest(segment);
        }
        Ok(())
    })?;
    scrub_stack();
    Ok(digests.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `zeroize` is a feature that most of these crates leave off by default.
    #[test]
    fn every_primitive_wipes_its_keys() {
        fn wipes<T: zeroize::ZeroizeOnDrop>() {}
        wipes::<aes_gcm::Aes256Gcm>();
        wipes::<chacha20poly1305::ChaCha20Poly1305>();
        wipes::<ed25519_dalek::SigningKey>();
        wipes::<x25519_dalek::StaticSecret>();
        wipes::<x_wing::DecapsulationKey>();
        wipes::<ml_kem::ml_kem_768::DecapsulationKey>();
    }

    #[test]
    fn backends_give_the_same_bytes_and_open_each_others() {
        for suite in [Suite::Aes256Gcm, Suite::ChaCha20Poly1305] {
            for length in (0..200).chain([4095, 4096, 4097, 16 * 1024 - 1, 16 * 1024]) {
                let text: Vec<u8> = (0..length).map(|i| (i * 31) as u8).collect();
                let ciphers = suite.ciphers(&[length as u8; 32]);
                let sealed: Vec<_> = ciphers
                    .iter()
                    .map(|cipher| {
                        let mut sealed = text.clone();
                        let tag = cipher.seal(&[9; 12], &mut sealed);
                        let mut apart = vec![0; length];
                        assert_eq!(cipher.seal_into(&[9; 12], &text, &mut apart), tag);
                        assert_eq!(apart, sealed);
                        (sealed, tag)
                    })
                    .collect();
                assert_eq!(sealed[0], sealed[1], "{suite:?} {length}");
                for cipher in &ciphers {
                    let (mut opened, tag) = sealed[0].clone();
                    assert_eq!(cipher.open(&[9; 12], &mut opened, &tag), Ok(()));
                    assert_eq!(opened, text);
                }
            }
        }
    }

    #[test]
    fn salt_digests_tell_payloads_apart_whatever_the_threads() {
        let data = vec![1; 3 * SEGMENT + 5];
        let digest = |data: &[u8], threads| salt_digest(&[1; 32], data, threads).expect("digested");
        let first = digest(&data, Threads::ONE);
        assert_eq!(first, digest(&data, Threads::Auto));
        for at in [0, SEGMENT - 1, SEGMENT, 3 * SEGMENT + 4] {
            let mut other = data.clone();
            other[at] ^= 1;
            assert_ne!(first, digest(&other, Threads::Auto), "{at}");
        }
        assert_ne!(first, digest(&data[..data.len() - 1], Threads::Auto));
    }
}
