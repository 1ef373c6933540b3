//! One release on a lattice: every outcome at the two points around it.

use super::cells::{Resolution, Side};
use super::component::{Direction, UNIT, greater, lesser};
use super::elementary::{dot, exponentials};
use super::lattice::Wish;
use super::points::{Grid, Outcome, outcomes};
use crate::accounting::interval::Interval;
use crate::accounting::law::Law;
use crate::accounting::step::Step;

/// One kind of release on the lattice: masses at offset + (first + k) step.
pub(super) struct Spread {
    pub(super) times: u64,
    /// The same, rounded.
    pub(super) count: f64,
    pub(super) offset: f64,
    pub(super) step: f64,
    pub(super) first: i64,
    pub(super) masses: Vec<f64>,
    /// The largest distance between the two points of an outcome.
    pub(super) width: f64,
    /// Relative error of the masses.
    pub(super) error: f64,
    /// How far a loss may lie from where it was put.
    pub(super) slack: f64,
    pub(super) infinite: Interval,
    pub(super) surplus: f64,
}

/// Most points of a lattice.
pub(super) const MOST_POINTS: f64 = 1_048_576.0;
/// So many neighbours share one exponential.
pub(super) const BLOCK: usize = 32;

impl Spread {
    pub(super) fn new(one: &Step, times: u64, direction: Direction, wish: Wish) -> Option<Self> {
        let resolution = Resolution { fineness: 1.0, log_floor: wish.log_floor };
        let (step, offset) = (wish.step, own_lattice(one, direction).map_or(0.0, |(first, _)| first));
        let (grid, per_step) = (Grid { offset, step }, 1.0 / step);
        let mut all = Masses::default();
        let (mut width, mut error, mut slack) = (0_i64, 0.0_f64, 0.0_f64);
        let mut lost = 0.0;
        let mut put = |outcome: Outcome| {
            let Outcome { low, high, p, .. } = outcome;
            if p == 0.0 {
                return;
            }
            let doubt = outcome.doubt();
            let place = |l: f64| (l - offset) * per_step;
            let room = 1e-6 + 32.0 * UNIT * (low.abs() + offset.abs()) * per_step;
            let (from, to) = (place(low) + room, place(high) - room);
            // Far beyond any lattice.
            if !(from.abs() <= MOST_POINTS && to.abs() <= MOST_POINTS) {
                lost += p;
                return;
            }
            let from = floor(from);
            let to = (-floor(-to)).max(from);
            let (a, b) = (offset + from as f64 * step, offset + to as f64 * step);
            let outside = greater(greater(a - low, high - b), 0.0);
            slack = greater(slack, doubt + outside + 16.0 * UNIT * (a.abs() + b.abs() + offset.abs()));
            error = greater(error, outcome.error + 4.0 * UNIT);
            if from == to {
                all.add(from, p);
                return;
            }
            width = width.max(to - from);
            // Rounding of the part moves the mean by as much of the width, and of the ratio.
            slack = greater(slack, 16.0 * UNIT * (b - a) + doubt);
            let part = outcome.upper_part(a, b, 0.0).clamp(0.0, 1.0);
            all.add(from, p * (1.0 - part));
            all.add(to, p * part);
        };
        let rest = outcomes(one, direction, Side::Upper, resolution, Some(grid), &mut put);
        if error.is_nan() || error >= 1e-3 || lost > 0.0 || all.is_empty() {
            return None;
        }
        let (first, masses) = all.into_line();
        // Masses are sums of a few positive numbers each.
        let error = error + 64.0 * UNIT;
        let infinite = Interval::new(one.infinite(direction == Direction::Add).lo, rest.infinite);
        Some(Self {
            times,
            count: times as f64,
            offset,
            step,
            first,
            masses,
            width: width as f64 * step,
            error,
            slack,
            infinite,
            surplus: rest.surplus,
        })
    }

    pub(super) fn loss(&self, k: usize) -> f64 {
        self.offset + (self.first + k as i64) as f64 * self.step
    }

    /// e^(tilt loss) within a block, relative to its beginning. Blocks are short where that might overflow.
    fn factors(&self, tilt: f64) -> Vec<f64> {
        let block = if tilt.abs() * self.step * BLOCK as f64 <= 300.0 { BLOCK } else { 1 };
        (0..block).map(|k| libm::exp(tilt * (self.step * k as f64))).collect()
    }

