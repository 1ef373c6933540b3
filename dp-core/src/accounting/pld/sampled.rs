//! The Poisson-subsampled Gaussian: its tilted law as quadrature nodes, with the error of the rule.

use super::component::{Direction, Tilted, UNIT};

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
/// Most nodes of the quadrature in x.
const MOST_NODES: f64 = 20_000.0;

impl SampledGaussian {
    /// ln(1 - q + q e^l) with l = (2x - 1) / (2 sigma^2), to about four units in the last place of the larger of its
    /// size and the size of l times its slope.
    fn log_mixture(&self, x: f64) -> f64 {
        let l = (2.0 * x - 1.0) / (2.0 * self.sigma * self.sigma);
        if l < 30.0 {
            libm::log1p(self.rate * libm::expm1(l))
        } else {
            l + libm::log(self.rate + (1.0 - self.rate) * libm::exp(-l))
        }
    }

    /// Power of the mixture in the tilted density normal(x) (1 - q + q e^l)^power, and the sign of the loss.
    fn power(&self, tilt: f64) -> (f64, f64) {
        match self.direction {
            Direction::Remove => (tilt + 1.0, 1.0),
            Direction::Add => (-tilt, -1.0),
        }
    }

    /// Where the integrand is cut, with the relative mass outside. Since y^a is convex for a >= 1 and a <= 0, the
    /// integrand is at most normal(x) ((1 - q) + q e^(a l)), two Gaussians around 0 and a of weights 1 - q and
    /// w = q e^(a (a - 1) / (2 sigma^2)); for a <= 0 it is also at most (1 - q)^a normal(x). M(c) >= 1 (Jensen), so the
    /// second Gaussian may be cut where w times its tail is below e^-level.
    ///
    /// For a >= 1 a nearer cut is possible: beyond x the mixture is at most q e^l e^r with r = ((1 - q) / q) e^-l at x,
    /// and M(c) is at least what q e^l alone gives, so the relative mass outside is at most e^(a r) times a normal tail.
    fn range(&self, power: f64) -> (f64, f64, f64) {
        let variance = self.sigma * self.sigma;
        let weight = libm::log(self.rate) + power * (power - 1.0) / (2.0 * variance);
        let level = 0.5 * REACH * REACH;
        let second = self.sigma * (2.0 * (level + weight)).max(0.0).sqrt();
        let (low, high) = (-REACH * self.sigma, REACH * self.sigma);
        if power > 0.0 {
            let near = power + REACH * self.sigma;
            let rest = (1.0 - self.rate) / self.rate * libm::exp(-(2.0 * near - 1.0) / (2.0 * variance));
            let far = power + second;
            return (low, high.max(if power * rest <= 1.0 { near.min(far) } else { far }), 1e-16);
        }
        let flat = self.sigma * (2.0 * (level - power.abs() * libm::log1p(-self.rate))).sqrt();
        let peaked = power - second;
        (low.min(peaked.max(-flat)), high, 1e-16)
    }

    /// Bound on the error of the trapezoid rule with this step, relative to M(c), at frequency u (in the exponent).
    ///
    /// The integrand is analytic for |Im x| < pi sigma^2. On Im x = +-y the normal density grows by e^(y^2 / (2 sigma^2)),
    /// the phase of the mixture is at most t = y / sigma^2, so e^(iu L) grows by at most e^(u t), and for a negative power
    /// -c the mixture shrinks by at most cos(t / 2) (it is no less than its real counterpart times that). The rule's error
    /// is then at most 2 / (e^(2 pi y / step) - 1) times that growth (Trefethen and Weideman 2014, Theorem 5.1), for every y.
    pub(super) fn log_quadrature_error(&self, tilt: f64, step: f64, u: f64) -> f64 {
        let variance = self.sigma * self.sigma;
        let at = |y: f64| {
            let t = y / variance;
            let shrink = match self.direction {
                Direction::Remove => 0.0,
                Direction::Add => -tilt * libm::log(libm::cos(0.5 * t)),
            };
            let decay = 2.0 * std::f64::consts::PI * y / step;
            y * y / (2.0 * variance) + u * t + shrink - decay - libm::log(-libm::expm1(-decay))
        };
        let widest = std::f64::consts::PI * variance;
        // The bound without `shrink` is least at 2 pi sigma^2 / step - u, within the strip; some smaller y serve a shrinking
        // mixture. Any y gives a bound.
        let best = (2.0 * std::f64::consts::PI * variance / step - u).clamp(0.01 * widest, 0.98 * widest);
        [1.0, 0.85, 0.7, 0.5, 0.3].into_iter().map(|part| at(best * part)).fold(f64::INFINITY, f64::min)
            + std::f64::consts::LN_2
    }

    /// A step that keeps the quadrature's error near 1e-17 up to frequency `u`.
    fn step(&self, tilt: f64, u: f64) -> f64 {
        let variance = self.sigma * self.sigma;
        let wish = 39.0;
        let widest = std::f64::consts::PI * variance;
        let narrow = 2.0 * std::f64::consts::PI * 0.9 * widest / (wish + 0.41 * widest * widest / variance + u * 2.9);
        let wide = 2.0 * std::f64::consts::PI * self.sigma / (2.0 * wish).sqrt();
        let mut step = if wide > 2.0 && u == 0.0 { wide } else { narrow.min(wide) };
        while self.log_quadrature_error(tilt, step, u) > -wish && step > 1e-3 * narrow {
            step *= 0.93;
        }
        step
    }

