//! A point in time that the caller supplies: this library reads no clock.

/// Seconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnixTime(pub u64);

impl UnixTime {
    /// Before every other.
    pub const BEGINNING: Self = Self(0);
    /// After every other.
    pub const NEVER: Self = Self(u64::MAX);
}
