//! Laplace noise, on floats and on integers: pure epsilon.

use super::accuracy;
use super::additive::{self, Additive};
use super::{Curve, Mechanism};
use crate::accounting::Event;
use crate::privacy::{Epsilon, Positive};
use crate::sensitivity::{L1, whole};
use crate::{Error, noise};

/// Laplace noise on floats (Dwork, McSherry, Nissim and Smith 2006): epsilon = sensitivity / scale, delta = 0.
///
/// The sensitivity is in L1 and the guarantee holds for vectors as it does for scalars.
///
/// ```
/// use veilsum_dp_core::mechanism::{Additive, Curve, Laplace, Mechanism};
/// use veilsum_dp_core::privacy::Epsilon;
/// use veilsum_dp_core::sensitivity::L1;
///
/// let laplace = Laplace::calibrate(&Epsilon::from_decimal(0.5)?, L1::from_f64(1.0)?)?;
/// let noisy = laplace.release(&[10.0, 20.0])?; // one release of a vector whose L1 change is at most 1
/// assert_eq!(noisy[0] % laplace.grid(), 0.0);
/// assert!(laplace.epsilon(0.0)?.hi() <= 0.5);
/// # Ok::<(), veilsum_dp_core::Error>(())
/// ```
///
/// An L2 bound does not fit:
///
/// ```compile_fail,E0308
/// use veilsum_dp_core::mechanism::Laplace;
/// use veilsum_dp_core::privacy::Positive;
/// use veilsum_dp_core::sensitivity::L2;
/// let laplace = Laplace::new(Positive::one(), L2::from_f64(1.0).unwrap());
/// ```
#[derive(Clone, Debug)]
pub struct Laplace {
    scale: Positive,
    sensitivity: L1,
    noise: noise::Laplace,
}

impl Laplace {
    /// Noise with density exp(-|x| / scale) / (2 scale).
    ///
    /// # Errors
    /// If the grid that belongs to the scale is out of the range of `f64`.
    pub fn new(scale: Positive, sensitivity: L1) -> Result<Self, Error> {
        Ok(Self { noise: noise::Laplace::new(&scale)?, scale, sensitivity })
    }

    /// The least scale, as an `f64`, at which a release is `epsilon`-differentially private.
    pub fn calibrate(epsilon: &Epsilon, sensitivity: L1) -> Result<Self, Error> {
        Self::new(accuracy::pure_scale(epsilon, sensitivity.bound())?, sensitivity)
    }

    /// The scale of the noise.
    #[must_use]
    pub fn scale(&self) -> &Positive {
        &self.scale
    }

    /// The sensitivity.
    #[must_use]
    pub fn sensitivity(&self) -> &L1 {
        &self.sensitivity
    }

    fn described(&self) -> Event {
        Event::Laplace { noise_multiplier: &self.scale / self.sensitivity.bound() }
    }

    fn exceeded(&self, confidence: f64) -> Result<f64, Error> {
        Ok(accuracy::laplace(accuracy::tail(confidence)?, self.scale.upper()) + self.grid())
    }
}

impl Curve for Laplace {}
additive::floats!(Laplace);

/// Laplace noise on integers, P(x) proportional to exp(-|x| / scale) (Ghosh, Roughgarden and Sundararajan 2009):
/// epsilon = sensitivity / scale, delta = 0.
///
/// The sensitivity is in L1 and the guarantee holds for vectors as it does for scalars. A release beyond the range of
/// `i64` is clamped to it.
///
/// ```
/// use veilsum_dp_core::mechanism::{Additive, DiscreteLaplace};
/// use veilsum_dp_core::privacy::Epsilon;
/// use veilsum_dp_core::sensitivity::L1;
///
/// let counts = DiscreteLaplace::calibrate(&Epsilon::from_decimal(0.1)?, L1::new(1u64.into())?)?;
/// let noisy: i64 = counts.release_one(42)?;
/// assert!(counts.half_width(0.95)? < 31.0);
/// # Ok::<(), veilsum_dp_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct DiscreteLaplace {
    scale: Positive,
    sensitivity: L1,
    steps: u64,
    noise: noise::DiscreteLaplace,
}

impl DiscreteLaplace {
    /// Noise with P(x) proportional to exp(-|x| / scale).
    ///
    /// # Errors
    /// If the sensitivity is not a whole number, or the scale is outside 2^-20 to 2^50.
    pub fn new(scale: Positive, sensitivity: L1) -> Result<Self, Error> {
        let steps = whole(sensitivity.bound())?;
        Ok(Self { noise: noise::DiscreteLaplace::new(&scale)?, scale, sensitivity, steps })
    }

    /// The least scale, as an `f64`, at which a release is `epsilon`-differentially private.
    pub fn calibrate(epsilon: &Epsilon, sensitivity: L1) -> Result<Self, Error> {
        Self::new(accuracy::pure_scale(epsilon, sensitivity.bound())?, sensitivity)
    }

    /// The parameter of exp(-|x| / scale).
    #[must_use]
    pub fn scale(&self) -> &Positive {
        &self.scale
    }

    /// The sensitivity, a whole number.
    #[must_use]
    pub fn sensitivity(&self) -> &L1 {
        &self.sensitivity
    }

    fn described(&self) -> Event {
        Event::DiscreteLaplace { scale: self.scale.clone(), sensitivity: self.steps }
    }

    fn exceeded(&self, confidence: f64) -> Result<f64, Error> {
        Ok(accuracy::discrete_laplace(accuracy::tail(confidence)?, self.scale.upper()))
    }
}

impl Curve for DiscreteLaplace {}
additive::integers!(DiscreteLaplace);
