//! Public randomness among clients, by commit and reveal (Blum 1983): the beacon that a sparse graph is drawn from.
//!
//! After the roster is fixed, every client commits to 32 random bytes; when all commitments are in, every client opens
//! its own; the beacon is the hash of all of them. One honest client makes it unpredictable to whoever had to commit
//! before. Whoever withholds its opening stops the coin: the values of the others are never used without it, since
//! leaving out would be choosing. The roster of the next attempt is without the withholder, so that each corrupt client
//! can spoil one attempt and re-draw once: `c` corrupt clients have at most `c + 1` draws, which [`attempts`] are
//! counted against the promise of the graph by whoever runs it.
//!
//! [`attempts`]: Coin::new

use crate::Error;
use crate::round::Roster;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::sync::Arc;
use veilsum_crypto::Identity;

const COMMIT: &str = "veilsum.federated.coin-commit.v1";
const REVEAL: &str = "veilsum.federated.coin-reveal.v1";

/// One client's coin.
pub struct Coin {
    identity: Arc<Identity>,
    roster: Roster,
    topic: [u8; 32],
    number: u32,
    value: [u8; 32],
}

impl std::fmt::Debug for Coin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Coin({})", self.number)
    }
}

/// A client's commitment or opening: the value and its signature.
pub type Signed = ([u8; 32], [u8; 64]);

impl Coin {
    /// Draws the value of client `number`. `topic` names the session and the attempt, once each.
    ///
    /// # Errors
    /// [`Error::Entropy`].
    pub fn new(identity: Arc<Identity>, roster: Roster, number: u32, topic: &[u8]) -> Result<Self, Error> {
        let mut value = [0; 32];
        getrandom::fill(&mut value)?;
        let topic = Sha256::new().chain_update(roster.digest()).chain_update(topic).finalize().into();
        Ok(Self { identity, roster, topic, number, value })
    }

    /// The commitment, signed.
    #[must_use]
    pub fn commit(&self) -> Signed {
        let commitment = committed(&self.topic, self.number, &self.value);
        (commitment, self.identity.sign(COMMIT, &named(&self.topic, self.number, &commitment)))
    }

    /// Opens the value, once everyone's commitments are in.
    ///
    /// # Errors
    /// [`Error::Refused`] if a client's commitment is missing or forged, or this client's own is not its own.
    pub fn reveal(&self, commitments: &BTreeMap<u32, Signed>) -> Result<Signed, Error> {
        check_all(&self.roster, COMMIT, &self.topic, commitments)?;
        if commitments[&self.number].0 != committed(&self.topic, self.number, &self.value) {
            return Err(Error::refused("reveal", "the commitment listed for this client is not its own"));
        }
        Ok((self.value, self.identity.sign(REVEAL, &named(&self.topic, self.number, &self.value))))
    }

    /// The beacon, from everyone's openings.
    ///
    /// # Errors
    /// [`Error::Refused`] if an opening is missing, forged, or not what its client committed to.
    pub fn beacon(
        &self,
        commitments: &BTreeMap<u32, Signed>,
        openings: &BTreeMap<u32, Signed>,
    ) -> Result<[u8; 32], Error> {
        check_all(&self.roster, COMMIT, &self.topic, commitments)?;
        check_all(&self.roster, REVEAL, &self.topic, openings)?;
        let mut hash = Sha256::new().chain_update(b"veilsum.federated.beacon.v1\0").chain_update(self.topic);
        for (client, (value, _)) in openings {
            if committed(&self.topic, *client, value) != commitments[client].0 {
                return Err(Error::refused("reveal", format!("client {client} opened what it had not committed to")));
            }
            hash.update(value);
        }
        Ok(hash.finalize().into())
    }
}

fn committed(topic: &[u8; 32], client: u32, value: &[u8; 32]) -> [u8; 32] {
    let hash = Sha256::new().chain_update(b"veilsum.federated.coin.v1\0");
    hash.chain_update(named(topic, client, value)).finalize().into()
}

fn named(topic: &[u8; 32], client: u32, value: &[u8; 32]) -> Vec<u8> {
    [&topic[..], &client.to_be_bytes(), value].concat()
}

fn check_all(
    roster: &Roster,
    domain: &'static str,
    topic: &[u8; 32],
    values: &BTreeMap<u32, Signed>,
) -> Result<(), Error> {
    if !values.keys().copied().eq(0..roster.len() as u32) {
        return Err(Error::refused(
            "reveal",
            "someone on the roster is missing: start again with a roster without them",
        ));
    }
    for (&client, (value, signature)) in values {
        let peer = roster.peer(client).ok_or_else(|| Error::parameter("client", client, "on the roster"))?;
        peer.verify(domain, &named(topic, client, value), signature)
            .map_err(|_| Error::refused("reveal", format!("the signature of client {client} does not verify")))?;
    }
    Ok(())
}

/// Tosses a coin among clients of one process. One of them checks for all, as they see the same bytes.
pub(crate) fn toss_in_memory(identities: &[Arc<Identity>], roster: &Roster, topic: &[u8]) -> Result<[u8; 32], Error> {
    let coins: Vec<Coin> = (0..)
        .zip(identities)
        .map(|(number, identity)| Coin::new(identity.clone(), roster.clone(), number, topic))
        .collect::<Result<_, _>>()?;
    let commitments: BTreeMap<u32, Signed> = (0..).zip(&coins).map(|(number, coin)| (number, coin.commit())).collect();
    let opening = |coin: &Coin| (coin.value, coin.identity.sign(REVEAL, &named(&coin.topic, coin.number, &coin.value)));
    let openings = (0..).zip(&coins).map(|(number, coin)| (number, opening(coin))).collect();
    coins[0].reveal(&commitments)?;
    coins[0].beacon(&commitments, &openings)
}
