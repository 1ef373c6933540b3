//! The crate's one error type: what is wrong, why, and the way out.

use std::fmt;

/// Everything that can go wrong in this crate.
///
/// Messages name the offending *parameter*, its bound and the remedy. They never contain private data, and whether
/// an error occurs never depends on more of the data than the documentation of the call says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A public parameter lies outside its range.
    #[error("{what} is {value}: it must be {bound}")]
    OutOfRange {
        /// The parameter's name.
        what: &'static str,
        /// Its value, as the caller would write it.
        value: String,
        /// The range it must lie in, and the way out.
        bound: &'static str,
    },
    /// A value handed to a mechanism was NaN or infinite.
    #[error(
        "the input has a NaN or an infinity: mechanisms take finite numbers only, so drop or impute missing values first"
    )]
    NotFinite,
    /// A result does not fit its type.
    #[error("{what} does not fit {fits}: {remedy}")]
    Overflow {
        /// The quantity that overflowed.
        what: &'static str,
        /// The type or range it had to fit.
        fits: &'static str,
        /// What the caller can do about it.
        remedy: &'static str,
    },
    /// The accountant does not know how to bound this event.
    #[error("{accountant} cannot account for {event}: {why}")]
    UnsupportedEvent {
        /// The accountant that refused.
        accountant: &'static str,
        /// The event, as it describes itself.
        event: String,
        /// Why, and which accountant can.
        why: &'static str,
    },
    /// The budget does not cover this spend. Nothing was spent.
    #[error(
        "over budget: this spend costs {asked}, and {remaining} remain ({rule} composition): nothing was spent and \
         nothing released"
    )]
    BudgetExceeded {
        /// What the spend costs, in the measure of the ledger's rule.
        asked: String,
        /// What is left of it.
        remaining: String,
        /// The ledger's rule.
        rule: &'static str,
    },
    /// An idempotency key was used for something else before. Nothing was spent.
    #[error(
        "the key {key:?} belongs to row {row}, which is another event, other parameters or another kind of call: \
         choose a new key"
    )]
    LedgerKey {
        /// The key.
        key: String,
        /// The row that it belongs to.
        row: u64,
    },
    /// Noise is switched off on this thread. Nothing was spent.
    #[error("noise is switched off on this thread, so releases are NOT PRIVATE: a ledger's file does not record them")]
    LedgerNoiseless,
    /// A ledger was opened under a policy that is not its own.
    #[error(
        "the ledger was made with {field} {stored} and not {asked}: it protects something else, so use another file"
    )]
    LedgerPolicy {
        /// What differs.
        field: &'static str,
        /// As the ledger has it.
        stored: String,
        /// As the caller has it.
        asked: String,
    },
    /// A ledger's file cannot be used.
    #[error("the ledger {path}: {why}")]
    LedgerFile {
        /// The file.
        path: String,
        /// What is the matter, and the way out.
        why: String,
    },
    /// A ledger does not verify. It is refused, never repaired or reset.
    #[error("the ledger does not verify at row {row}: {fault}; restore the file from where it is known to be whole")]
    LedgerDamaged {
        /// The first row at fault.
        row: u64,
        /// What is wrong with it.
        fault: String,
    },
    /// A mechanism that answers a limited number of times has no answer left.
    #[error("this mechanism has no answer left: {why}")]
    Exhausted {
        /// Why, and the way out.
        why: &'static str,
    },
    /// A table, a plan or a partial cannot be used. The text names columns, types and parameters, which are public.
    #[error("{0}")]
    Table(String),
    /// The operating system gave no randomness. Nothing was released.
    #[error("the operating system's random generator failed: nothing was released")]
    Entropy,
}

impl Error {
    /// A parameter `what` whose `value` breaks `bound`.
    pub(crate) fn out_of_range(what: &'static str, value: impl fmt::Display, bound: &'static str) -> Self {
        Self::OutOfRange { what, value: value.to_string(), bound }
    }

    /// A ledger whose row `row` is at fault.
    pub(crate) fn damaged(row: u64, fault: impl Into<String>) -> Self {
        Self::LedgerDamaged { row, fault: fault.into() }
    }
}
