//! Who one is: a key pair for signing and key pairs for being sealed to.

use std::fmt;

use ed25519_dalek::{Signer, SigningKey};
use x_wing::{Decapsulator, KeyExport};
use x25519_dalek::StaticSecret;

use crate::error::Error;
use crate::peer::{self, Peer, SIGNATURE};
use crate::secret::{Secret, scrub_stack};

/// A participant's secret half: an Ed25519 key to sign with, an X-Wing key and an X25519 key to be sealed to.
///
/// It does not clone or print, and is wiped when it is dropped. [`peer`](Self::peer) is the public half.
///
/// ```
/// use veilsum_crypto::Identity;
/// let alice = Identity::generate()?;
/// let signature = alice.sign("example.greeting.v1", b"hello");
/// alice.peer().verify("example.greeting.v1", b"hello", &signature)?;
/// assert!(alice.peer().verify("example.farewell.v1", b"hello", &signature).is_err());
/// # Ok::<(), veilsum_crypto::Error>(())
/// ```
pub struct Identity {
    seeds: Seeds,
    signing: Box<SigningKey>,
    peer: Peer,
}

/// What an identity is made of and what is stored of it.
pub(crate) struct Seeds {
    pub(crate) signing: Secret<32>,
    pub(crate) xwing: Secret<32>,
    pub(crate) x25519: Secret<32>,
}

impl Identity {
    /// A fresh identity.
    ///
    /// # Errors
    /// [`Error::Entropy`].
    pub fn generate() -> Result<Self, Error> {
        Ok(Self::from_seeds(Seeds { signing: Secret::random()?, xwing: Secret::random()?, x25519: Secret::random()? }))
    }

    pub(crate) fn from_seeds(seeds: Seeds) -> Self {
        let signing = Box::new(SigningKey::from_bytes(seeds.signing.expose()));
        let xwing = x_wing::DecapsulationKey::from(*seeds.xwing.expose()).encapsulation_key().to_bytes();
        let x25519 = x25519_dalek::PublicKey::from(&StaticSecret::from(*seeds.x25519.expose()));
        let peer = Peer::certified(&signing, &xwing.into(), x25519.as_bytes());
        scrub_stack();
        Self { seeds, signing, peer }
    }

    /// The public half, to give to everyone.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Signs `message` for the purpose `domain`, a constant of the program such as `"veilsum.federated.roster.v1"`: a
    /// signature made in one domain never verifies in another.
    pub fn sign(&self, domain: &'static str, message: &[u8]) -> [u8; SIGNATURE] {
        let signature = self.signing.sign(&peer::in_domain(domain, message)).to_bytes();
        scrub_stack();
        signature
    }

    pub(crate) fn seeds(&self) -> &Seeds {
        &self.seeds
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.peer.id())
    }
}
