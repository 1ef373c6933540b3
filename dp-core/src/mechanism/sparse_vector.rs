//! Above threshold: a long stream of queries, of which few are expected to pass.

use super::noiseless::is_noiseless;
use crate::accounting::{Enclosure, Event, profile};
use crate::noise::DiscreteLaplace;
use crate::privacy::{Epsilon, Positive, Rational};
use crate::sensitivity::{LInf, Neighbors};
use crate::{Error, noise};
use num_traits::ToPrimitive;

/// Tells for each query whether its noisy value reaches a noisy threshold, until `max_hits` did: epsilon-differentially
/// private in total, however many queries stay below (Lyu, Su and Li 2017, Algorithm 7 without numeric answers).
///
/// All of epsilon is spent at creation: record [`SparseVector::event`] then, once. The threshold's noise is part of the
/// state, so there is no `Clone`, and a forked process cannot go on with its parent's.
///
/// Queries may be chosen one after the other, seeing the answers. Values are compared in steps of sensitivity / 2^20,
/// rounded down, with discrete Laplace noise of the scales in the algorithm; rounding down to steps of which the
/// sensitivity is a whole number changes no sensitivity, so the algorithm's proof holds word by word on integers.
///
/// ```
/// use veilsum_dp_core::mechanism::SparseVector;
/// use veilsum_dp_core::privacy::Epsilon;
/// use veilsum_dp_core::sensitivity::LInf;
///
/// let mut above = SparseVector::new(Epsilon::from_decimal(1.0)?, 500.0, 1, LInf::from_f64(1.0)?)?;
/// assert!(!above.release(0.0)?); // fails once in e^40 runs
/// assert!(above.release(1000.0)?);
/// assert!(above.release(1000.0).is_err()); // its one hit is used up
/// # Ok::<(), veilsum_dp_core::Error>(())
/// ```
#[derive(Debug)]
pub struct SparseVector {
    epsilon: Epsilon,
    sensitivity: LInf,
    threshold: f64,
    max_hits: u32,
    steps: Rational,
    noisy_threshold: Noisy,
    noise: DiscreteLaplace,
    hits: u32,
    process: u32,
}

/// A value in steps, with its noise apart.
struct Noisy {
    exact: i64,
    noise: i64,
}

/// The threshold's noise would tell what the answers hide.
impl std::fmt::Debug for Noisy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("_")
    }
}

impl Noisy {
    fn total(&self) -> i128 {
        let noise = if is_noiseless() { 0 } else { self.noise };
        i128::from(self.exact) + i128::from(noise)
    }
}

/// Steps in one sensitivity.
const FINENESS: u32 = 1 << 20;

impl SparseVector {
    /// Draws the threshold's noise and thereby spends epsilon.
    ///
    /// `sensitivity` bounds how much any one query changes between neighbours; `threshold` is public and finite;
    /// `max_hits` >= 1.
    pub fn new(epsilon: Epsilon, threshold: f64, max_hits: u32, sensitivity: LInf) -> Result<Self, Error> {
        let hits = Positive::new("max_hits", max_hits.into())?;
        let exact = Rational::from_f64(threshold)
            .ok_or_else(|| Error::out_of_range("threshold", threshold, "a finite number"))?;
        let (for_threshold, for_queries) = split(&epsilon, max_hits)?;
        // Scales in steps: sensitivity / epsilon_1 and 2 max_hits sensitivity / epsilon_2.
        let fineness = Positive::new("steps", FINENESS.into())?;
        let threshold_scale = &fineness / &for_threshold;
        let query_scale = &(&fineness * &(&hits + &hits)) / &for_queries;
        let steps = fineness.rational() / sensitivity.bound();
        let mut drawn = [0];
        noise::DiscreteLaplace::new(&threshold_scale)?.fill(&mut drawn)?;
        Ok(Self {
            noise: noise::DiscreteLaplace::new(&query_scale)?,
            noisy_threshold: Noisy { exact: in_steps(&exact, &steps), noise: drawn[0] },
            hits: 0,
            process: std::process::id(),
            epsilon,
            sensitivity,
            threshold,
            max_hits,
            steps,
        })
    }

    /// Whether the noisy value reaches the noisy threshold.
    ///
    /// # Errors
    /// [`Error::Exhausted`] once `max_hits` answers were true, or in a forked process; [`Error::NotFinite`] for NaN and
    /// infinities. An error tells nothing and changes nothing.
    pub fn release(&mut self, value: f64) -> Result<bool, Error> {
        let exact = Rational::from_f64(value).ok_or(Error::NotFinite)?;
        if self.hits == self.max_hits {
            return Err(Error::Exhausted {
                why: "it has answered true as often as it may: create and pay for a new one",
            });
        }
        if self.process != std::process::id() {
            return Err(Error::Exhausted {
                why: "it belongs to the process that created it: create and pay for a new one",
            });
        }
        let mut drawn = [0];
        self.noise.fill(&mut drawn)?;
        let value = Noisy { exact: in_steps(&exact, &self.steps), noise: drawn[0] };
        let hit = value.total() >= self.noisy_threshold.total();
        self.hits += u32::from(hit);
        Ok(hit)
    }

    /// What creating this cost: pure epsilon, for all of its answers together.
    #[must_use]
    pub fn event(&self) -> Event {
        Event::Pure { epsilon: self.epsilon.clone() }
    }

    /// The least epsilon of all answers together, at `delta` in [0, 1).
    pub fn epsilon(&self, delta: f64) -> Result<Enclosure, Error> {
        profile::epsilon(&self.event(), Neighbors::AddRemove, delta)
    }

    /// The least delta of all answers together, at `epsilon` >= 0.
    pub fn delta(&self, epsilon: f64) -> Result<Enclosure, Error> {
        profile::delta(&self.event(), Neighbors::AddRemove, epsilon)
    }

    /// The pure epsilon of all answers together.
    #[must_use]
    pub fn epsilon_exact(&self) -> &Epsilon {
        &self.epsilon
    }

    /// The public threshold.
    #[must_use]
    pub fn threshold(&self) -> f64 {
        self.threshold
    }

    /// The sensitivity of each query.
    #[must_use]
    pub fn sensitivity(&self) -> &LInf {
        &self.sensitivity
    }

    /// How many answers may be true.
    #[must_use]
    pub fn max_hits(&self) -> u32 {
        self.max_hits
    }

    /// How many answers were true: as public as the answers.
    #[must_use]
    pub fn hits(&self) -> u32 {
        self.hits
    }
}

/// epsilon_1 : epsilon_2 = 1 : (2 max_hits)^(2/3), the best ratio (Lyu, Su and Li 2017, section 4.2), and exactly epsilon
/// together.
fn split(epsilon: &Epsilon, max_hits: u32) -> Result<(Positive, Positive), Error> {
    let ratio = libm::pow(2.0 * f64::from(max_hits), 2.0 / 3.0);
    let share = Positive::from_f64("share of epsilon", 1.0 / (1.0 + ratio))?;
    let first = &Positive::from(epsilon) * &share;
    let rest = Positive::new("share of epsilon", epsilon.rational() - first.rational())?;
    Ok((first, rest))
}

/// floor(value steps), clamped to +-2^62: both keep |a - b| <= sensitivity within 2^20 steps.
fn in_steps(value: &Rational, steps: &Rational) -> i64 {
    const END: i64 = 1 << 62;
    let exact = (value * steps).as_big().floor().to_integer();
    exact.to_i64().map_or(if value.is_negative() { -END } else { END }, |steps| steps.clamp(-END, END))
}
