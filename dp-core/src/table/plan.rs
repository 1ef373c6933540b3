//! What will be computed and what it costs: decided before any data are seen.

use super::column::Batch;
use super::key::Key;
use super::keys::Selection;
use super::lattice::{CellLattice, ShareLattice, SumLattice};
use super::limits::{Change, Limits};
use super::noise::{Law, Noise};
use super::partial::{Partial, Range};
use super::reading::Builder;
use crate::Error;
use crate::accounting::Event;
use crate::domain::Bounds;
use crate::ledger::Budget;
use crate::privacy::{Delta, Epsilon, Positive, Rational};
use crate::sensitivity::Neighbors;
use serde::{Deserialize, Serialize};

/// Who a person is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// Each row is one person.
    Row,
    /// Rows with the same value in this column are one person's. Rows without a value belong to nobody and are dropped.
    Column(String),
}

/// The groups that results are reported for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Groups {
    /// The whole table is one group.
    Whole,
    /// By the values of these columns; each key has one value a column. Exactly these keys are reported, in this order,
    /// whether or not they occur.
    Public {
        /// The columns.
        by: Vec<String>,
        /// The keys, all different.
        keys: Vec<Vec<Key>>,
    },
    /// By the values of these columns, whatever they are: a key is reported only if private partition selection keeps
    /// it, in the order of the keys.
    Private {
        /// The columns.
        by: Vec<String>,
        /// What the selection may spend.
        epsilon: Epsilon,
        /// What the selection may spend; > 0.
        delta: Delta,
    },
}

/// One number a group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Aggregate {
    /// Rows after bounding.
    Rows,
    /// People with a row after bounding.
    People,
    /// Sum of the clamped values.
    Sum {
        /// The column of values.
        column: String,
        /// Values are clamped into these.
        bounds: Bounds,
    },
    /// Mean of the clamped values that are not missing.
    Mean {
        /// The column of values.
        column: String,
        /// Values are clamped into these.
        bounds: Bounds,
    },
    /// Population variance of the clamped values that are not missing.
    Variance {
        /// The column of values.
        column: String,
        /// Values are clamped into these.
        bounds: Bounds,
    },
    /// Quantiles of the clamped values that are not missing.
    Quantiles {
        /// The column of values.
        column: String,
        /// Values are clamped into these.
        bounds: Bounds,
        /// Which ones: in [0, 1].
        at: Vec<Rational>,
        /// Distance between candidate answers; a 2^-20th of the bounds if not given.
        step: Option<Positive>,
        /// Confidence of an interval that half the budget pays for; without it the whole budget goes to the value.
        interval: Option<Rational>,
    },
}

impl Aggregate {
    /// The column of values, where there are values.
    #[must_use]
    pub fn column(&self) -> Option<&str> {
        match self {
            Self::Rows | Self::People => None,
            Self::Sum { column, .. }
            | Self::Mean { column, .. }
            | Self::Variance { column, .. }
            | Self::Quantiles { column, .. } => Some(column),
        }
    }

    /// The aggregate's kind, as results name it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Rows => "count",
            Self::People => "count_units",
            Self::Sum { .. } => "sum",
            Self::Mean { .. } => "mean",
            Self::Variance { .. } => "variance",
            Self::Quantiles { .. } => "quantile",
        }
    }

    /// The values' bounds, where there are values.
    #[must_use]
    pub fn bounds(&self) -> Option<&Bounds> {
        match self {
            Self::Rows | Self::People => None,
            Self::Sum { bounds, .. }
            | Self::Mean { bounds, .. }
            | Self::Variance { bounds, .. }
            | Self::Quantiles { bounds, .. } => Some(bounds),
        }
    }

    /// How much budget the same relative error takes, compared with a count: the 95 % error at epsilon = 1, relative to
    /// one person's part in the result.
    #[must_use]
    pub fn difficulty(&self) -> Positive {
        let weight = match self {
            Self::Rows | Self::People | Self::Sum { .. } | Self::Mean { .. } => 1,
            Self::Variance { .. } => 2,
            // Rank error 2 ln(cells / 0.05) against ln(1 / 0.05): 5.6 to 1, for each.
            Self::Quantiles { at, .. } => 6 * i128::try_from(at.len()).unwrap_or(1).max(1),
        };
        Positive::new("weight", Rational::from(weight)).unwrap_or_else(|_| Positive::one())
    }
}

/// One aggregate of a plan, with its part of the budget.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measure {
    /// The name results carry.
    pub name: String,
    /// What is computed.
    pub aggregate: Aggregate,
    /// What it may spend, over all groups together: pure epsilon, or rho = epsilon^2 / 2 with [`Noise::Gaussian`].
    pub epsilon: Epsilon,
}

