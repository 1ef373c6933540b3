//! Differential privacy whose numbers are true of the very bits that are released.
//!
//! ```
//! use veilsum_dp_core::mechanism::{Additive, Curve, DiscreteLaplace, Mechanism};
//! use veilsum_dp_core::privacy::Epsilon;
//! use veilsum_dp_core::sensitivity::L1;
//!
//! // A count: one person more or less changes it by one.
//! let mechanism = DiscreteLaplace::calibrate(&Epsilon::from_decimal(0.5)?, L1::from_f64(1.0)?)?;
//! let published = mechanism.release_one(4711)?;
//! assert!(mechanism.epsilon(0.0)?.hi() <= 0.5);
//! println!("{published}, for {}", mechanism.event());
//! # Ok::<(), veilsum_dp_core::Error>(())
//! ```
//!
//! - [`table`]: private counts, means, quantiles and histograms of a table about people
//! - [`mechanism`]: what releases numbers and choices, each with the event that it leaves behind
//! - [`noise`]: the exact samplers under them
//! - [`accounting`]: what events add up to, as intervals that contain the truth
//! - [`ledger`]: budgets that are spent once, in memory or (feature `ledger`) in a file that processes share
//! - [`privacy`], [`domain`], [`sensitivity`]: parameters that cannot hold a wrong value
//! - [`threat_model`]: what is promised, and where the promise ends
//!
//! What it does *not* do: it keeps no one who holds the raw data from reading them, and it does not choose your bounds.
#![forbid(unsafe_code)]

pub mod accounting;
pub mod domain;
mod error;
pub mod ledger;
pub mod mechanism;
pub mod noise;
pub mod privacy;
pub mod sensitivity;
pub mod table;

pub use error::Error;

#[doc = include_str!("../docs/threat_model.md")]
pub mod threat_model {}