    pub(super) fn tilted(&self, tilt: f64, highest: f64) -> Option<Tilted> {
        let (power, sign) = self.power(tilt);
        let (low, high, cut) = self.range(power);
        let step = self.step(tilt, highest);
        let nodes = (high - low) / step;
        if nodes.is_nan() || nodes >= MOST_NODES {
            return None;
        }
        let count = nodes.ceil() as usize + 1;
        let scale = step / (self.sigma * std::f64::consts::TAU.sqrt());
        let nodes: Vec<_> = (0..count)
            .map(|k| {
                let x = low + step * k as f64;
                let log = self.log_mixture(x);
                (x, log, -0.5 * (x / self.sigma) * (x / self.sigma) + power * log)
            })
            .collect();
        // Weights are relative to the largest, which no floating-point range holds at high tilts.
        let top = nodes.iter().fold(f64::NEG_INFINITY, |top, node| top.max(node.2));
        let (mut losses, mut weights) = (Vec::with_capacity(count), Vec::with_capacity(count));
        let (mut exponents, mut slopes) = (0.0, 0.0);
        for (x, log, exponent) in nodes {
            let z = x / self.sigma;
            let weight = libm::exp(exponent - top) * scale;
            losses.push(sign * log);
            weights.push(weight);
            // Sensitivities to rounding: of the exponent, and of q and sigma in the last place.
            let l = (z / self.sigma).abs() + 0.5 / (self.sigma * self.sigma);
            let share = (self.rate * libm::exp(l.min(700.0) * (2.0 * x - 1.0).signum()) / libm::exp(log)).min(1.0);
            exponents += weight * (z * z + 6.0 * (power * log).abs() + 8.0 + top.abs());
            slopes += weight * power.abs() * (1.0 - libm::exp(-log)).abs().max(share * (1.0 + l) * 6.0);
        }
        let step_error = libm::exp(self.log_quadrature_error(tilt, step, 0.0));
        let rounding = (exponents + 4.0 * slopes) * UNIT;
        let mut tilted = Tilted::new(losses, weights, cut + step_error, rounding, tilt, Some((step, *self)));
        tilted.moment.log += top;
        tilted.moment.error += 2.0 * UNIT * tilted.moment.log.abs();
        Some(tilted)
    }

    /// Windows of losses, each (mass, slope), where the tilted density f of the loss falls, and where it rises: for every
    /// u > 0, one of each kind gives |M(c + iu) / M(c)| <= 1 - both masses + both slopes / u.
    ///
    /// By parts, a window where f is monotone contributes at most twice its largest f over u. With w = q e^l / (1 - q + q e^l),
    /// increasing in x, d(ln f)/dx = (-x - 1 + (power + 1) w) / sigma^2. Masses are sums of f at the lower end of each piece.
    pub(crate) fn windows(&self, tilt: f64, log_moment: f64) -> [Vec<(f64, f64)>; 2] {
        let (power, _) = self.power(tilt);
        let (low, high, _) = self.range(power);
        let grid = 240;
        let step = (high - low) / f64::from(grid);
        let norm = -0.5 * libm::log(std::f64::consts::TAU) - libm::log(self.sigma) - log_moment;
        let points: Vec<_> = (0..=grid)
            .map(|i| {
                let x = low + step * f64::from(i);
                let log = self.log_mixture(x);
                let w = self.rate * libm::exp((2.0 * x - 1.0) / (2.0 * self.sigma * self.sigma) - log);
                let density = libm::exp(-0.5 * x * x / (self.sigma * self.sigma) + power * log + norm);
                (x, log, w, density * self.sigma * self.sigma / w)
            })
            .collect();
        // The largest and least value of (power + 1) w on a piece, with room for rounding.
        let pull = |a: f64, b: f64| {
            let (a, b) = ((power + 1.0) * a, (power + 1.0) * b);
            (a.min(b) - 1e-9 * a.abs(), a.max(b) + 1e-9 * b.abs())
        };
        let mut windows = [Vec::new(), Vec::new()];
        let mut mass = 0.0;
        for pair in points.windows(2).rev() {
            let ((x, log, w, f), (_, next, above, far)) = (pair[0], pair[1]);
            let falling = x + 1.0 > pull(w, above).1;
            mass = if falling { mass + far * (next - log) * 0.999_999 } else { 0.0 };
            if mass > 0.0 && f.is_finite() {
                windows[0].push((mass, 2.0 * f * 1.000_001));
            }
        }
        mass = 0.0;
        for pair in points.windows(2) {
            let ((_, log, w, f), (x, next, above, far)) = (pair[0], pair[1]);
            let rising = x + 1.0 < pull(w, above).0;
            mass = if rising && f.is_finite() { mass + f * (next - log) * 0.999_999 } else { 0.0 };
            if mass > 0.0 && far.is_finite() {
                windows[1].push((mass, 2.0 * far * 1.000_001));
            }
        }
        windows
    }
}
