//! Each message counts once: a guard that remembers what a round has seen.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::Error;
use crate::peer::PeerId;
use crate::seal::MessageId;

/// Remembers the messages of the current rounds, in bounded memory, and refuses each the second time.
///
/// Rounds before the [floor](Self::advance_to) are refused outright, so that what was forgotten cannot come back. Where
/// memory for a sender is full, *new* messages of that sender are refused: forgetting would let old ones in again, and
/// a sender who floods harms himself alone.
///
/// ```
/// use veilsum_crypto::{Identity, MessageId, ReplayGuard};
/// let sender = Identity::generate()?.peer().id();
/// let mut guard = ReplayGuard::new(16, 4);
/// guard.admit(sender, 7, MessageId([1; 32]))?;
/// assert!(guard.admit(sender, 7, MessageId([1; 32])).is_err());
/// guard.advance_to(8);
/// assert!(guard.admit(sender, 7, MessageId([2; 32])).is_err());
/// # Ok::<(), veilsum_crypto::Error>(())
/// ```
#[derive(Debug)]
pub struct ReplayGuard {
    floor: u64,
    seen: BTreeMap<PeerId, BTreeSet<(u64, MessageId)>>,
    most_senders: usize,
    most_messages: usize,
}

impl ReplayGuard {
    /// A guard for at most `senders` senders with at most `messages` remembered messages each: some 150 bytes a
    /// message.
    pub fn new(senders: usize, messages: usize) -> Self {
        Self { floor: 0, seen: BTreeMap::new(), most_senders: senders, most_messages: messages }
    }

    /// Admits a message the first time.
    ///
    /// # Errors
    /// [`Error::Rejected`] the second time, for a round below the floor, and where memory is full.
    pub fn admit(&mut self, sender: PeerId, round: u64, message: MessageId) -> Result<(), Error> {
        let known = self.seen.contains_key(&sender);
        if round < self.floor || (!known && self.seen.len() >= self.most_senders) {
            return Err(Error::Rejected);
        }
        let messages = self.seen.entry(sender).or_default();
        if messages.len() >= self.most_messages || !messages.insert((round, message)) {
            return Err(Error::Rejected);
        }
        Ok(())
    }

    /// Refuses rounds below `floor` from now on, and forgets them. The floor never falls.
    pub fn advance_to(&mut self, floor: u64) {
        self.floor = self.floor.max(floor);
        for messages in self.seen.values_mut() {
            *messages = messages.split_off(&(self.floor, MessageId([0; 32])));
        }
        self.seen.retain(|_, messages| !messages.is_empty());
    }
}
