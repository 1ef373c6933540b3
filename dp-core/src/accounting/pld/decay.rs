//! How fast |M(c + iu) / M(c)| falls, with certainty, for whole ranges of u at once: without that no sum along the line has
//! an end.

use super::component::{Direction, UNIT};
use super::elementary::{Grid, ROUNDER, exponentials};
use super::sampled::SampledGaussian;
use std::f64::consts::{PI, TAU};

/// The tilted law of a sampled Gaussian's loss, in cells with lower bounds on their masses.
#[derive(Debug)]
pub(super) struct Decay {
    /// Windows of losses, each (mass, slope), where the density falls, and where it rises.
    windows: [Vec<(f64, f64)>; 2],
    cells: Vec<Cell>,
    mean: f64,
}

#[derive(Clone, Copy, Debug)]
struct Cell {
    middle: f64,
    half: f64,
    mass: f64,
}

/// Cells of the grid.
const CELLS: usize = 192;
/// [`Decay::between`] holds from u to this times u.
pub(super) const STRETCH: f64 = std::f64::consts::SQRT_2;

impl Decay {
    /// Of the law tilted by `tilt`, given ln M(tilt) and its mean.
    pub(super) fn new(law: &SampledGaussian, tilt: f64, log_moment: f64, mean: f64) -> Self {
        let (power, sign) = law.power(tilt);
        let (low, high) = law.range(power);
        let step = (high - low) / CELLS as f64;
        let variance = law.sigma * law.sigma;
        let mixture = Grid { low, step, count: CELLS + 1, sigma: law.sigma, rate: law.rate, power }.evaluate();
        let norm = -0.5 * libm::log(TAU * variance) - log_moment;
        // Densities of x.
        let mut density = mixture.exponent;
        exponentials(-norm, &mut density);
        // Where rounding might reach the room that is left for it, nothing is known.
        for (f, units) in density.iter_mut().zip(&mixture.doubt) {
            *f = if units * UNIT < 2e-7 { *f } else { f64::NAN };
        }
        // ln of the density is concave in x but for power L, whose second derivative is at most power / (4 sigma^4): so it lies
        // above its chord on a cell, less this; and the mean of e^chord is no less than the geometric mean of its ends.
        let sag = match law.direction {
            Direction::Remove => libm::exp(-step * step * power / (32.0 * variance * variance)),
            Direction::Add => 1.0,
        };
        let cells = (0..CELLS)
            .map(|k| {
                let (a, b) = (mixture.log[k], mixture.log[k + 1]);
                let mass = 0.999_999 * (density[k] * density[k + 1]).sqrt() * step * sag;
                Cell { middle: 0.5 * (a + b), half: 0.5 * (b - a), mass: if mass > 0.0 { mass } else { 0.0 } }
            })
            .collect();
        let points = Points { low, step, power, variance, log: &mixture.log, share: &mixture.share, density: &density };
        Self { windows: points.windows(), cells, mean: sign * mean }
    }

    /// A bound on ln |M(c + iv) / M(c)| for all v >= u.
    ///
    /// For every u > 0, one window of each kind gives 1 - both masses + both slopes / u.
    pub(super) fn beyond(&self, u: f64) -> f64 {
        let turn = 1.0 / u;
        let best = |side: &[(f64, f64)]| {
            side.iter().fold(0.0, |best, (mass, slope)| {
                let found = mass - slope * turn;
                if found > best { found } else { best }
            })
        };
        libm::log((1.0 - best(&self.windows[0]) - best(&self.windows[1])).max(1e-6))
    }

    /// A bound on ln |M(c + iv) / M(c)| for all v from u to [`STRETCH`] u.
    ///
    /// With two independent losses of the tilted law, 1 - |M(c + iv) / M(c)|^2 is the mean of 1 - cos(v (l - l')). Where both
    /// lie in one interval of length h <= pi / v this is at least (l - l')^2 (1 - cos(v h)) / h^2, since (1 - cos t) / t^2
    /// falls up to pi; and elsewhere it is not negative. The mean of (l - l')^2 over one interval is taken of the cells'
    /// middles: by Minkowski its root is wrong by at most that of the mean of the two cells' half widths together.
    pub(super) fn between(&self, u: f64) -> f64 {
        let length = PI / (STRETCH * u);
        let (mut sum, mut interval, mut part) = (0.0, f64::NEG_INFINITY, Part::default());
        for cell in &self.cells {
            // Whole cells alone.
            let (low, high) = (cell.middle - cell.half - self.mean, cell.middle + cell.half - self.mean);
            let mine = nearest(low / length);
            if mine != interval {
                sum += part.spread();
                (interval, part) = (mine, Part::default());
            }
            if high <= (mine + 0.5) * length {
                part.add(cell.middle - self.mean - mine * length, cell.half, cell.mass);
            }
        }
        sum += part.spread();
        let kernel = (1.0 - libm::cos(u * length)) / (length * length);
        0.5 * libm::log((1.0 - 0.999_999 * kernel * sum).clamp(1e-12, 1.0))
    }
}

