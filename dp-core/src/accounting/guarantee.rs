//! Guarantees with exact parameters: what an event promises by itself, as rationals.
//!
//! Budgets that are spent adaptively add up numbers that were fixed before the release, so each event is reduced to
//! guarantees whose parameters are rational functions of the event's. Events whose guarantee needs a numerical
//! accountant (Poisson-sampled ones, for instance) are refused here by name.

use super::Event;
use super::filter::Order;
use crate::Error;
use crate::privacy::{Positive, Rational};
use crate::sensitivity::Neighbors;

/// What one elementary event promises.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Guarantee {
    /// (epsilon, delta) differential privacy; delta may be zero.
    Approximate {
        /// >= 0.
        epsilon: Rational,
        /// In [0, 1).
        delta: Rational,
    },
    /// The Renyi divergence of every order `a > 1` is at most `a * rho` (Bun and Steinke 2016, definition 1.1).
    Concentrated {
        /// > 0.
        rho: Rational,
    },
    /// Skellam noise: bounds at whole orders.
    Skellam {
        /// Total variance of the noise.
        variance: Positive,
        /// L1 sensitivity.
        l1: Rational,
        /// Squared L2 sensitivity.
        squared_l2: Rational,
    },
}

impl Guarantee {
    /// The elementary guarantees of `event` under `neighbors`, each with the number of times it holds.
    ///
    /// `accountant` names the caller in the error for events that have no exact guarantee.
    pub(crate) fn of(
        event: &Event,
        neighbors: Neighbors,
        accountant: &'static str,
    ) -> Result<Vec<(Self, Rational)>, Error> {
        event.check()?;
        let mut found = Vec::new();
        collect(event, neighbors, accountant, &Rational::one(), &mut found)?;
        Ok(found)
    }

    /// A bound on the Renyi divergence of this order, apart from an event of probability [`Guarantee::delta`].
    pub(crate) fn renyi(&self, order: &Order) -> Rational {
        match self {
            // Order infinity is at most epsilon, and so is every smaller one; epsilon^2 / 2 is Bun and Steinke 2016,
            // proposition 3.3.
            Self::Approximate { epsilon, .. } => {
                (&(epsilon * epsilon).halved() * order.rational()).min(epsilon.clone())
            }
            Self::Concentrated { rho } => rho * order.rational(),
            Self::Skellam { variance, l1, squared_l2 } => skellam(variance, l1, squared_l2, order),
        }
    }

    /// The rho of zero-concentrated differential privacy, at every order; `None` where only some orders are proved.
    pub(crate) fn rho(&self) -> Option<Rational> {
        match self {
            // Divergence of order a is at most epsilon, hence at most a * epsilon since a > 1.
            Self::Approximate { epsilon, .. } => Some((epsilon * epsilon).halved().min(epsilon.clone())),
            Self::Concentrated { rho } => Some(rho.clone()),
            Self::Skellam { .. } => None,
        }
    }

    /// The probability with which the other bounds may fail.
    pub(crate) fn delta(&self) -> Rational {
        match self {
            Self::Approximate { delta, .. } => delta.clone(),
            Self::Concentrated { .. } | Self::Skellam { .. } => Rational::zero(),
        }
    }
}

fn collect(
    event: &Event,
    neighbors: Neighbors,
    accountant: &'static str,
    count: &Rational,
    found: &mut Vec<(Guarantee, Rational)>,
) -> Result<(), Error> {
    let refused = |why| Err(Error::UnsupportedEvent { accountant, event: event.to_string(), why });
    let whole = |n: u64| Rational::from(n);
    let guarantee = match event {
        Event::Pure { epsilon } => pure(epsilon.rational().clone()),
        Event::Laplace { noise_multiplier } => pure(&Rational::one() / noise_multiplier),
        Event::DiscreteLaplace { scale, sensitivity } => pure(&whole(*sensitivity) / scale),
        Event::RandomizedResponse { epsilon, .. } => match neighbors {
            Neighbors::ReplaceOne => pure(epsilon.rational().clone()),
            Neighbors::AddRemove | Neighbors::ZeroOut => {
                return refused("its neighbours replace one person's answer; here the relation is another one");
            }
        },
        Event::Approximate { epsilon, delta } => {
            Guarantee::Approximate { epsilon: epsilon.clone(), delta: delta.rational().clone() }
        }
        // Bun and Steinke 2016, proposition 1.6; for integers Canonne, Kamath and Steinke 2020, proposition 5.
        Event::Gaussian { noise_multiplier: z } => concentrated(&Rational::one(), z),
        Event::DiscreteGaussian { sigma, sensitivity } => {
            concentrated(&(&whole(*sensitivity) * &whole(*sensitivity)), sigma)
        }
        Event::DiscreteGaussianVector { sigma, squared_l2 } => concentrated(&whole(*squared_l2), sigma),
        Event::Skellam { variance, l1, squared_l2 } => {
            Guarantee::Skellam { variance: variance.clone(), l1: whole(*l1), squared_l2: whole(*squared_l2) }
        }
        Event::PoissonSampled { .. } | Event::SampledWithoutReplacement { .. } => {
            return refused(
                "sampling has no exact guarantee: compose the whole run in a PldAccountant, take its epsilon at a \
                 delta, and spend that as approximate(epsilon, delta) before the run",
            );
        }
        Event::Composed { events } => {
            return events.iter().try_for_each(|(inner, times)| {
                collect(inner, neighbors, accountant, &(count * &whole(*times)), found)
            });
        }
    };
    found.push((guarantee, count.clone()));
    Ok(())
}

fn pure(epsilon: Rational) -> Guarantee {
    Guarantee::Approximate { epsilon, delta: Rational::zero() }
}

/// rho = squared sensitivity / (2 sigma^2).
fn concentrated(squared_sensitivity: &Rational, sigma: &Positive) -> Guarantee {
    Guarantee::Concentrated { rho: (squared_sensitivity / &(sigma * sigma)).halved() }
}

/// Agarwal, Kairouz and Liu 2021, theorem 3.5 and its corollary for vectors: for whole orders `a >= 2`, with `v` the
/// variance, `a L2^2 / (2v) + min(((2a - 1) L2^2 + 6 L1) / (4v^2), 3 L1 / (2v))`.
///
/// In between, `(a - 1) D_a` is convex in `a` (it is the logarithm of a moment; van Erven and Harremoes 2014,
/// corollary 2) and zero at 1, so the chord between the two whole neighbours bounds it.
fn skellam(variance: &Positive, l1: &Rational, squared_l2: &Rational, order: &Order) -> Rational {
    let (one, three, six) = (Rational::one(), Rational::from(3), Rational::from(6));
    let at_whole = |a: &Rational| {
        let gaussian = (&(a * squared_l2) / variance).halved();
        let steep = &(&(&(a + a) - &one) * squared_l2) + &(&six * l1);
        let steep = (&steep / &(variance * variance)).halved().halved();
        let flat = (&(&three * l1) / variance).halved();
        &gaussian + &steep.min(flat)
    };
    let below = order.rational().floor();
    let part = order.rational() - &below;
    let left = &(&one - &part) * &(&below - &one);
    let right = &part * &below;
    let mut chord = Rational::zero();
    for (weight, whole) in [(left, below.clone()), (right, &below + &one)] {
        if weight.is_positive() {
            chord = &chord + &(&weight * &at_whole(&whole));
        }
    }
    &chord / order.less_one()
}
