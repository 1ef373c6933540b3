//! The Poisson-subsampled Gaussian: its tilted law as quadrature nodes, with the error of the rule.

use super::component::{Direction, Moment, Tilted, UNIT};
use super::elementary::{self, Grid};
use std::f64::consts::{LN_2, PI, TAU};

/// A Poisson-subsampled Gaussian in one direction, in units of the sensitivity.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct SampledGaussian {
    /// Noise multiplier, to within one unit in the last place.
    pub(crate) sigma: f64,
    /// Sampling rate, to within one unit in the last place.
    pub(crate) rate: f64,
    pub(crate) direction: Direction,
}

/// Standard deviations from the centre at which a Gaussian integrand is cut: a mass of 7e-19.
const REACH: f64 = 8.8;
/// The mass that is cut off, relative.
const CUT: f64 = 1e-16;
/// Most nodes of the quadrature in x.
const MOST_NODES: f64 = 20_000.0;

impl SampledGaussian {
    /// Power of the mixture in the tilted density normal(x) (1 - q + q e^l)^power, and the sign of the loss.
    pub(super) fn power(&self, tilt: f64) -> (f64, f64) {
        match self.direction {
            Direction::Remove => (tilt + 1.0, 1.0),
            Direction::Add => (-tilt, -1.0),
        }
    }

    /// Where the integrand is cut, with the relative mass [`CUT`] outside. Since y^a is convex for a >= 1 and a <= 0, the
    /// integrand is at most normal(x) ((1 - q) + q e^(a l)), two Gaussians around 0 and a of weights 1 - q and
    /// w = q e^(a (a - 1) / (2 sigma^2)); for a <= 0 it is also at most (1 - q)^a normal(x). M(c) >= 1 (Jensen), so the
    /// second Gaussian may be cut where w times its tail is below e^-level.
    ///
    /// For a >= 1 a nearer cut is possible: beyond x the mixture is at most q e^l e^r with r = ((1 - q) / q) e^-l at x,
    /// and M(c) is at least what q e^l alone gives, so the relative mass outside is at most e^(a r) times a normal tail.
    pub(super) fn range(&self, power: f64) -> (f64, f64) {
        let variance = self.sigma * self.sigma;
        let weight = libm::log(self.rate) + power * (power - 1.0) / (2.0 * variance);
        let level = 0.5 * REACH * REACH;
        let second = self.sigma * (2.0 * (level + weight)).max(0.0).sqrt();
        let (low, high) = (-REACH * self.sigma, REACH * self.sigma);
        if power > 0.0 {
            let near = power + REACH * self.sigma;
            let rest = (1.0 - self.rate) / self.rate * libm::exp(-(2.0 * near - 1.0) / (2.0 * variance));
            let far = power + second;
            return (low, high.max(if power * rest <= 1.0 { near.min(far) } else { far }));
        }
        let flat = self.sigma * (2.0 * (level - power.abs() * libm::log1p(-self.rate))).sqrt();
        let peaked = power - second;
        (low.min(peaked.max(-flat)), high)
    }

    /// Bound on the error of the trapezoid rule with this step, relative to M(c), at frequency u (in the exponent): it grows
    /// with u.
    ///
    /// The integrand is analytic for |Im x| < pi sigma^2. On Im x = +-y the normal density grows by e^(y^2 / (2 sigma^2)),
    /// the phase of the mixture is at most t = y / sigma^2, so e^(iu L) grows by at most e^(u t), and for a negative power
    /// -c the mixture shrinks by at most cos(t / 2) (it is no less than its real counterpart times that). The rule's error
    /// is then at most 2 / (e^(2 pi y / step) - 1) times that growth (Trefethen and Weideman 2014, Theorem 5.1), for every y.
    fn log_quadrature_error(&self, tilt: f64, step: f64, u: f64) -> f64 {
        let variance = self.sigma * self.sigma;
        let at = |y: f64| {
            let t = y / variance;
            let shrink = match self.direction {
                Direction::Remove => 0.0,
                Direction::Add => -tilt * libm::log(libm::cos(0.5 * t)),
            };
            let decay = 2.0 * PI * y / step;
            y * y / (2.0 * variance) + u * t + shrink - decay - libm::log(-libm::expm1(-decay))
        };
        let widest = PI * variance;
        // The bound without `shrink` is least at 2 pi sigma^2 / step - u, within the strip; some smaller y serve a shrinking
        // mixture. Any y gives a bound.
        let best = (2.0 * PI * variance / step - u).clamp(0.01 * widest, 0.98 * widest);
        let parts: &[f64] = match self.direction {
            Direction::Remove => &[1.0],
            Direction::Add => &[1.0, 0.85, 0.7, 0.5, 0.3],
        };
        parts.iter().map(|part| at(best * part)).fold(f64::INFINITY, f64::min) + LN_2
    }

