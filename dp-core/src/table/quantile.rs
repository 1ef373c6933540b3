//! Quantiles by the exponential mechanism, sampled exactly.
//!
//! Candidates are the cells of a public lattice. With `below` and `above` the numbers of rows on either side of a
//! candidate and n rows in all, its cost for the quantile q is
//!
//! ```text
//! cost = max(0, below - q n, above - (1 - q) n)          in rows
//! ```
//!
//! which is 0 exactly at a q-quantile, ties and constant columns included. One row more or less changes every cost by
//! at most max(q, 1 - q), one row replaced by at most 1. A candidate is chosen with probability proportional to
//! e^(-epsilon cost / (2 sensitivity)) (McSherry and Talwar 2007, theorem 6).
//!
//! Costs are whole numbers (times the denominator of q), so runs of candidates between values share one weight. A run is
//! proposed by a whole-number weight that is surely not below its true one, and kept with the exact ratio of the two, a
//! comparison that draws as many bits as it needs: nothing underflows, however small the weight.

use super::limits::Limits;
use super::partial::Runs;
use crate::Error;
use crate::noise::exact::Exact;
use crate::privacy::{Epsilon, Positive, Rational};
use crate::sensitivity::Neighbors;
use num_bigint::BigUint;
use num_traits::ToPrimitive;

/// One group's values as ranks.
#[derive(Debug)]
pub(super) struct Ranks {
    /// Cells that occur, ascending, and the rows below each.
    cells: Vec<u32>,
    below: Vec<i128>,
    rows: i128,
    last: u32,
}

/// A quantile to find: the candidate that `shift` rows more than a part `p / q` of all rows lie below.
#[derive(Clone, Debug)]
pub(super) struct Target {
    p: i128,
    q: i128,
    /// Weight of a candidate: e^(-rate cost), with the cost times q.
    rate: Positive,
}

/// Weights are whole multiples of 2^-64; below e^-NEGLIGIBLE they are less than one of these.
const WEIGHT_BITS: i32 = 64;
const NEGLIGIBLE: i128 = 64;

impl Ranks {
    /// `last` is the greatest cell of the lattice; `margin` rows are put on each end of it.
    pub(super) fn new(runs: &Runs, last: u32, margin: i128) -> Result<Self, Error> {
        let mut ranks = Self { cells: vec![], below: vec![], rows: 0, last };
        ranks.push(0, margin);
        for (cell, count) in runs.iter() {
            if cell > last {
                return Err(Error::Table("these bytes are not a partial".into()));
            }
            ranks.push(cell, i128::from(count));
        }
        ranks.push(last, margin);
        Ok(ranks)
    }

    fn push(&mut self, cell: u32, count: i128) {
        if count > 0 {
            if self.cells.last() != Some(&cell) {
                self.cells.push(cell);
                self.below.push(self.rows);
            }
            self.rows += count;
        }
    }

    /// Rows below a candidate, and rows not above it.
    fn around(&self, cell: u32) -> (i128, i128) {
        let at = self.cells.partition_point(|known| *known < cell);
        let after = at + usize::from(self.cells.get(at) == Some(&cell));
        let rows_below = |i: usize| self.below.get(i).copied().unwrap_or(self.rows);
        (rows_below(at), rows_below(after))
    }
}

impl Target {
    /// The quantile `at`, found with `epsilon` where one person is as many rows as `limits` allow.
    pub(super) fn new(
        at: &Rational,
        epsilon: &Epsilon,
        limits: &Limits,
        neighbors: Neighbors,
        grouped: bool,
    ) -> Result<Self, Error> {
        // 2^64 rows times 2^60 fit 127 bits.
        let parts = at.numerator().to_i128().zip(at.denominator().to_i128().filter(|q| *q < 1 << 60));
        let (p, q) = parts.ok_or_else(|| Error::out_of_range("q", at, "a number with at most 17 digits"))?;
        let one_row = match neighbors {
            Neighbors::ReplaceOne if grouped => 2 * p.max(q - p),
            Neighbors::ReplaceOne => q,
            _ => p.max(q - p),
        };
        let sensitivity = Positive::new("sensitivity", Rational::from(one_row) * Rational::from(limits.l1()))?;
        let two = Rational::from(2_u32);
        let rate = Positive::new("epsilon", &(epsilon.rational() / &sensitivity) / &Positive::new("two", two)?)?;
        Ok(Self { p, q, rate })
    }

    /// Rows over which a candidate's weight falls by a factor e.
    pub(super) fn rows_per_nat(&self) -> f64 {
        let per_row = Positive::new("rate", self.rate.rational() * &Rational::from(self.q));
        per_row.map_or(f64::INFINITY, |rate| (&Rational::one() / &rate).upper())
    }

    /// Rows by which to move the target so that the choice lies on the right side of the quantile but with probability
    /// `risk`: at most `candidates` of them lie on the wrong side, each with weight at most e^(-rate shift), and a
    /// candidate at the target weighs 1.
    pub(super) fn margin(&self, candidates: u32, risk: f64) -> i128 {
        let nats = (f64::from(candidates) / risk).ln() + 1e-6;
        let per_row = (self.rate.rational() * &Rational::from(self.q)).lower();
        (nats / per_row).ceil().min(1e15) as i128
    }