    /// ln M(tilt) of one release, by blocks so that neither powers nor sums lose much.
    pub(super) fn log_moment(&self, tilt: f64) -> f64 {
        let factors = self.factors(tilt);
        let blocks = || self.masses.chunks(factors.len());
        let mut scales: Vec<f64> = (0..blocks().len()).map(|k| tilt * self.loss(factors.len() * k)).collect();
        let within = |masses: &[f64]| dot(masses, &factors[..masses.len()]);
        let top = scales.iter().copied().fold(f64::NEG_INFINITY, greater);
        exponentials(top, &mut scales);
        let sum: f64 = blocks().zip(&scales).map(|(masses, scale)| within(masses) * scale).sum();
        if sum > 1e-200 {
            return top + libm::log(sum);
        }
        // Where the largest factors meet no masses to speak of.
        let log = |(k, masses): (usize, &[f64])| libm::log(within(masses)) + tilt * self.loss(factors.len() * k);
        let logs: Vec<f64> = blocks().enumerate().map(log).collect();
        let top = logs.iter().copied().fold(f64::NEG_INFINITY, greater);
        top + libm::log(logs.iter().map(|log| libm::exp(log - top)).sum())
    }

    /// Tilted masses relative to e^log, folded into as many points as there is room for; and the relative error of each.
    pub(super) fn tilted(&self, tilt: f64, log: f64, folded: &mut [f64]) -> f64 {
        let (factors, points) = (self.factors(tilt), folded.len());
        let mut largest = 0.0;
        folded.fill(0.0);
        for (k, masses) in self.masses.chunks(factors.len()).enumerate() {
            let exponent = tilt * self.loss(factors.len() * k);
            largest = greater(largest, exponent.abs());
            let scale = libm::exp(exponent - log);
            let mut place = factors.len() * k % points;
            for (mass, factor) in masses.iter().zip(&factors) {
                folded[place] += mass * (scale * factor);
                place = if place + 1 == points { 0 } else { place + 1 };
            }
        }
        // A block is e^300 at most.
        (2.0 * largest + 2.0 * log.abs() + 640.0) * UNIT
    }
}

/// The largest whole number up to x, which is far within the range of `i64`: without the call that `f64::floor` is on old
/// processors.
fn floor(x: f64) -> i64 {
    let towards_zero = x as i64;
    towards_zero - i64::from(towards_zero as f64 > x)
}

/// Sums of masses at whole numbers, from some number upward and from there downward.
#[derive(Default)]
struct Masses {
    middle: Option<i64>,
    above: Vec<f64>,
    below: Vec<f64>,
}

impl Masses {
    fn add(&mut self, k: i64, mass: f64) {
        let distance = k - *self.middle.get_or_insert(k);
        let (side, place) = if distance >= 0 { (&mut self.above, distance) } else { (&mut self.below, -1 - distance) };
        let place = place as usize;
        if place >= side.len() {
            side.resize(place + 1, 0.0);
        }
        side[place] += mass;
    }

    fn is_empty(&self) -> bool {
        self.middle.is_none()
    }

    /// The first number and all masses from there on.
    fn into_line(mut self) -> (i64, Vec<f64>) {
        let first = self.middle.unwrap_or(0) - self.below.len() as i64;
        if self.below.is_empty() {
            return (first, self.above);
        }
        self.below.reverse();
        self.below.append(&mut self.above);
        (first, self.below)
    }
}

/// The first loss and the step of a lattice on which all outcomes of a release lie, if they are few and do.
pub(super) fn own_lattice(one: &Step, direction: Direction) -> Option<(f64, f64)> {
    let Law::Atoms(law) = &one.law else { return None };
    if law.atoms.len() > MOST_ALIGNED {
        return None;
    }
    let mut losses = Vec::with_capacity(2 * law.atoms.len() + 1);
    let resolution = Resolution { fineness: 1.0, log_floor: -600.0 };
    outcomes(one, direction, Side::Lower, resolution, None, |outcome| losses.push(0.5 * (outcome.low + outcome.high)));
    losses.sort_by(f64::total_cmp);
    let (first, last) = (*losses.first()?, *losses.last()?);
    let same = 1e-12 * (first.abs() + last.abs());
    losses.dedup_by(|a, b| *a - *b <= same);
    let least = losses.windows(2).map(|pair| pair[1] - pair[0]).fold(f64::INFINITY, lesser);
    if !least.is_finite() {
        // A single loss lies on any lattice that starts there.
        return Some((first, f64::INFINITY));
    }
    let step = (last - first) / ((last - first) / least).round();
    let fits = |loss: &f64| {
        let place = (loss - first) / step;
        (place - place.round()).abs() < 1e-9
    };
    losses.iter().all(fits).then_some((first, step))
}

/// Beyond so many atoms a lattice of the law's own is not looked for.
const MOST_ALIGNED: usize = 5000;
