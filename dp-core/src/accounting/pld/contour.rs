//! Method A: the tilted contour, with its certificate.
//!
//! With M(s) the product of the moments E_P[e^(sL)] of everything that is composed,
//! delta(eps) = (1 / 2 pi i) times the integral over Re s = c > 0 of M(s) e^(-s eps) / (s (s + 1)) ds.
//! The trapezoid rule with step 2 pi / period along the line gives, for its infinite sum, exactly
//! delta(eps) + sum over k != 0 of e^(c k period) delta(eps + k period): the alias is not negative, and Chernoff bounds it.
//! All other errors are two-sided: quadrature of M, the tail beyond the last node, and rounding.

use super::component::{Component, Tilted, UNIT};
use super::decay::{Decay, STRETCH};
use super::elementary::{circle, dot, turn};
use crate::accounting::interval::Interval;
use std::f64::consts::PI;

/// A release of one direction's composition, evaluated along one line Re s = tilt.
#[derive(Debug)]
pub(crate) struct Contour {
    tilt: f64,
    period: f64,
    /// ln M(tilt), with its error.
    log: f64,
    log_error: f64,
    mean: f64,
    nodes: Vec<Node>,
    /// Bound on the sum of |terms| that were skipped, in units of M(tilt) e^(-tilt eps) period / 2.
    skipped: f64,
    /// (tilt, ln M) elsewhere on the axis, upper bounds, for Chernoff.
    around: Vec<(f64, f64)>,
}

#[derive(Clone, Copy, Debug)]
struct Node {
    u: f64,
    /// |M(c + iu) / M(c)|, and its phase beyond u mean.
    size: f64,
    phase: f64,
    /// Bound on the error of M(c + iu) / M(c).
    error: f64,
}

/// Nothing below e^-NEGLIGIBLE of the whole is evaluated; it is charged.
const NEGLIGIBLE: f64 = 42.0;
/// Most evaluations of M along the line before giving up.
const MOST_NODES: usize = 60_000;
/// Most losses in all these evaluations together.
const MOST_WORK: f64 = 1e8;
/// The alias may be this part of delta.
const LOG_ALIAS: f64 = -23.0;

/// Moments of the whole composition at one point of the real axis.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Total {
    pub(crate) log: f64,
    pub(crate) mean: f64,
    pub(crate) variance: f64,
    pub(crate) error: f64,
}

/// ln M(tilt) of everything, with derivatives and error.
pub(crate) fn total(components: &[Component], tilt: f64) -> Total {
    components.iter().fold(Total { log: 0.0, mean: 0.0, variance: 0.0, error: 0.0 }, |sum, component| {
        let (count, moment) = (component.count(), component.moment(tilt));
        Total {
            log: sum.log + count * moment.log,
            mean: sum.mean + count * moment.mean,
            variance: sum.variance + count * moment.variance,
            error: sum.error + count * moment.error + 4.0 * UNIT * (sum.log.abs() + (count * moment.log).abs()),
        }
    })
}

impl Contour {
    /// Evaluates the composition along Re s = tilt, for deltas near e^(log_delta) around epsilon. `None` if the line
    /// cannot be certified at a reasonable cost.
    pub(crate) fn new(components: &[Component], tilt: f64, epsilon: f64, log_delta: f64) -> Option<Self> {
        let at = total(components, tilt);
        if !(at.log.is_finite() && at.error < 0.1 && at.variance > 0.0) {
            return None;
        }
        let (period, around) = period(components, tilt, at, epsilon, log_delta)?;
        let mut contour = Self {
            tilt,
            period,
            log: at.log,
            log_error: at.error,
            mean: at.mean,
            nodes: Vec::new(),
            skipped: 0.0,
            around,
        };
        contour.walk(components, at.variance)?;
        Some(contour)
    }

