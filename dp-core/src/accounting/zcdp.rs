//! Approximate zero-concentrated differential privacy: rho and delta of every event, exactly.
//!
//! rho-zCDP bounds the Renyi divergence of every order `a > 1` by `a rho` (Bun and Steinke 2016). It adds up under
//! adaptive composition and its parameters are rational functions of the noise, which is what a ledger wants. Its
//! *approximate* form lets the bound fail on an event of probability delta (section 8 there), so that (epsilon, delta)
//! events fit in: deltas add.

use super::Event;
use super::filter::{best_order_for, conversion};
use super::guarantee::Guarantee;
use crate::Error;
use crate::privacy::{Positive, Rational};
use crate::sensitivity::Neighbors;

/// delta-approximate rho-zCDP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZcdpLoss {
    /// >= 0.
    pub rho: Rational,
    /// >= 0; a sum of deltas may pass 1 and then says nothing.
    pub delta: Rational,
}

impl ZcdpLoss {
    /// No loss.
    #[must_use]
    pub fn zero() -> Self {
        Self { rho: Rational::zero(), delta: Rational::zero() }
    }

    /// What `event` costs.
    ///
    /// # Errors
    /// Refuses by name events without a proved bound at every order: sampled ones, and Skellam noise, whose bound holds
    /// at whole orders (a ledger, which converts at one order, takes it).
    ///
    /// ```
    /// use veilsum_dp_core::{accounting::{Event, zcdp::ZcdpLoss}, privacy::Positive, sensitivity::Neighbors};
    /// let event = Event::Gaussian { noise_multiplier: Positive::from_f64("z", 2.0).unwrap() };
    /// assert_eq!(ZcdpLoss::of(&event, Neighbors::AddRemove).unwrap().rho.to_string(), "1/8");
    /// ```
    pub fn of(event: &Event, neighbors: Neighbors) -> Result<Self, Error> {
        let mut total = Self::zero();
        for (guarantee, count) in Guarantee::of(event, neighbors, "zCDP")? {
            let rho = guarantee.rho().ok_or_else(|| Error::UnsupportedEvent {
                accountant: "zCDP",
                event: event.to_string(),
                why: "its Renyi bound is proved at whole orders alone: use an RDP or PLD accountant",
            })?;
            total.rho = &total.rho + &(&count * &rho);
            total.delta = &total.delta + &(&count * &guarantee.delta());
        }
        Ok(total)
    }

    /// The sum of both.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self { rho: &self.rho + &other.rho, delta: &self.delta + &other.delta }
    }
}

/// An epsilon such that rho-zCDP implies (epsilon, `delta`)-differential privacy, within 1e-5 of the least that the
/// conversion gives at any order (Canonne, Kamath and Steinke 2020, proposition 12), rounded upwards.
#[must_use]
pub fn epsilon(rho: &Rational, delta: &Positive) -> Rational {
    let Ok(positive) = Positive::new("rho", rho.clone()) else { return Rational::zero() };
    match best_order_for(&positive, delta) {
        Some(order) => (&(order.rational() * rho) + &conversion(&order, delta)).max(Rational::zero()),
        // Only where rho is beyond any float. The classic bound rho + 2 sqrt(rho ln(1/delta)) is below this.
        None => &(rho + rho) + &-super::logarithm::ln(delta).0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conversion_beats_the_classic_one_and_not_the_truth() {
        for (rho, delta) in [(0.5, 1e-6), (0.001, 1e-9), (8.0, 1e-5), (100.0, 1e-30)] {
            let exact = Rational::from_f64(rho).expect("finite");
            let answer = epsilon(&exact, &Positive::from_f64("delta", delta).expect("> 0")).nearest();
            let classic = rho + 2.0 * (rho * -delta.ln()).sqrt();
            assert!(answer < classic, "{rho} {delta}: {answer} against {classic}");
            // Gaussian noise of this rho has delta(epsilon) >= P[N(0,1) > epsilon/m - m/2] - e^epsilon ...; its loss
            // exceeds rho half of the time, so epsilon is above rho for any delta below about a fifth.
            assert!(answer > rho);
        }
        assert_eq!(epsilon(&Rational::zero(), &Positive::from_f64("delta", 1e-6).expect("> 0")), Rational::zero());
    }
}
