//! The one place where noise is added, and what comes out of it.

use super::interval;
use super::key::Key;
use super::noise::Law;
use super::partial::{GroupState, Partial};
use super::plan::{Aggregate, Map, Measure, Part, Plan};
use super::quantile::{Ranks, Target};
use crate::Error;
use crate::accounting::Event;
use crate::ledger::Ledger;
use crate::mechanism::noiseless::is_noiseless;
use crate::noise::exact::Exact;
use crate::privacy::{Epsilon, Rational};
use serde::Serialize;

/// What a plan published: values with their noise, for the keys that may be named. It holds nothing private.
#[derive(Clone, Debug)]
pub struct Release {
    plan: Plan,
    keys: Vec<Vec<Key>>,
    /// For each measure, for each key.
    estimates: Vec<Vec<Estimate>>,
    noiseless: bool,
}

/// One released number, as the mechanism left it.
#[derive(Clone, Debug, PartialEq)]
enum Estimate {
    /// Whole numbers of lattice steps.
    Steps(Vec<i128>),
    /// For each quantile: the value, and its interval if one was paid for.
    Quantiles(Vec<(f64, Option<(f64, f64)>)>),
}

/// A released value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A count. Noise can make it negative.
    Count(i128),
    /// A number.
    Number(f64),
    /// One number for each quantile asked for.
    Numbers(Vec<f64>),
}

impl Plan {
    /// Pays for this plan, then adds noise to a complete partial, **once**. Run it on the driver alone.
    ///
    /// # Errors
    /// If the partial is of another plan or not of everyone; and those of [`Ledger::spend`]. Nothing was spent then.
    pub fn release(&self, partial: Partial, ledger: &dyn Ledger, label: &str) -> Result<Release, Error> {
        self.release_after(partial, || ledger.spend(&self.spend(label, &ledger.policy().budget)).map(drop))
    }

    /// [`Plan::release`] with any other way to pay: when `pay` returns, [`Plan::event_under`] the ledger's rule
    /// must be on record durably.
    pub fn release_after(&self, partial: Partial, pay: impl FnOnce() -> Result<(), Error>) -> Result<Release, Error> {
        let groups = partial.complete(self)?;
        let mut exact = Exact::new()?;
        pay()?;
        let groups = self.nameable(groups, &mut exact);
        let mut estimates = Vec::with_capacity(self.spec().measures.len());
        for (measure, part) in self.spec().measures.iter().zip(&self.layout().parts) {
            estimates.push(match &part.noise {
                Some(noise) => noisy_steps(part, noise, &groups)?,
                None => self.quantiles(&measure.aggregate, &measure.epsilon, part, &groups, &mut exact)?,
            });
        }
        let keys = groups.into_iter().map(|group| group.key).collect();
        Ok(Release { plan: self.clone(), keys, estimates, noiseless: is_noiseless() })
    }

    /// Public keys are all named. Private ones are if the coin says so.
    fn nameable(&self, mut groups: Vec<GroupState>, exact: &mut Exact) -> Vec<GroupState> {
        if let (Some(selection), Some(people), false) = (&self.layout().selection, self.layout().people, is_noiseless())
        {
            groups
                .retain(|group| u64::try_from(group.slots[people]).is_ok_and(|people| selection.keeps(people, exact)));
        }
        groups
    }

    fn quantiles(
        &self,
        aggregate: &Aggregate,
        epsilon: &Epsilon,
        part: &Part,
        groups: &[GroupState],
        exact: &mut Exact,
    ) -> Result<Vec<Estimate>, Error> {
        let (Aggregate::Quantiles { at, interval, .. }, Map::Cells(lattice)) = (aggregate, &part.map) else {
            return Ok(vec![]);
        };
        let target = |q: &Rational, epsilon: &Epsilon| {
            Target::new(q, epsilon, &self.limits(), self.spec().neighbors, self.grouped())
        };
        let parts = self.quantile_budget(epsilon, at.len(), interval.is_some())?;
        let last = lattice.last();
        let mut estimates = Vec::with_capacity(groups.len());
        for group in groups {
            let runs = &group.cells[part.slot];
            let ranks = Ranks::new(runs, last, 0)?;
            let mut found = Vec::with_capacity(at.len());
            for q in at {
                let value = target(q, &parts.value)?;
                let cell = if is_noiseless() { value.best(&ranks) } else { value.choose(&ranks, 0, 0, exact) };
                let ends = match interval {
                    None => None,
                    Some(_) if is_noiseless() => Some((cell, cell)),
                    Some(confidence) => {
                        let end = target(q, &parts.end)?;
                        let risk = (1.0 - confidence.upper()) / 2.0;
                        let margin = end.margin(last + 1, risk.max(f64::MIN_POSITIVE));
                        let ranks = Ranks::new(runs, last, margin)?;
                        let low = end.choose(&ranks, -margin, margin, exact);
                        Some((low.min(cell), end.choose(&ranks, margin, margin, exact).max(cell)))
                    }
                };
                found.push((lattice.value(cell), ends.map(|(low, high)| (lattice.value(low), lattice.value(high)))));
            }
            estimates.push(Estimate::Quantiles(found));
        }
        Ok(estimates)
    }

