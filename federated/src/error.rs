//! The crate's one error type: what was refused, why, and the way out.

use std::fmt;

/// Everything that can go wrong in a round.
///
/// Messages name public facts alone: stages, client numbers, parameters. Never an update, a mask, a share or a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A public parameter lies outside its range.
    #[error("{what} is {value}: it must be {bound}")]
    Parameter {
        /// The parameter's name.
        what: &'static str,
        /// Its value.
        value: String,
        /// The range, and the way out.
        bound: String,
    },
    /// No graph, threshold or ring gives the promised security for these parameters. A round is never weakened.
    #[error("no round is safe with these parameters: {why}")]
    Unsafe {
        /// What cannot be met, and what would help.
        why: String,
    },
    /// An update was refused before anything was masked.
    #[error("the update was refused before masking: {why}")]
    Update {
        /// What is wrong with its shape or kind.
        why: String,
    },
    /// Bytes that are not a message of this round: wrong layout, version, suite, length or round.
    #[error("the {message} message is malformed: {why}")]
    Malformed {
        /// The message that was expected.
        message: &'static str,
        /// What is wrong.
        why: &'static str,
    },
    /// A well-formed message that this party will not act on.
    #[error("refused at {stage}: {why}")]
    Refused {
        /// The stage at which it arrived.
        stage: &'static str,
        /// What would have been unsafe.
        why: String,
    },
    /// A step was called out of order.
    #[error("{called} cannot follow {state}: {way_out}")]
    OutOfOrder {
        /// The step that was asked for.
        called: &'static str,
        /// The state the party is in.
        state: &'static str,
        /// What to do instead.
        way_out: &'static str,
    },
    /// The round stops; nothing but a completed stage's public facts has been revealed.
    #[error("the round stops at {stage}: {why}")]
    Aborted {
        /// The stage that could not finish.
        stage: &'static str,
        /// Why, with the numbers of the clients concerned.
        why: String,
    },
    /// Part of the privacy accounting failed.
    #[error(transparent)]
    Privacy(#[from] veilsum_dp_core::Error),
    /// The operating system gave no randomness. Nothing was sent.
    #[error("the operating system's random generator failed: nothing was sent")]
    Entropy,
}

impl Error {
    pub(crate) fn parameter(what: &'static str, value: impl fmt::Display, bound: impl Into<String>) -> Self {
        Self::Parameter { what, value: value.to_string(), bound: bound.into() }
    }

    pub(crate) fn refused(stage: &'static str, why: impl Into<String>) -> Self {
        Self::Refused { stage, why: why.into() }
    }

    pub(crate) fn aborted(stage: &'static str, why: impl Into<String>) -> Self {
        Self::Aborted { stage, why: why.into() }
    }
}

impl From<getrandom::Error> for Error {
    fn from(_: getrandom::Error) -> Self {
        Self::Entropy
    }
}