    /// Evaluates M at the nodes, from zero upward; skips what is certainly negligible.
    fn walk(&mut self, components: &[Component], variance: f64) -> Option<()> {
        let step = 2.0 * PI / self.period;
        let gaussian = |end: fn(&Interval) -> f64| -> f64 {
            components.iter().map(|c| if let Component::Gaussian(p) = c { end(p) } else { 0.0 }).sum()
        };
        let (decay, spread) = (gaussian(|p| p.lo), gaussian(|p| p.mid()));
        let negligible = -NEGLIGIBLE - 2.0 * libm::log(self.tilt + 1.0);
        // Were the whole Gaussian, it would be negligible from here on.
        let hope = (-2.0 * negligible / variance).sqrt();
        let end = End::find(&decays(components, self.tilt), decay, negligible, 0.9 * hope)?;
        let mut highest = if end.first < 4.0 * hope { 1.001 * end.first } else { 1.3 * hope };
        let mut lines = Lines::new(components, self.tilt, highest)?;
        let (mut n, mut work) = (0_u64, 0.0);
        for _ in 0..MOST_NODES {
            let u = n as f64 * step;
            let gauss_bound = -0.5 * decay * u * u;
            let scale = -libm::log(u.max(self.tilt).max(1e-300)) * 2.0;
            if n > 0 && u >= end.first {
                self.charge(end.level + gauss_bound, u, step);
                return Some(());
            }
            if u > highest {
                highest = 2.0 * u;
                lines = Lines::new(components, self.tilt, highest)?;
            }
            work += lines.lines.iter().map(|line| line.re.len() as f64).sum::<f64>();
            if work > MOST_WORK {
                return None;
            }
            let (log_size, phase, error_rate, log_bound) = lines.at(u, step, n == 0);
            let gauss = -0.5 * spread * u * u;
            let bound = log_bound + gauss_bound;
            if n > 0 && bound + scale < negligible {
                let jump = lines.reach(step, negligible - gauss_bound - scale.min(0.0));
                if jump > 0 {
                    let part = (negligible - scale.min(0.0)).exp();
                    let count = jump as f64 + 1.0;
                    self.skipped += count * part / (u * u);
                    n += jump + 1;
                    lines.jumped();
                    continue;
                }
            }
            let size = libm::exp(log_size + gauss);
            let terms = components.len() as f64 + 4.0;
            let rounding = (terms * (phase.abs() + u * (self.mean.abs() * 2.0 + self.period)) + 8.0) * UNIT;
            let doubt = (spread - decay) * (u * u + u * (self.tilt + 1.0));
            let gauss_error = doubt + 4.0 * UNIT * (1.0 + gauss.abs());
            let error = libm::exp(bound) * (error_rate.min(2.0) + gauss_error) + size * rounding;
            self.nodes.push(Node { u, size, phase, error });
            n += 1;
        }
        None
    }

    /// The tail beyond the node at u, where the product of all M is at most e^rest.
    fn charge(&mut self, rest: f64, u: f64, step: f64) {
        self.skipped += rest.exp() * (1.0 / (u * u) + 1.0 / (u * step));
    }

    /// delta(eps), without the mass at infinite loss.
    pub(crate) fn delta(&self, epsilon: f64) -> Interval {
        let c = self.tilt;
        let offset = self.mean - epsilon;
        let angles: Vec<f64> = self.nodes.iter().map(|node| node.phase + node.u * offset).collect();
        let (mut cos, mut sin) = (vec![0.0; angles.len()], vec![0.0; angles.len()]);
        circle(1.0, &angles, &mut cos, &mut sin);
        let (mut sum, mut size, mut error) = (0.0, 0.0, 0.0);
        for ((node, cos), sin) in self.nodes.iter().zip(cos).zip(sin).rev() {
            let half = if node.u == 0.0 { 0.5 } else { 1.0 };
            let u = node.u;
            let (re, im) = (node.size * cos, node.size * sin);
            // s (s + 1) = (c (c + 1) - u^2) + i u (2 c + 1)
            let (a, b) = (c * (c + 1.0) - u * u, u * (2.0 * c + 1.0));
            let inverse = 1.0 / (a * a + b * b);
            let (part, root) = (half * inverse, half * inverse.sqrt());
            let error_here = node.error + node.size * (epsilon.abs() * u + u * offset.abs() + 8.0) * 4.0 * UNIT;
            sum += (re * a + im * b) * part;
            size += node.size * root;
            error += error_here * root;
        }
        let count = self.nodes.len() as f64;
        let absolute: f64 = error + self.skipped + count * UNIT * size;
        // 2 / period times the sum, times M(c) e^(-c eps).
        let exponent = self.log - c * epsilon;
        let relative = self.log_error + 8.0 * UNIT * (self.log.abs() + (c * epsilon).abs() + 4.0);
        let scale = Interval::new(exponent - relative, exponent + relative).exp() * (2.0 / self.period);
        let scale = Interval { lo: scale.lo * (1.0 - 1e-15), hi: scale.hi * (1.0 + 1e-15) };
        // Not `max(0.0)`, which turns a sum that could not be evaluated into a promise of zero.
        let above = sum + absolute * 1.01;
        let hi = scale * if above < 0.0 { 0.0 } else { above };
        let lo = scale * (sum - absolute * 1.01).max(0.0);
        Interval::new((lo.lo - self.alias(epsilon) * 1.001).max(0.0), hi.hi)
    }