    /// Equal parts for all quantiles; of each, half for the value and a quarter for each end of its interval, or all
    /// for the value.
    fn quantile_budget(&self, epsilon: &Epsilon, quantiles: usize, interval: bool) -> Result<QuantileBudget, Error> {
        let part = |of: i128| {
            let share =
                Rational::new(1, of * i128::try_from(quantiles).unwrap_or(i128::MAX)).unwrap_or_else(Rational::one);
            Epsilon::new(epsilon.rational() * &share)
        };
        Ok(QuantileBudget { value: part(if interval { 2 } else { 1 })?, end: part(4)? })
    }
}

struct QuantileBudget {
    value: Epsilon,
    end: Epsilon,
}

/// Noise for all groups is drawn before their sums are touched.
fn noisy_steps(part: &Part, noise: &Law, groups: &[GroupState]) -> Result<Vec<Estimate>, Error> {
    let width = part.map.slots();
    let mut drawn = vec![0; groups.len() * width];
    noise.sample(&mut drawn)?;
    let noisy = |(group, drawn): (&GroupState, &[i64])| {
        let sums = &group.slots[part.slot..][..width];
        Estimate::Steps(sums.iter().zip(drawn).map(|(sum, z)| sum.saturating_add(i128::from(*z))).collect())
    };
    Ok(groups.iter().zip(drawn.chunks(width)).map(noisy).collect())
}

impl Release {
    /// The plan that was released.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The keys that results are for: the plan's, in its order; or those that selection named, sorted; or one empty
    /// key for the whole table.
    #[must_use]
    pub fn keys(&self) -> &[Vec<Key>] {
        &self.keys
    }

    /// Whether noise was off: a test release, NOT PRIVATE.
    #[must_use]
    pub fn is_noiseless(&self) -> bool {
        self.noiseless
    }

    /// What one measure did, for an accountant.
    #[must_use]
    pub fn event(&self, measure: usize) -> Event {
        self.plan.measure_event(measure)
    }

    /// What choosing the keys did, if they were unknown.
    #[must_use]
    pub fn selection_event(&self) -> Option<Event> {
        self.plan.selection_event()
    }

    /// The value of a measure for the `group`-th key; `None` beyond the last measure or key.
    #[must_use]
    pub fn value(&self, measure: usize, group: usize) -> Option<Value> {
        let part = self.plan.layout().parts.get(measure)?;
        Some(match (self.estimates.get(measure)?.get(group)?, &part.map) {
            (Estimate::Quantiles(found), _) => Value::Numbers(found.iter().map(|(value, _)| *value).collect()),
            (Estimate::Steps(steps), Map::Rows | Map::People | Map::Cells(_)) => Value::Count(*steps.first()?),
            (Estimate::Steps(steps), Map::Sum(lattice)) => Value::Number(*steps.first()? as f64 * lattice.step() + 0.0),
            (Estimate::Steps(steps), Map::Mean(lattice)) => {
                let (lower, upper) = (lattice.bounds().lower(), lattice.bounds().upper());
                Value::Number((lower + interval::share(steps) * (upper - lower)).clamp(lower, upper))
            }
            (Estimate::Steps(steps), Map::Variance(lattice)) => {
                Value::Number(interval::variance(steps) * lattice.width().powi(2))
            }
        })
    }