    /// Cost, times q, of a candidate with these many rows below and not above it; the target is moved by `shift` rows
    /// among `rows`, `margin` of them on each end.
    fn cost(&self, (below, up_to): (i128, i128), ranks: &Ranks, shift: i128, margin: i128) -> i128 {
        let target = self.p * (ranks.rows - 2 * margin) + self.q * (margin + shift);
        0.max(self.q * below - target).max(target - self.q * up_to)
    }

    /// The choice. `ranks` must have been made with the same `margin`, not below the absolute value of `shift`.
    pub(super) fn choose(&self, ranks: &Ranks, shift: i128, margin: i128, exact: &mut Exact) -> u32 {
        let cost = |cell: u32| self.cost(ranks.around(cell), ranks, shift, margin);
        let near = self.near(ranks, shift, margin);
        let weight = |(run, cost): &(std::ops::RangeInclusive<u32>, i128)| {
            let width = f64::from(run.end() - run.start()) + 1.0;
            let exponent = -(*cost as f64) * self.rate.nearest();
            // The exponent is off by less than 2^-44, exp and the products by a few units in the last place.
            (width * exponent.exp() * 2f64.powi(WEIGHT_BITS) * (1.0 + 2f64.powi(-30))) as u128 + 1
        };
        let weights: Vec<u128> = near.iter().map(weight).collect();
        let (first, last) = match (near.first(), near.last()) {
            (Some(first), Some(last)) => (*first.0.start(), *last.0.end()),
            _ => (0, 0),
        };
        let far = u128::from(first) + u128::from(ranks.last - last);
        let total = BigUint::from(weights.iter().sum::<u128>() + far);
        loop {
            let mut ticket = exact.uniform_below_big(&total).to_u128().unwrap_or(0);
            if ticket < far {
                let ticket = ticket as u32;
                let cell = if ticket < first { ticket } else { last + 1 + (ticket - first) };
                if self.accepts(1, 1, cost(cell), exact) {
                    return cell;
                }
                continue;
            }
            ticket -= far;
            for ((run, cost), weight) in near.iter().zip(&weights) {
                if ticket >= *weight {
                    ticket -= weight;
                    continue;
                }
                let width = run.end() - run.start() + 1;
                if self.accepts(width, *weight, *cost, exact) {
                    return run.start() + exact.uniform_below(width.into()) as u32;
                }
                break;
            }
        }
    }

    /// True with probability width e^(-rate cost) 2^64 / weight, which is at most 1.
    fn accepts(&self, width: u32, weight: u128, cost: i128, exact: &mut Exact) -> bool {
        let Ok(weight) = Positive::new("weight", Rational::from(weight)) else { return false };
        let factor = &(Rational::from(width) * Rational::from(1_u128 << WEIGHT_BITS)) / &weight;
        exact.bernoulli_scaled_exp(&factor, &(Rational::from(cost) * self.rate.rational().clone()))
    }

    /// Runs of candidates of one cost, with that cost, wherever rate cost <= NEGLIGIBLE: costs fall, then rise.
    fn near(&self, ranks: &Ranks, shift: i128, margin: i128) -> Vec<(std::ops::RangeInclusive<u32>, i128)> {
        let most = (&Rational::from(NEGLIGIBLE) / &self.rate).lower().min(1e36) as i128;
        let target = self.p * (ranks.rows - 2 * margin) + self.q * (margin + shift);
        let first = first_cell(ranks.last, |cell| target - self.q * ranks.around(cell).1 <= most);
        let past = first_cell(ranks.last, |cell| self.q * ranks.around(cell).0 - target > most);
        let mut runs = vec![];
        let mut cell = first;
        let mut at = ranks.cells.partition_point(|known| *known < cell);
        while cell < past {
            let (known, below) = (ranks.cells.get(at).copied(), ranks.below.get(at).copied().unwrap_or(ranks.rows));
            if known == Some(cell) {
                at += 1;
                let up_to = ranks.below.get(at).copied().unwrap_or(ranks.rows);
                runs.push((cell..=cell, self.cost((below, up_to), ranks, shift, margin)));
                cell += 1;
            } else {
                let end = known.unwrap_or(u32::MAX).min(past) - 1;
                runs.push((cell..=end, self.cost((below, below), ranks, shift, margin)));
                cell = end + 1;
            }
        }
        runs
    }

    /// The costs of all candidates, times q.
    #[cfg(test)]
    pub(super) fn costs(&self, ranks: &Ranks) -> Vec<i128> {
        (0..=ranks.last).map(|cell| self.cost(ranks.around(cell), ranks, 0, 0)).collect()
    }

    /// The sensitivity of the cost, times q, that the rate was made with.
    #[cfg(test)]
    pub(super) fn claimed(&self, epsilon: &Epsilon) -> Rational {
        &(epsilon.rational() / &self.rate) / &Positive::new("two", Rational::from(2_u32)).expect("positive")
    }

