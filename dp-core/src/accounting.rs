//! Accounting: what happened, and what it adds up to.
#![doc = include_str!("../docs/accounting.md")]

pub mod calibrate;
mod enclosure;
mod event;
pub mod filter;
pub(crate) mod guarantee;
mod interval;
mod law;
mod logarithm;
mod pld;
pub mod profile;
mod rdp;
mod step;
pub mod zcdp;

pub use enclosure::Enclosure;
pub use event::Event;
pub use pld::PldAccountant;
pub use rdp::{RdpAccountant, ZcdpAccountant};
