//! Each client's part of the noise: Skellam shares, sized for the fewest honest survivors, charged for the actual ones.
//!
//! A unit's contribution is an integer vector of squared L2 norm at most `squared_l2` (checked on the integers). Each
//! client adds an independent Skellam variable of variance `v` to every coordinate; sums of Skellam variables are
//! Skellam exactly, so `s` survivors of whom `c` are corrupt leave a Skellam of variance `(s - c) v` that nobody knows.
//! Zeroing one unit moves the sum by its vector, so that is the sensitivity: L2 at most the checked norm, L1 at most
//! `min(sqrt(d) L2, L2^2)`, since integers are at most their squares.

mod sizing;

use crate::Error;
use crate::round::Shape;
use sizing::approximate_variance;
use veilsum_dp_core::accounting::{Event, RdpAccountant};
use veilsum_dp_core::noise::Skellam;
use veilsum_dp_core::privacy::{Delta, Epsilon, Positive, Rational};
use veilsum_dp_core::sensitivity::Neighbors;
use zeroize::Zeroizing;

/// The first extra factor on the variance that is tried where the approximate one does not certify; then its squares.
const CREEP: f64 = 1.0 + 1.0 / 4096.0;
/// No more than this is added: beyond, the promise is below what the accountant's orders reach.
const MOST_EXTRA: f64 = 3.0;

/// What the clients' noise promises over all rounds of a training run.
#[derive(Clone, Debug)]
pub struct DistributedNoise {
    epsilon: Epsilon,
    delta: Delta,
    rounds: u32,
}

impl DistributedNoise {
    /// (epsilon, delta) over `rounds` rounds, relation zero-out.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a delta of zero (Skellam noise has no pure guarantee worth its size) or no rounds.
    pub fn new(epsilon: Epsilon, delta: Delta, rounds: u32) -> Result<Self, Error> {
        if !delta.rational().is_positive() {
            return Err(Error::parameter("delta", 0, "in (0, 1)"));
        }
        if rounds == 0 {
            return Err(Error::parameter("rounds", 0, "at least 1"));
        }
        Ok(Self { epsilon, delta, rounds })
    }

    /// The promised epsilon.
    #[must_use]
    pub fn epsilon(&self) -> &Epsilon {
        &self.epsilon
    }

    /// The promised delta.
    #[must_use]
    pub fn delta(&self) -> &Delta {
        &self.delta
    }

    /// Rounds over which the promise holds.
    #[must_use]
    pub fn rounds(&self) -> u32 {
        self.rounds
    }
}

/// The noise of a round, sized.
#[derive(Clone, Debug)]
pub struct NoisePlan {
    promise: DistributedNoise,
    squared_l2: u64,
    l1: u64,
    share_variance: f64,
}

impl NoisePlan {
    pub(crate) fn size(promise: DistributedNoise, shape: &Shape, top: u64, dimension: usize) -> Result<Self, Error> {
        let (squared_l2, l1) = norm_bounds(top, dimension);
        let honest = shape.least_survivors() - shape.corrupt;
        let total = approximate_variance(&promise, l1, squared_l2)?;
        // Rounded up to 20 bits, so that machines whose logarithms differ in the last place agree on the round.
        let rounded = |factor: f64| f64::from_bits(((factor * total / f64::from(honest)).to_bits() | 0xFFFF_FFFF) + 1);
        let plan = |factor| Self { promise: promise.clone(), squared_l2, l1, share_variance: rounded(factor) };
        let target = promise.epsilon.rational().lower();
        // The accountant tries fewer orders than the approximation: a little more noise makes up for that.
        let factors = std::iter::successors(Some(1.0), |&f| Some(if f == 1.0 { CREEP } else { f * f }));
        let certified = factors.take_while(|&f| f <= MOST_EXTRA).map(plan).find(|plan| plan.epsilon(honest) <= target);
        let certified = certified.ok_or_else(|| Error::Unsafe {
            why: format!(
                "epsilon {} at delta {} over {} rounds is smaller than the accountant can certify; raise epsilon or delta",
                promise.epsilon, promise.delta, promise.rounds
            ),
        })?;
        // Fails here, at setup, if the sampler does not reach so far: the grid is then far finer than the noise.
        Skellam::new(&Positive::from_f64(
            "the variance of a client's share of the noise, in grid steps",
            certified.share_variance,
        )?)?;
        Ok(certified)
    }