/// A plan as written down: every field is public. [`Plan::new`] checks it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// Who a person is.
    pub unit: Unit,
    /// Which tables are neighbours.
    pub neighbors: Neighbors,
    /// How much of the table one person may be.
    pub limits: Limits,
    /// The groups that results are reported for.
    pub groups: Groups,
    /// What is computed.
    pub measures: Vec<Measure>,
    /// The noise of everything but quantiles.
    #[serde(default, skip_serializing_if = "Noise::is_laplace")]
    pub noise: Noise,
    /// Key of the hashes that choose which rows of a person count: any value that does not depend on the data.
    pub seed: [u8; 16],
}

/// A checked plan: immutable, and the same on every machine that reads it.
#[derive(Clone, Debug)]
pub struct Plan {
    spec: Spec,
    hash: [u8; 32],
    layout: Layout,
}

/// Where each aggregate's integers live in a group's state.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    /// Different value columns.
    pub(super) columns: Vec<String>,
    /// Integers a group.
    pub(super) slots: usize,
    /// Quantile counters a group.
    pub(super) counters: usize,
    /// The slot that counts people, if anything needs it.
    pub(super) people: Option<usize>,
    /// One for each measure.
    pub(super) parts: Vec<Part>,
    /// The predicate that chooses private keys.
    pub(super) selection: Option<Selection>,
}

/// One measure: its map to integers, and the noise that hides a person in them.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) slot: usize,
    pub(super) column: usize,
    pub(super) map: Map,
    /// For everything but quantiles.
    pub(super) noise: Option<Law>,
}

#[derive(Clone, Debug)]
pub(super) enum Map {
    Rows,
    People,
    Sum(SumLattice),
    Mean(ShareLattice),
    Variance(ShareLattice),
    Cells(CellLattice),
}

impl Map {
    pub(super) fn slots(&self) -> usize {
        match self {
            Self::Rows | Self::People | Self::Sum(_) => 1,
            Self::Mean(_) => 2,
            Self::Variance(_) => 3,
            Self::Cells(_) => 0,
        }
    }
}

impl Plan {
    /// Checks the plan and derives its sensitivities and lattices.
    pub fn new(spec: Spec) -> Result<Self, Error> {
        check(&spec)?;
        let layout = Layout::new(&spec)?;
        let text = serde_json::to_vec(&spec).map_err(|e| Error::Table(format!("this plan cannot be written: {e}")))?;
        let mut hasher = blake3::Hasher::new_derive_key("veilsum 0.1 table plan");
        hasher.update(&text);
        let plan = Self { spec, hash: hasher.finalize().into(), layout };
        plan.spec.noise.covers(&plan.event(), plan.spec.neighbors)?;
        Ok(plan)
    }

    /// Reads what [`Plan::to_json`] wrote.
    pub fn from_json(text: &str) -> Result<Self, Error> {
        Self::new(serde_json::from_str(text).map_err(|e| Error::Table(format!("not a plan: {e}")))?)
    }

