//! Who may send: a list of peers.

use std::collections::BTreeMap;

use crate::peer::{Peer, PeerId};

/// The peers whose messages are accepted. A sender that is not in it is refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerSet {
    peers: BTreeMap<PeerId, Peer>,
}

impl PeerSet {
    /// The peers that were given, each once.
    pub fn new(peers: impl IntoIterator<Item = Peer>) -> Self {
        Self { peers: peers.into_iter().map(|peer| (peer.id(), peer)).collect() }
    }

    /// The peer of this name.
    pub fn find(&self, id: PeerId) -> Option<&Peer> {
        self.peers.get(&id)
    }

    /// Every peer, in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = &Peer> {
        self.peers.values()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.peers.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.peers.is_empty()
    }
}
