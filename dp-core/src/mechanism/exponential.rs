//! Choosing the best of several candidates.

use super::noiseless::is_noiseless;
use super::{Curve, Mechanism};
use crate::Error;
use crate::accounting::Event;
use crate::noise::exact::Exact;
use crate::noise::interval::Interval;
use crate::privacy::{Epsilon, Positive, Rational};
use crate::sensitivity::LInf;
use num_bigint::BigUint;
use num_traits::Zero;

/// Which of several candidates has the highest score, with noise: epsilon-differentially private, and it tells nothing
/// but the winner.
///
/// The winner is that of score + Exp(2 sensitivity / epsilon), sampled by permute-and-flip (McKenna and Sheldon 2020,
/// Algorithm 1; Ding et al. 2021 show that the two are the same law): candidates in random order, each accepted with
/// probability exp(epsilon (score - best) / (2 sensitivity)). It is never worse than the exponential mechanism.
/// Decisions compare exact numbers, so any number of candidates with any scores neither underflow nor tie by rounding.
///
/// ```
/// use veilsum_dp_core::mechanism::{Mechanism, ReportNoisyMax};
/// use veilsum_dp_core::privacy::Epsilon;
/// use veilsum_dp_core::sensitivity::LInf;
///
/// let best = ReportNoisyMax::new(Epsilon::from_decimal(1.0)?, LInf::from_f64(1.0)?);
/// let winner = best.release(&[3.0, 1000.0, 20.0])?;
/// assert_eq!(winner, 1); // fails once in e^490 runs
/// # Ok::<(), veilsum_dp_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ReportNoisyMax {
    epsilon: Epsilon,
    sensitivity: LInf,
}

impl ReportNoisyMax {
    /// `sensitivity` bounds how much any one score changes between neighbours; scores may change in different
    /// directions.
    #[must_use]
    pub fn new(epsilon: Epsilon, sensitivity: LInf) -> Self {
        Self { epsilon, sensitivity }
    }

    /// The pure epsilon of one release.
    #[must_use]
    pub fn epsilon_exact(&self) -> &Epsilon {
        &self.epsilon
    }

    /// The sensitivity of each score.
    #[must_use]
    pub fn sensitivity(&self) -> &LInf {
        &self.sensitivity
    }

    /// How far the winner's score may lie below the best of `candidates` scores, with at least this confidence: 2
    /// sensitivity / epsilon times ln(candidates / (1 - confidence)) (McKenna and Sheldon 2020, Corollary 1).
    ///
    /// # Errors
    /// If `confidence` is not in (0, 1).
    pub fn shortfall(&self, candidates: u64, confidence: f64) -> Result<f64, Error> {
        let tail = super::accuracy::tail(confidence)?;
        let per_unit = 2.0 * self.sensitivity.bound().upper() / self.epsilon.rational().lower();
        Ok(per_unit * libm::log(candidates as f64 / tail))
    }
}

impl Mechanism for ReportNoisyMax {
    /// The scores, at least one.
    type Input = [f64];
    /// The winner's place among the scores.
    type Output = usize;

    fn release(&self, scores: &[f64]) -> Result<usize, Error> {
        let exact =
            scores.iter().map(|&s| Rational::from_f64(s)).collect::<Option<Vec<_>>>().ok_or(Error::NotFinite)?;
        let best = if is_noiseless() {
            // The first of the best.
            (0..exact.len()).rev().max_by_key(|&i| &exact[i])
        } else {
            let rate = rate(&self.epsilon, &self.sensitivity);
            let exponents: Vec<Rational> = exact.iter().map(|score| score * &rate).collect();
            Exact::new()?.permute_and_flip(&exponents)
        };
        best.ok_or_else(no_candidates)
    }

    fn event(&self) -> Event {
        Event::Pure { epsilon: self.epsilon.clone() }
    }
}

impl Curve for ReportNoisyMax {}

