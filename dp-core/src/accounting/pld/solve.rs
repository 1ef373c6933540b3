//! From a target delta to epsilon: a saddle point for a first guess, then certified evaluations.

use super::cells::Side;
use super::component::Component;
use super::contour::{Contour, Total, total};

/// Where the line should run, and roughly where the answer lies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Saddle {
    pub(crate) tilt: f64,
    pub(crate) epsilon: f64,
    pub(crate) log_delta: f64,
}

/// The saddle-point value itself is off by up to a percent or two: a guess, never an answer.
fn guess(at: Total, tilt: f64) -> (f64, f64) {
    let epsilon = at.mean - 1.0 / tilt - 1.0 / (tilt + 1.0);
    // The exponent's curvature at the saddle: that of ln M and of -ln(c (c + 1)).
    let curvature = at.variance + 1.0 / (tilt * tilt) + 1.0 / ((tilt + 1.0) * (tilt + 1.0));
    let log =
        at.log - tilt * epsilon - libm::log(tilt * (tilt + 1.0)) - 0.5 * libm::log(std::f64::consts::TAU * curvature);
    (epsilon, log)
}

/// Tilts that make sense: beyond these the answer is indistinguishable from an end.
const TILTS: (f64, f64) = (1e-9, 1e5);

/// The saddle for a given delta. `None` if it lies below epsilon = 0 or out of range.
pub(crate) fn saddle_of_delta(components: &[Component], log_delta: f64) -> Option<Saddle> {
    let at = |log_tilt: f64| {
        let tilt = libm::exp(log_tilt);
        guess(total(components, tilt), tilt)
    };
    let tilt = libm::exp(descend(|x| at(x).1, log_delta)?);
    let (epsilon, log) = guess(total(components, tilt), tilt);
    Some(Saddle { tilt, epsilon: epsilon.max(0.0), log_delta: log })
}

/// The saddle for a given epsilon >= 0.
pub(crate) fn saddle_of_epsilon(components: &[Component], epsilon: f64) -> Option<Saddle> {
    let at = |log_tilt: f64| {
        let tilt = libm::exp(log_tilt);
        -guess(total(components, tilt), tilt).0
    };
    let tilt = libm::exp(descend(at, -epsilon)?);
    let at = total(components, tilt);
    let (near, log) = guess(at, tilt);
    Some(Saddle { tilt, epsilon, log_delta: log - tilt * (epsilon - near) })
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
    let mut epsilon = guess;
    for _ in 0..40 {
        let value = curve(epsilon);
        let step = if value > 0.0 { libm::log(value / target) / contour.tilt() } else { -1.0 / contour.tilt() };
        // Outside the range where one tilt serves, short steps.
        let step = step.clamp(-3.0 / contour.tilt(), 3.0 / contour.tilt());
        epsilon = (epsilon + step).max(0.0);
        if step.abs() <= 2e-14 * epsilon || epsilon == 0.0 {
            break;
        }
    }
    let outward = if side == Side::Upper { 1.0 } else { -1.0 };
    [0.0, 1e-14, 1e-13, 1e-12, 1e-11, 1e-10, 1e-9, 1e-7, 1e-5, 1e-3, 1e-2, 0.05]
        .into_iter()
        .map(|part| epsilon * (1.0 + outward * part))
        .find(|&epsilon| holds(curve(epsilon)))
}
