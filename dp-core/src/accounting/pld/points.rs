//! Sampling, applied to a law in cells: what one direction of a release looks like, from one side.

use super::cells::{Cell, Resolution, Side, cells, normal_reach};
use super::component::{Direction, Points, UNIT};
use super::elementary::{less_one, logarithms, mixtures, unmixed};
use super::merging::sorted;
use crate::accounting::law::Law;
use crate::accounting::step::{Sampling, Step};

/// Outcomes with losses in [low, high], P-probability p and mean likelihood ratio e^ratio, both known to within a relative
/// `error`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outcome {
    pub(super) low: f64,
    pub(super) high: f64,
    pub(super) ratio: f64,
    pub(super) p: f64,
    pub(super) error: f64,
}

/// What the outcomes leave out or put in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rest {
    /// P's probability of an infinite loss, on the side that was asked for.
    pub(super) infinite: f64,
    /// P's probability among the outcomes that is there for the upper side alone.
    pub(super) surplus: f64,
}

/// A grid of losses at which cells end: offset + k step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grid {
    pub(super) offset: f64,
    pub(super) step: f64,
}

/// The outcomes of one release in one direction, one after the other.
pub(super) fn outcomes(
    step: &Step,
    direction: Direction,
    side: Side,
    resolution: Resolution,
    grid: Option<Grid>,
    mut each: impl FnMut(Outcome),
) -> Rest {
    let rate = match step.sampling {
        Sampling::Whole => 1.0,
        Sampling::Poisson(rate) | Sampling::WithoutReplacement(rate) => side.of(rate),
    };
    // A rate that is not a float is rounded to this side; where both sides are read off one law, that is an error of the
    // two parts of the mixture.
    let rounding = match step.sampling {
        Sampling::Whole => 0.0,
        Sampling::Poisson(rate) | Sampling::WithoutReplacement(rate) => {
            (rate.hi - rate.lo) * (1.0 / rate.lo + 1.0 / (1.0 - rate.hi))
        }
    };
    let mut each = |outcome: Outcome| {
        let outcome = outcome.checked(side);
        each(Outcome { error: outcome.error + rounding, ..outcome });
    };
    let added = direction == Direction::Add && matches!(step.sampling, Sampling::Poisson(_));
    let mixed = |l: f64| if added { -mixture(rate, -l) } else { mixture(rate, l) };
    // The losses of the law, without sampling, at which sampling's loss is on the grid.
    let stops = |low: f64, high: f64| {
        let Some(grid) = grid else { return Vec::new() };
        let place = |l: f64| (mixed(l) - grid.offset) / grid.step;
        let (first, last) = (place(low).ceil(), place(high).floor());
        if (last - first).is_nan() || last - first >= MOST_STOPS {
            return Vec::new();
        }
        let sign = if added { -1.0 } else { 1.0 };
        let lines = (0..=(last - first) as i64).map(|k| sign * (grid.offset + (first + k as f64) * grid.step));
        let mut stops: Vec<f64> = lines.collect();
        unmixed(rate, &mut stops);
        stops.iter_mut().for_each(|l| *l *= sign);
        stops.retain(|l| *l > low && *l < high);
        stops
    };
    // Of some cells: sampling's losses at both ends; mean likelihood ratio - 1, its logarithm, and the error of that beside
    // the cell's own.
    let sign = if added { -1.0 } else { 1.0 };
    let ends = |cells: &[Cell], end: fn(&Cell) -> f64| {
        let mut all = mixtures(rate, &cells.iter().map(|cell| sign * end(cell)).collect::<Vec<_>>());
        all.iter_mut().for_each(|l| *l *= sign);
        all
    };
    let sampled = |cells: &[Cell], ratio: fn(&Cell) -> f64| {
        let odds: Vec<f64> = cells.iter().map(|cell| rate * (ratio(cell) - 1.0)).collect();
        let all = ends(cells, |cell| cell.low).into_iter().zip(ends(cells, |cell| cell.high));
        let all = all.zip(logarithms(&odds)).zip(odds).zip(cells);
        let outcomes = all.map(|((((low, high), log), odds), cell)| {
            let error = cell.error + 16.0 * UNIT * (1.0 + 1.0 / (1.0 + odds));
            (Outcome { low, high, ratio: sign * log, p: cell.p, error }, *cell)
        });
        outcomes.collect::<Vec<_>>()
    };
    let mixed_p = |cell: &Cell| (1.0 - rate) * cell.q + rate * cell.p;
    match step.sampling {
        Sampling::Whole => {
            let law = cells(&step.law, side, resolution, &stops, &mut |cells| {
                for cell in cells {
                    let ratio = libm::log(cell.p / cell.q);
                    each(Outcome { low: cell.low, high: cell.high, ratio, p: cell.p, error: cell.error });
                }
            });
            Rest { infinite: law.infinite, surplus: 0.0 }
        }
        Sampling::Poisson(_) if added => {
            // P = base, Q = (1 - q) base + q other: loss -ln(1 - q + q e^-l), at most -ln(1 - q).
            let law = cells(&step.law, side, resolution, &stops, &mut |cells| {
                sampled(cells, |cell| cell.q / cell.p).into_iter().for_each(|(outcome, _)| each(outcome));
            });
            let most = -libm::log1p(-rate);
            each(Outcome { low: most, high: most, ratio: most, p: law.infinite, error: 0.0 });
            Rest { infinite: 0.0, surplus: if side == Side::Upper { law.infinite } else { 0.0 } }
        }
        Sampling::Poisson(_) => {
            // No loss is below ln(1 - q).
            let mut lowest = f64::INFINITY;
            let law = cells(&step.law, side, resolution, &stops, &mut |cells| {
                for (outcome, cell) in sampled(cells, |cell| cell.p / cell.q) {
                    lowest = if outcome.low < lowest { outcome.low } else { lowest };
                    each(Outcome { p: mixed_p(&cell), ..outcome });
                }
            });
            let lowest = if lowest.is_finite() { lowest } else { libm::log1p(-rate) };
            let missed = (1.0 - rate) * law.missed;
            if missed > 0.0 {
                each(Outcome { low: lowest, high: lowest, ratio: lowest, p: missed, error: 1e-15 });
            }
            Rest { infinite: rate * law.infinite, surplus: missed }
        }
        Sampling::WithoutReplacement(_) => {
            // One pair whose curve is that of removal for orders above 1 and its mirror image below: removal's positive
            // losses, their mirror images, and the rest at zero.
            let (mut inside, mut doubt) = (0.0, 1e-13);
            let law = cells(&step.law, side, resolution, &stops, &mut |cells| {
                for (outcome, cell) in sampled(cells, |cell| cell.p / cell.q) {
                    if cell.low >= 0.0 && cell.high > 0.0 {
                        let (p, Outcome { low, high, ratio, error, .. }) = (mixed_p(&cell), outcome);
                        each(Outcome { p, ..outcome });
                        each(Outcome { low: -high, high: -low, ratio: -ratio, p: cell.q, error });
                        inside += p + cell.q;
                        doubt += 2.0 * (p + cell.q) * cell.error;
                    }
                }
            });
            let rest = 1.0 - rate * law.infinite - inside;
            let rest = if side == Side::Upper { rest + doubt } else { rest - doubt };
            if rest > 0.0 {
                each(Outcome { low: 0.0, high: 0.0, ratio: 0.0, p: rest, error: 4.0 * doubt / rest });
            }
            // What was cut is at zero now.
            let cut = law.infinite - step.law.infinite().lo + law.missed;
            Rest { infinite: rate * law.infinite, surplus: 2.0 * cut }
        }
    }
}

