//! Skellam noise on integers: sums of independent shares are Skellam again.

use super::accuracy;
use super::additive::{self, Additive};
use super::{Curve, Mechanism};
use crate::accounting::{Event, calibrate};
use crate::privacy::{Delta, Epsilon, Positive};
use crate::sensitivity::{IntegerNorm, L1, whole};
use crate::{Error, noise};

/// Skellam noise: the difference of two Poisson variables, each with half the variance as its mean (Agarwal, Kairouz
/// and Liu 2021).
///
/// Several parties can each add a share and the sum is exactly Skellam again, with the summed variance; neither
/// Gaussian law on integers has that. With an [`L1`] sensitivity it has the scalar curve, for vectors too; with an
/// [`L2`](crate::sensitivity::L2) sensitivity it has no [`Curve`], and RDP accounts for its event. A release beyond the
/// range of `i64` is clamped to it.
///
/// ```
/// use veilsum_dp_core::mechanism::{Additive, Curve, Skellam};
/// use veilsum_dp_core::privacy::Positive;
/// use veilsum_dp_core::sensitivity::L1;
/// let skellam = Skellam::new(Positive::from_f64("variance", 100.0)?, L1::new(1u64.into())?)?;
/// let noisy = skellam.release_one(42)?;
/// assert!(skellam.epsilon(1e-5)?.hi() < 0.5);
/// # Ok::<(), veilsum_dp_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Skellam<Norm = L1> {
    variance: Positive,
    sensitivity: Norm,
    event: Event,
    noise: noise::Skellam,
}

impl<Norm: IntegerNorm> Skellam<Norm> {
    /// Noise with this total variance.
    ///
    /// # Errors
    /// If an L1 sensitivity is not a whole number, an L2 sensitivity is below one, or the variance is out of range.
    pub fn new(variance: Positive, sensitivity: Norm) -> Result<Self, Error> {
        let event = sensitivity.skellam(&variance)?;
        Ok(Self { noise: noise::Skellam::new(&variance)?, event, variance, sensitivity })
    }

    /// The total variance of the noise.
    #[must_use]
    pub fn variance(&self) -> &Positive {
        &self.variance
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
        Ok(accuracy::skellam(accuracy::tail(confidence)?, self.variance.upper()))
    }
}

impl Skellam<L1> {
    /// The least variance, up to rounding, at which a release is (`epsilon`, `delta`)-differentially private.
    pub fn calibrate(epsilon: &Epsilon, delta: &Delta, sensitivity: L1) -> Result<Self, Error> {
        Self::new(calibrate::skellam(epsilon, delta, whole(sensitivity.bound())?)?, sensitivity)
    }
}

impl Curve for Skellam<L1> {}
additive::integers!(Skellam<Norm>);
