//! Append-only spending, bounded by a budget.
//!
//! A [`Ledger`] is bound to one data set, privacy unit, neighbouring relation and composition rule: its [`Policy`]. A
//! spend is checked, recorded durably, and only then is the value it pays for handed out, so a crash in between costs
//! budget and never privacy. [`MemoryLedger`] lives in one process; with the `ledger` feature, `SqliteLedger` is
//! a file that many processes share.
//!
//! ```
//! use veilsum_dp_core::accounting::Event;
//! use veilsum_dp_core::ledger::{Budget, Ledger, MemoryLedger, Policy, Spend};
//! use veilsum_dp_core::privacy::Epsilon;
//! use veilsum_dp_core::sensitivity::Neighbors;
//!
//! let ledger = MemoryLedger::new(Policy {
//!     dataset: "survey 2026".into(),
//!     unit: "person".into(),
//!     neighbors: Neighbors::AddRemove,
//!     budget: Budget::Pure { epsilon: Epsilon::from_decimal(1.0)? },
//! })?;
//! let tenth = Spend::new(Event::Pure { epsilon: Epsilon::from_decimal(0.1)? });
//! for _ in 0..10 {
//!     ledger.spend(&tenth)?; // ten times 0.1 is exactly 1
//! }
//! assert!(ledger.spend(&tenth).is_err());
//! assert_eq!(ledger.spent()?.epsilon.to_string(), "1");
//! # Ok::<(), veilsum_dp_core::Error>(())
//! ```

#[doc = include_str!("../docs/ledger.md")]
pub mod format {}

mod book;
mod budget;
mod chain;
mod memory;
mod record;
mod spend;
#[cfg(feature = "ledger")]
mod sqlite;
mod store;

pub use budget::{Amount, Budget, Charge, Policy, ZcdpBudget};
pub use chain::MacKey;
pub use memory::MemoryLedger;
pub use record::Head;
pub use spend::{Answer, Entry, Receipt, Spend};
#[cfg(feature = "ledger")]
pub use sqlite::{Quiet, SqliteLedger, quiesce};

use crate::Error;

/// A budget that is spent in public, row by row.
///
/// All methods may be called from any thread at once. Rows hold public facts alone.
pub trait Ledger: Send + Sync + std::fmt::Debug {
    /// What this ledger protects, and by which rule; fixed at creation.
    fn policy(&self) -> &Policy;

    /// Pays for one event. When this returns, the spend is durable: release after it, never before.
    ///
    /// With a key, the same spend made again is not charged again ([`Receipt::repeated`]).
    ///
    /// # Errors
    /// [`Error::BudgetExceeded`] if the event does not fit, [`Error::UnsupportedEvent`] if this ledger's rule cannot
    /// bound it, [`Error::LedgerKey`] if the key belongs to another spend. Nothing was spent then.
    fn spend(&self, spend: &Spend) -> Result<Receipt, Error>;

    /// Pays for one event, then runs `mechanism` and hands out its bytes.
    ///
    /// With a key, the answer is stored under it before it is handed out, and the same call made again returns that
    /// answer and charges nothing. If the process dies after paying and before storing, the next call under the key
    /// runs `mechanism` again without paying again: the lost value was never handed out. Of several callers racing
    /// under one key, all receive the value that was stored first.
    ///
    /// # Errors
    /// Those of [`Ledger::spend`], before `mechanism` runs; then whatever `mechanism` returns, with the budget spent.
    fn release(&self, spend: &Spend, mechanism: &mut dyn FnMut() -> Result<Vec<u8>, Error>) -> Result<Answer, Error>;

    /// What everything so far adds up to, never rounded below its exact value.
    ///
    /// Under zCDP this is the least of the bounds that the rule knows. It describes what was spent; what is *promised*
    /// while questions may depend on answers is the budget.
    fn spent(&self) -> Result<Amount, Error>;

    /// The budget less [`Ledger::spent`], never below zero.
    fn remaining(&self) -> Result<Amount, Error>;

    /// Every spend, oldest first.
    fn history(&self) -> Result<Vec<Entry>, Error>;

    /// The last row and its hash: kept elsewhere, it pins everything up to here.
    fn head(&self) -> Result<Head, Error>;

    /// Recomputes every hash, charge and sum; with a `head`, also that the ledger still continues it.
    ///
    /// # Errors
    /// [`Error::LedgerDamaged`] names the first row that was changed, removed or moved. Without a head, a cut tail or
    /// an old copy put back cannot be seen.
    fn verify(&self, head: Option<&Head>) -> Result<(), Error>;
}
