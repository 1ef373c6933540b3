//! One chunk under one key: the two suites, behind a private trait.

use aes_gcm::Aes256Gcm;
use aes_gcm::aead::{AeadInOut, KeyInit, inout::InOutBuf};
use chacha20poly1305::ChaCha20Poly1305;

use crate::error::Error;
use crate::secret::scrub_stack;

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
        let cipher: Box<dyn ChunkCipher> = match self {
            Self::Aes256Gcm => Box::new(Aes256Gcm::new(key.into())),
            Self::ChaCha20Poly1305 => Box::new(ChaCha20Poly1305::new(key.into())),
        };
        scrub_stack();
        cipher
    }
}

/// An AEAD with a 32-byte key, a 12-byte nonce, a 16-byte tag and no associated data.
pub(crate) trait ChunkCipher: Send + Sync {
    /// Encrypts from the buffer's input into its output and returns the tag.
    fn seal(&self, nonce: &[u8; 12], chunk: InOutBuf<'_, '_, u8>) -> [u8; TAG];

    /// Decrypts from the buffer's input into its output. What the output holds after a refusal is not specified.
    fn open(&self, nonce: &[u8; 12], chunk: InOutBuf<'_, '_, u8>, tag: &[u8; TAG]) -> Result<(), Error>;
}

impl<C: AeadInOut<NonceSize = aes_gcm::aead::consts::U12, TagSize = aes_gcm::aead::consts::U16> + Send + Sync>
    ChunkCipher for C
{
    fn seal(&self, nonce: &[u8; 12], chunk: InOutBuf<'_, '_, u8>) -> [u8; TAG] {
        self.encrypt_inout_detached(nonce.into(), &[], chunk).expect("a chunk is far below the cipher's limit").into()
    }

    fn open(&self, nonce: &[u8; 12], chunk: InOutBuf<'_, '_, u8>, tag: &[u8; TAG]) -> Result<(), Error> {
        self.decrypt_inout_detached(nonce.into(), &[], chunk, tag.into()).map_err(|_| Error::Rejected)
    }
}
