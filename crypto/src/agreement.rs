//! X25519 (RFC 7748, section 6.1), by the backend that the features chose.

use crate::secret::Secret;

/// The shared secret of a secret key and a peer's public key; nothing if it is zero, as with a public key of low order,
/// since everyone knows it then.
///
/// The bytes are those of the function itself: derive keys from them, bound to both public keys.
#[must_use]
pub fn x25519(secret: &[u8; 32], public: &[u8; 32]) -> Option<Secret<32>> {
    #[cfg(feature = "fast")]
    if crate::aead::graviola_runs_here() {
        use graviola::key_agreement::x25519::{PublicKey, StaticPrivateKey};
        let shared = StaticPrivateKey::from_array(secret).diffie_hellman(&PublicKey::from_array(public)).ok()?;
        return Some(Secret::copied_from(&shared.0));
    }
    slow(secret, public)
}

/// The same in Rust alone.
pub(crate) fn slow(secret: &[u8; 32], public: &[u8; 32]) -> Option<Secret<32>> {
    let shared = x25519_dalek::StaticSecret::from(*secret).diffie_hellman(&(*public).into());
    shared.was_contributory().then(|| Secret::copied_from(shared.as_bytes()))
}