/// The exponential mechanism over weighted candidates (McSherry and Talwar 2007): candidate i with probability
/// proportional to weight_i exp(epsilon score_i / (2 sensitivity)), exactly.
///
/// A candidate of weight w stands for w outcomes with the same score, such as the points of an interval of a lattice.
/// The set of all outcomes is fixed and public; the scores are private.
///
/// ```
/// use veilsum_dp_core::mechanism::{Exponential, Mechanism};
/// use veilsum_dp_core::privacy::Epsilon;
/// use veilsum_dp_core::sensitivity::LInf;
///
/// let choice = Exponential::new(Epsilon::from_decimal(1.0)?, LInf::from_f64(1.0)?);
/// let chosen = choice.release(&[(1 << 40, -3000), (1, 0)])?; // a narrow interval with a far better score
/// assert_eq!(chosen, 1);
/// # Ok::<(), veilsum_dp_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Exponential {
    epsilon: Epsilon,
    sensitivity: LInf,
}

impl Exponential {
    /// `sensitivity` bounds how much any one score changes between neighbours.
    #[must_use]
    pub fn new(epsilon: Epsilon, sensitivity: LInf) -> Self {
        Self { epsilon, sensitivity }
    }

    /// Draws by inversion: a uniform number times the total mass falls into one candidate's share. Masses are enclosed
    /// by big integers, and the precision grows until the place is certain.
    fn choose(&self, candidates: &[(u64, i64)], random: &mut Exact) -> Option<usize> {
        let best = candidates.iter().filter(|(weight, _)| *weight > 0).map(|(_, score)| *score).max()?;
        let rate = rate(&self.epsilon, &self.sensitivity);
        let (mut uniform, mut bits) = (BigUint::zero(), 0);
        loop {
            for _ in 0..2 {
                uniform = uniform << 64u32 | BigUint::from(random.word());
                bits += 64;
            }
            if let Some(chosen) = locate(candidates, best, &rate, &uniform, bits) {
                return Some(chosen);
            }
        }
    }
}

/// The candidate into whose share every number in [uniform, uniform + 1) / 2^bits falls, if it is one.
fn locate(candidates: &[(u64, i64)], best: i64, rate: &Positive, uniform: &BigUint, bits: u64) -> Option<usize> {
    // 64 bits for the weights and 64 for their number, beyond those of the uniform number.
    let precision = bits + 128;
    // Candidates of one score often stand together.
    let mut last: Option<(i64, Interval)> = None;
    let mut ends = Vec::with_capacity(candidates.len());
    let (mut low, mut high) = (BigUint::zero(), BigUint::zero());
    for &(weight, score) in candidates {
        if weight > 0 {
            let mass = match last {
                Some((same, mass)) if same == score => mass,
                _ => Interval::exp_neg(
                    (&Rational::from(i128::from(best) - i128::from(score)) * rate).as_big(),
                    precision,
                ),
            };
            low += &mass.lo * weight;
            high += &mass.hi * weight;
            last = Some((score, mass));
        }
        ends.push((low.clone(), high.clone()));
    }
    // The number is uniform / 2^bits times the total, which lies in [low, high].
    let (at_least, at_most) = (uniform * &low, (uniform + 1u32) * &high);
    let chosen = ends.partition_point(|(_, end)| end << bits <= at_least);
    ends.get(chosen).is_some_and(|(end, _)| at_most <= end << bits).then_some(chosen)
}

impl Mechanism for Exponential {
    /// (weight, score) of each candidate; at least one weight is not zero.
    type Input = [(u64, i64)];
    /// The place of the chosen candidate.
    type Output = usize;

    fn release(&self, candidates: &[(u64, i64)]) -> Result<usize, Error> {
        let chosen = if is_noiseless() {
            (0..candidates.len()).rev().filter(|&i| candidates[i].0 > 0).max_by_key(|&i| candidates[i].1)
        } else {
            self.choose(candidates, &mut Exact::new()?)
        };
        chosen.ok_or_else(no_candidates)
    }

    fn event(&self) -> Event {
        Event::Pure { epsilon: self.epsilon.clone() }
    }
}

impl Curve for Exponential {}

/// epsilon / (2 sensitivity): the exponent of one unit of score.
fn rate(epsilon: &Epsilon, sensitivity: &LInf) -> Positive {
    &Positive::from(epsilon) / &(sensitivity.bound() + sensitivity.bound())
}

fn no_candidates() -> Error {
    Error::out_of_range("candidates", 0, "at least one")
}
