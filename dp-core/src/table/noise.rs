//! The laws that hide a person in whole numbers.

use super::limits::Change;
use crate::Error;
use crate::accounting::Event;
use crate::accounting::filter::RenyiFilter;
use crate::accounting::zcdp::{self, ZcdpLoss};
use crate::mechanism::{Additive, DiscreteGaussian, DiscreteLaplace, Mechanism, accuracy};
use crate::privacy::{Delta, Epsilon, Positive, Rational};
use crate::sensitivity::{L1, L2, Neighbors};
use serde::{Deserialize, Serialize};

/// Which noise hides a person in counts, sums, means and variances, and so how the parts of a plan add up.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Noise {
    /// Discrete Laplace noise at the L1 sensitivity: pure epsilons, which add up.
    #[default]
    Laplace,
    /// Discrete Gaussian noise at the L2 sensitivity: less noise where a person is in many groups, or a plan has many
    /// parts.
    ///
    /// Each part's epsilon says how much zero-concentrated privacy it may spend: rho = epsilon^2 / 2, which is what a
    /// quantile or a choice of keys of that (pure) epsilon costs too. The rhos add up, and together they must be within
    /// the (epsilon, delta) stated here.
    Gaussian {
        /// Of the whole plan.
        epsilon: Epsilon,
        /// Of the whole plan, except what the choice of unknown keys spends.
        delta: Delta,
    },
}

impl Noise {
    pub(super) fn is_laplace(&self) -> bool {
        *self == Self::Laplace
    }

    /// Checks that what a plan's event costs is within what is stated: by the event itself, so that no rounding before it
    /// matters.
    pub(super) fn covers(&self, event: &Event, neighbors: Neighbors) -> Result<(), Error> {
        let Self::Gaussian { epsilon, delta } = self else { return Ok(()) };
        let filter = RenyiFilter::best(epsilon, &positive(delta)?)?;
        let rho = ZcdpLoss::of(event, neighbors)?.rho;
        if filter.order().rational() * &rho > *filter.limit() {
            let bound = "at least what its parts spend together: raise epsilon or delta, or give them less";
            return Err(Error::out_of_range("epsilon", epsilon, bound));
        }
        Ok(())
    }

    /// What one part costs by itself, as (epsilon, delta).
    pub(super) fn cost_alone(&self, part: &Epsilon) -> (Rational, Rational) {
        let alone = |whole: &Epsilon, delta: &Delta| {
            let rho = (part.rational() * part.rational()).halved();
            Some((zcdp::epsilon(&rho, &positive(delta).ok()?).min(whole.rational().clone()), delta.rational().clone()))
        };
        match self {
            Self::Laplace => None,
            Self::Gaussian { epsilon, delta } => alone(epsilon, delta),
        }
        .unwrap_or_else(|| (part.rational().clone(), Rational::zero()))
    }
}

fn positive(delta: &Delta) -> Result<Positive, Error> {
    let needed = "in (0, 1) for Gaussian noise, whose losses have no bound";
    Positive::new("delta", delta.rational().clone()).map_err(|_| Error::out_of_range("delta", delta, needed))
}

/// Splits a budget for Gaussian noise in proportion to weights: parts of equal weight get noise of equal size relative to
/// their sensitivities, and together they are within (epsilon, delta) ([`Noise::Gaussian`]).
///
/// # Errors
/// If delta is zero, or epsilon too small for a delta this small.
pub fn split_gaussian(epsilon: &Epsilon, delta: &Delta, weights: &[Positive]) -> Result<Vec<Epsilon>, Error> {
    let filter = RenyiFilter::best(epsilon, &positive(delta)?)?;
    // With parts t w, rho is t^2 / 2 times the sum of w^2, and order times rho may reach the limit.
    let squares = weights.iter().fold(Rational::zero(), |sum, w| sum + w.rational() * w.rational());
    let squares = Positive::new("weights", filter.order().rational() * &squares)?;
    let unit = (&(filter.limit() + filter.limit()) / &squares).lower().sqrt();
    // A number of forty bits below the root: room for every rounding after it.
    let unit = f64::from_bits((unit * (1.0 - 1e-12)).to_bits() >> 12 << 12);
    let unit = Positive::from_f64("epsilon", unit)?;
    weights.iter().map(|w| Epsilon::new(unit.rational() * w.rational())).collect()
}

/// The noise of one measure.
#[derive(Clone, Debug)]
pub(super) enum Law {
    Laplace(DiscreteLaplace),
    Gaussian {
        law: Box<DiscreteGaussian<L2>>,
        /// Where the L1 and L2 sensitivities are equal, the scalar curve holds and every accountant knows the event.
        event: Event,
    },
}

