//! Privacy audits: can samples refute a claim of (epsilon, delta)?
//!
//! A refutation is a proof up to a stated probability of error; no refutation proves nothing. So every audit here is
//! also run on a mechanism that is broken in the way it should catch.

/// One-sided bounds on a probability from n independent trials with `hits` successes, each wrong with probability at
/// most `alpha`: the Chernoff-Hoeffding bound n KL(hits/n, p) <= ln(1/alpha) (Hoeffding 1963, Theorem 1), inverted.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// The probability is at least this.
    pub lower: f64,
    /// The probability is at most this.
    pub upper: f64,
}

impl Bounds {
    /// Bounds from `hits` out of `n`.
    #[must_use]
    pub fn of(hits: u64, n: u64, alpha: f64) -> Self {
        let observed = hits as f64 / n as f64;
        let allowed = -alpha.ln() / n as f64;
        let border = |mut inside: f64, mut outside: f64| {
            for _ in 0..60 {
                let middle = 0.5 * (inside + outside);
                if divergence(observed, middle) <= allowed { inside = middle } else { outside = middle }
            }
            outside
        };
        Self { lower: border(observed, 0.0), upper: border(observed, 1.0) }
    }
}

/// KL(a, b) of two Bernoulli laws.
fn divergence(a: f64, b: f64) -> f64 {
    let part = |a: f64, b: f64| if a == 0.0 { 0.0 } else { a * (a / b).ln() };
    part(a, b) + part(1.0 - a, 1.0 - b)
}

/// A claim to be refuted.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    /// For all sets S: P(S) <= e^epsilon P'(S) + delta, and the other way round.
    pub epsilon: f64,
    /// See `epsilon`.
    pub delta: f64,
}

/// Chance of a false refutation of a true claim in one call of [`refuted`].
pub const FALSE_ALARM: f64 = 1e-11;

/// Draws `n` outputs on each of two neighbours and looks whether one of the events, or its complement, refutes the claim.
///
/// `events` maps an output to the events that it belongs to; the number of events is fixed. A false alarm has
/// probability at most [`FALSE_ALARM`]: there are 4 bounds for each direction, event and complement.
pub fn refuted<T>(
    claim: Claim,
    n: u64,
    mut here: impl FnMut() -> T,
    mut there: impl FnMut() -> T,
    events: impl Fn(&T) -> Vec<bool>,
) -> Option<usize> {
    let count = |draw: &mut dyn FnMut() -> T| {
        let mut hits: Vec<u64> = Vec::new();
        for _ in 0..n {
            let flags = events(&draw());
            hits.resize(flags.len(), 0);
            hits.iter_mut().zip(flags).for_each(|(hits, flag)| *hits += u64::from(flag));
        }
        hits
    };
    let (here, there) = (count(&mut here), count(&mut there));
    let alpha = FALSE_ALARM / (8.0 * here.len() as f64);
    let breaks = |a: u64, b: u64| {
        let (a, b) = (Bounds::of(a, n, alpha), Bounds::of(b, n, alpha));
        a.lower > claim.epsilon.exp() * b.upper + claim.delta
    };
    here.iter()
        .zip(&there)
        .position(|(&a, &b)| breaks(a, b) || breaks(b, a) || breaks(n - a, n - b) || breaks(n - b, n - a))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_hold_the_observed_rate_and_are_not_idle() {
        for (hits, n) in [(0, 100), (1, 100), (50, 100), (100, 100), (123_456, 1_000_000)] {
            let bounds = Bounds::of(hits, n, 1e-9);
            let rate = hits as f64 / n as f64;
            let width = (9.0 * 10f64.ln() / (2.0 * n as f64)).sqrt();
            assert!(bounds.lower <= rate && rate <= bounds.upper);
            assert!(
                bounds.lower >= rate - width - 1e-12 && bounds.upper <= rate + width + 1e-12,
                "tighter than Hoeffding"
            );
        }
        // Exactly: no hit in n trials has probability (1 - p)^n = alpha at the upper bound.
        assert!((Bounds::of(0, 100, 1e-9).upper - (1.0 - 1e-9f64.powf(0.01))).abs() < 1e-12);
    }
}
