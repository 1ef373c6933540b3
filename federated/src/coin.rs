//! Public randomness among clients, by commit and reveal (Blum 1983): the beacon that a sparse graph is drawn from.
//!
//! After the roster is fixed, every client commits to 32 random bytes; when all commitments are in, every client opens
//! its own; the beacon is the hash of all of them. A client opens against *one* list of commitments, and signs the list
//! with its opening: so nobody's value can depend on an opening, and all who end with a beacon had the same list. One
//! honest client makes it unpredictable to whoever had to commit before.
//!
//! Whoever withholds its opening stops the coin: the values of the others are never used without it, since leaving out
//! would be choosing. The next attempt is on a roster without the withholder ([`Coin::again`]). A server that suppresses
//! an honest opening looks the same, so both spend from one allowance: a client follows as long as no more are struck than
//! the round allows to be lost. An adversary therefore has at most D + 1 draws, which the search for a graph is charged
//! with (see `round::graph`); and as every roster that a client follows has more than half of the honest clients, no two
//! attempts run beside each other.

use crate::Error;
use crate::round::{Roster, RoundConfig};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::sync::Arc;
use veilsum_crypto::{Identity, Peer};

const COMMIT: &str = "veilsum.federated.coin-commit.v1";
const REVEAL: &str = "veilsum.federated.coin-reveal.v1";

/// One client's coin.
pub struct Coin {
    identity: Arc<Identity>,
    roster: Roster,
    limits: Limits,
    session: Vec<u8>,
    attempt: u32,
    topic: [u8; 32],
    number: u32,
    value: [u8; 32],
    agreed: Option<Agreed>,
}

/// The commitments that a client opened against, and their digest.
struct Agreed {
    commitments: BTreeMap<u32, [u8; 32]>,
    digest: [u8; 32],
}

/// What no further attempt may weaken.
#[derive(Clone, Copy)]
struct Limits {
    corrupt: u32,
    least_survivors: u32,
}

impl std::fmt::Debug for Coin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Coin({}, attempt {})", self.number, self.attempt)
    }
}

/// A client's commitment or opening: the value and its signature.
pub type Signed = ([u8; 32], [u8; 64]);

impl Coin {
    /// The first attempt: draws the value of the client with this identity. `session` names the round, once.
    ///
    /// # Errors
    /// [`Error::Parameter`] if the roster is of another size or without this identity; [`Error::Entropy`].
    pub fn new(identity: Arc<Identity>, roster: Roster, session: &[u8], config: &RoundConfig) -> Result<Self, Error> {
        Self::attempt(identity, roster, session.to_vec(), config, 0)
    }

    fn attempt(
        identity: Arc<Identity>,
        roster: Roster,
        session: Vec<u8>,
        config: &RoundConfig,
        attempt: u32,
    ) -> Result<Self, Error> {
        let shape = config.shape();
        if roster.len() != shape.clients as usize {
            let bound = format!("a list of the round's {} clients", shape.clients);
            return Err(Error::parameter("roster", format!("a list of {}", roster.len()), bound));
        }
        let place = (0..shape.clients).find(|&client| roster.peer(client) == Some(identity.peer()));
        let number = place.ok_or_else(|| Error::parameter("roster", "a list without this identity", "one with it"))?;
        let mut value = [0; 32];
        getrandom::fill(&mut value)?;
        let hash = Sha256::new().chain_update(roster.digest()).chain_update(attempt.to_be_bytes());
        let topic = hash.chain_update(&session).finalize().into();
        let limits = Limits { corrupt: shape.corrupt, least_survivors: shape.least_survivors() };
        Ok(Self { identity, roster, limits, session, attempt, topic, number, value, agreed: None })
    }

    /// The next attempt, on a roster from which those were struck whose openings did not come, and with
    /// [`Setup::struck`](crate::Setup::struck) saying how many in all.
    ///
    /// # Errors
    /// [`Error::Refused`] for a roster that is not a shorter part of this one, or parameters that assume fewer corrupt
    /// clients or end with fewer survivors than before: that is, once as many were struck as may be lost.
    pub fn again(self, roster: Roster, config: &RoundConfig) -> Result<Self, Error> {
        let refused = |why: &str| Err(Error::refused("coin", why));
        let mut before = (0..).map_while(|client| self.roster.peer(client));
        let part = (0..).map_while(|client| roster.peer(client)).all(|peer: &Peer| before.any(|old| old == peer));
        if !part || roster.len() >= self.roster.len() {
            return refused("the next attempt must be on the same roster, in order, less those who withheld");
        }
        let shape = config.shape();
        if shape.corrupt < self.limits.corrupt || shape.least_survivors() < self.limits.least_survivors {
            return refused(
                "too many would have been struck: another attempt must not assume fewer corrupt clients, nor end with fewer \
                 survivors; enrol again",
            );
        }
        Self::attempt(self.identity, roster, self.session, config, self.attempt + 1)
    }

