//! One release as the accountants see it: a law, and the sampling in front of it.

use super::Event;
use super::interval::Interval;
use super::law::{Atoms, Gaussian, Laplace, Law, SmoothDiscreteGaussian, discrete_gaussian, skellam};
use crate::Error;
use crate::privacy::Rational;
use crate::sensitivity::Neighbors;
use std::hash::{DefaultHasher, Hash, Hasher};

/// How the data that the law ran on were drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Sampling {
    /// All of them.
    Whole,
    /// Each unit independently with this probability, in (0, 1).
    Poisson(Interval),
    /// A fixed share of the units, in (0, 1).
    WithoutReplacement(Interval),
}

/// A law and its sampling.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Step {
    pub(crate) law: Law,
    pub(crate) sampling: Sampling,
}

/// An event taken apart: steps, each with a count.
pub(crate) fn steps(accountant: &'static str, event: &Event, neighbors: Neighbors) -> Result<Vec<(Step, u64)>, Error> {
    event.check()?;
    let mut steps = Vec::new();
    let parser = Parser { accountant, neighbors };
    parser.flatten(event, 1, 0, &mut steps)?;
    Ok(steps)
}

/// Integers up to here are exact as `f64`.
const EXACT: u64 = 1 << 53;
/// Most outcomes that are listed one by one.
const MOST_ATOMS: f64 = 8e6;
/// Deepest nesting of compositions and samplings.
const MOST_LEVELS: usize = 64;

struct Parser {
    accountant: &'static str,
    neighbors: Neighbors,
}

impl Parser {
    fn flatten(&self, event: &Event, count: u64, level: usize, steps: &mut Vec<(Step, u64)>) -> Result<(), Error> {
        if count == 0 {
            return Ok(());
        }
        if level > MOST_LEVELS {
            return Err(self.refuse(event, "it is nested too deeply: flatten the compositions"));
        }
        if let Event::Composed { events } = event {
            for (event, times) in events {
                let times = times.checked_mul(count).ok_or(Error::Overflow {
                    what: "the number of releases",
                    fits: "64 bits",
                    remedy: "split the composition",
                })?;
                self.flatten(event, times, level + 1, steps)?;
            }
            return Ok(());
        }
        steps.push((self.step(event)?, count));
        Ok(())
    }

    /// One step, whose samplings have been multiplied together.
    fn step(&self, event: &Event) -> Result<Step, Error> {
        match event {
            Event::PoissonSampled { .. } => {
                let (mut inner, mut rate) = (event, Rational::from(1_u32));
                while let Event::PoissonSampled { rate: next, event } = inner {
                    if self.neighbors != Neighbors::AddRemove {
                        return Err(self.refuse(
                            inner,
                            "Poisson sampling is accounted under add-remove neighbours alone: \
                            use an accountant of that relation, or a sampler of fixed size under replace-one",
                        ));
                    }
                    rate = &rate * next;
                    inner = event;
                }
                let law = self.law(inner)?;
                let whole = rate == Rational::from(1_u32);
                let rate = Interval::rational(&rate);
                Ok(Step { law, sampling: if whole { Sampling::Whole } else { Sampling::Poisson(rate) } })
            }
            Event::SampledWithoutReplacement { population, size, event: inner } => {
                if self.neighbors != Neighbors::ReplaceOne {
                    return Err(self.refuse(
                        event,
                        "samples of a fixed size are accounted under replace-one neighbours \
                        alone: use an accountant of that relation, or Poisson sampling under add-remove",
                    ));
                }
                let law = self.law(inner)?;
                if size == population {
                    return Ok(Step { law, sampling: Sampling::Whole });
                }
                let share = Rational::new(i128::from(*size), i128::from(*population))
                    .expect("the population is not below the size, which is positive");
                Ok(Step { law, sampling: Sampling::WithoutReplacement(Interval::rational(&share)) })
            }
            event => Ok(Step { law: self.law(event)?, sampling: Sampling::Whole }),
        }
    }

