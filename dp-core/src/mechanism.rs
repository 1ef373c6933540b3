//! Mechanisms: a release, and the event it leaves behind.

use crate::Error;
use crate::accounting::Event;

/// Something that turns a private value into a public one and can say what that cost.
pub trait Mechanism {
    /// The private value.
    type Input: ?Sized;
    /// What may be published.
    type Output;

    /// Releases `input` with fresh noise from the operating system's randomness.
    ///
    /// Input is validated before any noise is drawn.
    fn release(&self, input: &Self::Input) -> Result<Self::Output, Error>;

    /// What one call of [`Mechanism::release`] did, for an accountant or a ledger.
    fn event(&self) -> Event;
}
