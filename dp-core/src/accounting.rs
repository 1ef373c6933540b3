//! Accounting: what happened, and what it adds up to.

mod enclosure;
mod event;
pub mod filter;
pub(crate) mod guarantee;
mod logarithm;
pub mod zcdp;

pub use enclosure::Enclosure;
pub use event::Event;