    fn law(&self, event: &Event) -> Result<Law, Error> {
        Ok(match event {
            Event::Gaussian { noise_multiplier } => {
                Law::Gaussian(Gaussian { multiplier: Interval::rational(noise_multiplier) })
            }
            Event::Laplace { noise_multiplier } => {
                Law::Laplace(Laplace { largest: Interval::rational(&(&Rational::from(1_u32) / noise_multiplier)) })
            }
            Event::DiscreteGaussian { sigma, sensitivity } => {
                let shift = self.whole("sensitivity", *sensitivity)?;
                let sigma = Interval::rational(sigma);
                if sigma.lo >= discrete_gaussian::SMOOTH {
                    Law::SmoothDiscreteGaussian(SmoothDiscreteGaussian { sigma, shift })
                } else {
                    Law::Atoms(discrete_gaussian::atoms(sigma, *sensitivity))
                }
            }
            Event::DiscreteLaplace { scale, sensitivity } => {
                let shift = self.whole("sensitivity", *sensitivity)?;
                if shift > MOST_ATOMS {
                    return Err(self.refuse(
                        event,
                        "its sensitivity is too large to list every loss: coarsen the grid, \
                        or declare it as pure with epsilon = sensitivity / scale",
                    ));
                }
                Law::Atoms(Atoms::discrete_laplace(scale, *sensitivity))
            }
            Event::Skellam { variance, l1, .. } => {
                let shift = self.whole("l1 sensitivity", *l1)?;
                let variance = Interval::rational(variance);
                if variance.hi > 1e12 || skellam::reach(variance.hi) + shift > MOST_ATOMS {
                    return Err(self.refuse(
                        event,
                        "its variance or its L1 sensitivity is too large to list every loss: \
                        the RDP accountant bounds it through the L2 sensitivity",
                    ));
                }
                Law::Atoms(skellam::atoms(variance, *l1))
            }
            Event::RandomizedResponse { epsilon, categories } => {
                if self.neighbors != Neighbors::ReplaceOne {
                    return Err(self.refuse(
                        event,
                        "an answer cannot be absent, so it is accounted under replace-one \
                        neighbours alone",
                    ));
                }
                Law::Atoms(Atoms::randomized_response(Interval::rational(epsilon.rational()), *categories))
            }
            Event::Pure { epsilon } => Law::Atoms(Atoms::pure(Interval::rational(epsilon.rational()))),
            Event::Approximate { epsilon, delta } => {
                Law::Atoms(Atoms::approximate(Interval::rational(epsilon), Interval::rational(delta.rational())))
            }
            Event::DiscreteGaussianVector { .. } => {
                return Err(self.refuse(
                    event,
                    "a vector bounded in L2 alone has no curve of its own (the scalar curve at \
                    that L2 is not an upper bound): use the RDP or zCDP accountant, or give an L1 sensitivity",
                ));
            }
            Event::Composed { .. } => {
                return Err(self.refuse(
                    event,
                    "sampling in front of a composition is not the composition of samplings: \
                    sample each event, if that is what ran",
                ));
            }
            Event::PoissonSampled { .. } | Event::SampledWithoutReplacement { .. } => {
                return Err(self.refuse(event, "one kind of sampling inside the other has no known dominating pair"));
            }
        })
    }

    fn whole(&self, what: &'static str, value: u64) -> Result<f64, Error> {
        if value <= EXACT {
            Ok(value as f64)
        } else {
            Err(Error::out_of_range(what, value, "a whole number from 1 to 2^53"))
        }
    }

    fn refuse(&self, event: &Event, why: &'static str) -> Error {
        Error::UnsupportedEvent { accountant: self.accountant, event: event.to_string(), why }
    }
}

