//! Sharp tools: keys from derived bytes, and C2SP's bytes without our header, for interoperation.
//!
//! What the rest of the crate rules out by construction is the caller's duty here.

pub use crate::agreement::x25519;

use crate::aead::Suite;
use crate::cobblestone;
use crate::error::Error;
use crate::identity::{Identity, Seeds};
use crate::key::Key;
use crate::keyring::Keyring;
use crate::secret::Secret;
use crate::threads::Threads;

/// A key from bytes that were derived elsewhere ([`kdf::derive`](crate::kdf::derive)). They must be uniformly random
/// and serve nothing else.
pub fn key_from_secret(secret: Secret<32>, suite: Suite) -> Key {
    Key::from_secret(secret, suite)
}

/// The secret bytes of an identity, for storage under a key of the caller's: its Ed25519 seed (RFC 8032), then its
/// X-Wing and X25519 secrets, 32 bytes each.
///
/// Whatever this crate signs begins with `"veilsum.signature.v1"`, so the Ed25519 seed may also serve a protocol whose
/// signed bytes never begin so, as those of TLS 1.3 do not (RFC 8446, section 4.4.3).
pub fn identity_to_secret(identity: &Identity) -> Secret<96> {
    let seeds = identity.seeds();
    Secret::filled_by(|bytes: &mut [u8; 96]| {
        bytes[..32].copy_from_slice(seeds.signing.expose());
        bytes[32..64].copy_from_slice(seeds.xwing.expose());
        bytes[64..].copy_from_slice(seeds.x25519.expose());
    })
}

/// The identity whose secret bytes these are.
pub fn identity_from_secret(secret: &Secret<96>) -> Identity {
    let part =
        |at: usize| Secret::filled_by(|bytes: &mut [u8; 32]| bytes.copy_from_slice(&secret.expose()[at..at + 32]));
    Identity::from_seeds(Seeds { signing: part(0), xwing: part(32), x25519: part(64) })
}

/// A keyring from the bytes that its storage seals, for migration tools and fuzzing. They are secret: wipe them.
///
/// # Errors
/// [`Error::Malformed`].
pub fn keyring_from_bytes(bytes: &[u8]) -> Result<Keyring, Error> {
    Keyring::parse(bytes)
}

/// Encrypts `data` as raw C2SP Cobblestone-256 bytes, `salt || commitment || chunks`.
///
/// # Errors
/// [`Error::Entropy`].
pub fn cobblestone256_encrypt(key: &Key, data: &[u8], context: &[u8]) -> Result<Vec<u8>, Error> {
    let length = cobblestone::sealed_length(data.len()).ok_or(Error::KeyExhausted { limit: "4 PiB in one message" })?;
    let mut sealed = vec![0; length];
    key.seal_raw(data, &mut sealed, &[context], Threads::Auto)?;
    Ok(sealed)
}

/// Decrypts raw C2SP Cobblestone-256 bytes.
///
/// # Errors
/// [`Error::Rejected`].
pub fn cobblestone256_decrypt(key: &Key, sealed: &[u8], context: &[u8]) -> Result<Vec<u8>, Error> {
    let mut data = vec![0; cobblestone::opened_length(sealed.len()).ok_or(Error::Rejected)?];
    key.open_raw(sealed, &mut data, &[context], Threads::Auto)?;
    Ok(data)
}