/// ln(1 - q + q e^l).
fn mixture(rate: f64, l: f64) -> f64 {
    if rate == 1.0 {
        l
    } else if l < 30.0 {
        libm::log1p(rate * libm::expm1(l))
    } else {
        l + libm::log(rate + (1.0 - rate) * libm::exp(-l))
    }
}

/// Beyond so many lines of a grid a law is not cut at them.
const MOST_STOPS: f64 = 1e7;

/// How far the losses of one release reach, from end to end, where a lattice takes many cells for them; zero where its
/// outcomes are listed.
pub(super) fn span(step: &Step, direction: Direction, log_floor: f64) -> f64 {
    let (low, high) = match &step.law {
        Law::Gaussian(law) => {
            let shift = 1.0 / law.multiplier.mid();
            let high = shift * (normal_reach(log_floor) + 0.5 * shift);
            (-high, high)
        }
        // Its cells take longer, one by one.
        Law::Laplace(law) => (-4.0 * law.largest.hi, 4.0 * law.largest.hi),
        Law::SmoothDiscreteGaussian(_) | Law::Atoms(_) => return 0.0,
    };
    match step.sampling {
        Sampling::Whole => high - low,
        Sampling::Poisson(rate) if direction == Direction::Add => {
            mixture(rate.mid(), -low) - mixture(rate.mid(), -high)
        }
        Sampling::Poisson(rate) => mixture(rate.mid(), high) - mixture(rate.mid(), low),
        Sampling::WithoutReplacement(rate) => 2.0 * mixture(rate.mid(), high),
    }
}

