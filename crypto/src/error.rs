//! The crate's one error type. A message that was not accepted says nothing about why.

use std::{fmt, io};

/// Everything that can go wrong in this crate.
///
/// [`Malformed`](Error::Malformed) and [`NoKey`](Error::NoKey) speak of the *public header* alone: anyone who sees the
/// message on the wire could say the same. Every other failure to open is [`Rejected`](Error::Rejected), one value
/// with one text. How long a refusal took is not hidden.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The public header is not one that this version reads.
    #[error("{what}")]
    Malformed {
        /// Which public field is wrong, and the way out.
        what: &'static str,
    },
    /// The public header names a key, and that key is not at hand.
    #[error("{what}")]
    NoKey {
        /// Which key, by its public id.
        what: String,
    },
    /// The message was not accepted: forged, cut, replayed, for someone else, or under another context.
    #[error("the message was not accepted")]
    Rejected,
    /// The key has sealed as much as it may.
    #[error("this key has sealed {limit}, the most it may: rotate it")]
    KeyExhausted {
        /// The limit that was met.
        limit: &'static str,
    },
    /// The operating system gave no randomness. Nothing was sealed.
    #[error("the operating system's random generator failed: nothing was sealed")]
    Entropy,
    /// A public argument lies outside its range.
    #[error("{what} is {value}: it must be {bound}")]
    OutOfRange {
        /// The argument's name.
        what: &'static str,
        /// Its value, as the caller would write it.
        value: String,
        /// The range it must lie in, and the way out.
        bound: &'static str,
    },
}

impl Error {
    /// The error of this crate that a stream's [`io::Error`] carries, if it is not the source's or the sink's own.
    pub fn inside(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }

    pub(crate) fn malformed(what: &'static str) -> Self {
        Self::Malformed { what }
    }

    pub(crate) fn out_of_range(what: &'static str, value: impl fmt::Display, bound: &'static str) -> Self {
        Self::OutOfRange { what, value: value.to_string(), bound }
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        Self::new(io::ErrorKind::InvalidData, error)
    }
}
