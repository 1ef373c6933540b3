//! One direction of a composition, and which method answers for it.

use super::cells::{Resolution, Side};
use super::component::{Component, Direction, Points};
use super::contour::{Contour, total};
use super::lattice::{Lattice, Wish};
use super::merging::{Focus, Product};
use super::points::{points, span};
use super::sampled::SampledGaussian;
use super::solve::{Saddle, invert, saddle_of_delta, saddle_of_epsilon};
use super::spread::own_lattice;
use super::{gaussian, gaussian_precision};
use crate::accounting::interval::Interval;
use crate::accounting::law::Law;
use crate::accounting::step::{Sampling, Step};

/// Everything in one direction.
pub(super) struct Composition {
    /// All but the Gaussians without sampling.
    steps: Vec<(Step, u64)>,
    /// The sum of their 1 / sigma^2.
    precision: Interval,
    direction: Direction,
    tolerance: f64,
    lattice_alone: bool,
}

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub(super) enum Query {
    Epsilon { delta: f64 },
    Delta { epsilon: f64 },
}

/// How wide an answer may be, relative to itself, before the contour of the continuous loss is given up.
const SHARP: f64 = 1e-5;
/// Fewer releases than these are merged at once: without Gaussians beside them the contour has no certificate there.
const FEW: f64 = 16.0;
/// Most pairs of outcomes in one evaluation by merging.
const MOST_WORK: f64 = 3e7;
/// Most bins of a merged law.
const MOST_BINS: f64 = 6000.0;
/// Finer and finer lattices before the best answer so far is given.
const LATTICES: usize = 3;
/// Most cells of all laws together, which a lattice far finer than a law's range would take.
const MOST_CELLS: f64 = 1e6;

impl Composition {
    pub(super) fn new(all: &[(Step, u64)], direction: Direction, tolerance: f64, lattice_alone: bool) -> Self {
        let (mut steps, mut precision) = (Vec::with_capacity(all.len()), Interval::ZERO);
        for (step, count) in all {
            match gaussian_precision(step, *count) {
                Some(part) => precision = precision + part,
                None => steps.push((step.clone(), *count)),
            }
        }
        Self { steps, precision, direction, tolerance, lattice_alone }
    }

    pub(super) fn answer(&self, query: Query) -> Interval {
        let infinite = self.infinite();
        let mut best = match query {
            Query::Epsilon { delta } if infinite.lo > delta => return Interval::point(f64::INFINITY),
            Query::Epsilon { delta } if infinite.hi <= delta => Interval::new(0.0, self.largest_loss()),
            Query::Epsilon { .. } => Interval::new(0.0, f64::INFINITY),
            Query::Delta { epsilon } if epsilon >= self.largest_loss() => return infinite,
            Query::Delta { .. } => Interval::new(0.0, 1.0),
        };
        let releases = self.releases();
        if !self.lattice_alone
            && (releases >= FEW || self.precision.hi > 0.0)
            && let Some(all) = self.exact()
        {
            let found = match query {
                Query::Epsilon { delta } => epsilon_of(&all, delta),
                Query::Delta { epsilon } => delta_of(&all, epsilon),
            };
            if let Some(found) = found {
                best = best.meet(found);
                if is_within(found, SHARP) {
                    return found;
                }
            }
        }
        let methods: [fn(&Self, Query) -> Interval; 2] = if self.lattice_alone {
            [Self::by_lattice, Self::by_lattice]
        } else if releases < FEW {
            [Self::by_merging, Self::by_lattice]
        } else {
            [Self::by_lattice, Self::by_merging]
        };
        for method in methods {
            if is_within(best, self.tolerance) {
                break;
            }
            best = best.meet(method(self, query));
        }
        if !is_within(best, 0.02) {
            best = best.meet(self.by_moment(query));
        }
        best
    }

    fn releases(&self) -> f64 {
        self.steps.iter().map(|(_, count)| *count as f64).sum()
    }

    /// The steps with all the Gaussians as one.
    fn whole(&self) -> Vec<(Step, u64)> {
        let mut all = self.steps.clone();
        if self.precision.hi > 0.0 {
            all.push((gaussian(self.precision), 1));
        }
        all
    }

