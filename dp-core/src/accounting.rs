//! Accounting: what happened, and what it adds up to.

mod enclosure;
mod event;

pub use enclosure::Enclosure;
pub use event::Event;