    /// An interval that holds the value without noise with at least this confidence, one for each number of the value.
    ///
    /// It covers the noise alone. It does not cover what clamping and contribution limits do to the value, nor what the
    /// table is a sample of. Counts and sums use the exact law of their noise; a mean the exact law of the noise in
    /// (numerator - mean * denominator), for every mean that could be; a variance the union of three exact bounds; a
    /// quantile the two further choices that were paid for.
    ///
    /// # Errors
    /// If the confidence is not in (0, 1), or for quantiles above the one that was paid for.
    pub fn interval(&self, measure: usize, group: usize, confidence: f64) -> Result<Vec<(f64, f64)>, Error> {
        if !(confidence > 0.0 && confidence < 1.0) {
            return Err(Error::out_of_range("confidence", confidence, "in (0, 1)"));
        }
        let missing = || Error::out_of_range("measure", measure, "one of this release's");
        let part = self.plan.layout().parts.get(measure).ok_or_else(missing)?;
        let estimate = self.estimates.get(measure).and_then(|all| all.get(group)).ok_or_else(missing)?;
        let steps = match estimate {
            Estimate::Quantiles(found) => return self.quantile_intervals(measure, found, confidence),
            Estimate::Steps(steps) => steps,
        };
        let Some(noise) = &part.noise else { return Err(missing()) };
        let around = |step: f64| -> Result<(f64, f64), Error> {
            let half = noise.half_width(confidence)?;
            let value = steps.first().copied().unwrap_or(0) as f64;
            Ok(((value - half) * step + 0.0, (value + half) * step + 0.0))
        };
        Ok(vec![match &part.map {
            Map::Rows | Map::People | Map::Cells(_) => around(1.0)?,
            Map::Sum(lattice) => around(lattice.step())?,
            Map::Mean(lattice) => {
                let (lower, upper) = (lattice.bounds().lower(), lattice.bounds().upper());
                let reach = |p: f64| noise.mixture(1.0 - p, p, 1.0 - confidence);
                let (low, high) = interval::share_interval(steps, reach);
                let at = |share: f64| (lower + share * (upper - lower)).clamp(lower, upper);
                (at(low), at(high))
            }
            Map::Variance(lattice) => {
                let square = lattice.width().powi(2);
                let half = noise.half_width(1.0 - (1.0 - confidence) / 3.0)?;
                let (low, high) = interval::variance_interval(steps, half);
                (low * square, high * square)
            }
        }])
    }

    fn quantile_intervals(
        &self,
        measure: usize,
        found: &[(f64, Option<(f64, f64)>)],
        confidence: f64,
    ) -> Result<Vec<(f64, f64)>, Error> {
        let paid = match &self.plan.spec().measures[measure].aggregate {
            Aggregate::Quantiles { interval: Some(paid), .. } => paid.upper(),
            _ => 0.0,
        };
        let ends = found.iter().map(|(_, ends)| ends.filter(|_| confidence <= paid)).collect::<Option<_>>();
        ends.ok_or_else(|| {
            Error::out_of_range(
                "confidence",
                confidence,
                "at most what the quantile paid for: ask for it with the query",
            )
        })
    }

    /// The scale (of Gaussian noise: sigma) of a measure's noise, in its own units: of the count, of the sum, of a mean's or variance's sums
    /// (values times rows); for quantiles, the number of rows over which a candidate's weight falls by a factor e.
    #[must_use]
    pub fn scale(&self, measure: usize) -> Option<f64> {
        self.plan.scale(measure)
    }

    /// The grid that a measure's released numbers, or the sums that they are made of, lie on.
    #[must_use]
    pub fn grid(&self, measure: usize) -> Option<f64> {
        Some(match &self.plan.layout().parts.get(measure)?.map {
            Map::Rows | Map::People => 1.0,
            Map::Sum(lattice) => lattice.step(),
            Map::Mean(lattice) | Map::Variance(lattice) => lattice.step(),
            Map::Cells(lattice) => lattice.step(),
        })
    }
}

/// What to expect of a measure, before any data.
#[derive(Clone, Debug, Serialize)]
pub struct Forecast {
    /// The measure.
    pub name: String,
    /// What it costs by itself, as a float: [`Plan::measure_cost`].
    pub epsilon: f64,
    /// The scale of its noise.
    pub scale: f64,
    /// What noise exceeds with probability 5 % at most; `None` if that depends on the number of rows and none was given.
    pub error: Option<f64>,
    /// What the error is measured in.
    pub error_in: &'static str,
}

