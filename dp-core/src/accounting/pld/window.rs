//! The window of a lattice: how much of the composed law it must hold, and what is charged for the rest.

use super::component::{greater, lesser};
use super::lattice::Wish;
use super::spread::Spread;

/// ln of what is left out of the sum for the lower bound.
pub(super) const FADED: f64 = -60.0;
/// ln of what may be folded over the ends of the window, relative to delta.
const LOG_FOLDED: f64 = -14.0;
/// ln of delta in units of M(c) e^(-c eps), of which the transform is good to 12 digits or so: no tilt far from the saddle.
const LEAST_SHARE: f64 = -9.0;

/// The window that takes the fewest points, by a tilt near the saddle's: where single losses weigh much, a smaller one has
/// a much shorter tail.
pub(super) fn window(spreads: &[Spread], wish: Wish, spread: f64) -> Option<(Tails, (f64, f64))> {
    let doubt = 1e-9 + 1e-12 * spreads.iter().map(|s| s.count).sum::<f64>();
    let totals = |tilt: f64| spreads.iter().map(|s| s.count * s.log_moment(tilt)).sum::<f64>();
    let mut best: Option<(Tails, (f64, f64))> = None;
    for part in [1.0, 0.8, 0.65, 0.5] {
        let tilt = part * wish.tilt;
        let (log, near) = (totals(tilt), 1e-3 * (tilt + 1e-3));
        let variance = (totals(tilt + near) - 2.0 * log + totals(tilt - near)) / (near * near);
        let unit = (50.0 / variance).sqrt();
        if !(log.is_finite() && unit.is_finite()) {
            continue;
        }
        // delta, in units of M(c) e^(-c eps).
        let log_share = lesser(wish.log_delta - (log - tilt * wish.epsilon), 0.0);
        if part < 1.0 && log_share < LEAST_SHARE {
            break;
        }
        let height = |by: f64| totals(tilt + by) - log - by * wish.epsilon + doubt;
        let tails = Tails::new(tilt, wish.epsilon, unit, LOG_FOLDED + log_share, height);
        // Bumps around eps must lie inside.
        let (below, above) = tails.window(bump_reach(tilt, spread) + 4.0 * wish.step);
        let shorter = |(_, (b, a)): &(Tails, (f64, f64))| below + above < 0.9 * (b + a);
        if best.as_ref().is_none_or(shorter) {
            best = Some((tails, (below, above)));
        } else {
            break;
        }
    }
    best
}

/// How far from eps the bump for the lower bound is above e^FADED.
pub(super) fn bump_reach(tilt: f64, spread: f64) -> f64 {
    let v = spread * spread;
    (2.0 * v * -FADED + tilt * tilt * v * v).sqrt() + tilt * v
}

/// Chernoff bounds on the composed law's tilted tails, and what they say about a window of it.
///
/// The transform puts an outcome at x above eps to where it lies modulo the window [-below, above), of length w. There
/// it weighs g = e^(-c x) (1 - e^-x) above eps, which is at most e^(-c x), and nothing below. So the sum is wrong by at most
///
/// - from outcomes x >= above: what they should weigh, P(x >= above) e^(-c above), and what they weigh, which is nothing up to
///   w, and P(x >= w) beyond;
/// - from outcomes x < -below, which should weigh nothing: up to -w they weigh at most e^(-c (x + w)), and beyond at most 1.
///   For b > 0 and d the smaller of b and c, e^(-c (x + w)) <= e^(-d (x + w)) and e^(-d x) <= e^(-b x - (b - d) below) there,
///   so both together are at most 2 e^(-d w - (b - d) below) E[e^(-b x)].
#[derive(Debug)]
pub(super) struct Tails {
    pub(super) tilt: f64,
    epsilon: f64,
    /// (b, ln E[e^(b (S - eps))]) of the tilted law: an upper bound.
    lines: Vec<(f64, f64)>,
    pub(super) log_folded: f64,
}

impl Tails {
    /// `height` is the second part of a line, given the first; `unit` the b that would be best were the law Gaussian.
    fn new(tilt: f64, epsilon: f64, unit: f64, log_folded: f64, height: impl Fn(f64) -> f64) -> Self {
        let mut lines = vec![(0.0, 0.0)];
        for sign in [1.0, -1.0] {
            let mut look = |by: f64| {
                let found = height(sign * by);
                if found.is_finite() {
                    lines.push((sign * by, found));
                }
                if found.is_nan() { f64::INFINITY } else { (found - log_folded) / by }
            };
            // Downhill, in steps of a factor.
            let (mut by, mut best) = (unit, look(unit));
            for factor in [0.6, 1.5, 0.85, 1.15] {
                for _ in 0..12 {
                    let found = look(by * factor);
                    if found >= best && best.is_finite() {
                        break;
                    }
                    (by, best) = (by * factor, found);
                }
            }
        }
        let mut tails = Self { tilt, epsilon, lines, log_folded };
        let whole = height(-tilt);
        if whole.is_finite() {
            tails.lines.push((-tilt, whole));
        }
        tails
    }

    /// Lengths below and above eps that leave out e^log_folded at most three times, each no less than `least`.
    fn window(&self, least: f64) -> (f64, f64) {
        let best = |value: &dyn Fn(f64, f64) -> f64| {
            self.lines.iter().map(|&(by, height)| value(by, height - self.log_folded)).fold(f64::INFINITY, lesser)
        };
        let c = self.tilt;
        let above = best(&|by, height| if by >= 0.0 { height / (by + c) } else { f64::INFINITY });
        let above = greater(above, least);
        let beyond = best(&|by, height| if by > 0.0 { height / by } else { f64::INFINITY });
        // d w + (b - d) below = b below + d above.
        let low = best(&|by, height| if by < 0.0 { (height - lesser(-by, c) * above) / -by } else { f64::INFINITY });
        (greater(greater(low, beyond - above), least), above)
    }

    /// The sum's error at most, for a window around this epsilon.
    pub(super) fn folded(&self, epsilon: f64, below: f64, above: f64) -> f64 {
        if below.is_nan() || above.is_nan() || below < 0.0 || above < 0.0 {
            return f64::INFINITY;
        }
        let (c, w) = (self.tilt, below + above);
        let best = |value: &dyn Fn(f64, f64) -> Option<f64>| {
            let all = self.lines.iter().filter_map(|&(by, height)| value(by, height - by * (epsilon - self.epsilon)));
            libm::exp(all.fold(f64::INFINITY, lesser))
        };
        let lost = best(&|by, height| (by >= 0.0).then_some(height - (by + c) * above));
        let beyond = best(&|by, height| (by > 0.0).then_some(height - by * w));
        let low = best(&|by, height| (by < 0.0).then_some(height + by * below - lesser(-by, c) * above));
        lost + beyond + 2.0 * low
    }
}
