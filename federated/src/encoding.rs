//! From updates to integers and back: clipping, rotation, scaling, rounding.
//!
//! Floats end here. What leaves is integers whose norm was checked *as integers*, so the sensitivity that the noise is
//! sized for holds whatever rounding happened on the way.

mod rotation;

use crate::Error;
use crate::round::{Metric, RoundConfig, Unit};
pub(crate) use rotation::Rotation;
use zeroize::Zeroizing;

/// A client's update.
#[derive(Clone, Copy, Debug)]
pub enum Update<'a> {
    /// One vector: the client is the unit.
    Vector(&'a [f64]),
    /// Rows of `dimension` numbers, one a person: records are the unit.
    Records(&'a [f64]),
}

/// Attempts at rounding within the norm bound; each succeeds with probability at least 0.39.
const ATTEMPTS: u32 = 64;

/// Encodes an update as the integers that are masked: coordinates, metrics, and the weight where weights travel.
pub(crate) fn encode(
    config: &RoundConfig,
    rotation: Option<&Rotation>,
    update: Update<'_>,
    weight: u32,
    metrics: &[f64],
) -> Result<Vec<i64>, Error> {
    let refused = |why: String| Err(Error::Update { why });
    if !(1..=config.max_weight()).contains(&weight) {
        return refused(format!(
            "its weight is not a whole number from 1 to the round's max_weight, {}",
            config.max_weight()
        ));
    }
    let metrics = encoded_metrics(config, metrics)?;
    let dimension = config.dimension();
    let rows = match (update, config.unit()) {
        (Update::Vector(vector), Unit::Client) if vector.len() == dimension => vector,
        (Update::Vector(vector), Unit::Client) => {
            return refused(format!("it has {} coordinates and the round has {dimension}", vector.len()));
        }
        (Update::Records(rows), Unit::Record { most }) if rows.len() % dimension == 0 => {
            if rows.len() / dimension > most as usize {
                return refused(format!("it has more records than the round's max_records, {most}"));
            }
            rows
        }
        (Update::Records(_), Unit::Record { .. }) => {
            return refused(format!("its rows do not have the round's {dimension} coordinates"));
        }
        (Update::Vector(_), Unit::Record { .. }) => {
            return refused("records are the unit of this round: give a list of rows, one a record".into());
        }
        (Update::Records(_), Unit::Client) => {
            return refused("clients are the unit of this round: give one vector".into());
        }
    };
    let mut sum = vec![0_i64; dimension];
    let mut rounder = config.noise().map(|_| Bits::fresh(dimension));
    let mut scratch = Zeroizing::new(Vec::new());
    for row in rows.chunks_exact(dimension) {
        let clip = Clip::of(config, row)?;
        match (&mut rounder, rotation) {
            (Some(bits), Some(rotation)) => {
                scratch.clear();
                scratch.extend(row.iter().map(|&x| clip.steps(x)));
                rotation.forward(&mut scratch);
                let bound = config.noise().map_or(u64::MAX, |plan| plan.squared_l2());
                add_conditionally_rounded(&mut sum, &scratch, bound, bits)?;
            }
            _ => {
                let top = config.top() as i64;
                sum.iter_mut().zip(row).for_each(|(s, &x)| *s += nearest(clip.steps(x)).clamp(-top, top));
            }
        }
    }
    if config.max_weight() > 1 {
        sum.iter_mut().for_each(|s| *s *= i64::from(weight));
    }
    sum.extend(metrics);
    if config.max_weight() > 1 {
        sum.push(i64::from(weight));
    }
    Ok(sum)
}

fn encoded_metrics(config: &RoundConfig, values: &[f64]) -> Result<Vec<i64>, Error> {
    let known = config.metrics();
    if values.len() != known.len() {
        return Err(Error::Update {
            why: format!("it comes with {} metrics and the round has {}", values.len(), known.len()),
        });
    }
    let encoded = |(value, metric): (&f64, &Metric)| {
        if value.is_finite() && value.abs() <= metric.most {
            let room = config.metric_room();
            Ok(((value * config.metric_scale(metric)).round() as i64).clamp(-room, room))
        } else {
            Err(Error::Update {
                why: format!("its metric {:?} is not a number of magnitude at most {}", metric.name, metric.most),
            })
        }
    };
    values.iter().zip(known).map(encoded).collect()
}

/// The nearest whole number, ties to even, for |x| < 2^51. Numbers between 2^52 and 2^53 are whole, so the sum is rounded
/// as it is made; unlike a call to `round`, that is done for many at a time.
fn nearest(x: f64) -> i64 {
    const WHOLE: f64 = 1.5 * (1_u64 << 52) as f64;
    (x + WHOLE).to_bits().wrapping_sub(WHOLE.to_bits()) as i64
}

/// From the numbers of a row to grid steps, clipped to the round's L2 bound.
struct Clip {
    /// Divided by before the factor comes in, so that products neither overflow nor underflow.
    divisor: f64,
    factor: f64,
}

impl Clip {
    fn of(config: &RoundConfig, row: &[f64]) -> Result<Self, Error> {
        // A part at a time, which stays in the cache.
        let mut largest = 0.0_f64;
        for part in row.chunks(PART) {
            if !part.iter().all(|x| x.is_finite()) {
                return Err(Error::Update {
                    why: "it has a NaN or an infinity: drop or impute missing values first".into(),
                });
            }
            largest = part.iter().fold(largest, |most, x| most.max(x.abs()));
        }
        if largest == 0.0 {
            return Ok(Self { divisor: 1.0, factor: 1.0 });
        }
        // Divided by its largest coordinate first, the norm neither overflows nor underflows.
        let norm = squares(row, largest).sqrt();
        let steps = config.top() as f64;
        if largest <= config.clip() / norm {
            Ok(Self { divisor: 1.0, factor: steps / config.clip() })
        } else {
            Ok(Self { divisor: largest, factor: steps / norm })
        }
    }

    #[inline(always)]
    fn steps(&self, x: f64) -> f64 {
        (x / self.divisor) * self.factor
    }
}

/// Numbers that are worked on at a time.
const PART: usize = 4096;

/// The sum of (x / largest)^2, in eight sums side by side.
fn squares(row: &[f64], largest: f64) -> f64 {
    let (eights, rest) = row.as_chunks::<8>();
    let mut sums = [0.0; 8];
    for eight in eights {
        sums.iter_mut().zip(eight).for_each(|(sum, x)| *sum += (x / largest) * (x / largest));
    }
    sums.iter().sum::<f64>() + rest.iter().map(|x| (x / largest) * (x / largest)).sum::<f64>()
}

/// Conditional stochastic rounding (Kairouz, Liu and Steinke 2021, Algorithm 1): round each coordinate up or down at
/// random, without bias, again until the norm is within the bound; after [`ATTEMPTS`], towards zero, which only
/// shortens. The bound is checked on the integers that are added.
fn add_conditionally_rounded(sum: &mut [i64], row: &[f64], bound: u64, bits: &mut Bits) -> Result<(), Error> {
    let within = |rounded: &[i64]| squared_norm(rounded) <= u128::from(bound);
    let mut rounded = vec![0; row.len()];
    for _ in 0..ATTEMPTS {
        for (r, &x) in rounded.iter_mut().zip(row) {
            let floor = x.floor();
            *r = floor as i64 + i64::from(bits.unit()? < x - floor);
        }
        if within(&rounded) {
            sum.iter_mut().zip(&rounded).for_each(|(s, r)| *s += r);
            return Ok(());
        }
    }
    rounded.iter_mut().zip(row).for_each(|(r, x)| *r = x.trunc() as i64);
    if within(&rounded) {
        sum.iter_mut().zip(&rounded).for_each(|(s, r)| *s += r);
    }
    Ok(())
}

fn squared_norm(row: &[i64]) -> u128 {
    row.iter().map(|&x| u128::from(x.unsigned_abs()).pow(2)).sum()
}

/// A decoded sum, in the units of what was encoded.
pub(crate) struct Decoded {
    pub(crate) sum: Vec<f64>,
    pub(crate) metrics: Vec<f64>,
    /// Where weights travel.
    pub(crate) weight: Option<u64>,
}

pub(crate) fn decode(config: &RoundConfig, rotation: Option<&Rotation>, integers: &[i64]) -> Decoded {
    let (coordinates, rest) = integers.split_at(config.dimension());
    let (metrics, weight) = rest.split_at(config.metrics().len());
    let step = config.clip() / config.top() as f64;
    let mut sum: Vec<f64> = coordinates.iter().map(|&x| x as f64).collect();
    if let Some(rotation) = rotation {
        rotation.back(&mut sum);
    }
    sum.iter_mut().for_each(|x| *x *= step);
    let metrics = metrics.iter().zip(config.metrics());
    Decoded {
        sum,
        metrics: metrics.map(|(&x, metric)| x as f64 / config.metric_scale(metric)).collect(),
        weight: weight.first().map(|&weight| weight.max(0) as u64),
    }
}

/// Uniform numbers for rounding, from the operating system, a block at a time.
struct Bits {
    block: Vec<u8>,
    used: usize,
}

impl Bits {
    /// For rows of `dimension` numbers.
    fn fresh(dimension: usize) -> Self {
        let size = (4 * dimension).min(16 * 1024);
        Self { block: vec![0; size], used: size }
    }

    /// A multiple of 2^-32 in [0, 1): finer than the roundings it decides, and unbiased to 2^-33 of a grid step.
    fn unit(&mut self) -> Result<f64, Error> {
        if self.used == self.block.len() {
            getrandom::fill(&mut self.block)?;
            self.used = 0;
        }
        let at = self.used;
        self.used += 4;
        let word = u32::from_le_bytes([self.block[at], self.block[at + 1], self.block[at + 2], self.block[at + 3]]);
        Ok((f64::from(word) + 0.5) / 4_294_967_296.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rounding_is_unbiased_and_within_the_bound() {
        let row = [0.25, -0.75, 3.5, 0.0, -2.0];
        let mut bits = Bits::fresh(5);
        let mut sum = [0; 5];
        for _ in 0..40_000 {
            let mut one = [0; 5];
            add_conditionally_rounded(&mut one, &row, 1_000, &mut bits).expect("a valid case");
            sum.iter_mut().zip(one).for_each(|(s, o)| *s += o);
        }
        // Hoeffding: off by 0.02 of a step with probability 2 exp(-2 * 40000 * 0.02^2) < 3e-14 a coordinate.
        for (s, x) in sum.iter().zip(row) {
            assert!((*s as f64 / 40_000.0 - x).abs() < 0.02);
        }
    }

    #[test]
    fn the_nearest_whole_number() {
        for x in [0.0, -0.0, 0.5, -0.5, 1.5, 2.5, -2.5, 0.49999999999999994, -1e9 - 0.25, 2_147_483_647.0, 1e-300] {
            assert_eq!(nearest(x), x.round_ties_even() as i64, "{x}");
        }
    }

    #[test]
    fn a_bound_that_chance_cannot_meet_ends_in_rounding_towards_zero() {
        let row = [1.5, -1.5, 1.5];
        let mut sum = [0; 3];
        add_conditionally_rounded(&mut sum, &row, 3, &mut Bits::fresh(5)).expect("a valid case");
        assert!(squared_norm(&sum) <= 3);
    }

    proptest! {
        #[test]
        fn rotations_undo_themselves_and_keep_the_norm(row in prop::collection::vec(-1e3..1e3_f64, 1..70), seed: [u8; 32]) {
            let rotation = Rotation::drawn(&seed, row.len());
            let mut turned = row.clone();
            rotation.forward(&mut turned);
            let norm = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>().sqrt();
            prop_assert!((norm(&turned) - norm(&row)).abs() <= 1e-9 * (1.0 + norm(&row)));
            rotation.back(&mut turned);
            for (a, b) in turned.iter().zip(&row) {
                prop_assert!((a - b).abs() < 1e-9);
            }
        }
    }
}