    /// No epsilon need exceed the sum of the largest finite losses.
    fn largest_loss(&self) -> f64 {
        let added = self.direction == Direction::Add;
        let sum = self.whole().iter().fold(Interval::ZERO, |sum, (step, count)| {
            sum + step.largest_finite_loss(added) * Interval::point(*count as f64)
        });
        sum.widened(1e-14).hi
    }

    /// The probability of an infinite loss.
    fn infinite(&self) -> Interval {
        let log_finite = self.steps.iter().fold(Interval::ZERO, |sum, (step, count)| {
            sum + (-step.infinite(self.direction == Direction::Add)).ln_1p() * Interval::point(*count as f64)
        });
        (-log_finite.expm1()).clamp(0.0, 1.0)
    }

    /// The components, if all are Gaussians with or without Poisson sampling.
    fn exact(&self) -> Option<Vec<Component>> {
        let mut all = Vec::with_capacity(self.steps.len() + 1);
        for (step, count) in &self.steps {
            match (&step.law, step.sampling) {
                (Law::Gaussian(law), Sampling::Poisson(rate)) if rate.hi < 1.0 && law.multiplier.hi < 1e100 => {
                    let law =
                        SampledGaussian { sigma: law.multiplier.mid(), rate: rate.mid(), direction: self.direction };
                    all.push(Component::Sampled(law, *count as f64));
                }
                _ => return None,
            }
        }
        all.push(Component::Gaussian(self.precision));
        Some(all)
    }

    /// The answer by merging, with more and more bins.
    fn by_merging(&self, query: Query) -> Interval {
        let (steps, releases) = (self.whole(), self.releases() + 1.0);
        let pairings = |count: u64| f64::from(64 - count.leading_zeros() + count.count_ones());
        let pairings = (steps.iter().map(|(_, count)| pairings(*count)).sum::<f64>() - 3.0).max(1.0);
        let most = (MOST_WORK / pairings).sqrt().min(MOST_BINS);
        let (mut best, mut log_delta) = match query {
            Query::Epsilon { delta } => (Interval::new(0.0, f64::INFINITY), libm::log(delta)),
            Query::Delta { .. } => (Interval::new(0.0, 1.0), -80.0),
        };
        let mut focus = Focus {
            bins: if most < 192.0 { most as usize } else { 192 },
            tilts: vec![0.0, 1.0, 10.0, 100.0, 1e3, 1e4],
            cap: f64::INFINITY,
        };
        loop {
            let resolution = Resolution {
                fineness: (100.0 / focus.bins as f64).min(1.0),
                log_floor: log_floor(log_delta, releases),
            };
            let [lower, upper] = [Side::Lower, Side::Upper].map(|side| {
                let one = |(step, count): &(Step, u64)| (points(step, self.direction, side, resolution), *count);
                Product::new(steps.iter().map(one).collect(), side, &focus)
            });
            let found = match query {
                Query::Epsilon { delta } => Interval::new(lower.epsilon(delta), upper.epsilon(delta)),
                Query::Delta { epsilon } => Interval::new(lower.delta(epsilon).0, upper.delta(epsilon).0),
            };
            best = best.meet(found);
            if is_within(best, self.tolerance) || best.lo == f64::INFINITY || focus.bins as f64 >= most.floor() {
                return best;
            }
            let epsilon = match query {
                Query::Epsilon { .. } if best.hi < 1.5 * best.lo => best.mid(),
                Query::Epsilon { .. } => best.lo,
                Query::Delta { epsilon } => epsilon,
            };
            let (delta, slope) = lower.delta(epsilon);
            log_delta = libm::log(delta.max(1e-290));
            let tilt = (slope / delta.max(1e-300)).clamp(1e-6, 1e12);
            // The width falls with the square of the number of bins.
            let wanted = (1.5 * (best.hi - best.lo) / (self.tolerance * best.hi)).sqrt();
            let bins = focus.bins as f64 * if wanted >= 1.3 { wanted.min(3.0) } else { 1.3 };
            // Beside the slope at epsilon, that of the chord: with heavy tails one release may make all of the loss, and then
            // what is as likely as delta at epsilon weighs as much as what is likely at zero.
            let chord = (-log_delta / epsilon).clamp(1e-6, 1e12);
            focus = Focus { bins: bins.min(most) as usize, tilts: vec![0.0, tilt, chord], cap: epsilon };
        }
    }