impl Law {
    /// The least noise that a part of this epsilon allows for whole numbers that neighbours `change` so much.
    pub(super) fn new(noise: &Noise, change: Change, epsilon: &Epsilon) -> Result<Self, Error> {
        let fits = |size: u128| u64::try_from(size).map_err(|_| too_fine(epsilon));
        match noise {
            Noise::Laplace => laplace(fits(change.l1)?, epsilon),
            Noise::Gaussian { .. } => gaussian(fits(change.l1)?, fits(change.squared_l2)?, epsilon),
        }
    }

    pub(super) fn event(&self) -> Event {
        match self {
            Self::Laplace(law) => law.event(),
            Self::Gaussian { event, .. } => event.clone(),
        }
    }

    /// The scale of Laplace noise, the sigma of Gaussian noise.
    pub(super) fn scale(&self) -> f64 {
        match self {
            Self::Laplace(law) => law.scale().upper(),
            Self::Gaussian { law, .. } => law.sigma().upper(),
        }
    }

    pub(super) fn sample(&self, out: &mut [i64]) -> Result<(), Error> {
        match self {
            Self::Laplace(law) => law.sample(out),
            Self::Gaussian { law, .. } => law.sample(out),
        }
    }

    pub(super) fn half_width(&self, confidence: f64) -> Result<f64, Error> {
        match self {
            Self::Laplace(law) => law.half_width(confidence),
            Self::Gaussian { law, .. } => law.half_width(confidence),
        }
    }

    /// What |a X + b Y| exceeds with probability `risk` at most, for two independent draws X and Y and a + b = 1, up to two
    /// steps, which cover what tells discrete from continuous laws.
    pub(super) fn mixture(&self, a: f64, b: f64, risk: f64) -> f64 {
        match self {
            Self::Laplace(law) => {
                let scale = law.scale().upper();
                super::interval::two_laplace(a * scale, b * scale, risk)
            }
            Self::Gaussian { law, .. } => accuracy::gaussian(risk, law.sigma().upper() * a.hypot(b)),
        }
    }
}

fn too_fine(epsilon: &Epsilon) -> Error {
    Error::out_of_range(
        "epsilon",
        epsilon,
        "in proportion to the contribution limits: this one makes noise that no 64-bit number holds",
    )
}

/// Noise whose scale is the least `f64` not below sensitivity / epsilon: what is reported as the scale is the scale,
/// exactly. Noise below 2^-20 is 0 in all but 2^-1000000 of draws, so nothing is gained below it.
fn laplace(l1: u64, epsilon: &Epsilon) -> Result<Law, Error> {
    let epsilon = Positive::new("epsilon", epsilon.rational().clone())?;
    let sensitivity = L1::new(Rational::from(l1))?;
    let scale = (sensitivity.bound().rational() / &epsilon).upper().max(1.0 / f64::from(1 << 20));
    DiscreteLaplace::new(Positive::from_f64("scale", scale)?, sensitivity).map(Law::Laplace)
}