impl Plan {
    /// The error that noise makes in each group, with `rows` in it after bounding: a public guess.
    pub fn forecast(&self, rows: Option<u64>) -> Result<Vec<Forecast>, Error> {
        let measures = self.spec().measures.iter().zip(&self.layout().parts).enumerate();
        let forecast = |(i, (measure, part)): (usize, (&Measure, &Part))| {
            let scale = self.scale(i).unwrap_or(f64::NAN);
            let half = part.noise.as_ref().map(|noise| noise.half_width(0.95)).transpose()?;
            // An even spread of values over the bounds: the middle share.
            let per_row = rows.filter(|rows| *rows > 0).map(|rows| rows as f64);
            let (error, error_in) = match &part.map {
                Map::Rows => (half, "rows"),
                Map::People => (half, "people"),
                Map::Sum(lattice) => (half.map(|steps| steps * lattice.step()), "the column's unit"),
                Map::Mean(lattice) => (
                    half.zip(per_row).map(|(steps, n)| steps * lattice.step() * lattice.width() / n),
                    "the column's unit",
                ),
                Map::Variance(lattice) => (
                    half.zip(per_row).map(|(steps, n)| 2.0 * steps * lattice.step() * lattice.width().powi(2) / n),
                    "the square of the column's unit",
                ),
                Map::Cells(lattice) => (Some(scale * (f64::from(lattice.last() + 1) / 0.05).ln()), "rows, by rank"),
            };
            let epsilon = self.measure_cost(i).map_or(f64::NAN, |(epsilon, _)| epsilon.upper());
            Ok(Forecast { name: measure.name.clone(), epsilon, scale, error, error_in })
        };
        measures.map(forecast).collect()
    }

    /// [`Release::scale`], known before any data are.
    #[must_use]
    pub fn scale(&self, measure: usize) -> Option<f64> {
        let part = self.layout().parts.get(measure)?;
        let steps = part.noise.as_ref().map_or(0.0, Law::scale);
        Some(match &part.map {
            Map::Rows | Map::People => steps,
            Map::Sum(lattice) => steps * lattice.step(),
            Map::Mean(lattice) => steps * lattice.step() * lattice.width(),
            Map::Variance(lattice) => steps * lattice.step() * lattice.width().powi(2),
            Map::Cells(_) => {
                let measure = self.spec().measures.get(measure)?;
                let Aggregate::Quantiles { at, interval, .. } = &measure.aggregate else { return None };
                let budget = self.quantile_budget(&measure.epsilon, at.len(), interval.is_some()).ok()?;
                let rows = |q| {
                    let target = Target::new(q, &budget.value, &self.limits(), self.spec().neighbors, self.grouped());
                    target.map_or(f64::INFINITY, |target| target.rows_per_nat())
                };
                at.iter().map(rows).fold(0.0, f64::max)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Groups, Limits, Spec, Unit};
    use super::*;
    use crate::domain::Bounds;
    use crate::sensitivity::Neighbors;

    /// One choice for each quantile, and two for its interval, spend the measure's epsilon and no more.
    #[test]
    fn quantiles_share_their_budget() {
        let bounds = Bounds::new(0.0, 1.0).expect("valid");
        let epsilon = Epsilon::from_decimal(0.7).expect("valid");
        let at = vec![Rational::one()];
        let aggregate = Aggregate::Quantiles { column: "x".into(), bounds, at, step: None, interval: None };
        let measures = vec![Measure { name: "q".into(), aggregate, epsilon: epsilon.clone() }];
        let (unit, neighbors, limits) = (Unit::Row, Neighbors::AddRemove, Limits::one_row());
        let spec =
            Spec { unit, neighbors, limits, groups: Groups::Whole, measures, noise: Default::default(), seed: [0; 16] };
        let plan = Plan::new(spec).expect("a plan");
        for count in [1_usize, 2, 3, 7] {
            let times = |n: usize, part: &Epsilon| &Rational::from(n as u64) * part.rational();
            let plain = plan.quantile_budget(&epsilon, count, false).expect("positive");
            assert_eq!(times(count, &plain.value), *epsilon.rational());
            let paid = plan.quantile_budget(&epsilon, count, true).expect("positive");
            assert_eq!(times(count, &paid.value) + times(2 * count, &paid.end), *epsilon.rational());
        }
    }
}
