//! What makes a round this one: its roster, its name, and the digest that every message carries.

use super::{Graph, RoundConfig, Shape};
use crate::Error;
use crate::wire::Writer;
use sha2::{Digest, Sha256};
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use veilsum_crypto::Peer;

/// Who takes part, in order: a client's number is its place on the roster. Fixed before the round begins.
#[derive(Clone, Debug)]
pub struct Roster {
    peers: Arc<[Peer]>,
    digest: [u8; 32],
    /// The last graph drawn: parties in one process share it.
    drawn: Arc<Mutex<Option<Drawn>>>,
}

#[derive(Debug)]
struct Drawn {
    seed: [u8; 32],
    graph: Arc<Graph>,
}

impl Roster {
    /// The enrolled peers, in order.
    ///
    /// # Errors
    /// [`Error::Parameter`] if two entries share a signing key: one participant would count as several.
    pub fn new(peers: impl IntoIterator<Item = Peer>) -> Result<Self, Error> {
        let peers: Arc<[Peer]> = peers.into_iter().collect();
        let mut seen = HashSet::new();
        let mut hash = Sha256::new().chain_update(b"veilsum.federated.roster.v1\0");
        for (place, peer) in peers.iter().enumerate() {
            let bytes = peer.to_bytes();
            hash.update(peer.id().as_bytes());
            if !seen.insert(bytes[1..33].to_vec()) {
                return Err(Error::parameter(
                    "roster",
                    format!("a list with a repeated signing key at place {place}"),
                    "a list of different identities: each participant enrols once",
                ));
            }
        }
        Ok(Self { peers, digest: hash.finalize().into(), drawn: Arc::default() })
    }

    /// How many are enrolled.
    #[must_use]
    pub fn len(&self) -> usize {
        self.peers.len()
    }

    /// Whether nobody is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.peers.is_empty()
    }

    /// The peer with this number.
    #[must_use]
    pub fn peer(&self, client: u32) -> Option<&Peer> {
        self.peers.get(client as usize)
    }

    /// The graph that `seed` draws.
    pub(crate) fn graph(&self, shape: &Shape, seed: &[u8; 32]) -> Arc<Graph> {
        let mut drawn = self.drawn.lock().unwrap_or_else(PoisonError::into_inner);
        match &*drawn {
            Some(last) if last.seed == *seed && last.graph.shape() == shape => last.graph.clone(),
            _ => {
                let graph = Arc::new(Graph::drawn(*shape, seed));
                *drawn = Some(Drawn { seed: *seed, graph: graph.clone() });
                graph
            }
        }
    }

    /// The roster's digest.
    #[must_use]
    pub fn digest(&self) -> &[u8; 32] {
        &self.digest
    }
}

/// The name of a round: which session, which round of it, on which model, with which public randomness.
///
/// A (session, number) pair is used once: it names a round in every signature.
#[derive(Clone, Debug, Default)]
pub struct RoundId {
    /// Any bytes that name the session; at most 65,535.
    pub session: Vec<u8>,
    /// The round's number in the session.
    pub number: u64,
    /// The model that updates refer to, or its digest: clients with different bytes here abort, and if they did not,
    /// their masks would not cancel.
    pub model: Vec<u8>,
    /// Public randomness drawn after the roster was fixed; see [`Coin`](crate::coin::Coin). Sparse graphs against a
    /// malicious server need it.
    pub beacon: Option<[u8; 32]>,
}

/// The digest that binds every message, key and signature to one round: parameters, roster, name, model, beacon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context([u8; 32]);

impl Context {
    /// Digest of everything that the parties of a round must agree on.
    ///
    /// # Errors
    /// [`Error::Parameter`] if the roster is not of the size that the parameters say, or a beacon is missing.
    pub fn new(config: &RoundConfig, roster: &Roster, id: &RoundId) -> Result<Self, Error> {
        if roster.len() != config.shape().clients as usize {
            return Err(Error::parameter(
                "roster",
                format!("a list of {}", roster.len()),
                format!("a list of the round's {} clients, in the order of their numbers", config.shape().clients),
            ));
        }
        if config.needs_beacon() && id.beacon.is_none() {
            return Err(Error::parameter(
                "beacon",
                "missing",
                "32 bytes of public randomness drawn after the roster was fixed: a sparse graph against a malicious server must \
                 not be the server's choice",
            ));
        }
        let mut writer = Writer::default();
        writer.bytes(b"veilsum.federated.context.v1\0").opaque(&config.canonical()).bytes(roster.digest());
        writer.opaque(&id.session).u64(id.number).bytes(&Sha256::digest(&id.model));
        match &id.beacon {
            None => writer.u8(0),
            Some(beacon) => writer.u8(1).bytes(beacon),
        };
        Ok(Self(Sha256::digest(writer.done()).into()))
    }

    /// Its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    #[cfg(test)]
    pub(crate) fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}
