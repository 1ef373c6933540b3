//! Each client's part of the noise: Skellam shares, sized for the fewest honest survivors, charged for the actual ones.
//!
//! A unit's contribution is an integer vector of squared L2 norm at most `squared_l2` (checked on the integers). Each
//! client adds an independent Skellam variable of variance `v` to every coordinate; sums of Skellam variables are
//! Skellam exactly, so `s` survivors of whom `c` are corrupt leave a Skellam of variance `(s - c) v` that nobody knows.
//! Zeroing one unit moves the sum by its vector, so that is the sensitivity: L2 at most the checked norm, L1 at most
//! `min(sqrt(d) L2, L2^2)`, since integers are at most their squares.

use crate::Error;
use crate::round::Shape;
use veilsum_dp_core::accounting::{Event, RdpAccountant};
use veilsum_dp_core::noise::Skellam;
use veilsum_dp_core::privacy::{Delta, Epsilon, Positive, Rational};
use veilsum_dp_core::sensitivity::Neighbors;
use zeroize::Zeroizing;

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
    top: u64,
    squared_l2: u64,
    l1: u64,
    share_variance: f64,
}

impl NoisePlan {
    /// The least variance, of 12 significant bits, with which the accountant certifies the promise for the fewest honest
    /// survivors. So few bits make machines agree on the round whose logarithms differ in the last place.
    pub(crate) fn size(promise: DistributedNoise, shape: &Shape, top: u64, dimension: usize) -> Result<Self, Error> {
        let (squared_l2, l1) = norm_bounds(top, dimension);
        let honest = shape.least_survivors() - shape.corrupt;
        let with =
            |variance: u32| Self { promise: promise.clone(), top, squared_l2, l1, share_variance: coarse(variance) };
        let target = promise.epsilon.rational().lower();
        let enough = |variance: u32| with(variance).epsilon(honest) <= target;
        let refused = || Error::Unsafe {
            why: format!(
                "epsilon {} at delta {} over {} rounds is smaller than the accountant can certify; raise epsilon or delta",
                promise.epsilon, promise.delta, promise.rounds
            ),
        };
        // Gaussian noise would take about this much.
        let logarithm = 1.0 - promise.delta.rational().lower().ln();
        let total = f64::from(promise.rounds) * squared_l2 as f64 * logarithm * (2.0 / target.powi(2) + 1.0 / target);
        let mut high = nearly(total / f64::from(honest));
        while !enough(high) {
            high = Some(high + OCTAVE).filter(|&high| high < nearly(1e40)).ok_or_else(refused)?;
        }
        let mut low = high.saturating_sub(OCTAVE);
        while low > nearly(1e-12) && enough(low) {
            (low, high) = (low - OCTAVE, low);
        }
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if enough(middle) { high = middle } else { low = middle }
        }
        let certified = with(high);
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

    /// By how much the norm that noise must cover exceeds the clip, since integers have to: noise is larger by this factor
    /// than it would be for real numbers. It is 1 for a fine grid.
    #[must_use]
    pub fn inflation(&self) -> f64 {
        (self.squared_l2 as f64).sqrt() / self.top as f64
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

/// Positive numbers of 12 bits after the first, by their place in order: the upper 24 bits of the binary64 encoding.
fn coarse(place: u32) -> f64 {
    f64::from_bits(u64::from(place) << 40)
}

/// The place of the greatest such number that is at most `x`, for finite x > 0.
fn nearly(x: f64) -> u32 {
    (x.to_bits() >> 40) as u32
}

/// Places from a number to its double.
const OCTAVE: u32 = 1 << 12;

/// By how much a ring of 2^`bits` inflates noise: the [inflation](NoisePlan::inflation) of the finest grid on which the
/// noisy sum of `clients` rotated vectors stays inside the ring up to `sigmas` of its standard deviations, with noise of
/// `multiplier` times the clip in all (Kairouz, Liu and Steinke 2021, section 4: clip 1 on a grid of g, the sum has a
/// variance of n^2/d + n g^2/4 + multiplier^2 in each coordinate, and 2^bits g covers twice `sigmas` deviations).
///
/// A guide to the bits that a deployment needs; [`Setup::check`](crate::Setup::check) itself lets no signal wrap at all,
/// however unlikely.
///
/// # Errors
/// [`Error::Parameter`] for numbers that are not finite and positive, and for a ring that holds no grid.
pub fn inflation(clients: u32, dimension: usize, bits: u32, multiplier: f64, sigmas: f64) -> Result<f64, Error> {
    let positive = |what, x: f64| match x.is_finite() && x > 0.0 {
        true => Ok(x),
        false => Err(Error::parameter(what, x, "a finite number > 0")),
    };
    let (z, k) = (positive("multiplier", multiplier)?, positive("sigmas", sigmas)?);
    let (n, d) = (positive("clients", clients.into())?, positive("dimension", dimension as f64)?);
    // (2^bits g / 2k)^2 = n^2/d + n g^2/4 + z^2, solved for the steps 1/g in the clip.
    let room = (f64::from(bits.min(62)).exp2() / (2.0 * k)).powi(2) - n / 4.0;
    let steps = (room / (n * n / d + z * z)).sqrt();
    if !(1.0..9e9).contains(&steps) {
        return Err(Error::parameter(
            "bits",
            bits,
            "enough for at least one grid step in the clip, and at most 32 more",
        ));
    }
    let (squared, _) = norm_bounds(steps as u64, dimension);
    Ok((squared as f64).sqrt() / steps.floor())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inflation_of_a_ring_of_sixteen_bits() {
        for (clients, expected) in [(100, "1.002"), (10_000, "1.17")] {
            let found = inflation(clients, 1 << 20, 16, 1.0, 4.0).expect("a grid");
            assert!(found.to_string().starts_with(expected), "{found} for {clients}");
        }
        assert!(inflation(10_000, 1 << 20, 4, 1.0, 4.0).is_err());
        assert!(inflation(10, 1, 62, 1e-300, 1e-300).is_err() && inflation(10, 1, 16, f64::NAN, 4.0).is_err());
    }

    #[test]
    fn the_variance_is_the_least_that_is_certified() {
        use crate::{Cohort, Setup};
        let (epsilon, delta) = (Epsilon::from_decimal(2.0).expect("> 0"), Delta::from_decimal(1e-6).expect("in range"));
        let noise = DistributedNoise::new(epsilon, delta, 10).expect("valid");
        let setup = Setup::new(10, 100, 1.0, Cohort::Counts { corrupt: 1, dropouts: 1 });
        let config = Setup { noise: Some(noise), value_bits: 8, ..setup }.check().expect("a round");
        let plan = config.noise().expect("noise");
        assert!(plan.epsilon(8) <= 2.0);
        let less = NoisePlan { share_variance: coarse(nearly(plan.share_variance) - 1), ..plan.clone() };
        assert!(less.epsilon(8) > 2.0);
    }
}