    /// What it was sized for.
    #[must_use]
    pub fn promise(&self) -> &DistributedNoise {
        &self.promise
    }

    /// Bound on the squared L2 norm of a unit's integer vector, in grid steps.
    #[must_use]
    pub fn squared_l2(&self) -> u64 {
        self.squared_l2
    }

    /// Bound on the L1 norm of a unit's integer vector, in grid steps.
    #[must_use]
    pub fn l1(&self) -> u64 {
        self.l1
    }

    /// Variance of one client's share of the noise, in squared grid steps.
    #[must_use]
    pub fn share_variance(&self) -> f64 {
        self.share_variance
    }

    /// Adds this client's share of the noise, fresh.
    pub(crate) fn add_share(&self, values: &mut [i64]) -> Result<(), Error> {
        let law = Skellam::new(&Positive::from_f64("variance", self.share_variance)?)?;
        let mut noise = Zeroizing::new(vec![0_i64; values.len()]);
        law.fill(&mut noise)?;
        // The ring is modular: a wrapping sum is the sum in the ring.
        values.iter_mut().zip(noise.iter()).for_each(|(v, n)| *v = v.wrapping_add(*n));
        Ok(())
    }

    /// The largest coordinate that a unit's vector can have.
    pub(crate) fn largest_coordinate(&self) -> u64 {
        self.squared_l2.isqrt()
    }

    /// Noise stays below this, in every coordinate, but for a probability of at most [`WRAP`]: Bernstein's inequality
    /// for a sum of Poisson differences, `P[|Z| >= t] <= 2 exp(-t^2 / (2 (V + t/3)))`.
    pub(crate) fn room(&self, clients: u32, dimension: usize) -> f64 {
        let variance = self.share_variance * f64::from(clients);
        let need = (2.0 * dimension as f64 / WRAP).ln();
        let third = need / 3.0;
        third + (third * third + 2.0 * variance * need).sqrt()
    }

    /// An upper bound on epsilon at the promised delta over the promised rounds, if each has this many honest survivors:
    /// what [`RdpAccountant`] finds for the events of those rounds. Infinite without honest survivors.
    #[must_use]
    pub fn epsilon(&self, honest: u32) -> f64 {
        let mut accountant = RdpAccountant::new(Neighbors::ZeroOut);
        let composed = self
            .event(honest, 0)
            .and_then(|event| Ok(accountant.compose(&event, self.promise.rounds.into())?))
            .and_then(|()| Ok(accountant.epsilon(self.promise.delta.rational().lower())?));
        composed.map_or(f64::INFINITY, |epsilon| epsilon.hi())
    }

    /// What a finished round did: the variance of the actual survivors less the assumed corrupt.
    ///
    /// # Errors
    /// [`Error::Privacy`] if no honest survivor is left to have added noise.
    pub fn event(&self, survivors: u32, corrupt: u32) -> Result<Event, Error> {
        let share = Rational::from_f64(self.share_variance).unwrap_or_else(Rational::zero);
        let honest = Rational::from(u64::from(survivors.saturating_sub(corrupt)));
        Ok(Event::Skellam {
            variance: Positive::new("variance", &share * &honest)?,
            l1: self.l1,
            squared_l2: self.squared_l2,
        })
    }
}

/// Probability that noise wraps around the ring in some coordinate of a round. Wrapping is post-processing of the
/// noisy sum: it costs accuracy, never privacy.
pub const WRAP: f64 = 1.0 / (1_u64 << 40) as f64;

/// Bounds on (squared L2, L1) of a clipped vector after conditional stochastic rounding (Kairouz, Liu and Steinke 2021,
/// with beta = exp(-1/2)): `min(r^2 + d/4 + r + sqrt(d)/2, (r + sqrt(d))^2)` for a radius of `r` grid steps.
pub(crate) fn norm_bounds(radius: u64, dimension: usize) -> (u64, u64) {
    let (r, d) = (u128::from(radius), dimension as u128);
    // Whole numbers, rounded up: sqrt(d)/2 <= ceil(sqrt(d))/2.
    let root = d.isqrt() + u128::from(d.isqrt().pow(2) < d);
    let conditional = r * r + d.div_ceil(4) + r + root.div_ceil(2);
    let always = (r + root) * (r + root);
    let squared = conditional.min(always);
    let l1 = (d * squared).isqrt().min(squared);
    (squared as u64, l1 as u64)
}
