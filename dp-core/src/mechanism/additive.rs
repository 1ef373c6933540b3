//! What the mechanisms that add noise to numbers have in common.

use super::noiseless::is_noiseless;
use crate::{Error, noise};
use zeroize::Zeroize;

/// A mechanism that adds independent noise to each number.
///
/// # Errors
/// Every method that draws fails with [`Error::Entropy`] if the operating system has no randomness, and releases
/// nothing then.
pub trait Additive {
    /// `f64`, or `i64` for the laws on integers.
    type Number: Copy;

    /// Replaces each value by its release. A NaN or infinity is an error before any noise is drawn; the values are
    /// unchanged then, and unusable after any other error.
    fn release_in_place(&self, values: &mut [Self::Number]) -> Result<(), Error>;

    /// Releases one value.
    fn release_one(&self, value: Self::Number) -> Result<Self::Number, Error> {
        let mut one = [value];
        self.release_in_place(&mut one)?;
        Ok(one[0])
    }

    /// Overwrites `out` with fresh noise alone.
    fn sample(&self, out: &mut [Self::Number]) -> Result<(), Error>;

    /// The spacing of the grid that every release lies on: a power of two that depends on the scale alone; 1 for the
    /// laws on integers.
    fn grid(&self) -> f64;

    /// The least number, up to a grid step or a relative 1e-9, that the noise exceeds in absolute value with
    /// probability at most `1 - confidence`: `release ± half_width` holds the true value with at least that confidence.
    ///
    /// # Errors
    /// If `confidence` is not in (0, 1).
    fn half_width(&self, confidence: f64) -> Result<f64, Error>;
}

/// Float noise as `release` needs it.
pub(super) trait Floats {
    fn add(&self, values: &[f64], out: &mut [f64]) -> Result<(), Error>;
    /// Adds noise to values that were found finite.
    fn add_in_place(&self, values: &mut [f64]) -> Result<(), Error>;
    fn fill(&self, out: &mut [f64]) -> Result<(), Error>;
    fn grid_exponent(&self) -> i32;
}

/// Integer noise as `release` needs it.
pub(super) trait Integers {
    fn fill(&self, out: &mut [i64]) -> Result<(), Error>;
}

/// Integers are released in batches of this many, with noise and key of their own.
const BATCH: usize = 1 << 15;

pub(super) fn release_floats(law: &impl Floats, values: &mut [f64]) -> Result<(), Error> {
    noise::finite(values)?;
    if is_noiseless() {
        let grid = power_of_two(law.grid_exponent());
        values.iter_mut().for_each(|x| *x = to_grid(*x, grid));
        return Ok(());
    }
    law.add_in_place(values)
}

/// Releases of `values` in fresh memory, without a copy of them.
pub(super) fn release_floats_apart(law: &impl Floats, values: &[f64]) -> Result<Vec<f64>, Error> {
    let mut out = vec![0.0; values.len()];
    if is_noiseless() {
        out.copy_from_slice(values);
        release_floats(law, &mut out)?;
    } else {
        law.add(values, &mut out)?;
    }
    Ok(out)
}

pub(super) fn sample_floats(noise: &impl Floats, out: &mut [f64]) -> Result<(), Error> {
    if is_noiseless() {
        out.fill(0.0);
        return Ok(());
    }
    noise.fill(out)
}

/// Adds integer noise. The sum is clamped to the range of its type, which is post-processing of the ideal release.
pub(super) fn release_integers<T: Whole>(noise: &impl Integers, values: &mut [T]) -> Result<(), Error> {
    if is_noiseless() {
        return Ok(());
    }
    if let [value] = values {
        let mut one = [0];
        noise.fill(&mut one)?;
        *value = value.plus(one[0]);
        return Ok(());
    }
    let mut drawn = vec![0; values.len().min(BATCH)];
    for batch in values.chunks_mut(BATCH) {
        let drawn = &mut drawn[..batch.len()];
        noise.fill(drawn)?;
        batch.iter_mut().zip(&*drawn).for_each(|(value, z)| *value = value.plus(*z));
    }
    drawn.zeroize();
    Ok(())
}

pub(super) fn sample_integers(noise: &impl Integers, out: &mut [i64]) -> Result<(), Error> {
    if is_noiseless() {
        out.fill(0);
        return Ok(());
    }
    noise.fill(out)
}

