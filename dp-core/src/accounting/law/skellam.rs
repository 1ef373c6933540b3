//! The Skellam law: the difference of two Poisson variables of mean V/2, with probabilities e^(-V) I_k(V).

use super::{Atom, Atoms};
use crate::accounting::interval::Interval;

/// Outcomes of probability below e^-TAIL in all are charged to infinity.
const TAIL: f64 = 650.0;

/// Chernoff: ln P(X >= k) <= V (sqrt(1 + (k/V)^2) - 1) - k asinh(k/V), from E e^(tX) = exp(V (cosh t - 1)).
fn log_tail(variance: f64, k: f64) -> f64 {
    let r = k / variance;
    variance * (r * r / (1.0 + r.hypot(1.0))) - k * libm::asinh(r)
}

/// How far from the centre the law matters.
pub(crate) fn reach(variance: f64) -> f64 {
    let mut k = (variance.sqrt() * 4.0).ceil() + 4.0;
    while log_tail(variance, k) > -(TAIL + 2.0) {
        k = (k * 1.1).ceil();
    }
    k
}

/// One Skellam variable against its shift by `sensitivity`.
///
/// The ratios r_k = I_k / I_(k-1) obey r_k = 1 / (2k/V + r_(k+1)) and lie in (0, 1); run downward the recurrence
/// contracts, and interval arithmetic carries what is left of the start [0, 1] along with every rounding.
pub(crate) fn atoms(variance: Interval, sensitivity: u64) -> Atoms {
    let reach = reach(variance.hi) as usize;
    let d = sensitivity as usize;
    let log = log_probabilities(variance, reach + d);
    let at = |x: i64| log[x.unsigned_abs() as usize];
    let (d, reach) = (d as i64, reach as i64);
    let atoms = (-reach..=reach)
        .map(|y| {
            let x = y + d;
            // Subtract along the ratios between, not from zero: the errors up to the nearer index are shared.
            let loss = between(&log, y.unsigned_abs() as usize, x.unsigned_abs() as usize);
            Atom { loss, p: at(y).0.exp(), q: at(x).0.exp() }
        })
        .collect();
    // Q's probability of y < -reach is that of x < d - reach.
    let inside = (reach - d) as f64;
    let missed = if inside > 0.0 { libm::exp(log_tail(variance.hi, inside) + 1e-9 * TAIL) } else { 1.0 };
    let infinite = Interval::new(0.0, 4.0 * (-TAIL).exp());
    Atoms { atoms, infinite, missed: missed + infinite.hi }
}

/// (ln P(k), ln r_k) for k = 0 ..= last.
fn log_probabilities(variance: Interval, last: usize) -> Vec<(Interval, Interval)> {
    let extra = (4.0 * variance.hi.sqrt()).ceil() as usize + 40;
    let mut ratio = Interval::new(0.0, 1.0);
    let mut logs = vec![(Interval::ZERO, Interval::ZERO); last + 1];
    for k in (1..=last + extra).rev() {
        ratio = Interval::ONE / (Interval::point(2.0 * k as f64) / variance + ratio);
        if k <= last {
            logs[k].1 = ratio.ln();
        }
    }
    for k in 1..=last {
        logs[k].0 = logs[k - 1].0 + logs[k].1;
    }
    let side = logs.iter().skip(1).rev().fold(Interval::ZERO, |sum, (log, _)| sum + log.exp());
    // What lies beyond `last`, relative to the centre: its probability is at most e^-TAIL and the centre's is at least
    // 1 / (4 + 4 sqrt(V)), far above e^-(TAIL / 2) for every variance that is accepted.
    let rest = Interval::new(0.0, (-0.5 * TAIL).exp());
    let total = (Interval::ONE + side * 2.0 + rest).ln();
    for (log, _) in &mut logs {
        *log = *log - total;
    }
    logs
}

/// ln P(i) - ln P(j).
fn between(logs: &[(Interval, Interval)], i: usize, j: usize) -> Interval {
    if i.abs_diff(j) > 64 {
        return logs[i].0 - logs[j].0;
    }
    let sum = |from: usize, to: usize| logs[from + 1..=to].iter().fold(Interval::ZERO, |sum, (_, r)| sum + *r);
    if i >= j { sum(j, i) } else { -sum(i, j) }
}