    /// A step that keeps the quadrature's error near 1e-17 up to frequency `u`, and that error.
    fn step(&self, tilt: f64, u: f64) -> (f64, f64) {
        let variance = self.sigma * self.sigma;
        let wish = 39.0;
        let widest = PI * variance;
        let narrow = 2.0 * PI * 0.9 * widest / (wish + 0.41 * widest * widest / variance + u * 2.9);
        let wide = 2.0 * PI * self.sigma / (2.0 * wish).sqrt();
        let mut step = if wide > 2.0 && u == 0.0 { wide } else { narrow.min(wide) };
        let mut error = self.log_quadrature_error(tilt, step, u);
        while error > -wish && step > 1e-3 * narrow {
            step *= 0.93;
            error = self.log_quadrature_error(tilt, step, u);
        }
        (step, libm::exp(error))
    }

    /// The rule's nodes and weights, good for frequencies up to `highest`.
    fn nodes(&self, tilt: f64, highest: f64) -> Option<Nodes> {
        let (power, sign) = self.power(tilt);
        let (low, high) = self.range(power);
        let (step, error) = self.step(tilt, highest);
        let count = (high - low) / step;
        if count.is_nan() || count >= MOST_NODES {
            return None;
        }
        let grid = Grid { low, step, count: count.ceil() as usize + 1, sigma: self.sigma, rate: self.rate, power };
        let mut mixture = grid.evaluate();
        // Weights are relative to the largest, which no floating-point range holds at high tilts.
        let top = mixture.exponent.iter().fold(f64::NEG_INFINITY, |top, e| if *e > top { *e } else { top });
        if !top.is_finite() {
            return None;
        }
        elementary::exponentials(top, &mut mixture.exponent);
        let (mut losses, weights) = (mixture.log, mixture.exponent);
        if sign < 0.0 {
            losses.iter_mut().for_each(|l| *l = -*l);
        }
        let total = elementary::sum(&weights);
        // Beside the exponents: e^x, the subtraction of `top`, and a sum of positive terms one by one.
        let units = elementary::dot(&weights, &mixture.doubt) / total + 8.0 + top.abs() + weights.len() as f64;
        let log = top + libm::log(total * step / (self.sigma * TAU.sqrt()));
        let rounding = 1.01 * units * UNIT;
        let loss = 1.01 * elementary::dot(&weights, &mixture.log_doubt) / total * UNIT;
        Some(Nodes { losses, weights, total, log, rounding, loss, quadrature: error })
    }

    /// ln M(tilt) with derivatives and error.
    pub(super) fn moment(&self, tilt: f64) -> Option<Moment> {
        self.nodes(tilt, 0.0).map(|nodes| nodes.moment())
    }

    pub(super) fn tilted(&self, tilt: f64, highest: f64) -> Option<Tilted> {
        let nodes = self.nodes(tilt, highest)?;
        let moment = nodes.moment();
        let Nodes { losses, weights, total, rounding, loss, quadrature, .. } = nodes;
        // Both M(c + iu) and M(c) are off by the rule's error, by what was cut, and by the weights' rounding.
        Some(Tilted::new(losses, weights, total, moment, (quadrature + 2.0 * (CUT + rounding), loss)))
    }
}

/// The trapezoid rule along x for one tilt.
struct Nodes {
    losses: Vec<f64>,
    /// Relative to the largest.
    weights: Vec<f64>,
    total: f64,
    /// ln M(tilt).
    log: f64,
    /// Relative error of the weights, on average.
    rounding: f64,
    /// Error of the losses, on average.
    loss: f64,
    /// The rule's error, relative to M(tilt), up to the highest frequency.
    quadrature: f64,
}

impl Nodes {
    fn moment(&self) -> Moment {
        let (mean, variance) = elementary::mean_and_variance(&self.losses, &self.weights, self.total);
        let error = 1.01 * (CUT + self.quadrature + self.rounding + 6.0 * UNIT) + 2.0 * UNIT * self.log.abs();
        Moment { log: self.log, mean, variance, error }
    }
}
