//! Federated averaging in which the server learns the sum and nothing else, with noise from the clients themselves.
//!
//! ```
//! use std::{collections::BTreeMap, sync::Arc};
//! use veilsum_federated::{Cohort, Setup, Stage, Update, simulate};
//!
//! // Six sites, one of which may work with the server and one of which may be lost.
//! let config = Arc::new(Setup::new(6, 3, 1.0, Cohort::Counts { corrupt: 1, dropouts: 1 }).check()?);
//! let updates = [[0.1, 0.2, 0.3]; 6];
//! let updates: Vec<Update<'_>> = updates.iter().map(|u| Update::Vector(u)).collect();
//! let lost = BTreeMap::from([(4, Stage::Upload)]);
//! let round = simulate(&config, &updates, None, None, &lost, false, &mut |_| false)?;
//! assert_eq!(round.outcome.survivors, [0, 1, 2, 3, 5]);
//! assert!((round.outcome.mean()[2] - 0.3).abs() < 1e-4);
//! # Ok::<(), veilsum_federated::Error>(())
//! ```
//!
//! - [`round`]: public parameters, checked once; graphs and thresholds by exact tails
//! - [`client`] and [`server`]: the protocol, stage by stage, bytes in and bytes out
//! - [`memory`]: a whole round in one process
//! - [`noise_share`]: distributed differential privacy
//! - [`coin`]: public randomness among clients, for sparse graphs
//! - [`strategy`]: averaging, and what cannot run under masks
//! - [`hazmat`]: the parts on their own, for measurements
//! - [`protocol`] and [`threat_model`]: the specification, and what is promised to whom
//!
//! What it does *not* do: move bytes (it opens no socket and reads no clock), hide who takes part, stop a client from
//! lying about its own update, or finish a round when more clients are lost than it was set up for.
#![forbid(unsafe_code)]

pub mod client;
pub mod coin;
mod encoding;
mod error;
pub mod hazmat;
mod keys;
mod mask;
pub mod memory;
mod message;
pub mod noise_share;
pub mod ring;
pub mod round;
pub mod server;
mod shamir;
pub mod strategy;
#[cfg(test)]
mod vectors;
mod wire;

#[doc = include_str!("../docs/protocol.md")]
pub mod protocol {}
#[doc = include_str!("../docs/threat_model.md")]
pub mod threat_model {}

pub use encoding::Update;
pub use error::Error;
pub use memory::{Simulated, simulate};
pub use noise_share::DistributedNoise;
pub use round::{Cohort, Metric, Roster, RoundConfig, RoundId, Setup, Shape, Unit};
pub use server::{Outcome, Server, Stage};
