//! Sampling, applied to a law in cells: finitely many losses that bound one direction of a release from one side.

use super::cells::{Cell, Resolution, Side, cells};
use super::component::{Direction, Points, UNIT};
use super::merging::sorted;
use crate::accounting::step::{Sampling, Step};

/// The points of one release, one direction, one side.
pub(crate) fn points(step: &Step, direction: Direction, side: Side, mut resolution: Resolution) -> Points {
    let rate = match step.sampling {
        Sampling::Whole => 1.0,
        Sampling::Poisson(rate) | Sampling::WithoutReplacement(rate) => side.of(rate),
    };
    resolution.rate = rate;
    resolution.mirrored = direction == Direction::Add && rate < 1.0;
    let law = cells(&step.law, side, resolution);
    let mut builder = Builder { side, points: Points::default() };
    match step.sampling {
        Sampling::Whole => {
            for cell in &law.cells {
                builder.cell(cell.low, cell.high, ratio(cell), cell.p, cell.error);
            }
            builder.infinite(law.infinite);
        }
        Sampling::Poisson(_) if direction == Direction::Add => {
            // P = base, Q = (1 - q) base + q other: loss -ln(1 - q + q e^-l), at most -ln(1 - q).
            let mixed = |l: f64| -libm::log1p(rate * libm::expm1(-l));
            for cell in &law.cells {
                let ratio = -libm::log1p(rate * (cell.q / cell.p - 1.0));
                builder.cell(mixed(cell.low), mixed(cell.high), ratio, cell.p, cell.error);
            }
            let most = -libm::log1p(-rate);
            builder.cell(most, most, most, law.infinite, 0.0);
        }
        Sampling::Poisson(_) => {
            let lowest = law.cells.first().map_or(f64::NEG_INFINITY, |cell| mixture(rate, cell.low));
            let missed = (1.0 - rate) * law.missed;
            if missed > 0.0 && lowest.is_finite() {
                builder.cell(lowest, lowest, lowest, missed, 1e-15);
            }
            for cell in &law.cells {
                let p = (1.0 - rate) * cell.q + rate * cell.p;
                let ratio = libm::log1p(rate * (cell.p / cell.q - 1.0));
                builder.cell(mixture(rate, cell.low), mixture(rate, cell.high), ratio, p, cell.error);
            }
            builder.infinite(rate * law.infinite);
        }
        Sampling::WithoutReplacement(_) => {
            // One pair whose curve is that of removal for orders above 1 and its mirror image below: removal's positive
            // losses, their mirror images, and the rest at zero.
            let (mut rest, mut doubt) = (1.0 - rate * law.infinite, 1e-13);
            for cell in law.cells.iter().filter(|cell| cell.low >= 0.0 && cell.high > 0.0) {
                let p = (1.0 - rate) * cell.q + rate * cell.p;
                let ratio = libm::log1p(rate * (cell.p / cell.q - 1.0));
                let (low, high) = (mixture(rate, cell.low), mixture(rate, cell.high));
                builder.cell(low, high, ratio, p, cell.error);
                builder.cell(-high, -low, -ratio, cell.q, cell.error);
                rest -= p + cell.q;
                doubt += 2.0 * (p + cell.q) * cell.error;
            }
            let rest = if side == Side::Upper { rest + doubt } else { rest - doubt };
            builder.cell(0.0, 0.0, 0.0, rest.max(0.0), 0.0);
            builder.infinite(rate * law.infinite);
        }
    }
    sorted(builder.points)
}

/// ln(1 - q + q e^l).
fn mixture(rate: f64, l: f64) -> f64 {
    if l < 30.0 { libm::log1p(rate * libm::expm1(l)) } else { l + libm::log(rate + (1.0 - rate) * libm::exp(-l)) }
}

/// ln(p / q), between the ends.
fn ratio(cell: &Cell) -> f64 {
    if cell.low == cell.high { cell.low } else { libm::log1p((cell.p - cell.q) / cell.q) }
}

pub(super) struct Builder {
    pub(super) side: Side,
    pub(super) points: Points,
}

impl Builder {
    /// Outcomes with losses in [low, high], P-probability p and mean likelihood ratio e^ratio; p and the ratio are known
    /// to within a relative `error`.
    pub(super) fn cell(&mut self, low: f64, high: f64, ratio: f64, p: f64, error: f64) {
        if p <= 0.0 {
            return;
        }
        let doubt = 2.0 * error + 16.0 * UNIT * (1.0 + ratio.abs());
        let size = |l: f64| l.abs() * 16.0 * UNIT;
        match self.side {
            Side::Lower => self.push((ratio - doubt).max(low - size(low)), p * (1.0 - error - 16.0 * UNIT)),
            Side::Upper => {
                let p = p * (1.0 + error + 16.0 * UNIT);
                let (low, high) = (low + size(low), high + size(high));
                let upper = if high - low > 4.0 * doubt {
                    let part = libm::expm1(low - ratio - doubt) / libm::expm1(low - high);
                    (part * (1.0 + 8.0 * UNIT)).clamp(0.0, 1.0)
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

    fn infinite(&mut self, mass: f64) {
        self.points.infinite += mass;
    }

    /// Two ends of neighbouring cells are one point.
    fn push(&mut self, loss: f64, mass: f64) {
        if mass <= 0.0 {
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