    /// The answer on finer and finer lattices.
    fn by_lattice(&self, query: Query) -> Interval {
        let (steps, releases) = (self.whole(), self.releases() + 1.0);
        let (mut best, guess) = match query {
            Query::Epsilon { delta } => (Interval::new(0.0, f64::INFINITY), libm::log(delta)),
            Query::Delta { .. } => (Interval::new(0.0, 1.0), -70.0),
        };
        let Some((mut saddle, mut range)) = self.saddle(query, guess) else { return best };
        let mut near = saddle.log_delta.min(guess);
        if let Query::Delta { .. } = query {
            // What may be cut off is known now.
            near = saddle.log_delta;
            (saddle, range) = self.saddle(query, near).unwrap_or((saddle, range));
        }
        let most_cells = if self.lattice_alone { 10.0 * MOST_CELLS } else { MOST_CELLS };
        let own: Vec<_> = steps.iter().map(|(step, _)| own_lattice(step, self.direction)).collect();
        let tilt = saddle.tilt;
        // Of the width, which grows with the square of the step: see the module's derivation.
        let share = 1.55 * self.tolerance / (releases * (tilt + 1.0));
        let mut step = match query {
            Query::Epsilon { .. } => (share * saddle.epsilon.max(0.05 / tilt)).sqrt(),
            Query::Delta { .. } => (share / tilt).sqrt(),
        };
        let log_floor = log_floor(near, releases);
        let aligned = |step: f64| {
            if let [Some((_, own))] = own.as_slice() {
                return if own.is_finite() { *own } else { 1.0 };
            }
            match own.iter().flatten().find(|(_, own)| own.is_finite() && *own >= step) {
                Some((_, own)) => own / (own / step).ceil(),
                None => step,
            }
        };
        let ask = |step: f64| {
            let step = aligned(step);
            if range.is_nan() || range > most_cells * step {
                return None;
            }
            let wish = Wish { tilt, epsilon: saddle.epsilon, log_delta: saddle.log_delta, step, log_floor };
            let lattice = Lattice::new(&steps, self.direction, wish)?;
            Some(match query {
                Query::Epsilon { delta } => lattice.epsilon(delta, saddle.epsilon),
                Query::Delta { epsilon } => lattice.delta(epsilon),
            })
        };
        let finest = 0.099 / releases.sqrt();
        step = step.min(finest);
        let mut first = ask(step);
        while first.is_none() && step < finest {
            // Too many points: fewer give a wider answer.
            step = (2.0 * step).min(finest);
            first = ask(step);
        }
        for k in 0..LATTICES {
            let Some(found) = (if k == 0 { first } else { ask(step) }) else { break };
            best = best.meet(found);
            if is_within(best, self.tolerance) || own.len() == 1 && own[0].is_some() {
                return best;
            }
            let wanted = ((best.hi - best.lo) / (0.7 * self.tolerance * best.hi)).sqrt();
            step /= if wanted.is_finite() { wanted.clamp(1.5, 8.0) } else { 4.0 };
        }
        // Coarser ones, whose lower bound moves epsilon: by less than such a part of the answer.
        for part in [1e-3, 4e-3, 0.016, 0.06, 0.25] {
            let shift = match query {
                Query::Epsilon { .. } => part * saddle.epsilon,
                Query::Delta { .. } => part / tilt,
            };
            let step = coarse_step(shift) / releases.sqrt();
            if step > finest && !is_within(best, 2.0 * part) {
                best = ask(step).map_or(best, |found| best.meet(found));
            }
        }
        best
    }

