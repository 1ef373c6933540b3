//! The public half of an identity.

use std::fmt;
use std::sync::Arc;

use base64ct::{Base64UrlUnpadded, Encoding};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use hpke::Deserializable;
use hpke::kem::{X25519HkdfSha256, XWing};
use sha2::{Digest, Sha256};

use crate::error::Error;

/// Bytes of a signature.
pub const SIGNATURE: usize = 64;
/// Bytes of an X-Wing public key.
pub(crate) const XWING: usize = 1216;
/// Bytes of a peer.
pub(crate) const PEER: usize = CERTIFIED + SIGNATURE;
/// Of them, those that its signature covers.
const CERTIFIED: usize = 1 + 32 + XWING + 32;
const PEER_VERSION: u8 = 1;
const TEXT_PREFIX: &str = "veilsum-peer-";
const DOMAIN: &str = "veilsum.peer.v1";

/// A participant as others know it: keys to verify its signatures and to seal to it.
///
/// The signing key certifies the sealing keys, so that nobody can pass off another's sealing keys under a name of
/// their own, and a text that was altered does not parse. That the text is the *right* participant's is for the caller
/// to establish, as it is with any public key: compare [`id`](Self::id) over a channel that is trusted.
#[derive(Clone)]
pub struct Peer(Arc<Parsed>);

/// A peer's bytes and the keys in them, parsed once.
struct Parsed {
    bytes: [u8; PEER],
    verifying: VerifyingKey,
    xwing: XWingPublic,
    x25519: X25519Public,
    id: PeerId,
}

pub(crate) type XWingPublic = <XWing as hpke::Kem>::PublicKey;
pub(crate) type X25519Public = <X25519HkdfSha256 as hpke::Kem>::PublicKey;

impl Peer {
    pub(crate) fn certified(signing: &SigningKey, xwing: &[u8; XWING], x25519: &[u8; 32]) -> Self {
        let mut bytes = [0; PEER];
        bytes[0] = PEER_VERSION;
        bytes[1..33].copy_from_slice(signing.verifying_key().as_bytes());
        bytes[33..33 + XWING].copy_from_slice(xwing);
        bytes[33 + XWING..CERTIFIED].copy_from_slice(x25519);
        let signature = signing.sign(&in_domain(DOMAIN, &bytes[..CERTIFIED]));
        bytes[CERTIFIED..].copy_from_slice(&signature.to_bytes());
        Self::parse(&bytes).expect("keys of our own making are valid")
    }