/// Integers that noise is added to.
pub(super) trait Whole: Copy {
    /// The sum, clamped to the range of the type.
    fn plus(self, noise: i64) -> Self;
}

impl Whole for i64 {
    fn plus(self, noise: i64) -> Self {
        self.saturating_add(noise)
    }
}

impl Whole for i128 {
    fn plus(self, noise: i64) -> Self {
        self.saturating_add(noise.into())
    }
}

/// 2^exponent; the exponent of a grid is that of a normal or subnormal f64.
pub(super) fn power_of_two(exponent: i32) -> f64 {
    // In two steps, since one would underflow on the way to a subnormal.
    2f64.powi(exponent / 2) * 2f64.powi(exponent - exponent / 2)
}

/// The multiple of `grid` nearest to `x`, or `x` where it is too large to be anything else.
fn to_grid(x: f64, grid: f64) -> f64 {
    let steps = x / grid;
    if steps.abs() < 2f64.powi(52) { steps.round() * grid + 0.0 } else { x }
}

macro_rules! laws {
    ($($law:ty),*; $($integer:ty),*) => {
        $(impl Floats for $law {
            fn add(&self, values: &[f64], out: &mut [f64]) -> Result<(), Error> {
                self.add(values, out)
            }
            fn add_in_place(&self, values: &mut [f64]) -> Result<(), Error> {
                self.add_in_place_finite(values)
            }
            fn fill(&self, out: &mut [f64]) -> Result<(), Error> {
                self.fill(out)
            }
            fn grid_exponent(&self) -> i32 {
                self.grid_exponent()
            }
        })*
        $(impl Integers for $integer {
            fn fill(&self, out: &mut [i64]) -> Result<(), Error> {
                self.fill(out)
            }
        })*
    };
}
laws!(noise::Laplace, noise::Gaussian; noise::DiscreteLaplace, noise::DiscreteGaussian, noise::Skellam);

/// `Mechanism` and `Additive` for a mechanism that holds its law in `noise` and knows how it is `described` and how
/// often it is `exceeded`.
macro_rules! floats {
    ($name:ident) => {
        impl Mechanism for $name {
            type Input = [f64];
            type Output = Vec<f64>;

            fn release(&self, input: &[f64]) -> Result<Vec<f64>, Error> {
                additive::release_floats_apart(&self.noise, input)
            }

            fn event(&self) -> Event {
                self.described()
            }
        }

        impl Additive for $name {
            type Number = f64;

            fn release_in_place(&self, values: &mut [f64]) -> Result<(), Error> {
                additive::release_floats(&self.noise, values)
            }

            fn sample(&self, out: &mut [f64]) -> Result<(), Error> {
                additive::sample_floats(&self.noise, out)
            }

            fn grid(&self) -> f64 {
                additive::power_of_two(self.noise.grid_exponent())
            }

            fn half_width(&self, confidence: f64) -> Result<f64, Error> {
                self.exceeded(confidence)
            }
        }
    };
}
pub(super) use floats;

macro_rules! integers {
    ($name:ident $(<$norm:ident>)?) => {
        impl$(<$norm: IntegerNorm>)? Mechanism for $name$(<$norm>)? {
            type Input = [i64];
            type Output = Vec<i64>;

            fn release(&self, input: &[i64]) -> Result<Vec<i64>, Error> {
                let mut values = input.to_vec();
                self.release_in_place(&mut values)?;
                Ok(values)
            }

            fn event(&self) -> Event {
                self.described()
            }
        }

        impl$(<$norm: IntegerNorm>)? Additive for $name$(<$norm>)? {
            type Number = i64;

            fn release_in_place(&self, values: &mut [i64]) -> Result<(), Error> {
                additive::release_integers(&self.noise, values)
            }

            fn sample(&self, out: &mut [i64]) -> Result<(), Error> {
                additive::sample_integers(&self.noise, out)
            }

            fn grid(&self) -> f64 {
                1.0
            }

            fn half_width(&self, confidence: f64) -> Result<f64, Error> {
                self.exceeded(confidence)
            }
        }

        impl$(<$norm: IntegerNorm>)? $name$(<$norm>)? {
            /// Releases wide integers in place: sums that were added up exactly. A release beyond the range of `i128`
            /// is clamped to it.
            pub fn release_wide(&self, values: &mut [i128]) -> Result<(), Error> {
                additive::release_integers(&self.noise, values)
            }
        }
    };
}
pub(super) use integers;