    /// The upper bound of the sum over k != 0 of e^(c k period) delta(eps + k period).
    fn alias(&self, epsilon: f64) -> f64 {
        let side = |above: bool| {
            let bounds = self.around.iter().filter(|(c, _)| (*c > self.tilt) == above);
            bounds.map(|&(c, log)| alias(c, log, self.tilt, epsilon, self.period)).fold(f64::INFINITY, f64::min)
        };
        libm::exp(side(true)) + libm::exp(side(false))
    }

    /// Minus the slope of ln delta at epsilon, roughly.
    pub(crate) fn tilt(&self) -> f64 {
        self.tilt
    }
}

/// ln of the sum over k >= 1 on one side.
fn alias(c: f64, log: f64, tilt: f64, epsilon: f64, period: f64) -> f64 {
    let fade = (c - tilt).abs() * period;
    log - c * epsilon - fade - libm::log(-libm::expm1(-fade)) + 1e-9
}

/// A period whose alias is a small part of delta, and the points (tilt, upper bound on ln M) around `tilt` that show it by
/// Chernoff.
fn period(
    components: &[Component],
    tilt: f64,
    at: Total,
    epsilon: f64,
    log_delta: f64,
) -> Option<(f64, Vec<(f64, f64)>)> {
    let needed = |c: f64, log: f64| (log - c * epsilon - log_delta - LOG_ALIAS + 0.1) / (c - tilt).abs();
    // Every delta is at most the total mass.
    let mut points = vec![(0.0, 0.0)];
    let mut look = |c: f64| {
        let there = total(components, c);
        let log = there.log + there.error;
        if !log.is_finite() {
            return f64::INFINITY;
        }
        points.push((c, log));
        needed(c, log)
    };
    // Were ln M a parabola, the best points would be one unit away.
    let unit = (2.0 * (at.log - tilt * epsilon - log_delta - LOG_ALIAS).max(1.0) / at.variance).sqrt();
    let mut side = |start: f64, farthest: f64, sign: f64| {
        let mut distance = start.min(farthest);
        let mut best = look(tilt + sign * distance);
        for factor in [1.8, 0.5] {
            loop {
                let next = distance * factor;
                // A few percent less are not worth another point.
                if next > farthest || next < 1e-4 * start {
                    break;
                }
                let found = look(tilt + sign * next);
                // Too far out moments cannot be evaluated; farther out neither.
                let better = found < 0.95 * best || (factor < 1.0 && !best.is_finite());
                if !better {
                    break;
                }
                (distance, best) = (next, found);
            }
        }
        best
    };
    let above = side(0.7 * unit, f64::INFINITY, 1.0);
    let below = side(0.7 * unit, 0.6 * tilt, -1.0).min(needed(0.0, 0.0));
    let period = if above > below { above } else { below };
    let period = if period > 1e-12 { period } else { 1e-12 };
    period.is_finite().then_some((period, points))
}

/// Bounds on whole ranges of frequencies, for the laws that have them, with their counts.
fn decays(components: &[Component], tilt: f64) -> Vec<(f64, Decay)> {
    let sampled = components.iter().filter_map(|component| match component {
        Component::Sampled(law, count) => Some((law, *count, component.moment(tilt))),
        _ => None,
    });
    sampled.map(|(law, count, moment)| (count, Decay::new(law, tilt, moment.log, moment.mean))).collect()
}

/// Where the walk may end: the product of all |M(c + iu) / M(c)|, but for Gaussian factors, is at most e^level for every u
/// from `first` on, and with them negligible.
#[derive(Clone, Copy, Debug)]
struct End {
    first: f64,
    level: f64,
}

