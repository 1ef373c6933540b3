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
//! - [`Key`]: messages and streams between those who share a key (C2SP chunked encryption, Cobblestone-256).
//! - [`Identity`], [`Peer`], [`PeerSet`]: who one is, and who may send.
//! - [`secret`], [`kdf`]: wiped bytes and labelled derivation, for protocols built on this crate.
//! - [`hazmat`]: raw C2SP bytes and keys from derived bytes.
//!
//! There is no algorithm to choose, no nonce to give and no way to leave the context out. What it does *not* do: live
//! connections (use rustls, checked against a [`PeerSet`]), hiding lengths or times, protecting a process whose memory
//! is read.
#![forbid(unsafe_code)]
#![allow(dead_code, reason = "sealing to peers, storage and streams build on these")]

mod aead;
mod cobblestone;
mod envelope;
mod error;
pub mod hazmat;
mod identity;
pub mod kdf;
mod key;
mod peer;
mod peers;
mod random;
pub mod secret;
mod threads;

pub use aead::Suite;
pub use error::Error;
pub use identity::Identity;
pub use key::{Key, KeyId};
pub use peer::{Peer, PeerId, SIGNATURE};
pub use peers::PeerSet;
pub use threads::Threads;
