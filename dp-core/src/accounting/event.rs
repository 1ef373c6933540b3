//! Events: what a release did, described without its data.

use crate::Error;
use crate::privacy::{Delta, Epsilon, Positive, Rational};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What happened, in terms that an accountant can judge.
///
/// Events are issued by the mechanisms and samplers that ran and contain public parameters alone. Serialized, they are
/// the record that a ledger keeps. An accountant refuses by name every event that it has not been taught.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// Gaussian noise; the noise multiplier is its standard deviation over the L2 sensitivity.
    Gaussian {
        /// sigma / sensitivity.
        noise_multiplier: Positive,
    },
    /// Laplace noise; the noise multiplier is its scale over the L1 sensitivity.
    Laplace {
        /// scale / sensitivity.
        noise_multiplier: Positive,
    },
    /// Integer Gaussian noise on one integer, or on a vector whose change has at most this L1 sensitivity.
    DiscreteGaussian {
        /// Parameter sigma of exp(-x^2 / (2 sigma^2)), not quite the standard deviation.
        sigma: Positive,
        /// Sensitivity, a whole number.
        sensitivity: u64,
    },
    /// Integer Gaussian noise on a vector of integers, bounded in L2: for zCDP and RDP alone, since the scalar curve
    /// at the L2 sensitivity is not an upper bound.
    DiscreteGaussianVector {
        /// Parameter sigma of exp(-x^2 / (2 sigma^2)).
        sigma: Positive,
        /// Square of the L2 sensitivity, a whole number since the coordinates are.
        squared_l2: u64,
    },
    /// Integer Laplace noise; L1 sensitivity.
    DiscreteLaplace {
        /// Parameter of exp(-|x| / scale).
        scale: Positive,
        /// L1 sensitivity, a whole number.
        sensitivity: u64,
    },
    /// The difference of two Poisson variables with the same mean, on integers.
    Skellam {
        /// Total variance, twice the mean of each Poisson.
        variance: Positive,
        /// L1 sensitivity, a whole number.
        l1: u64,
        /// Square of the L2 sensitivity, a whole number since the coordinates are.
        squared_l2: u64,
    },
    /// Randomized response over `categories` answers. Replace-one only.
    RandomizedResponse {
        /// Pure epsilon of one answer.
        epsilon: Epsilon,
        /// Number of possible answers, >= 2.
        categories: u32,
    },
    /// Anything that is epsilon-differentially private.
    Pure {
        /// The bound.
        epsilon: Epsilon,
    },
    /// Anything that is (epsilon, delta)-differentially private; epsilon may be zero (a pure delta).
    Approximate {
        /// The bound, >= 0.
        epsilon: Rational,
        /// The probability of exceeding it.
        delta: Delta,
    },
    /// `event` on a Poisson sample: each unit is included independently. Add-remove only.
    PoissonSampled {
        /// Probability of inclusion, in (0, 1].
        rate: Rational,
        /// What ran on the sample.
        event: Box<Event>,
    },
    /// `event` on a uniform sample of fixed size. Replace-one only.
    SampledWithoutReplacement {
        /// Number of units in the data, public.
        population: u64,
        /// Number of units in the sample, 1 to `population`.
        size: u64,
        /// What ran on the sample.
        event: Box<Event>,
    },
    /// Several events on the same data, each a number of times, in any order, chosen beforehand.
    Composed {
        /// (event, count) pairs.
        events: Vec<(Event, u64)>,
    },
}