impl Step {
    /// The same for equal steps, and hardly ever for others.
    pub(crate) fn fingerprint(&self) -> u64 {
        let mut hash = DefaultHasher::new();
        let mut add = |x: &Interval| (x.lo.to_bits(), x.hi.to_bits()).hash(&mut hash);
        match &self.law {
            Law::Gaussian(law) => add(&law.multiplier),
            Law::Laplace(law) => add(&law.largest),
            Law::SmoothDiscreteGaussian(law) => add(&law.sigma),
            Law::Atoms(law) => {
                for atom in law.atoms.iter().take(2).chain(law.atoms.get(law.atoms.len() / 2)) {
                    add(&atom.loss);
                    add(&atom.p);
                }
            }
        }
        if let Sampling::Poisson(rate) | Sampling::WithoutReplacement(rate) = &self.sampling {
            add(rate);
        }
        hash.finish()
    }

    /// delta at epsilon >= 0 of one such step: the larger of its two directions.
    ///
    /// With sampling the curve of the law is only rescaled (Zhu, Dong and Wang 2022, Proposition 30, and directly from
    /// the definition): for removal H(alpha) = q H_law((alpha - 1 + q) / q), for addition
    /// H(alpha) = (1 - alpha (1 - q)) H_law(alpha q / (1 - alpha (1 - q))), and zero where that factor is negative. The
    /// joined curve of sampling without replacement is that of removal for alpha >= 1.
    pub(crate) fn delta(&self, epsilon: f64) -> Interval {
        let epsilon = Interval::point(epsilon);
        match self.sampling {
            Sampling::Whole => self.law.delta(epsilon),
            Sampling::Poisson(rate) => self.removed(rate, epsilon).max(self.added(rate, epsilon)),
            Sampling::WithoutReplacement(rate) => self.removed(rate, epsilon),
        }
    }

    /// The largest loss in either direction, which is the least epsilon at delta = 0: that of removal, since
    /// 1 - q + q e^eps >= 1 / (1 - q + q e^-eps).
    pub(crate) fn largest_loss(&self) -> Interval {
        if self.infinite(false).hi > 0.0 {
            return Interval::point(f64::INFINITY);
        }
        self.largest_finite_loss(false)
    }

    /// The largest loss that is finite, when a unit is added (or removed).
    pub(crate) fn largest_finite_loss(&self, added: bool) -> Interval {
        let (whole, infinite) = (self.law.largest_finite_loss(), self.law.infinite());
        match self.sampling {
            Sampling::Whole => whole,
            Sampling::Poisson(rate) if added && infinite.hi > 0.0 => -(-rate).ln_1p(),
            Sampling::Poisson(rate) if added => -(rate * (-whole).expm1()).ln_1p(),
            Sampling::Poisson(rate) | Sampling::WithoutReplacement(rate) => (rate * whole.expm1()).ln_1p(),
        }
    }

    /// The probability of an infinite loss: sampling divides it for removals, and makes it finite for additions.
    pub(crate) fn infinite(&self, added: bool) -> Interval {
        match self.sampling {
            Sampling::Whole => self.law.infinite(),
            Sampling::Poisson(_) if added => Interval::ZERO,
            Sampling::Poisson(rate) | Sampling::WithoutReplacement(rate) => rate * self.law.infinite(),
        }
    }

    fn removed(&self, rate: Interval, epsilon: Interval) -> Interval {
        let inner = if epsilon.hi < 600.0 {
            (epsilon.expm1() / rate).ln_1p()
        } else {
            let above = epsilon - rate.ln();
            Interval { lo: (above.lo - 1e-200).next_down(), hi: above.hi }
        };
        rate * self.law.delta(inner.clamp(0.0, f64::INFINITY))
    }

    fn added(&self, rate: Interval, epsilon: Interval) -> Interval {
        // 1 - alpha (1 - q) = q (1 - odds) with odds = (alpha - 1) (1 - q) / q.
        let odds = epsilon.expm1() * (Interval::ONE - rate) / rate;
        if odds.lo >= 1.0 {
            return Interval::ZERO;
        }
        let factor = rate * (Interval::ONE - odds).clamp(0.0, 1.0);
        let inner = epsilon - (-odds).ln_1p();
        factor * self.law.delta(inner.clamp(0.0, f64::INFINITY))
    }
}