/// The nearest integer, for numbers up to 2^51.
fn nearest(x: f64) -> f64 {
    (x + ROUNDER) - ROUNDER
}

/// Cells within one interval.
#[derive(Clone, Copy, Debug, Default)]
struct Part {
    mass: f64,
    first: f64,
    second: f64,
    widths: f64,
}

impl Part {
    fn add(&mut self, place: f64, half: f64, mass: f64) {
        self.mass += mass;
        self.first += mass * place;
        self.second += mass * place * place;
        self.widths += mass * half * half;
    }

    /// A lower bound on the mean of (l - l')^2 for both in here.
    fn spread(&self) -> f64 {
        let middles = 2.0 * (self.mass * self.second - self.first * self.first);
        let root = middles.max(0.0).sqrt() - 2.0 * (self.mass * self.widths).sqrt();
        if root > 0.0 { root * root } else { 0.0 }
    }
}

/// The grid along x, from which windows are made.
struct Points<'a> {
    low: f64,
    step: f64,
    power: f64,
    variance: f64,
    log: &'a [f64],
    share: &'a [f64],
    density: &'a [f64],
}

impl Points<'_> {
    /// By parts, a window where the density f of the loss is monotone contributes at most twice its largest f over u. With
    /// w = q e^l / (1 - q + q e^l), increasing in x, d(ln f)/dx = (-x - 1 + (power + 1) w) / sigma^2. Masses are sums of f at
    /// the lower end of each piece.
    fn windows(&self) -> [Vec<(f64, f64)>; 2] {
        // The largest and least value of (power + 1) w on a piece, with room for rounding.
        let pull = |k: usize| {
            let (a, b) = ((self.power + 1.0) * self.share[k], (self.power + 1.0) * self.share[k + 1]);
            (a.min(b) - 1e-9 * a.abs(), a.max(b) + 1e-9 * b.abs())
        };
        let x = |k: usize| self.low + self.step * k as f64;
        let f = |k: usize| self.density[k] * self.variance / self.share[k];
        let width = |k: usize| (self.log[k + 1] - self.log[k]) * 0.999_999;
        let mut windows = [Vec::with_capacity(CELLS), Vec::with_capacity(CELLS)];
        let mut mass = 0.0;
        for k in (0..CELLS).rev() {
            mass = if x(k) + 1.0 > pull(k).1 && f(k + 1).is_finite() { mass + f(k + 1) * width(k) } else { 0.0 };
            let largest = f(k);
            if mass > 0.0 && largest.is_finite() {
                windows[0].push((mass, 2.0 * largest * 1.000_001));
            }
        }
        mass = 0.0;
        for k in 0..CELLS {
            mass = if x(k + 1) + 1.0 < pull(k).0 && f(k).is_finite() { mass + f(k) * width(k) } else { 0.0 };
            let largest = f(k + 1);
            if mass > 0.0 && largest.is_finite() {
                windows[1].push((mass, 2.0 * largest * 1.000_001));
            }
        }
        windows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// ln |M(c + iu) / M(c)|, by the rule itself.
    fn size(law: &SampledGaussian, tilt: f64, u: f64) -> f64 {
        let tilted = law.tilted(tilt, u).expect("affordable");
        let part =
            |f: fn(f64) -> f64| -> f64 { tilted.centred.iter().zip(&tilted.weights).map(|(y, w)| w * f(u * y)).sum() };
        libm::log(part(libm::cos).hypot(part(libm::sin)) + tilted.error(u))
    }

    #[test]
    fn bounds_hold_over_their_ranges_and_are_of_use() {
        for (sigma, rate, tilt) in
            [(1.1, 0.004, 8.0), (0.5, 0.2, 3.0), (2.0, 0.08, 1.5), (5.0, 0.5, 40.0), (0.8, 1e-3, 5.0)]
        {
            for direction in [Direction::Remove, Direction::Add] {
                let law = SampledGaussian { sigma, rate, direction };
                let moment = law.moment(tilt).expect("affordable");
                let decay = Decay::new(&law, tilt, moment.log, moment.mean);
                let deviation = moment.variance.sqrt();
                let mut useful = false;
                for k in -12..14 {
                    let u = STRETCH.powi(k) / deviation;
                    let (between, beyond) = (decay.between(u), decay.beyond(u));
                    for part in 0..=8 {
                        let v = u * STRETCH.powf(f64::from(part) / 8.0);
                        if law.tilted(tilt, v).is_none() {
                            continue;
                        }
                        let truth = size(&law, tilt, v);
                        assert!(truth <= between + 1e-9, "{law:?} at {v}: {truth} above {between}");
                        assert!(truth <= beyond + 1e-9, "{law:?} at {v}: {truth} above {beyond}");
                    }
                    useful |= between < -0.01;
                    if k < -8 {
                        assert!(between < 0.35 * size(&law, tilt, u), "{law:?} at {u}: {between} is of no use");
                    }
                }
                assert!(useful, "{law:?}");
                let far = decay.beyond(1e4 / deviation);
                assert!(far < -0.5, "{law:?}: {far}");
            }
        }
    }
}
