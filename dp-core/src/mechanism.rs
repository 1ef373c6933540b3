//! Mechanisms: a release, and the event it leaves behind.
//!
//! | mechanism | takes | guarantee | sensitivity |
//! |---|---|---|---|
//! | [`Laplace`] | floats | pure epsilon | [`L1`](crate::sensitivity::L1) |
//! | [`Gaussian`] | floats | (epsilon, delta), zCDP | [`L2`](crate::sensitivity::L2) |
//! | [`DiscreteLaplace`] | integers | pure epsilon | `L1` |
//! | [`DiscreteGaussian`] | integers | (epsilon, delta), zCDP | `L1` or `L2` |
//! | [`Skellam`] | integers | (epsilon, delta), RDP; sums of shares stay Skellam | `L1` or `L2` |
//! | [`RandomizedResponse`] | categories | pure epsilon, each answer by itself | none: replace-one |
//! | [`ReportNoisyMax`] | scores | pure epsilon, tells the winner alone | [`LInf`](crate::sensitivity::LInf) |
//! | [`Exponential`] | weighted scores | pure epsilon, tells the choice alone | `LInf` |
//! | [`SparseVector`] | a stream of queries | pure epsilon for any number of answers "below" | `LInf` |
//!
//! # Vectors
//!
//! A mechanism adds independent noise to each coordinate, and its guarantee holds for the vector as a whole when the
//! sensitivity bounds the change of the whole vector in the norm of the type. Which curve holds is also in the types:
//!
//! - [`Laplace`] and [`DiscreteLaplace`]: the scalar curve at the L1 sensitivity holds for vectors.
//! - [`Gaussian`]: the scalar curve at the L2 sensitivity holds for vectors, since the normal law looks the same from
//!   every side (before rounding, which is post-processing).
//! - [`DiscreteGaussian`] and [`Skellam`] do not look the same from every side. With an `L1` sensitivity they have the
//!   scalar curve ([`Curve`]). With an `L2` sensitivity they have no `Curve`: four unit shifts at sigma = 1 are *worse*
//!   than one shift by two, at the same L2 length. They issue an event that only zCDP and RDP accept.
//!
//! # Floats
//!
//! [`Laplace`] and [`Gaussian`] add a real number, exactly distributed, to the exact value of the input, and round the
//! sum once, to a grid of spacing [`Additive::grid`] that depends on the scale alone. So a release is post-processing of
//! the ideal mechanism, at nothing extra, provided that the sensitivity bounds the change of the *computed* floats that
//! are passed in. A sum of floats that depends on the order of the rows has a larger sensitivity than the exact sum:
//! prefer integers, or the exact sums of tables.
//!
//! # Errors
//!
//! NaN, infinities and integers out of range are refused before any noise is drawn. Whether a call fails depends on the
//! data, so query code parses them away first.
//!
//! # Time
//!
//! Noise for a whole batch is drawn before data are touched, but drawing retries: who can time a single release learns
//! something about the noise. Observers of wall time are outside the claim.

pub(crate) mod accuracy;
mod additive;
mod exponential;
mod gaussian;
mod laplace;
pub mod noiseless;
mod response;
mod skellam;
mod sparse_vector;

pub use additive::Additive;
pub use exponential::{Exponential, ReportNoisyMax};
pub use gaussian::{DiscreteGaussian, Gaussian};
pub use laplace::{DiscreteLaplace, Laplace};
pub use response::RandomizedResponse;
pub use skellam::Skellam;
pub use sparse_vector::SparseVector;

use crate::Error;
use crate::accounting::{Enclosure, Event, profile};
use crate::sensitivity::Neighbors;

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

    /// The only neighbouring relation that the guarantee is about, or `None` if it is the one that the sensitivity was
    /// derived for.
    fn neighbors(&self) -> Option<Neighbors> {
        None
    }
}

/// A mechanism with a privacy curve: the least delta at each epsilon, and the other way round.
///
/// The curve is that of the law that is sampled, exact up to the width of the enclosure.
pub trait Curve: Mechanism {
    /// The least epsilon at `delta` in [0, 1); infinite where there is none.
    fn epsilon(&self, delta: f64) -> Result<Enclosure, Error> {
        profile::epsilon(&self.event(), self.neighbors().unwrap_or(Neighbors::AddRemove), delta)
    }

    /// The least delta at `epsilon` >= 0.
    fn delta(&self, epsilon: f64) -> Result<Enclosure, Error> {
        profile::delta(&self.event(), self.neighbors().unwrap_or(Neighbors::AddRemove), epsilon)
    }
}
