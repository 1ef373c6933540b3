//! The public header that every message of ours begins with.
//!
//! ```text
//! offset  bytes
//! 0       4      "VEIL"
//! 4       1      format version, 1
//! 5       1      kind
//! 6       1      suite
//! 7       1      0
//! ```
//!
//! The whole header, and the fields that a kind appends to it, become the beginning of the chunked encryption's
//! context: a changed bit anywhere changes every derived key. Nothing is ignored and nothing is optional.

use crate::aead::Suite;
use crate::error::Error;

/// Bytes of the fixed part.
pub(crate) const HEADER: usize = 8;

const MAGIC: &[u8; 4] = b"VEIL";
const VERSION: u8 = 1;

/// What follows the fixed part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Nothing: the key is known to both sides.
    Key,
    /// The id of a keyring's key.
    Keyring,
    /// Stanzas for recipients; the sender signs inside.
    Signed,
    /// Stanzas for recipients; nobody signs.
    Anonymous,
    /// A key, an identity or a keyring at rest.
    Stored,
}

impl Kind {
    fn code(self) -> u8 {
        match self {
            Self::Key => 1,
            Self::Keyring => 2,
            Self::Signed => 3,
            Self::Anonymous => 4,
            Self::Stored => 5,
        }
    }
}

/// The fixed part of a message of this kind and suite.
pub(crate) fn header(kind: Kind, suite: Suite) -> [u8; HEADER] {
    let [m0, m1, m2, m3] = *MAGIC;
    [m0, m1, m2, m3, VERSION, kind.code(), suite.code(), 0]
}

/// Splits a message of this kind into its fixed part, its suite and the rest.
pub(crate) fn parse(message: &[u8], kind: Kind) -> Result<(&[u8; HEADER], Suite, &[u8]), Error> {
    let (header, rest) =
        message.split_first_chunk::<HEADER>().ok_or(Error::malformed("the message is shorter than a header"))?;
    Ok((header, parse_header(header, kind)?, rest))
}

/// Reads a fixed part that should be of this kind.
pub(crate) fn parse_header(header: &[u8; HEADER], kind: Kind) -> Result<Suite, Error> {
    let [m0, m1, m2, m3, version, code, suite, zero] = *header;
    if [m0, m1, m2, m3] != *MAGIC {
        return Err(Error::malformed("the message does not begin as a veilsum message does"));
    }
    if version != VERSION {
        return Err(Error::malformed("the header names a format version other than 1: use a veilsum that reads it"));
    }
    if code != kind.code() {
        return Err(Error::malformed("the message is of another kind: open it with what it was sealed for"));
    }
    if zero != 0 {
        return Err(Error::malformed("the header's last byte is not zero"));
    }
    Suite::from_code(suite)
}
