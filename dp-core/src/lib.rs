//! Differential privacy whose numbers are true of the very bits that are released.
//!
//! *Work in progress: the modules below are the frame that the mechanisms, accountants and ledger fill.*
//!
//! - [`privacy`]: exact rationals and the parameters made of them
//! - [`sensitivity`]: neighbouring relations and norms, as types
//! - [`mechanism`]: what a release is, and the event it leaves behind
//! - [`noise`]: exact noise
//! - [`accounting`]: events, and what they add up to
//! - [`ledger`]: budgets that are spent once
#![forbid(unsafe_code)]

pub mod accounting;
mod error;
pub mod ledger;
pub mod mechanism;
pub mod noise;
pub mod privacy;
pub mod sensitivity;

pub use error::Error;
