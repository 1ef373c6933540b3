//! Authenticated encryption for data that cross networks which others own.
//!
//! ```
//! use veilsum_crypto::Key;
//!
//! let key = Key::generate()?;
//! let sealed = key.seal(b"a model update", b"round 7, client 12")?;
//! assert_eq!(key.open(&sealed, b"round 7, client 12")?, b"a model update");
//! # Ok::<(), veilsum_crypto::Error>(())
//! ```
//!
//! - [`Key`], [`stream`]: messages and streams between those who share a key (C2SP chunked encryption, Cobblestone-256).
//! - [`Identity`], [`Peer`], [`Recipients`]: sealing to people, by a sender who signs.
//! - [`PeerSet`], [`ReplayGuard`]: who may send, and each message once.
//! - [`RoundKey`]: a key that ends with its round. [`Keyring`]: keys by purpose, with states and budgets.
//! - [`secret`], [`kdf`]: wiped bytes and labelled derivation, for protocols built on this crate.
//! - [`hazmat`]: raw C2SP bytes and keys from derived bytes.
//!
//! There is no algorithm to choose, no nonce to give and no way to leave the context out. What it does *not* do: live
//! connections (use rustls, checked against a [`PeerSet`]), hiding lengths or times, protecting a process whose memory
//! is read.
//!
//! [`format`](mod@format) describes every byte.
#![forbid(unsafe_code)]

mod aead;
mod cobblestone;
mod envelope;
mod error;
#[doc = include_str!("../docs/format.md")]
pub mod format {}
mod agreement;
pub mod hazmat;
mod hpke;
mod identity;
pub mod kdf;
mod key;
mod keyring;
mod peer;
mod peers;
mod random;
mod replay;
mod round_key;
mod seal;
mod sealed_stream;
pub mod secret;
mod storage;
pub mod stream;
mod threads;
mod time;
mod wire;
#[cfg(test)]
mod wycheproof;

pub use aead::Suite;
pub use error::Error;
pub use hpke::Kem;
pub use identity::Identity;
pub use key::{Key, KeyId};
pub use keyring::{KeyFacts, Keyring, Purpose, State};
pub use peer::{Peer, PeerId, SIGNATURE};
pub use peers::{Member, PeerSet, Role};
pub use replay::ReplayGuard;
pub use round_key::{RoundKey, RoundOffer};
pub use seal::{MessageId, Opened, Recipient, Recipients, seal_anonymously};
pub use sealed_stream::{SealedReader, SealedWriter};
pub use storage::{Passphrase, Protection};
pub use threads::Threads;
pub use time::UnixTime;
