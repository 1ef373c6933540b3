//! Where random bits come from: one ratchet a thread, keyed from the operating system.
//!
//! Each release draws 32 fresh bytes from the operating system, hashes them with this thread's state and the process
//! id, and expands the digest into the release's key and the state's successor; digest and old state are wiped. So
//!
//! - nothing repeats after `fork`, in threads, in pickled or copied mechanisms: the fresh bytes differ whatever the
//!   state is, and a state that another process left behind is thrown away;
//! - who reads the memory later cannot recompute an earlier release: the hash runs one way (forward secrecy);
//! - a virtual machine restored from a snapshot gets fresh bytes as soon as its operating system does. No more is
//!   promised there;
//! - who could predict the operating system's bytes, but not this thread's state, learns nothing.
//!
//! A failing operating system is an error and nothing is released.

use crate::Error;
use aes::Aes256;
use aes::cipher::{Block, BlockCipherEncrypt, KeyInit};
use sha2::{Digest, Sha256};
use std::cell::RefCell;
use zeroize::Zeroize;

/// The key of one release: 32 bytes that are wiped when dropped.
pub(crate) struct Key([u8; 32]);

impl Key {
    /// The next key of this thread.
    pub(crate) fn fresh() -> Result<Self, Error> {
        THREAD
            .try_with(|cell| cell.try_borrow_mut().map_or_else(|_| Ratchet::new().next(&OS), |mut r| r.next(&OS)))
            // A thread that is being torn down has lost its state; the fresh bytes alone are as good.
            .unwrap_or_else(|_| Ratchet::new().next(&OS))
    }

    /// A key that the caller knows: for replays.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn known(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The cipher under this key.
    pub(crate) fn cipher(&self) -> Aes256 {
        Aes256::new(&self.0.into())
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

thread_local! {
    static THREAD: RefCell<Ratchet> = const { RefCell::new(Ratchet::new()) };
}

/// The operating system, or a stand-in that fails.
type Entropy = dyn Fn(&mut [u8; 32]) -> Result<(), Error>;
const OS: fn(&mut [u8; 32]) -> Result<(), Error> = |out| getrandom::fill(out).map_err(|_| Error::Entropy);

struct Ratchet {
    state: [u8; 32],
    process: u32,
}

impl Ratchet {
    const fn new() -> Self {
        Self { state: [0; 32], process: 0 }
    }

    fn next(&mut self, entropy: &Entropy) -> Result<Key, Error> {
        let mut fresh = [0; 32];
        entropy(&mut fresh)?;
        let process = std::process::id();
        if process != self.process {
            self.state.zeroize();
            self.process = process;
        }
        let mut hash = Sha256::new();
        hash.update(b"veilsum noise v1");
        hash.update(self.state);
        hash.update(process.to_le_bytes());
        hash.update(fresh);
        fresh.zeroize();
        let mut digest = hash.finalize();
        let cipher = Aes256::new(&digest);
        digest.as_mut_slice().zeroize();
        let mut expanded: [Block<Aes256>; 4] = std::array::from_fn(|i| {
            let mut block = Block::<Aes256>::default();
            block[15] = i as u8;
            block
        });
        cipher.encrypt_blocks(&mut expanded);
        let mut key = Key([0; 32]);
        self.state[..16].copy_from_slice(&expanded[0]);
        self.state[16..].copy_from_slice(&expanded[1]);
        key.0[..16].copy_from_slice(&expanded[2]);
        key.0[16..].copy_from_slice(&expanded[3]);
        for block in &mut expanded {
            block.as_mut_slice().zeroize();
        }
        Ok(key)
    }
}

impl Drop for Ratchet {
    fn drop(&mut self) {
        self.state.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONSTANT: fn(&mut [u8; 32]) -> Result<(), Error> = |out| {
        out.fill(7);
        Ok(())
    };

    #[test]
    fn a_failing_entropy_source_releases_nothing() {
        let mut ratchet = Ratchet::new();
        let before = ratchet.state;
        let failed = ratchet.next(&|_: &mut [u8; 32]| Err(Error::Entropy));
        assert!(matches!(failed, Err(Error::Entropy)));
        assert_eq!(ratchet.state, before, "the state did not move either");
    }

    #[test]
    fn keys_differ_even_if_the_operating_system_repeats_itself() {
        let mut ratchet = Ratchet::new();
        let keys: Vec<[u8; 32]> = (0..100).map(|_| ratchet.next(&CONSTANT).expect("constant").0).collect();
        let distinct: std::collections::HashSet<_> = keys.iter().collect();
        assert_eq!(distinct.len(), keys.len());
    }

    #[test]
    fn the_old_state_is_gone_and_the_key_is_not_the_state() {
        let mut ratchet = Ratchet::new();
        let first = ratchet.next(&CONSTANT).expect("constant").0;
        let after_first = ratchet.state;
        let second = ratchet.next(&CONSTANT).expect("constant").0;
        // A thief of the state after the first release can run forward ...
        let mut thief = Ratchet { state: after_first, process: std::process::id() };
        assert_eq!(thief.next(&CONSTANT).expect("constant").0, second);
        // ... and finds no trace of the first key in it.
        assert_ne!(after_first, first);
        assert_ne!(ratchet.state, after_first);
        assert_ne!(ratchet.state, second);
    }

    #[test]
    fn a_state_of_another_process_is_thrown_away() {
        let mut here = Ratchet { state: [1; 32], process: std::process::id().wrapping_add(1) };
        let mut new = Ratchet::new();
        assert_eq!(here.next(&CONSTANT).expect("constant").0, new.next(&CONSTANT).expect("constant").0);
    }

    #[test]
    fn the_operating_system_is_asked_at_every_release() {
        let mut twin = [Ratchet::new(), Ratchet::new()];
        let [a, b] = &mut twin;
        assert_ne!(a.next(&OS).expect("entropy").0, b.next(&OS).expect("entropy").0);
        b.state = a.state;
        assert_ne!(a.next(&OS).expect("entropy").0, b.next(&OS).expect("entropy").0);
    }
}
