//! A file key wrapped for one recipient: HPKE (RFC 9180) in base mode, HKDF-SHA-512.
//!
//! Base mode alone: who sealed is established by a signature inside the message, since X-Wing has no authenticated
//! mode.

use hpke::aead::{AesGcm256, ChaCha20Poly1305};
use hpke::kdf::HkdfSha512;
use hpke::kem::{X25519HkdfSha256, XWing};
use hpke::{Deserializable, OpModeR, OpModeS, Serializable};
use zeroize::{Zeroize, Zeroizing};

use crate::aead::{Suite, TAG};
use crate::error::Error;
use crate::peer::{X25519Public, XWingPublic, low_order};
use crate::random::Draws;
use crate::secret::{Secret, scrub_stack};

/// Bytes of a wrapped 32-byte key.
pub(crate) const WRAPPED: usize = 32 + TAG;

/// How a key is agreed with a recipient.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kem {
    /// X-Wing (X25519 and ML-KEM-768 together, `draft-connolly-cfrg-xwing-kem`): safe while either holds, so also
    /// against an attacker who records today and has a quantum computer later. The default.
    #[default]
    XWing,
    /// X25519 alone (DHKEM of RFC 9180): 1,088 bytes a recipient less, and no protection from quantum computers.
    X25519,
}

impl Kem {
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::XWing => 1,
            Self::X25519 => 2,
        }
    }

    pub(crate) fn from_code(code: u8) -> Result<Self, Error> {
        match code {
            1 => Ok(Self::XWing),
            2 => Ok(Self::X25519),
            _ => Err(Error::malformed(
                "the header names a key agreement that this version does not know: upgrade veilsum",
            )),
        }
    }

    /// Bytes of an encapsulated key.
    pub(crate) fn encapsulated(self) -> usize {
        match self {
            Self::XWing => 1120,
            Self::X25519 => 32,
        }
    }
}

/// A recipient's public key for one kind of agreement.
#[derive(Clone)]
pub(crate) enum Public<'k> {
    XWing(&'k XWingPublic),
    X25519(&'k X25519Public),
}

/// A recipient's secret key for one kind of agreement.
pub(crate) enum Private<'k> {
    XWing(&'k Secret<32>),
    X25519(&'k Secret<32>),
}

/// Appends `enc || ciphertext` of `key` for `recipient`.
pub(crate) fn wrap(
    key: &Secret<32>,
    recipient: &Public<'_>,
    suite: Suite,
    info: &[u8],
    draws: &mut Draws,
    output: &mut Vec<u8>,
) -> Result<(), Error> {
    match (recipient, suite) {
        (Public::XWing(public), Suite::Aes256Gcm) => wrap_as::<AesGcm256, XWing>(key, public, info, draws, output),
        (Public::XWing(public), Suite::ChaCha20Poly1305) => {
            wrap_as::<ChaCha20Poly1305, XWing>(key, public, info, draws, output)
        }
        (Public::X25519(public), Suite::Aes256Gcm) => {
            wrap_as::<AesGcm256, X25519HkdfSha256>(key, public, info, draws, output)
        }
        (Public::X25519(public), Suite::ChaCha20Poly1305) => {
            wrap_as::<ChaCha20Poly1305, X25519HkdfSha256>(key, public, info, draws, output)
        }
    }
}

fn wrap_as<A: hpke::aead::Aead, K: hpke::Kem>(
    key: &Secret<32>,
    public: &K::PublicKey,
    info: &[u8],
    draws: &mut Draws,
    output: &mut Vec<u8>,
) -> Result<(), Error> {
    let (encapsulated, mut context) =
        hpke::setup_sender_with_rng::<A, HkdfSha512, K>(&OpModeS::Base, public, info, draws)
            .map_err(|_| Error::malformed("a recipient's key cannot be sealed to"))?;
    let wrapped = context.seal(key.expose(), &[]).expect("one short message is below every limit");
    output.extend_from_slice(&encapsulated.to_bytes());
    output.extend_from_slice(&wrapped);
    scrub_stack();
    Ok(())
}

/// Opens `enc || ciphertext` with the recipient's key. The all-zero X25519 result is refused.
pub(crate) fn unwrap(wrapped: &[u8], private: &Private<'_>, suite: Suite, info: &[u8]) -> Result<Secret<32>, Error> {
    let key = match (private, suite) {
        (Private::XWing(secret), Suite::Aes256Gcm) => unwrap_as::<AesGcm256, XWing>(wrapped, secret, info),
        (Private::XWing(secret), Suite::ChaCha20Poly1305) => {
            unwrap_as::<ChaCha20Poly1305, XWing>(wrapped, secret, info)
        }
        (Private::X25519(secret), Suite::Aes256Gcm) => unwrap_as::<AesGcm256, X25519HkdfSha256>(wrapped, secret, info),
        (Private::X25519(secret), Suite::ChaCha20Poly1305) => {
            unwrap_as::<ChaCha20Poly1305, X25519HkdfSha256>(wrapped, secret, info)
        }
    };
    scrub_stack();
    key
}

fn unwrap_as<A: hpke::aead::Aead, K: hpke::Kem>(
    wrapped: &[u8],
    secret: &Secret<32>,
    info: &[u8],
) -> Result<Secret<32>, Error> {
    let (encapsulated, ciphertext) = wrapped.split_at(wrapped.len().checked_sub(WRAPPED).ok_or(Error::Rejected)?);
    // X-Wing's ciphertext ends, and DHKEM's consists, in an X25519 point.
    if encapsulated.last_chunk::<32>().is_none_or(|point| low_order(point)) {
        return Err(Error::Rejected);
    }
    let private = K::PrivateKey::from_bytes(secret.expose()).map_err(|_| Error::Rejected)?;
    let encapsulated = K::EncappedKey::from_bytes(encapsulated).map_err(|_| Error::Rejected)?;
    let mut context = hpke::setup_receiver::<A, HkdfSha512, K>(&OpModeR::Base, &private, &encapsulated, info)
        .map_err(|_| Error::Rejected)?;
    let opened = Zeroizing::new(context.open(ciphertext, &[]).map_err(|_| Error::Rejected)?);
    let mut bytes: [u8; 32] = opened[..].try_into().map_err(|_| Error::Rejected)?;
    let key = Secret::copied_from(&bytes);
    bytes.zeroize();
    Ok(key)
}
