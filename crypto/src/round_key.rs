//! A key for one round: offered signed, sealed to by the others, destroyed when the round closes.

use std::fmt;

use sha2::{Digest, Sha256};
use x_wing::{Decapsulator, KeyExport};

use crate::error::Error;
use crate::identity::Identity;
use crate::peer::{Peer, PeerId, SIGNATURE, XWING, XWingPublic, xwing_public};
use crate::peers::PeerSet;
use crate::seal::{self, Opened, Opener};
use crate::secret::{Secret, scrub_stack};
use crate::time::UnixTime;
use crate::wire::Bytes;

const DOMAIN: &str = "veilsum.round-key.v1";
const OFFER_VERSION: u8 = 1;
const OFFERED: usize = 1 + 32 + 8 + 8 + XWING;
const OFFER: usize = OFFERED + SIGNATURE;

/// The secret half of a round's key.
///
/// [`close`](Self::close) (or dropping it) destroys it. From then on nobody can read what was sealed to it, **provided
/// that every snapshot, swap file or core dump which held it is destroyed too**: forward secrecy is claimed from that
/// moment and not before.
pub struct RoundKey {
    secret: Secret<32>,
    offer: RoundOffer,
}

impl RoundKey {
    /// A fresh key for `round`, to be refused from `expires` on.
    ///
    /// # Errors
    /// [`Error::Entropy`].
    pub fn generate(owner: &Identity, round: u64, expires: UnixTime) -> Result<Self, Error> {
        let secret = Secret::<32>::random()?;
        let public = x_wing::DecapsulationKey::from(*secret.expose()).encapsulation_key().to_bytes();
        scrub_stack();
        let mut bytes = Vec::with_capacity(OFFER);
        bytes.push(OFFER_VERSION);
        bytes.extend_from_slice(owner.peer().id().as_bytes());
        bytes.extend_from_slice(&round.to_be_bytes());
        bytes.extend_from_slice(&expires.0.to_be_bytes());
        bytes.extend_from_slice(&public);
        let signature = owner.sign(DOMAIN, &bytes);
        bytes.extend_from_slice(&signature);
        Ok(Self { secret, offer: RoundOffer::parse(&bytes)? })
    }

    /// The public half, to send to those who will seal to it.
    pub fn offer(&self) -> &RoundOffer {
        &self.offer
    }

    /// Opens a message for this round's key from one of `peers` that is valid at `now`.
    ///
    /// # Errors
    /// As [`Identity::open_from`]; [`Error::NoKey`] also once the key has expired.
    pub fn open_from(&self, peers: &PeerSet, now: UnixTime, sealed: &[u8], context: &[u8]) -> Result<Opened, Error> {
        if now >= self.offer.expires {
            return Err(Error::NoKey { what: format!("the key of round {} has expired", self.offer.round) });
        }
        let opener = Opener { id: self.offer.id, xwing: &self.secret, x25519: None };
        seal::open_signed(&opener, peers, now, sealed, context)
    }

    /// Destroys the secret: the round is over.
    pub fn close(self) {}
}

impl fmt::Debug for RoundKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RoundKey(round {})", self.offer.round)
    }
}

/// The public half of a round's key, whose owner signed it.
#[derive(Clone)]
pub struct RoundOffer {
    bytes: Vec<u8>,
    id: [u8; 32],
    owner: PeerId,
    round: u64,
    expires: UnixTime,
    xwing: XWingPublic,
}

impl RoundOffer {
    /// Accepts an offer that `owner` signed for `round` and that has not expired at `now`.
    ///
    /// # Errors
    /// [`Error::Malformed`] for bytes that are no offer; [`Error::Rejected`] for another owner, another round, an
    /// expired offer, or one that `owner` did not sign.
    pub fn verify(bytes: &[u8], owner: &Peer, round: u64, now: UnixTime) -> Result<Self, Error> {
        let offer = Self::parse(bytes)?;
        let (offered, signature) = bytes.split_at(OFFERED);
        owner.verify(DOMAIN, offered, signature.try_into().map_err(|_| Error::Rejected)?)?;
        if offer.owner != owner.id() || offer.round != round || now >= offer.expires {
            return Err(Error::Rejected);
        }
        Ok(offer)
    }

    fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let mut left = Bytes::new(bytes, "a round key's offer has 1,329 bytes, and this has fewer");
        if left.u8()? != OFFER_VERSION {
            return Err(Error::malformed("the offer is of a format version other than 1: use a veilsum that reads it"));
        }
        let owner = PeerId(*left.array()?);
        let round = left.u64()?;
        let expires = UnixTime(left.u64()?);
        let xwing = xwing_public(left.array::<XWING>()?)
            .ok_or(Error::malformed("the offer has a key that is not a valid public key"))?;
        left.array::<SIGNATURE>()?;
        left.end("a round key's offer has 1,329 bytes, and this has more")?;
        Ok(Self { id: Sha256::digest(bytes).into(), bytes: bytes.to_vec(), owner, round, expires, xwing })
    }

    /// Its public bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.bytes.clone()
    }

    /// Whose key it is.
    pub fn owner(&self) -> PeerId {
        self.owner
    }

    /// The round it is for.
    pub fn round(&self) -> u64 {
        self.round
    }

    /// When it ends.
    pub fn expires(&self) -> UnixTime {
        self.expires
    }

    pub(crate) fn id(&self) -> &[u8; 32] {
        &self.id
    }

    pub(crate) fn xwing(&self) -> &XWingPublic {
        &self.xwing
    }
}

impl fmt::Debug for RoundOffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RoundOffer")
            .field("owner", &self.owner)
            .field("round", &self.round)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}