    /// The plan as JSON text, for other machines.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(&self.spec).expect("the constructor wrote the same plan")
    }

    /// The plan as written down.
    #[must_use]
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// Identifies the plan: partials of different plans do not merge.
    #[must_use]
    pub fn hash(&self) -> &[u8; 32] {
        &self.hash
    }

    /// What a release of this plan is, for an accountant or a ledger. It needs no data.
    ///
    /// Measures are charged in full, each one over all groups together: its sensitivity is that of the vector of all
    /// groups' results.
    #[must_use]
    pub fn event(&self) -> Event {
        let mut events: Vec<Event> = self.selection_event().into_iter().collect();
        events.extend((0..self.spec.measures.len()).map(|i| self.measure_event(i)));
        match <[Event; 1]>::try_from(events) {
            Ok([one]) => one,
            Err(events) => Event::Composed { events: events.into_iter().map(|event| (event, 1)).collect() },
        }
    }

    pub(super) fn selection_event(&self) -> Option<Event> {
        match &self.spec.groups {
            Groups::Private { epsilon, delta, .. } => {
                Some(Event::Approximate { epsilon: epsilon.rational().clone(), delta: delta.clone() })
            }
            _ => None,
        }
    }

    pub(super) fn measure_event(&self, index: usize) -> Event {
        let (part, measure) = (&self.layout.parts[index], &self.spec.measures[index]);
        match &part.noise {
            Some(noise) => noise.event(),
            None => Event::Pure { epsilon: measure.epsilon.clone() },
        }
    }

    /// What a ledger is charged: [`Plan::event`], or under a rule that adds up epsilons and deltas, which Gaussian noise
    /// has none of, the plan's [`Plan::cost`].
    #[must_use]
    pub fn event_under(&self, budget: &Budget) -> Event {
        match (&self.spec.noise, budget, self.cost()) {
            (Noise::Gaussian { .. }, Budget::Basic { .. }, (epsilon, delta)) => match Delta::new(delta) {
                Ok(delta) => Event::Approximate { epsilon, delta },
                Err(_) => self.event(),
            },
            _ => self.event(),
        }
    }

    /// What one measure costs by itself, as (epsilon, delta). With Gaussian noise all together cost less than the sum.
    #[must_use]
    pub fn measure_cost(&self, measure: usize) -> Option<(Rational, Rational)> {
        self.spec.measures.get(measure).map(|measure| self.spec.noise.cost_alone(&measure.epsilon))
    }

    /// What a release spends, exactly, as (epsilon, delta): the sums of the measures' and the selection's budgets; with
    /// Gaussian noise, what the plan states for all of them, and the selection's delta.
    #[must_use]
    pub fn cost(&self) -> (Rational, Rational) {
        if let Noise::Gaussian { epsilon, delta } = &self.spec.noise {
            let selection = match &self.spec.groups {
                Groups::Private { delta, .. } => delta.rational().clone(),
                _ => Rational::zero(),
            };
            return (epsilon.rational().clone(), delta.rational() + &selection);
        }
        let measures = self.spec.measures.iter().map(|m| m.epsilon.rational().clone());
        let (selection, delta) = match &self.spec.groups {
            Groups::Private { epsilon, delta, .. } => (epsilon.rational().clone(), delta.rational().clone()),
            _ => (Rational::zero(), Rational::zero()),
        };
        (measures.fold(selection, |sum, epsilon| sum + epsilon), delta)
    }

    /// The exact sums of this plan over some batches, without noise: **raw data**. Seal it in transit, never log it.
    ///
    /// `range` is the part of all people that this partial owns; rows of others are dropped, so a partitioning that
    /// splits a person cannot count a person twice. `threads` changes the time taken and nothing else.
    pub fn partial(&self, batches: &[Batch<'_>], range: Range, threads: usize) -> Result<Partial, Error> {
        let mut builder = Builder::new(self, range, threads);
        for batch in batches {
            builder.push(batch)?;
        }
        Ok(builder.finish())
    }

    pub(super) fn layout(&self) -> &Layout {
        &self.layout
    }

    pub(super) fn grouped(&self) -> bool {
        self.spec.groups != Groups::Whole
    }

    /// The limits that hold where results are reported.
    pub(super) fn limits(&self) -> Limits {
        effective_limits(&self.spec)
    }
}

/// Splits a budget exactly, in proportion to weights.
pub fn split(total: &Epsilon, weights: &[Positive]) -> Result<Vec<Epsilon>, Error> {
    let sum = weights.iter().fold(Rational::zero(), |sum, w| &sum + w.rational());
    let sum = Positive::new("weights", sum)?;
    weights.iter().map(|w| Epsilon::new(total.rational() * &(w.rational() / &sum))).collect()
}

fn effective_limits(spec: &Spec) -> Limits {
    if spec.groups == Groups::Whole { spec.limits.ungrouped() } else { spec.limits }
}

