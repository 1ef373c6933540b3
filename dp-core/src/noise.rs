//! Exact noise.
//!
//! Given ideal random bits, every law here has exactly the distribution that its name states: nothing is truncated,
//! rounded away or approximated. Integer laws give `i64`; real laws add a real number to a float and round the exact
//! sum once, to a grid that depends on the scale alone.
//!
//! ```
//! use veilsum_dp_core::noise::DiscreteGaussian;
//! use veilsum_dp_core::privacy::Positive;
//!
//! let law = DiscreteGaussian::new(&Positive::from_f64("sigma", 3.5)?)?;
//! let mut noise = [0; 1000];
//! law.fill(&mut noise)?;
//! assert!(noise.iter().any(|&k| k != 0));
//! # Ok::<(), veilsum_dp_core::Error>(())
//! ```
//!
//! Bits come from a sealed source: AES-256 keyed from the operating system, never seeded by a caller, never repeated
//! after a fork, in a thread or in a copy, and erased forward after each call. What that adds to a claim is the
//! advantage in telling AES-256 from a random permutation plus 2^-101 for each 2^14 samples. How long a call takes
//! depends a little on the noise that it draws: an observer of wall time is outside the claim.
//!
//! The map from key to samples is written down in [`sampler`], so that anyone can replay it.

mod cache;
mod cover;
pub mod exact;
mod gaussian;
mod integer;
pub(crate) mod interval;
mod laplace;
mod range;
mod real;
mod shape;
mod skellam;
mod source;
#[cfg(feature = "testing")]
mod tables;
mod words;

pub use gaussian::{DiscreteGaussian, Gaussian};
pub use laplace::{DiscreteLaplace, Laplace};
pub(crate) use real::finite;
pub use skellam::Skellam;
#[cfg(feature = "testing")]
pub use tables::{Boundary, LevelTable, TableSlot, Tables};

#[doc = include_str!("../docs/sampler.md")]
pub mod sampler {}

/// The public face of an integer law around [`integer::Integers`].
macro_rules! integer_law {
    ($law:ident) => {
        impl $law {
            /// Fills `out` with independent draws under fresh randomness.
            ///
            /// Fails only if the operating system gives no randomness; `out` then holds nothing that may be used.
            pub fn fill(&self, out: &mut [i64]) -> Result<(), Error> {
                self.0.fill(out)
            }

            /// One draw under fresh randomness.
            pub fn sample(&self) -> Result<i64, Error> {
                self.0.sample()
            }

            /// Draws number `first`, `first + 1`, ... under a known key. For replays alone: whoever knows the key knows
            /// the noise.
            #[cfg(feature = "testing")]
            pub fn fill_with_key(&self, key: &[u8; 32], first: u64, out: &mut [i64]) {
                self.0.fill_keyed(&super::source::Key::known(*key), first, out);
            }

            /// The tables, laid open. For proofs alone.
            #[cfg(feature = "testing")]
            #[must_use]
            pub fn tables(&self) -> super::Tables {
                super::Tables(self.0.cover())
            }
        }
    };
}
use integer_law;

/// The public face of a real law around [`real::Reals`].
macro_rules! real_law {
    ($law:ident) => {
        impl $law {
            /// g: results are whole multiples of 2^g.
            #[must_use]
            pub fn grid_exponent(&self) -> i32 {
                self.0.grid_exponent()
            }

            /// Fills `out` with independent draws, each rounded to the grid, under fresh randomness.
            pub fn fill(&self, out: &mut [f64]) -> Result<(), Error> {
                self.0.fill(out)
            }

            /// Writes `x[i]` plus noise, rounded once to the nearest multiple of 2^g, to `out[i]`.
            ///
            /// The sum is exact before it is rounded, whatever the sizes of the two. Where a multiple of 2^g no longer
            /// fits an `f64` it is rounded once more to the nearest, at most to plus or minus `f64::MAX`.
            ///
            /// Lengths that differ, a NaN or an infinity are errors, before any noise is drawn.
            pub fn add(&self, x: &[f64], out: &mut [f64]) -> Result<(), Error> {
                self.0.add(x, out)
            }

            /// [`Self::add`] in place, for values that the caller has found finite.
            pub(crate) fn add_in_place_finite(&self, values: &mut [f64]) -> Result<(), Error> {
                self.0.add_in_place(values)
            }

            /// [`Self::add`] for one number.
            pub fn add_one(&self, x: f64) -> Result<f64, Error> {
                self.0.add_one(x)
            }

            /// Draws number `first`, `first + 1`, ... under a known key, added to `x`. For replays alone: whoever knows
            /// the key knows the noise. `x` must be finite and as long as `out`.
            #[cfg(feature = "testing")]
            pub fn add_with_key(&self, key: &[u8; 32], first: u64, x: &[f64], out: &mut [f64]) {
                self.0.add_keyed(&super::source::Key::known(*key), first, x, out);
            }

            /// Draws number `first`, `first + 1`, ... under a known key. For replays alone.
            #[cfg(feature = "testing")]
            pub fn fill_with_key(&self, key: &[u8; 32], first: u64, out: &mut [f64]) {
                self.0.fill_keyed(&super::source::Key::known(*key), first, out);
            }

            /// The tables, laid open. For proofs alone.
            #[cfg(feature = "testing")]
            #[must_use]
            pub fn tables(&self) -> super::Tables {
                super::Tables(self.0.cover())
            }
        }
    };
}
use real_law;