    /// Parses what [`to_bytes`](Self::to_bytes) gave.
    ///
    /// # Errors
    /// [`Error::Malformed`]: another length or version, a key that is not a valid public key (low-order points
    /// included), or sealing keys that the signing key does not certify.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let bytes = bytes
            .try_into()
            .map_err(|_| Error::malformed("a peer of this format has 1,345 bytes, and this has not"))?;
        let peer = Self::parse(bytes)?;
        let (certified, signature) = bytes.split_at(CERTIFIED);
        peer.verify(DOMAIN, certified, signature.try_into().expect("64 bytes are left"))
            .map_err(|_| Error::malformed("the peer's sealing keys are not certified by its signing key"))?;
        Ok(peer)
    }

    fn parse(bytes: &[u8; PEER]) -> Result<Self, Error> {
        if bytes[0] != PEER_VERSION {
            return Err(Error::malformed("the peer is of a format version other than 1: use a veilsum that reads it"));
        }
        let invalid = || Error::malformed("the peer has a key that is not a valid public key");
        let (signing, sealing) = bytes[1..CERTIFIED].split_first_chunk::<32>().expect("a signing key");
        let (xwing, x25519) = sealing.split_at(XWING);
        let verifying = VerifyingKey::from_bytes(signing).map_err(|_| invalid())?;
        if verifying.is_weak() || low_order(x25519) {
            return Err(invalid());
        }
        Ok(Self(Arc::new(Parsed {
            bytes: *bytes,
            verifying,
            xwing: xwing_public(xwing).ok_or_else(invalid)?,
            x25519: X25519Public::from_bytes(x25519).map_err(|_| invalid())?,
            id: PeerId(Sha256::digest(bytes).into()),
        })))
    }

    /// Its 1,345 public bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.bytes.to_vec()
    }

    /// One line of text: `veilsum-peer-` and base64url.
    pub fn to_text(&self) -> String {
        format!("{TEXT_PREFIX}{}", Base64UrlUnpadded::encode_string(&self.0.bytes[..]))
    }

    /// Parses what [`to_text`](Self::to_text) gave; white space around it is allowed.
    ///
    /// # Errors
    /// [`Error::Malformed`], as [`from_bytes`](Self::from_bytes).
    pub fn from_text(text: &str) -> Result<Self, Error> {
        let encoded = text
            .trim()
            .strip_prefix(TEXT_PREFIX)
            .ok_or(Error::malformed("a peer's text begins with \"veilsum-peer-\", and this does not"))?;
        let mut bytes = [0; PEER];
        let decoded = Base64UrlUnpadded::decode(encoded, &mut bytes)
            .map_err(|_| Error::malformed("the peer's text is not base64url of 1,345 bytes"))?;
        Self::from_bytes(decoded)
    }

    /// The public name: SHA-256 of its bytes.
    pub fn id(&self) -> PeerId {
        self.0.id
    }

    /// The Ed25519 public key (RFC 8032), for protocols that present it as it is: TLS with raw public keys (RFC 7250).
    pub fn ed25519(&self) -> &[u8; 32] {
        self.0.verifying.as_bytes()
    }

    pub(crate) fn xwing(&self) -> &XWingPublic {
        &self.0.xwing
    }

    pub(crate) fn x25519(&self) -> &X25519Public {
        &self.0.x25519
    }

    /// Accepts `signature` if this peer's identity made it over `message` in `domain`. Verification is strict
    /// (RFC 8032 with canonical encodings; small-order keys and points refused).
    ///
    /// # Errors
    /// [`Error::Rejected`].
    pub fn verify(&self, domain: &'static str, message: &[u8], signature: &[u8; SIGNATURE]) -> Result<(), Error> {
        self.0
            .verifying
            .verify_strict(&in_domain(domain, message), &Signature::from_bytes(signature))
            .map_err(|_| Error::Rejected)
    }
}

impl PartialEq for Peer {
    fn eq(&self, other: &Self) -> bool {
        self.0.bytes == other.0.bytes
    }
}

impl Eq for Peer {}

impl std::hash::Hash for Peer {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.id.hash(state);
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Peer({})", self.0.id)
    }
}

/// The public name of a peer: 32 bytes, printed as hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerId(pub(crate) [u8; 32]);

impl PeerId {
    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerId({self})")
    }
}

/// What is signed: `"veilsum.signature.v1" || 0x00 || u32(len(domain)) || domain || message`.
pub(crate) fn in_domain(domain: &str, message: &[u8]) -> Vec<u8> {
    let mut signed = Vec::with_capacity(25 + domain.len() + message.len());
    signed.extend_from_slice(b"veilsum.signature.v1\0");
    signed.extend_from_slice(&(domain.len() as u32).to_be_bytes());
    signed.extend_from_slice(domain.as_bytes());
    signed.extend_from_slice(message);
    signed
}

/// An X-Wing public key whose X25519 half is of full order.
pub(crate) fn xwing_public(bytes: &[u8]) -> Option<XWingPublic> {
    let x25519 = bytes.get(XWING - 32..)?;
    if low_order(x25519) { None } else { XWingPublic::from_bytes(bytes).ok() }
}

/// Whether every key agreement with this X25519 public key gives zero (RFC 7748, section 6.1): clamped scalars are
/// multiples of the cofactor, so one of them tells for all.
pub(crate) fn low_order(point: &[u8]) -> bool {
    <[u8; 32]>::try_from(point).map_or(true, |point| x25519_dalek::x25519([0x42; 32], point) == [0; 32])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Identity;

    #[test]
    fn text_and_bytes_come_back_and_no_bit_may_change() {
        let peer = Identity::generate().expect("entropy").peer().clone();
        assert_eq!(Peer::from_text(&format!(" {}\n", peer.to_text())), Ok(peer.clone()));
        let bytes = peer.to_bytes();
        for bit in 0..8 * bytes.len() {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(Peer::from_bytes(&changed), Err(Error::Malformed { .. })), "bit {bit}");
        }
    }

    #[test]
    fn low_order_points_are_known() {
        assert!(low_order(&[0; 32]));
        assert!(low_order(&{
            let mut one = [0; 32];
            one[0] = 1;
            one
        }));
        assert!(!low_order(&x25519_dalek::X25519_BASEPOINT_BYTES));
    }
}