fn check(spec: &Spec) -> Result<(), Error> {
    if spec.neighbors == Neighbors::ZeroOut {
        return Err(Error::out_of_range("neighbors", "zero-out", "\"add-remove\" or \"replace-one\" for tables"));
    }
    if spec.unit == Unit::Row && spec.limits != Limits::one_row() {
        return Err(Error::out_of_range("max_contributions", spec.limits.rows(), "1 where each row is a person"));
    }
    if spec.measures.is_empty() && !matches!(spec.groups, Groups::Private { .. }) {
        return Err(Error::Table("the plan computes nothing: give it an aggregate".into()));
    }
    for (i, measure) in spec.measures.iter().enumerate() {
        if spec.measures[..i].iter().any(|other| other.name == measure.name) {
            return Err(Error::Table(format!("two aggregates are named {:?}: give each its own name", measure.name)));
        }
        if let Aggregate::Quantiles { at, interval, .. } = &measure.aggregate {
            let outside = |q: &Rational| q.is_negative() || *q > Rational::one();
            if at.is_empty() || at.iter().any(outside) {
                let shown = at.iter().find(|q| outside(q)).map_or("an empty list".into(), ToString::to_string);
                return Err(Error::out_of_range("q", shown, "one or several numbers in [0, 1]"));
            }
            if let Some(confidence) = interval.as_ref().filter(|c| !c.is_positive() || **c >= Rational::one()) {
                return Err(Error::out_of_range("confidence", confidence, "in (0, 1)"));
            }
        }
    }
    match &spec.groups {
        Groups::Public { by, keys } => {
            let mut sorted: Vec<_> = keys.iter().collect();
            sorted.sort();
            if sorted.windows(2).any(|pair| pair[0] == pair[1]) {
                return Err(Error::Table("the same key is given twice: give each key once".into()));
            }
            if by.is_empty() || keys.iter().any(|key| key.len() != by.len()) {
                return Err(Error::Table("each key must have one value for each column that it groups by".into()));
            }
        }
        Groups::Private { by, delta, .. } => {
            if by.is_empty() {
                return Err(Error::Table("unknown keys need at least one column to group by".into()));
            }
            if !delta.rational().is_positive() {
                return Err(Error::out_of_range(
                    "delta",
                    delta,
                    "in (0, 1) for unknown keys: without it no key may ever appear; or give the keys, if they are public",
                ));
            }
        }
        Groups::Whole => {}
    }
    Ok(())
}

impl Layout {
    fn new(spec: &Spec) -> Result<Self, Error> {
        let mut layout = Self { columns: vec![], slots: 0, counters: 0, people: None, parts: vec![], selection: None };
        for measure in &spec.measures {
            let part = layout.part(spec, measure)?;
            layout.parts.push(part);
        }
        if let Groups::Private { epsilon, delta, .. } = &spec.groups {
            let keys = u64::from(spec.limits.groups()) * if spec.neighbors == Neighbors::ReplaceOne { 2 } else { 1 };
            layout.selection = Some(Selection::new(epsilon, delta, keys)?);
            layout.people_slot();
        }
        Ok(layout)
    }

    fn people_slot(&mut self) -> usize {
        *self.people.get_or_insert_with(|| {
            self.slots += 1;
            self.slots - 1
        })
    }

    fn part(&mut self, spec: &Spec, measure: &Measure) -> Result<Part, Error> {
        let (limits, neighbors, grouped) = (effective_limits(spec), spec.neighbors, spec.groups != Groups::Whole);
        let epsilon = &measure.epsilon;
        let column = match measure.aggregate.column() {
            None => 0,
            Some(name) => self.columns.iter().position(|known| known == name).unwrap_or_else(|| {
                self.columns.push(name.to_owned());
                self.columns.len() - 1
            }),
        };
        let shares = |bounds: &Bounds| ShareLattice::new(*bounds, &limits, neighbors, &spec.noise, epsilon);
        let (map, change): (Map, Option<Change>) = match &measure.aggregate {
            // A person's rows count 1 each.
            Aggregate::Rows => (Map::Rows, Some(limits.change_of_sum(neighbors, grouped, 0, 1))),
            Aggregate::People => (Map::People, Some(limits.change_of_people(neighbors, grouped))),
            Aggregate::Sum { bounds, .. } => {
                let rows_are_public = spec.unit == Unit::Row && !grouped;
                let lattice =
                    SumLattice::new(*bounds, &limits, neighbors, grouped, rows_are_public, &spec.noise, epsilon)?;
                let change = lattice.change;
                (Map::Sum(lattice), Some(change))
            }
            Aggregate::Mean { bounds, .. } => {
                let lattice = shares(bounds)?;
                let change = lattice.change;
                (Map::Mean(lattice), Some(change))
            }
            Aggregate::Variance { bounds, .. } => {
                let width = bounds.upper() - bounds.lower();
                if !(1e-140..=1e140).contains(&width) {
                    return Err(Error::out_of_range(
                        "width of the bounds",
                        width,
                        "1e-140 to 1e140 for a variance, whose unit is its square: rescale the column",
                    ));
                }
                let lattice = shares(bounds)?;
                let change = lattice.change;
                (Map::Variance(lattice), Some(change))
            }
            Aggregate::Quantiles { bounds, step, .. } => {
                (Map::Cells(CellLattice::new(*bounds, step.as_ref().map(|s| s.nearest()))?), None)
            }
        };
        let noise = change.map(|change| Law::new(&spec.noise, change, epsilon)).transpose()?;
        let slot = match &map {
            Map::People => self.people_slot(),
            Map::Cells(_) => {
                self.counters += 1;
                self.counters - 1
            }
            map => {
                self.slots += map.slots();
                self.slots - map.slots()
            }
        };
        Ok(Part { slot, column, map, noise })
    }
}