impl End {
    /// Looks from `start` upward, in ranges, until a bound that holds for ever is low enough; then back, as far as the bounds
    /// on the ranges are. `None` if there is no end.
    fn find(decays: &[(f64, Decay)], decay: f64, negligible: f64, start: f64) -> Option<Self> {
        let total = |bound: &dyn Fn(&Decay) -> f64| decays.iter().map(|(count, law)| count * bound(law)).sum::<f64>();
        let gauss = |u: f64| -0.5 * decay * u * u;
        let mut ranges = Vec::new();
        let mut u = start;
        let mut level = loop {
            let ever = total(&|law| law.beyond(u));
            if ever + gauss(u) <= negligible {
                break ever;
            }
            if ranges.len() > 100 {
                return None;
            }
            let here = total(&|law| {
                let (beyond, between) = (law.beyond(u), law.between(u));
                if between < beyond { between } else { beyond }
            });
            ranges.push((u, here));
            u *= STRETCH;
        };
        let mut first = u;
        for (u, here) in ranges.into_iter().rev() {
            let whole = if here > level { here } else { level };
            if whole + gauss(u) > negligible {
                break;
            }
            (first, level) = (u, whole);
        }
        Some(Self { first, level })
    }
}

/// The tilted laws of all components that have no closed form, walked along the line together.
struct Lines {
    lines: Vec<Line>,
}

struct Line {
    count: f64,
    law: Tilted,
    // e^(iu y) and e^(i step y) at every node.
    re: Vec<f64>,
    im: Vec<f64>,
    turn_re: Vec<f64>,
    turn_im: Vec<f64>,
    /// Turns since the last direct evaluation.
    age: u32,
    /// |M(c + iu) / M(c)| at most, at the last u.
    bound: f64,
}

/// Turns before the phases are computed afresh: each loses at most four units, so that with the first 80 cover them.
const TURNS: u32 = 16;

impl Lines {
    fn new(components: &[Component], tilt: f64, highest: f64) -> Option<Self> {
        let lines = components
            .iter()
            .filter(|component| !matches!(component, Component::Gaussian(_)))
            .map(|component| {
                let law = component.tilted(tilt, highest)?;
                let n = law.centred.len();
                let zeros = || vec![0.0; n];
                Some(Line {
                    count: component.count(),
                    law,
                    re: zeros(),
                    im: zeros(),
                    turn_re: zeros(),
                    turn_im: zeros(),
                    age: u32::MAX,
                    bound: 1.0,
                })
            })
            .collect::<Option<Vec<_>>>()?;
        Some(Self { lines })
    }

    /// The phases must be computed afresh.
    fn jumped(&mut self) {
        self.lines.iter_mut().for_each(|line| line.age = TURNS);
    }

    /// ln |product|, its phase, the sum of count error / bound, and ln of the upper bound of |product|.
    fn at(&mut self, u: f64, step: f64, first: bool) -> (f64, f64, f64, f64) {
        let (mut log, mut phase, mut rate, mut log_bound) = (0.0, 0.0, 0.0, 0.0);
        for line in &mut self.lines {
            let centred = &line.law.centred;
            if first || line.age == u32::MAX {
                circle(step, centred, &mut line.turn_re, &mut line.turn_im);
            }
            if line.age >= TURNS || first {
                circle(u, centred, &mut line.re, &mut line.im);
                line.age = 0;
            } else {
                turn(&mut line.re, &mut line.im, &line.turn_re, &line.turn_im);
                line.age += 1;
            }
            let (re, im) = (dot(&line.law.weights, &line.re), dot(&line.law.weights, &line.im));
            let size = (re * re + im * im).sqrt();
            let error = line.law.error(u);
            let bound = (size + error).min(1.0 + error);
            line.bound = bound;
            log += line.count * libm::log(size.max(1e-300));
            phase += line.count * libm::atan2(im, re);
            rate += line.count * (error / bound + 3.0 * UNIT * (1.0 + libm::log(size.max(1e-300)).abs()));
            log_bound += line.count * libm::log(bound);
        }
        (log, phase, rate, log_bound)
    }

    /// How many further nodes keep the product of all |M| below e^level: |M(c + iu) / M(c)| has the tilted standard
    /// deviation as a Lipschitz constant.
    fn reach(&self, step: f64, level: f64) -> u64 {
        let fits = |nodes: u64| {
            let distance = nodes as f64 * step;
            let log = |line: &Line| {
                let size = line.bound + distance * line.law.moment.variance.sqrt() * 1.000_001;
                line.count * libm::log(size.min(1.0))
            };
            self.lines.iter().map(log).sum::<f64>() <= level
        };
        let mut nodes = 1;
        if !fits(nodes) {
            return 0;
        }
        while nodes < 1 << 40 && fits(nodes * 2) {
            nodes *= 2;
        }
        let mut extra = nodes / 2;
        while extra > 0 {
            if fits(nodes + extra) {
                nodes += extra;
            }
            extra /= 2;
        }
        nodes
    }
}