/// Noise whose sigma is L2 sensitivity / epsilon, rounded up: squared L2 / (2 sigma^2) <= epsilon^2 / 2 (Canonne, Kamath
/// and Steinke 2020, proposition 5, for each coordinate, and these add up).
fn gaussian(l1: u64, squared_l2: u64, epsilon: &Epsilon) -> Result<Law, Error> {
    const UP: f64 = 1.0 + 8.0 * f64::EPSILON;
    let square = Positive::new("epsilon", epsilon.rational() * epsilon.rational())?;
    let sigma = ((&Rational::from(squared_l2) / &square).upper().sqrt() * UP).max(1.0 / f64::from(1 << 20));
    if sigma > (1_u64 << 50) as f64 {
        return Err(too_fine(epsilon));
    }
    let law = DiscreteGaussian::new(Positive::from_f64("sigma", sigma)?, L2::from_f64((squared_l2 as f64).sqrt())?)?;
    let event = match law.event() {
        Event::DiscreteGaussianVector { sigma, .. } if l1.checked_mul(l1) == Some(squared_l2) => {
            Event::DiscreteGaussian { sigma, sensitivity: l1 }
        }
        event => event,
    };
    Ok(Law::Gaussian { law: Box::new(law), event })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epsilon(text: &str) -> Epsilon {
        Epsilon::new(text.parse().expect("a number")).expect("positive")
    }

    fn stated(epsilon_text: &str, delta: f64) -> (Epsilon, Delta) {
        (epsilon(epsilon_text), Delta::from_decimal(delta).expect("valid"))
    }

    fn weights(all: &[u64]) -> Vec<Positive> {
        all.iter().map(|w| Positive::new("weight", Rational::from(*w)).expect("positive")).collect()
    }

    fn event(noise: &Noise, parts: &[Epsilon], change: Change) -> Event {
        let laws = parts.iter().map(|part| Law::new(noise, change, part).expect("in range"));
        Event::Composed { events: laws.map(|law| (law.event(), 1)).collect() }
    }

    /// The parts of a split fit by the events themselves, and hardly more would.
    #[test]
    fn a_split_spends_the_budget_and_no_more() {
        for (eps, delta, all) in [("1", 1e-6, vec![1, 1, 1]), ("0.01", 1e-9, vec![1, 2, 6]), ("20", 1e-30, vec![1; 40])]
        {
            let (epsilon, delta) = stated(eps, delta);
            let noise = Noise::Gaussian { epsilon: epsilon.clone(), delta: delta.clone() };
            let parts = split_gaussian(&epsilon, &delta, &weights(&all)).expect("room");
            for squared_l2 in [1, 2, 3, 13, (1 << 60) + 7] {
                let change = Change { l1: squared_l2, squared_l2 };
                let whole = event(&noise, &parts, change);
                noise.covers(&whole, Neighbors::AddRemove).expect("within what is stated");
                let rho = ZcdpLoss::of(&whole, Neighbors::AddRemove).expect("known").rho;
                let spent = zcdp::epsilon(&rho, &positive(&delta).expect("> 0")).nearest();
                assert!(spent > epsilon.upper() * (1.0 - 1e-4), "{spent} of {epsilon}");
                let more: Vec<Epsilon> = parts
                    .iter()
                    .map(|part| Epsilon::new(part.rational() * &"1.0001".parse().expect("a number")).expect("positive"))
                    .collect();
                assert!(
                    noise.covers(&event(&noise, &more, change), Neighbors::AddRemove).is_err(),
                    "{eps} {squared_l2}"
                );
            }
        }
    }

    /// Forty counts of one person in a hundred groups: what the L2 norm and adding rhos are for.
    #[test]
    fn gaussian_noise_is_smaller_where_a_person_is_in_many_groups() {
        let (epsilon, delta) = stated("1", 1e-6);
        let noise = Noise::Gaussian { epsilon: epsilon.clone(), delta: delta.clone() };
        let part = &split_gaussian(&epsilon, &delta, &weights(&[1])).expect("room")[0];
        let change = Change { l1: 100, squared_l2: 100 };
        let (laplace, gaussian) = (Law::new(&Noise::Laplace, change, &epsilon), Law::new(&noise, change, part));
        let width = |law: Result<Law, Error>| law.and_then(|law| law.half_width(0.95)).expect("in range");
        assert!(width(gaussian) < 0.4 * width(laplace));
    }

    /// What a + b = 1 of two draws exceed: one draw alone, and half of two, whose spread is known.
    #[test]
    fn mixtures_of_two_draws() {
        let (epsilon, delta) = stated("1", 1e-6);
        let gaussian = Noise::Gaussian { epsilon: epsilon.clone(), delta };
        for (noise, halves) in [(Noise::Laplace, 0.6865), (gaussian, 0.5_f64.sqrt())] {
            let law = Law::new(&noise, Change::of_one(1 << 20), &epsilon).expect("in range");
            let alone = law.half_width(0.95).expect("in range");
            assert!((law.mixture(1.0, 0.0, 0.05) / alone - 1.0).abs() < 1e-4);
            assert!(
                (law.mixture(0.5, 0.5, 0.05) / alone - halves).abs() < 1e-2,
                "{}",
                law.mixture(0.5, 0.5, 0.05) / alone
            );
        }
    }

    #[test]
    fn scalar_changes_have_an_event_that_every_accountant_knows() {
        let (epsilon, delta) = stated("1", 1e-6);
        let noise = Noise::Gaussian { epsilon: epsilon.clone(), delta };
        let kind = |change| Law::new(&noise, change, &epsilon).expect("in range").event().kind();
        assert_eq!(kind(Change::of_one(7)), "discrete_gaussian");
        assert_eq!(kind(Change { l1: 7, squared_l2: 7 }), "discrete_gaussian_vector");
    }

    #[test]
    fn a_delta_of_zero_is_refused() {
        let (epsilon, delta) = stated("1", 0.0);
        assert!(split_gaussian(&epsilon, &delta, &weights(&[1])).is_err());
    }
}
