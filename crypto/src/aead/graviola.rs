//! The `fast` backend: graviola's AES-256-GCM where the processor has the instructions that it requires, RustCrypto's
//! ciphers elsewhere.

use graviola::aead::AesGcm;

use super::{ChunkCipher, Suite, TAG, rust_crypto};
use crate::error::Error;
use crate::kdf;
use crate::secret::Secret;

pub(super) fn cipher(suite: Suite, key: &[u8; 32]) -> Box<dyn ChunkCipher> {
    match suite {
        Suite::Aes256Gcm if runs_here() => Box::new(Fast(AesGcm::new(key))),
        _ => rust_crypto::cipher(suite, key),
    }
}

/// Graviola refuses to run without these.
pub(crate) fn runs_here() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        std::is_x86_feature_detected!("aes")
            && std::is_x86_feature_detected!("ssse3")
            && std::is_x86_feature_detected!("pclmulqdq")
            && std::is_x86_feature_detected!("avx")
            && std::is_x86_feature_detected!("avx2")
            && std::is_x86_feature_detected!("bmi1")
            && std::is_x86_feature_detected!("bmi2")
            && std::is_x86_feature_detected!("adx")
    }
    #[cfg(target_arch = "aarch64")]
    {
        std::arch::is_aarch64_feature_detected!("neon")
            && std::arch::is_aarch64_feature_detected!("aes")
            && std::arch::is_aarch64_feature_detected!("pmull")
            && std::arch::is_aarch64_feature_detected!("sha2")
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    {
        false
    }
}

struct Fast(AesGcm);

impl ChunkCipher for Fast {
    fn seal(&self, nonce: &[u8; 12], text: &mut [u8]) -> [u8; TAG] {
        let mut tag = [0; TAG];
        self.0.encrypt(nonce, &[], text, &mut tag);
        tag
    }

    fn open(&self, nonce: &[u8; 12], text: &mut [u8], tag: &[u8; TAG]) -> Result<(), Error> {
        self.0.decrypt(nonce, &[], text, tag).map_err(|_| Error::Rejected)
    }
}

/// GMAC as a keyed universal hash: one key, one nonce, and tags that nobody sees, since they go into a pseudo-random
/// function (hash, then PRF, as in AES-GCM-SIV).
pub(super) struct Digester(Option<AesGcm>);

impl Digester {
    pub(super) fn new(key: &[u8; 32]) -> Self {
        let own = Secret::<32>::filled_by(|own| kdf::expand(key, &[b"veilsum.salt-digest.v1\0"], own));
        Self(runs_here().then(|| AesGcm::new(own.expose())))
    }

    pub(super) fn digest(&self, segment: &[u8]) -> [u8; 32] {
        let Some(gmac) = &self.0 else { return rust_crypto::Digester.digest(segment) };
        let mut digest = [0; 32];
        let (tag, rest) = digest.split_first_chunk_mut::<TAG>().expect("32 bytes hold a tag");
        gmac.encrypt(&[0; 12], segment, &mut [], tag);
        rest[..8].copy_from_slice(&(segment.len() as u64).to_be_bytes());
        digest
    }
}