    /// The client's number on this attempt's roster.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.number
    }

    /// The commitment, signed.
    #[must_use]
    pub fn commit(&self) -> Signed {
        let commitment = committed(&self.topic, self.number, &self.value);
        (commitment, self.identity.sign(COMMIT, &named(&self.topic, self.number, &commitment)))
    }

    /// Opens the value, once everyone's commitments are in: against this list and no other.
    ///
    /// # Errors
    /// [`Error::Refused`] if a client's commitment is missing or forged, if this client's own is not its own, and for a
    /// second, different list.
    pub fn reveal(&mut self, commitments: &BTreeMap<u32, Signed>) -> Result<Signed, Error> {
        self.check_all(COMMIT, &[], commitments)?;
        if commitments[&self.number].0 != committed(&self.topic, self.number, &self.value) {
            return Err(Error::refused("coin", "the commitment listed for this client is not its own"));
        }
        let list: BTreeMap<u32, [u8; 32]> = commitments.iter().map(|(&client, (value, _))| (client, *value)).collect();
        if self.agreed.as_ref().is_some_and(|agreed| agreed.commitments != list) {
            return Err(Error::refused("coin", "this client has opened its value against other commitments"));
        }
        let digest = list.values().fold(Sha256::new(), |hash, value| hash.chain_update(value)).finalize().into();
        self.agreed = Some(Agreed { commitments: list, digest });
        Ok((
            self.value,
            self.identity.sign(REVEAL, &[&named(&self.topic, self.number, &self.value)[..], &digest].concat()),
        ))
    }

    /// The beacon, from everyone's openings against the list that this client opened against.
    ///
    /// # Errors
    /// [`Error::OutOfOrder`] before [`reveal`](Self::reveal); [`Error::Refused`] if an opening is missing, forged, made
    /// against another list, or not what its client committed to.
    pub fn beacon(&self, openings: &BTreeMap<u32, Signed>) -> Result<[u8; 32], Error> {
        let agreed = self.agreed.as_ref().ok_or(Error::OutOfOrder {
            called: "beacon",
            state: "commit",
            way_out: "a beacon follows from the commitments that this client opened against",
        })?;
        self.check_all(REVEAL, &agreed.digest, openings)?;
        let mut hash = Sha256::new().chain_update(b"veilsum.federated.beacon.v1\0").chain_update(self.topic);
        for (client, (value, _)) in openings {
            if committed(&self.topic, *client, value) != agreed.commitments[client] {
                return Err(Error::refused("coin", format!("client {client} opened what it had not committed to")));
            }
            hash.update(value);
        }
        Ok(hash.finalize().into())
    }

    /// One value from everyone on the roster, each with its signature, over `list` too.
    fn check_all(&self, domain: &'static str, list: &[u8], values: &BTreeMap<u32, Signed>) -> Result<(), Error> {
        if !values.keys().copied().eq(0..self.roster.len() as u32) {
            return Err(Error::refused(
                "coin",
                "someone on the roster is missing: start again with a roster without them",
            ));
        }
        for (&client, (value, signature)) in values {
            let peer = self.roster.peer(client).ok_or_else(|| Error::parameter("client", client, "on the roster"))?;
            peer.verify(domain, &[&named(&self.topic, client, value)[..], list].concat(), signature).map_err(|_| {
                Error::refused(
                    "coin",
                    format!("the signature of client {client} does not verify for this attempt and list"),
                )
            })?;
        }
        Ok(())
    }
}

fn committed(topic: &[u8; 32], client: u32, value: &[u8; 32]) -> [u8; 32] {
    let hash = Sha256::new().chain_update(b"veilsum.federated.coin.v1\0");
    hash.chain_update(named(topic, client, value)).finalize().into()
}

fn named(topic: &[u8; 32], client: u32, value: &[u8; 32]) -> Vec<u8> {
    [&topic[..], &client.to_be_bytes(), value].concat()
}