impl Event {
    /// The event's kind, as error messages and files name it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Gaussian { .. } => "gaussian",
            Self::Laplace { .. } => "laplace",
            Self::DiscreteGaussian { .. } => "discrete_gaussian",
            Self::DiscreteGaussianVector { .. } => "discrete_gaussian_vector",
            Self::DiscreteLaplace { .. } => "discrete_laplace",
            Self::Skellam { .. } => "skellam",
            Self::RandomizedResponse { .. } => "randomized_response",
            Self::Pure { .. } => "pure",
            Self::Approximate { .. } => "approximate",
            Self::PoissonSampled { .. } => "poisson_sampled",
            Self::SampledWithoutReplacement { .. } => "sampled_without_replacement",
            Self::Composed { .. } => "composed",
        }
    }

    /// The same release as a group of `size` people sees it: every sensitivity is so many times as large, and a group of so
    /// many gives as many randomized responses. Accountants then answer for groups as they do for one.
    ///
    /// # Errors
    /// Refuses by name a size of zero, what was sampled (how many of a group are in a sample varies) and (epsilon, delta)
    /// events (their delta would not be a fraction); an overflow.
    ///
    /// ```
    /// use veilsum_dp_core::{accounting::Event, privacy::Positive};
    /// let event = Event::Gaussian { noise_multiplier: Positive::from_f64("z", 6.0)? };
    /// assert_eq!(event.for_group(2)?, Event::Gaussian { noise_multiplier: Positive::from_f64("z", 3.0)? });
    /// # Ok::<(), veilsum_dp_core::Error>(())
    /// ```
    pub fn for_group(&self, size: u64) -> Result<Self, Error> {
        let refused = |why| Error::UnsupportedEvent { accountant: "group privacy", event: self.to_string(), why };
        if size == 0 {
            return Err(Error::out_of_range("group", size, "a whole number >= 1"));
        }
        let (k, divisor) = (Rational::from(size), Positive::new("group", Rational::from(size))?);
        let times = |n: u64| {
            let overflow =
                Error::Overflow { what: "a group's sensitivity", fits: "64 bits", remedy: "ask for a smaller group" };
            n.checked_mul(size).ok_or(overflow)
        };
        let over = |x: &Positive| Positive::new("noise multiplier", x.rational() / &divisor);
        Ok(match self {
            Self::Gaussian { noise_multiplier } => Self::Gaussian { noise_multiplier: over(noise_multiplier)? },
            Self::Laplace { noise_multiplier } => Self::Laplace { noise_multiplier: over(noise_multiplier)? },
            Self::DiscreteGaussian { sigma, sensitivity } => {
                Self::DiscreteGaussian { sigma: sigma.clone(), sensitivity: times(*sensitivity)? }
            }
            Self::DiscreteGaussianVector { sigma, squared_l2 } => {
                let squared_l2 = times(times(*squared_l2)?)?;
                Self::DiscreteGaussianVector { sigma: sigma.clone(), squared_l2 }
            }
            Self::DiscreteLaplace { scale, sensitivity } => {
                Self::DiscreteLaplace { scale: scale.clone(), sensitivity: times(*sensitivity)? }
            }
            Self::Skellam { variance, l1, squared_l2 } => {
                let (l1, squared_l2) = (times(*l1)?, times(times(*squared_l2)?)?);
                Self::Skellam { variance: variance.clone(), l1, squared_l2 }
            }
            Self::RandomizedResponse { .. } => Self::Composed { events: vec![(self.clone(), size)] },
            Self::Pure { epsilon } => Self::Pure { epsilon: Epsilon::new(epsilon.rational() * &k)? },
            Self::Composed { events } => {
                let all = events.iter().map(|(event, count)| Ok((event.for_group(size)?, *count)));
                Self::Composed { events: all.collect::<Result<_, Error>>()? }
            }
            Self::Approximate { .. } => {
                return Err(refused(
                    "declare what it is for the group: (k epsilon, delta (e^(k epsilon) - 1) / (e^epsilon - 1))",
                ));
            }
            Self::PoissonSampled { .. } | Self::SampledWithoutReplacement { .. } => {
                return Err(refused(
                    "how many of a group are in a sample varies: ask for the unsampled event, which bounds it",
                ));
            }
        })
    }

    /// Checks what the fields' types cannot: for events that were read from a file or built by hand.
    ///
    /// # Errors
    /// Names the first parameter out of its range.
    pub fn check(&self) -> Result<(), Error> {
        let whole = |what, value: u64| match value {
            0 => Err(Error::out_of_range(what, value, "a whole number >= 1")),
            _ => Ok(()),
        };
        match self {
            Self::Gaussian { .. } | Self::Laplace { .. } | Self::Pure { .. } => Ok(()),
            Self::DiscreteGaussian { sensitivity, .. } | Self::DiscreteLaplace { sensitivity, .. } => {
                whole("sensitivity", *sensitivity)
            }
            Self::DiscreteGaussianVector { squared_l2, .. } => whole("squared_l2", *squared_l2),
            Self::Skellam { l1, squared_l2, .. } => whole("l1", *l1).and_then(|()| whole("squared_l2", *squared_l2)),
            Self::RandomizedResponse { categories: 0 | 1, .. } => {
                Err(Error::out_of_range("categories", "fewer than 2", "a whole number >= 2"))
            }
            Self::RandomizedResponse { .. } => Ok(()),
            Self::Approximate { epsilon, .. } if epsilon.is_negative() => {
                Err(Error::out_of_range("epsilon", epsilon, "a number >= 0"))
            }
            Self::Approximate { .. } => Ok(()),
            Self::PoissonSampled { rate, .. } if !rate.is_positive() || *rate > Rational::one() => {
                Err(Error::out_of_range("rate", rate, "in (0, 1]"))
            }
            Self::PoissonSampled { event, .. } => event.check(),
            Self::SampledWithoutReplacement { population, size, .. } if *size == 0 || size > population => {
                Err(Error::out_of_range("size", size, "a whole number from 1 to the population"))
            }
            Self::SampledWithoutReplacement { event, .. } => event.check(),
            Self::Composed { events } => events.iter().try_for_each(|(event, _)| event.check()),
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind())
    }
}
