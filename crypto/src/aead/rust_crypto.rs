//! The default backend: RustCrypto's ciphers, in Rust alone.

use aes_gcm::Aes256Gcm;
use aes_gcm::aead::{AeadInOut, KeyInit, consts};
use chacha20poly1305::ChaCha20Poly1305;

use super::{ChunkCipher, Suite, TAG};
use crate::error::Error;

pub(super) fn cipher(suite: Suite, key: &[u8; 32]) -> Box<dyn ChunkCipher> {
    match suite {
        Suite::Aes256Gcm => Box::new(Aes256Gcm::new(key.into())),
        Suite::ChaCha20Poly1305 => Box::new(ChaCha20Poly1305::new(key.into())),
    }
}

impl<C: AeadInOut<NonceSize = consts::U12, TagSize = consts::U16> + Send + Sync> ChunkCipher for C {
    fn seal(&self, nonce: &[u8; 12], text: &mut [u8]) -> [u8; TAG] {
        self.encrypt_inout_detached(nonce.into(), &[], text.into())
            .expect("a chunk is far below the cipher's limit")
            .into()
    }

    fn open(&self, nonce: &[u8; 12], text: &mut [u8], tag: &[u8; TAG]) -> Result<(), Error> {
        self.decrypt_inout_detached(nonce.into(), &[], text.into(), tag.into()).map_err(|_| Error::Rejected)
    }
}

/// BLAKE3: faster here than this backend's GHASH.
pub(super) struct Digester;

impl Digester {
    #[cfg_attr(feature = "fast", expect(dead_code, reason = "the fast backend makes its own"))]
    pub(super) fn new(_key: &[u8; 32]) -> Self {
        Self
    }

    pub(super) fn digest(&self, segment: &[u8]) -> [u8; 32] {
        blake3::hash(segment).into()
    }
}