/// The points of one release, one direction, one side.
pub(super) fn points(step: &Step, direction: Direction, side: Side, resolution: Resolution) -> Points {
    let mut builder = Builder { side, points: Points::default() };
    let rest = outcomes(step, direction, side, resolution, None, |outcome| builder.add(outcome));
    builder.points.infinite += rest.infinite;
    sorted(builder.points)
}

/// Collects outcomes as points on one side of the truth.
pub(super) struct Builder {
    pub(super) side: Side,
    pub(super) points: Points,
}

impl Outcome {
    /// A ratio that could not be evaluated, because a probability underflowed, or that rounding moved past an end.
    fn checked(mut self, side: Side) -> Self {
        if self.ratio.is_nan() {
            self.ratio = if side == Side::Upper { self.high } else { self.low };
        }
        self.ratio = self.ratio.clamp(self.low, self.high);
        self
    }

    /// The part of p at the upper end that keeps the probabilities of both P and Q when nothing is left in between, with
    /// the ratio moved by `doubt`.
    pub(super) fn upper_part(&self, low: f64, high: f64, doubt: f64) -> f64 {
        let ratio = (self.ratio + doubt).clamp(low, high);
        less_one(low - ratio) / less_one(low - high)
    }

    /// How far the ratio may be off.
    pub(super) fn doubt(&self) -> f64 {
        2.0 * self.error + 16.0 * UNIT * (1.0 + self.ratio.abs())
    }
}

impl Builder {
    pub(super) fn add(&mut self, outcome: Outcome) {
        let Outcome { low, high, ratio, p, error } = outcome;
        // Not `p <= 0`, which would take a probability that could not be evaluated.
        if p == 0.0 {
            return;
        }
        let doubt = outcome.doubt();
        let size = |l: f64| l.abs() * 16.0 * UNIT;
        match self.side {
            Side::Lower => self.push((ratio - doubt).max(low - size(low)), p * (1.0 - error - 16.0 * UNIT)),
            Side::Upper => {
                let p = p * (1.0 + error + 16.0 * UNIT);
                let (low, high) = (low + size(low), high + size(high));
                let upper = if high - low > 4.0 * doubt {
                    (outcome.upper_part(low, high, doubt) * (1.0 + 8.0 * UNIT)).clamp(0.0, 1.0)
                } else {
                    1.0
                };
                if upper < 1.0 {
                    self.push(low, p * (1.0 - upper) * (1.0 + 4.0 * UNIT));
                }
                self.push(high, p * upper);
            }
        }
    }

    /// Two ends of neighbouring cells are one point.
    fn push(&mut self, loss: f64, mass: f64) {
        if mass <= 0.0 || loss == f64::NEG_INFINITY {
            return;
        }
        // A loss beyond the floats is charged as an infinite one, or left out.
        if loss == f64::INFINITY {
            self.points.infinite += if self.side == Side::Upper { mass } else { 0.0 };
            return;
        }
        if self.points.losses.last() == Some(&loss) {
            if let Some(last) = self.points.masses.last_mut() {
                *last = (*last + mass) * if self.side == Side::Upper { 1.0 + 2.0 * UNIT } else { 1.0 - 2.0 * UNIT };
            }
            return;
        }
        self.points.losses.push(loss);
        self.points.masses.push(mass);
    }
}
