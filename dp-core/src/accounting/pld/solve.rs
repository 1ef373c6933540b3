//! From a target delta to epsilon: a saddle point for a first guess, then certified evaluations.

use super::cells::Side;
use super::component::Component;
use super::contour::{Contour, total};

/// Where the line should run, and roughly where the answer lies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Saddle {
    pub(crate) tilt: f64,
    pub(crate) epsilon: f64,
    pub(crate) log_delta: f64,
}

/// What a line at this tilt would say.
#[derive(Clone, Copy)]
struct Guess {
    epsilon: f64,
    log_delta: f64,
    /// Of the exponent at the saddle: that of ln M and of -ln(c (c + 1)).
    curvature: f64,
}

/// The saddle-point value itself is off by up to a percent or two: a guess, never an answer.
fn guess(components: &[Component], tilt: f64) -> Guess {
    let at = total(components, tilt);
    let epsilon = at.mean - 1.0 / tilt - 1.0 / (tilt + 1.0);
    let curvature = at.variance + 1.0 / (tilt * tilt) + 1.0 / ((tilt + 1.0) * (tilt + 1.0));
    let log_delta =
        at.log - tilt * epsilon - libm::log(tilt * (tilt + 1.0)) - 0.5 * libm::log(std::f64::consts::TAU * curvature);
    Guess { epsilon, log_delta, curvature }
}

/// Tilts that make sense: beyond these the answer is indistinguishable from an end.
const TILTS: (f64, f64) = (1e-9, 1e5);
/// How far the line may run from the saddle, in units of the saddle's width.
const OFF_SADDLE: f64 = 0.1;

/// The saddle for a given delta. `None` if it lies below epsilon = 0 or out of range.
pub(crate) fn saddle_of_delta(components: &[Component], log_delta: f64) -> Option<Saddle> {
    // ln delta falls by c curvature for each unit of c; its root is nearly straight, since it is for Gaussians.
    let step = |at: Guess, tilt: f64| {
        let off = at.log_delta - log_delta;
        let (root, wanted) = ((-at.log_delta).max(0.1).sqrt(), (-log_delta).max(0.1).sqrt());
        let near = off.abs() <= OFF_SADDLE * (tilt * at.curvature.sqrt()).min(3.0);
        (!near).then_some((wanted - root) * 2.0 * root / (tilt * at.curvature))
    };
    let (tilt, at) = newton(components, step).or_else(|| {
        let tilt = libm::exp(descend(|x| guess(components, libm::exp(x)).log_delta, log_delta)?);
        Some((tilt, guess(components, tilt)))
    })?;
    Some(Saddle { tilt, epsilon: at.epsilon.max(0.0), log_delta: at.log_delta })
}

/// The saddle for a given epsilon >= 0.
pub(crate) fn saddle_of_epsilon(components: &[Component], epsilon: f64) -> Option<Saddle> {
    let step = |at: Guess, _: f64| {
        let off = epsilon - at.epsilon;
        let near = off.abs() <= OFF_SADDLE * at.curvature.sqrt();
        (!near).then_some(off / at.curvature)
    };
    let (tilt, at) = newton(components, step).or_else(|| {
        let tilt = libm::exp(descend(|x| -guess(components, libm::exp(x)).epsilon, -epsilon)?);
        Some((tilt, guess(components, tilt)))
    })?;
    Some(Saddle { tilt, epsilon, log_delta: at.log_delta - tilt * (epsilon - at.epsilon) })
}

/// Follows `step`, which is `None` where it is near enough, from tilt 1. `None` if that leads nowhere.
fn newton(components: &[Component], step: impl Fn(Guess, f64) -> Option<f64>) -> Option<(f64, Guess)> {
    let mut tilt = 1.0;
    for _ in 0..12 {
        let at = guess(components, tilt);
        if !(at.log_delta.is_finite() && at.epsilon.is_finite()) {
            return None;
        }
        let Some(by) = step(at, tilt) else { return Some((tilt, at)) };
        let next = (tilt + by).clamp(0.2 * tilt, 8.0 * tilt);
        if !(next > TILTS.0 && next < TILTS.1) {
            return None;
        }
        tilt = next;
    }
    None
}

/// Where a decreasing function of ln tilt meets `target`, roughly: by regula falsi (Illinois) after doubling steps.
fn descend(function: impl Fn(f64) -> f64, target: f64) -> Option<f64> {
    let value = |x: f64| function(x) - target;
    let (least, most) = (libm::log(TILTS.0), libm::log(TILTS.1));
    let (mut a, mut step) = (1.0, 1.0);
    let mut fa = value(a);
    if !fa.is_finite() {
        (a, fa) = (-2.0, value(-2.0));
    }
    let (mut b, mut fb);
    loop {
        b = (a + if fa > 0.0 { step } else { -step }).clamp(least, most);
        fb = value(b);
        if !fb.is_finite() {
            // Too steep to evaluate: shorter steps, or the last point that could be.
            if step < 0.05 {
                return Some(a);
            }
            step *= 0.3;
            continue;
        }
        if (fa > 0.0) != (fb > 0.0) {
            break;
        }
        if b == least || b == most {
            return Some(b);
        }
        (a, fa) = (b, fb);
        step *= 1.6;
    }
    for _ in 0..40 {
        let x = (a * fb - b * fa) / (fb - fa);
        let fx = value(x);
        if fx.abs() < 0.02 || (b - a).abs() < 1e-3 {
            return Some(x);
        }
        if (fx > 0.0) == (fb > 0.0) {
            fa *= 0.5;
        } else {
            (a, fa) = (b, fb);
        }
        (b, fb) = (x, fx);
    }
    Some(b)
}

/// One end of the least epsilon >= 0 with delta(epsilon) <= target, by a contour near it: certified by an evaluation there.
///
/// The upper end is where even the upper end of delta is at most the target; the lower one where its lower end exceeds it.
/// `None` if no such point was found.
pub(crate) fn invert(contour: &Contour, target: f64, guess: f64, side: Side) -> Option<f64> {
    let curve = |epsilon: f64| side.of(contour.delta(epsilon));
    let holds = |value: f64| if side == Side::Upper { value <= target } else { value > target };
    // Minus the slope of ln delta: at first the tilt, then what the last two points say.
    let (mut epsilon, mut slope) = (guess, contour.tilt());
    let mut before: Option<(f64, f64)> = None;
    for _ in 0..40 {
        let value = curve(epsilon);
        let log = libm::log(value / target);
        if let Some((other, log_other)) = before
            && other != epsilon
        {
            let secant = (log_other - log) / (epsilon - other);
            slope =
                if secant > 0.2 * contour.tilt() && secant < 5.0 * contour.tilt() { secant } else { contour.tilt() };
        }
        let step = if value > 0.0 { log / slope } else { -1.0 / slope };
        // Outside the range where one tilt serves, short steps.
        let step = step.clamp(-3.0 / contour.tilt(), 3.0 / contour.tilt());
        before = (value > 0.0).then_some((epsilon, log));
        epsilon = (epsilon + step).max(0.0);
        if step.abs() <= 1e-13 * epsilon || epsilon == 0.0 {
            break;
        }
    }
    let outward = if side == Side::Upper { 1.0 } else { -1.0 };
    [0.0, 1e-14, 1e-13, 1e-12, 1e-11, 1e-10, 1e-9, 1e-7, 1e-5, 1e-3, 1e-2, 0.05]
        .into_iter()
        .map(|part| epsilon * (1.0 + outward * part))
        .find(|&epsilon| holds(curve(epsilon)))
}