    /// The least candidate of least cost: what a release without noise is.
    pub(super) fn best(&self, ranks: &Ranks) -> u32 {
        let target = self.p * ranks.rows;
        first_cell(ranks.last, |cell| self.q * ranks.around(cell).1 >= target).min(ranks.last)
    }
}

/// The first of the cells 0 to `last` for which a predicate that never goes back to false is true, or `last + 1`.
fn first_cell(last: u32, holds: impl Fn(u32) -> bool) -> u32 {
    let (mut low, mut high) = (0, last + 1);
    while low < high {
        let middle = low + (high - low) / 2;
        if holds(middle) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranks(cells: &[u32], last: u32, margin: i128) -> Ranks {
        let runs = cells.chunk_by(|a, b| a == b).map(|same| (same[0], same.len() as u64));
        Ranks::new(&Runs::from_runs(runs), last, margin).expect("in range")
    }

    fn target(at: &str, epsilon: &str) -> Target {
        let epsilon = Epsilon::new(epsilon.parse().expect("number")).expect("positive");
        let at = at.parse().expect("number");
        Target::new(&at, &epsilon, &Limits::one_row(), Neighbors::AddRemove, false).expect("valid")
    }

    /// The cost by its definition, row by row.
    fn naive(cells: &[u32], at: f64, candidate: u32) -> f64 {
        let below = cells.iter().filter(|c| **c < candidate).count() as f64;
        let above = cells.iter().filter(|c| **c > candidate).count() as f64;
        let n = cells.len() as f64;
        0f64.max(below - at * n).max(above - (1.0 - at) * n)
    }

    #[test]
    fn runs_cover_all_candidates_with_their_costs() {
        for cells in [vec![], vec![3], vec![0, 0, 5, 5, 5, 9], vec![9; 7], vec![1, 2, 3, 4, 8]] {
            for (text, at) in [("0", 0.0), ("1/4", 0.25), ("1/2", 0.5), ("1", 1.0)] {
                let target = target(text, "1");
                let runs = target.near(&ranks(&cells, 9, 0), 0, 0);
                let flat: Vec<(u32, i128)> =
                    runs.into_iter().flat_map(|(run, cost)| run.map(move |c| (c, cost))).collect();
                assert_eq!(flat.iter().map(|(c, _)| *c).collect::<Vec<_>>(), (0..=9).collect::<Vec<_>>());
                for (candidate, cost) in flat {
                    assert_eq!(
                        cost as f64 / target.q as f64,
                        naive(&cells, at, candidate),
                        "{cells:?} {at} {candidate}"
                    );
                }
                let best = target.best(&ranks(&cells, 9, 0));
                assert_eq!(naive(&cells, at, best), 0.0, "{cells:?} {at} {best}");
            }
        }
    }

    /// Observed frequencies against the exponential mechanism's law: chi-square with a bound that a right sampler
    /// exceeds with probability below 1e-12 (9 degrees of freedom).
    #[test]
    fn choices_follow_the_exponential_law() {
        let cells = [0, 0, 2, 5, 5, 6, 9];
        for (text, at, epsilon) in [("1/2", 0.5_f64, 1.0_f64), ("1/4", 0.25, 0.2), ("9/10", 0.9, 3.0)] {
            let target = target(text, &epsilon.to_string());
            let ranks = ranks(&cells, 9, 0);
            let sensitivity = at.max(1.0 - at);
            let weight = |c: u32| (-epsilon * naive(&cells, at, c) / (2.0 * sensitivity)).exp();
            let total: f64 = (0..=9).map(weight).sum();
            let draws = 40_000;
            let mut seen = [0_u32; 10];
            let mut exact = Exact::new().expect("randomness");
            (0..draws).for_each(|_| seen[target.choose(&ranks, 0, 0, &mut exact) as usize] += 1);
            let chi: f64 = (0..=9_u32)
                .map(|c| {
                    let expected = f64::from(draws) * weight(c) / total;
                    (f64::from(seen[c as usize]) - expected).powi(2) / expected
                })
                .sum();
            assert!(chi < 80.0, "{chi} at {at}: {seen:?}");
        }
    }

    /// A sharp weight: candidates at cost 1000 have weight e^-500 and are never seen, and nothing underflows.
    #[test]
    fn large_costs_do_not_underflow() {
        let cells: Vec<u32> = std::iter::repeat_n(500_000, 4000).collect();
        let target = target("1/2", "1");
        let mut exact = Exact::new().expect("randomness");
        for _ in 0..200 {
            assert_eq!(target.choose(&ranks(&cells, 1 << 20, 0), 0, 0, &mut exact), 500_000);
        }
    }

    #[test]
    fn margins_move_the_choice_to_the_right_side() {
        let cells: Vec<u32> = (0..1000).collect();
        let target = target("1/2", "1");
        let margin = target.margin(1001, 1e-9);
        let ranks = ranks(&cells, 1000, margin);
        let mut exact = Exact::new().expect("randomness");
        for _ in 0..50 {
            let low = target.choose(&ranks, -margin, margin, &mut exact);
            let high = target.choose(&ranks, margin, margin, &mut exact);
            assert!(low <= 499 && high >= 500, "{low} {high}");
        }
    }
}
