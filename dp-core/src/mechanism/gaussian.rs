//! Gaussian noise, on floats and on integers.

use super::accuracy;
use super::additive::{self, Additive};
use super::{Curve, Mechanism};
use crate::accounting::{Event, calibrate};
use crate::privacy::{Delta, Epsilon, Positive};
use crate::sensitivity::{IntegerNorm, L1, L2, whole};
use crate::{Error, noise};

/// Gaussian noise on floats, with the exact curve of Balle and Wang (2018, Theorem 8).
///
/// The sensitivity is in L2 and the guarantee holds for vectors as it does for scalars.
///
/// ```
/// use veilsum_dp_core::mechanism::{Additive, Curve, Gaussian};
/// use veilsum_dp_core::privacy::{Delta, Epsilon};
/// use veilsum_dp_core::sensitivity::L2;
///
/// let (epsilon, delta) = (Epsilon::from_decimal(1.0)?, Delta::from_decimal(1e-5)?);
/// let gaussian = Gaussian::calibrate(&epsilon, &delta, L2::from_f64(1.0)?)?;
/// assert!((gaussian.sigma().upper() - 3.7306).abs() < 1e-4); // the classic formula would take 4.84
/// let noisy = gaussian.release_one(10.0)?;
/// assert!(gaussian.delta(1.0)?.hi() <= 1e-5);
/// # Ok::<(), veilsum_dp_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Gaussian {
    sigma: Positive,
    sensitivity: L2,
    noise: noise::Gaussian,
}

impl Gaussian {
    /// Noise with standard deviation `sigma`.
    ///
    /// # Errors
    /// If the grid that belongs to sigma is out of the range of `f64`.
    pub fn new(sigma: Positive, sensitivity: L2) -> Result<Self, Error> {
        Ok(Self { noise: noise::Gaussian::new(&sigma)?, sigma, sensitivity })
    }

    /// The least sigma, up to rounding, at which a release is (`epsilon`, `delta`)-differentially private: any
    /// epsilon, delta > 0.
    pub fn calibrate(epsilon: &Epsilon, delta: &Delta, sensitivity: L2) -> Result<Self, Error> {
        let multiplier = calibrate::gaussian(epsilon, delta)?;
        let least = (multiplier.rational() * sensitivity.bound().rational()).upper();
        // The multiplier is certified; sigma over the sensitivity is another rational, with rounding errors of its own.
        // Epsilon itself lies between two floats at most, and delta is rounded against the user: down.
        let (at, within) = ([epsilon.rational().lower(), epsilon.upper()], delta.rational().lower());
        for doubling in 0..30 {
            let sigma = least * (1.0 + f64::from((1u32 << doubling) - 1) * f64::EPSILON);
            let candidate = Self::new(Positive::from_f64("sigma", sigma)?, sensitivity.clone())?;
            let [below, above] = [candidate.delta(at[0])?, candidate.delta(at[1])?];
            if below.hi().max(above.hi()) <= within {
                return Ok(candidate);
            }
        }
        Err(Error::out_of_range("delta", delta, "large enough to be told from rounding errors"))
    }

    /// The standard deviation of the noise.
    #[must_use]
    pub fn sigma(&self) -> &Positive {
        &self.sigma
    }

    /// The sensitivity.
    #[must_use]
    pub fn sensitivity(&self) -> &L2 {
        &self.sensitivity
    }

    fn described(&self) -> Event {
        Event::Gaussian { noise_multiplier: &self.sigma / self.sensitivity.bound() }
    }

    fn exceeded(&self, confidence: f64) -> Result<f64, Error> {
        Ok(accuracy::gaussian(accuracy::tail(confidence)?, self.sigma.upper()) + self.grid())
    }
}

impl Curve for Gaussian {}
additive::floats!(Gaussian);

/// Gaussian noise on integers, P(x) proportional to exp(-x^2 / (2 sigma^2)) (Canonne, Kamath and Steinke 2020), with
/// its own discrete curve, which at sigma = 1 is worse than the continuous one.
///
/// With an [`L1`] sensitivity it has the scalar curve, for vectors too. With an [`L2`] sensitivity the scalar curve is
/// *not* a bound for vectors: there is no [`Curve`], and its event is one that zCDP and RDP accept. A release beyond
/// the range of `i64` is clamped to it.
///
/// ```
/// use veilsum_dp_core::mechanism::{Curve, DiscreteGaussian};
/// use veilsum_dp_core::privacy::Positive;
/// use veilsum_dp_core::sensitivity::L1;
/// let scalar = DiscreteGaussian::new(Positive::one(), L1::new(1u64.into())?)?;
/// let delta = scalar.delta(1.0)?;
/// # Ok::<(), veilsum_dp_core::Error>(())
/// ```
///
/// ```compile_fail,E0599
/// use veilsum_dp_core::mechanism::{Curve, DiscreteGaussian};
/// use veilsum_dp_core::privacy::Positive;
/// use veilsum_dp_core::sensitivity::L2;
/// let vector = DiscreteGaussian::new(Positive::one(), L2::new(2u64.into()).unwrap()).unwrap();
/// let delta = vector.delta(1.0);
/// ```
#[derive(Clone, Debug)]
pub struct DiscreteGaussian<Norm = L1> {
    sigma: Positive,
    sensitivity: Norm,
    event: Event,
    noise: noise::DiscreteGaussian,
}

impl<Norm: IntegerNorm> DiscreteGaussian<Norm> {
    /// Noise with P(x) proportional to exp(-x^2 / (2 sigma^2)).
    ///
    /// # Errors
    /// If an L1 sensitivity is not a whole number, an L2 sensitivity is below one, or sigma is outside 2^-20 to 2^50.
    pub fn new(sigma: Positive, sensitivity: Norm) -> Result<Self, Error> {
        let event = sensitivity.discrete_gaussian(&sigma)?;
        Ok(Self { noise: noise::DiscreteGaussian::new(&sigma)?, event, sigma, sensitivity })
    }

    /// The parameter sigma, not quite the standard deviation.
    #[must_use]
    pub fn sigma(&self) -> &Positive {
        &self.sigma
    }

    /// The sensitivity, in its norm.
    #[must_use]
    pub fn sensitivity(&self) -> &Norm {
        &self.sensitivity
    }

    fn described(&self) -> Event {
        self.event.clone()
    }

    fn exceeded(&self, confidence: f64) -> Result<f64, Error> {
        Ok(accuracy::discrete_gaussian(accuracy::tail(confidence)?, self.sigma.upper()))
    }
}

impl DiscreteGaussian<L1> {
    /// The least sigma, up to rounding, at which a release is (`epsilon`, `delta`)-differentially private, on the
    /// discrete curve.
    pub fn calibrate(epsilon: &Epsilon, delta: &Delta, sensitivity: L1) -> Result<Self, Error> {
        Self::new(calibrate::discrete_gaussian(epsilon, delta, whole(sensitivity.bound())?)?, sensitivity)
    }
}

impl Curve for DiscreteGaussian<L1> {}
additive::integers!(DiscreteGaussian<Norm>);