    /// An upper end at least, by Chernoff.
    fn by_moment(&self, query: Query) -> Interval {
        let (open, log_delta) = match query {
            Query::Epsilon { delta } => (Interval::new(0.0, f64::INFINITY), libm::log(delta)),
            Query::Delta { .. } => (Interval::new(0.0, 1.0), -650.0),
        };
        let Some((Saddle { tilt, .. }, _)) = self.saddle(query, log_delta) else { return open };
        let (all, infinite) = match self.exact() {
            Some(all) => (all, 0.0),
            None => self.bounding(Side::Upper, log_floor(log_delta, self.releases() + 1.0)),
        };
        let at = total(&all, tilt);
        // (1 - e^-x)+ <= e^(c x) times this, for every x.
        let front = -libm::log1p(tilt) - tilt * libm::log1p(1.0 / tilt);
        let log = at.log + at.error + front + 1e-9 + 1e-12 * (at.log.abs() + front.abs());
        let hi = match query {
            Query::Epsilon { delta } if delta > infinite => {
                let log_delta = libm::log(delta - infinite * (1.0 + 1e-12));
                let epsilon = (log - log_delta + 1e-9 + 1e-12 * log_delta.abs()) / tilt;
                if epsilon < 0.0 { 0.0 } else { epsilon }
            }
            Query::Epsilon { .. } => f64::INFINITY,
            Query::Delta { epsilon } => {
                let exponent = log - tilt * epsilon * (1.0 - 1e-12);
                (libm::exp(exponent) + infinite) * (1.0 + 1e-12) + 1e-300
            }
        };
        open.meet(Interval::new(open.lo, hi))
    }

    /// All laws as points on one side, and their mass at infinite loss in all.
    fn bounding(&self, side: Side, log_floor: f64) -> (Vec<Component>, f64) {
        let resolution = Resolution { fineness: 0.5, log_floor };
        let (mut all, mut infinite) = (vec![Component::Gaussian(self.precision)], 0.0);
        for (step, count) in &self.steps {
            let points = points(step, self.direction, side, resolution);
            infinite += points.infinite * *count as f64;
            all.push(Component::Points(points, *count as f64));
        }
        (all, infinite)
    }

    /// A first guess, from moments where they are known and else through coarse points; and how far the losses of one release
    /// of each kind reach, in all.
    fn saddle(&self, query: Query, log_delta: f64) -> Option<(Saddle, f64)> {
        let log_floor = log_floor(log_delta, self.releases() + 1.0);
        let range = self.steps.iter().map(|(step, _)| span(step, self.direction, log_floor)).sum();
        // At tilts whose moments cannot be evaluated there is no saddle, and one that stopped short is none.
        let known = |saddle: &Saddle, all: &[Component]| {
            let (c, at) = (saddle.tilt, total(all, saddle.tilt));
            let (near, curvature) = (at.mean - 1.0 / c - 1.0 / (c + 1.0), at.variance + 1.0 / (c * c));
            let meant = match query {
                Query::Epsilon { delta } => saddle.log_delta < 0.9 * libm::log(delta) + 2.0,
                Query::Delta { epsilon } => (near - epsilon).abs() < curvature.sqrt(),
            };
            meant && at.error < 0.1
        };
        let exact = self.exact().and_then(|all| guess(query, &all, 0.0).filter(|saddle| known(saddle, &all)));
        let found = exact.or_else(|| {
            let (all, infinite) = self.bounding(Side::Lower, log_floor);
            let thin = |component| match component {
                Component::Points(law, count) => Component::Points(thinned(law), count),
                other => other,
            };
            guess(query, &all.into_iter().map(thin).collect::<Vec<_>>(), infinite)
        })?;
        Some((Saddle { log_delta: found.log_delta.max(-690.0), ..found }, range))
    }
}

/// The saddle point for a question, with that much mass at infinite loss.
fn guess(query: Query, all: &[Component], infinite: f64) -> Option<Saddle> {
    match query {
        Query::Delta { epsilon } => saddle_of_epsilon(all, epsilon),
        Query::Epsilon { delta } if delta > infinite => {
            let found = saddle_of_delta(all, libm::log(delta - infinite));
            found.filter(|found| found.epsilon > 0.0).or_else(|| saddle_of_epsilon(all, 0.0))
        }
        Query::Epsilon { .. } => None,
    }
}

/// Few enough points for a guess.
fn thinned(law: Points) -> Points {
    let size = law.losses.len().div_ceil(3000).max(1);
    if size == 1 {
        return law;
    }
    let pieces = law.losses.chunks(size).zip(law.masses.chunks(size));
    let (losses, masses) = pieces
        .map(|(losses, masses)| {
            let mass: f64 = masses.iter().sum();
            (losses.iter().zip(masses).map(|(l, m)| l * m).sum::<f64>() / mass, mass)
        })
        .unzip();
    Points { losses, masses, infinite: law.infinite }
}

/// The step of a lattice whose coarse lower bound moves epsilon by about `shift`, times the root of the number of releases.
fn coarse_step(shift: f64) -> f64 {
    // shift = s^2 / 2 + s root, where e^(-root^2 / 2) is what may be left out.
    let root = 6.3;
    2.0 * ((root * root + 2.0 * shift).sqrt() - root)
}

/// ln of the tail of one release that may be cut off: in all, a ten-millionth of delta.
fn log_floor(log_delta: f64, releases: f64) -> f64 {
    (log_delta - libm::log(releases) - 16.0).clamp(-690.0, -20.0)
}

/// Whether an enclosure is as narrow as that, relative to its upper end.
fn is_within(found: Interval, relative: f64) -> bool {
    found.lo == found.hi || (found.hi.is_finite() && found.hi - found.lo <= relative * found.hi)
}

/// Epsilon of components whose moments are known.
fn epsilon_of(all: &[Component], delta: f64) -> Option<Interval> {
    let log_delta = libm::log(delta);
    let saddle = saddle_of_delta(all, log_delta);
    if saddle.is_none_or(|saddle| saddle.epsilon <= 0.0) && delta_of(all, 0.0)?.hi <= delta {
        return Some(Interval::ZERO);
    }
    let saddle = saddle?;
    let contour = Contour::new(all, saddle.tilt, saddle.epsilon, log_delta)?;
    let end = |side: Side| invert(&contour, delta, saddle.epsilon, side);
    Some(Interval::new(end(Side::Lower).unwrap_or(0.0), end(Side::Upper).unwrap_or(f64::INFINITY)))
}

/// delta of components whose moments are known.
fn delta_of(all: &[Component], epsilon: f64) -> Option<Interval> {
    let saddle = saddle_of_epsilon(all, epsilon)?;
    let contour = Contour::new(all, saddle.tilt, epsilon, saddle.log_delta)?;
    Some(contour.delta(epsilon).clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounting::law::{Gaussian, Laplace};

    /// Chernoff's end lies above what the other methods prove, and not far above.
    #[test]
    fn an_upper_end_by_moments() {
        let gaussian = |rate: f64, sigma: f64| Step {
            law: Law::Gaussian(Gaussian { multiplier: Interval::point(sigma) }),
            sampling: Sampling::Poisson(Interval::point(rate)),
        };
        let laplace = Step { law: Law::Laplace(Laplace { largest: Interval::point(0.5) }), sampling: Sampling::Whole };
        for steps in
            [vec![(gaussian(0.1, 1.0), 100)], vec![(laplace.clone(), 60)], vec![(gaussian(0.3, 2.0), 40), (laplace, 9)]]
        {
            for direction in [Direction::Remove, Direction::Add] {
                let all = Composition::new(&steps, direction, 1e-3, false);
                for delta in [1e-3, 1e-12, 1e-60] {
                    let (near, far) = (Query::Epsilon { delta }, all.by_moment(Query::Epsilon { delta }));
                    let near = all.answer(near);
                    assert!(near.lo <= far.hi && far.hi < 1.5 * near.hi, "{delta}: {near:?} and {far:?}");
                    let query = Query::Delta { epsilon: near.hi };
                    let (near, far) = (all.answer(query), all.by_moment(query));
                    let tight = far.hi < 1e3 * near.hi || near.hi < 1e-280;
                    assert!(near.lo <= far.hi && tight, "{delta}: {near:?} and {far:?}");
                }
            }
        }
    }
}
