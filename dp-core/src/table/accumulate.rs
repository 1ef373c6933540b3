//! Exact sums, group by group, in whole numbers.

use super::cells::Cells;
use super::groups::NONE;
use super::key::Key;
use super::partial::{GroupState, Partial, Range};
use super::plan::{Groups, Map, Plan};

/// The state of all groups while rows come in.
#[derive(Debug)]
pub(super) struct Accumulator {
    /// Integers, `width` a group.
    slots: Vec<i128>,
    width: usize,
    /// For each quantile aggregate, the candidates nearest to the rows' values.
    cells: Vec<Cells>,
}

impl Accumulator {
    pub(super) fn new(plan: &Plan, groups: usize) -> Self {
        let layout = plan.layout();
        let cells = layout.parts.iter().filter_map(|part| match &part.map {
            Map::Cells(lattice) => Some(Cells::new(plan, lattice.last())),
            _ => None,
        });
        Self { slots: vec![0; groups * layout.slots], width: layout.slots, cells: cells.collect() }
    }

    /// Adds one row that has been bounded; NaN is missing.
    ///
    /// 2^62 steps a row and 2^64 rows stay below 2^127, so nothing overflows.
    #[inline]
    pub(super) fn row(&mut self, plan: &Plan, group: u32, values: &[f64]) {
        if group == NONE {
            return;
        }
        let base = self.base(group);
        for part in &plan.layout().parts {
            let slots = &mut self.slots[base..];
            match &part.map {
                Map::Rows => slots[part.slot] += 1,
                Map::People => {}
                Map::Sum(lattice) => slots[part.slot] += i128::from(lattice.steps(values[part.column])),
                Map::Mean(lattice) => add(&mut slots[part.slot..], lattice.two(values[part.column])),
                Map::Variance(lattice) => add(&mut slots[part.slot..], lattice.three(values[part.column])),
                Map::Cells(lattice) => {
                    if let Some(cell) = lattice.cell(values[part.column]) {
                        self.cells[part.slot].count(group, cell);
                    }
                }
            }
        }
    }

    /// Counts a person in a group.
    #[inline]
    pub(super) fn person(&mut self, plan: &Plan, group: u32) {
        if let (Some(slot), true) = (plan.layout().people, group != NONE) {
            let base = self.base(group);
            self.slots[base + slot] += 1;
        }
    }

    #[inline]
    fn base(&mut self, group: u32) -> usize {
        let base = group as usize * self.width;
        if self.slots.len() < base + self.width {
            self.slots.resize(base + self.width, 0);
        }
        base
    }

    /// Brings the candidates of each quantile into order.
    pub(super) fn sorted(mut self) -> Self {
        self.cells.iter_mut().for_each(Cells::sort);
        self
    }

    /// The sum of two states whose groups have the same numbers and whose candidates are in order.
    pub(super) fn plus(mut self, other: Self) -> Self {
        self.slots.resize(self.slots.len().max(other.slots.len()), 0);
        self.slots.iter_mut().zip(&other.slots).for_each(|(sum, part)| *sum += part);
        self.cells = self.cells.into_iter().zip(other.cells).map(|(a, b)| a.plus(b)).collect();
        self
    }

    /// The same state with other numbers for the groups.
    pub(super) fn renumbered(mut self, numbers: &[u32]) -> Self {
        let mut slots = vec![0; numbers.len() * self.width];
        for (&number, state) in numbers.iter().zip(self.slots.chunks_exact(self.width.max(1))) {
            slots[number as usize * self.width..][..self.width].copy_from_slice(state);
        }
        self.slots = slots;
        self.cells.iter_mut().for_each(|cells| cells.renumber(numbers));
        self.sorted()
    }

    /// The partial: public keys in the order of the plan, private ones that have someone in the order of the keys.
    pub(super) fn into_partial(mut self, plan: &Plan, range: Range, keys: Vec<Vec<Key>>) -> Partial {
        self.slots.resize(keys.len() * self.width, 0);
        let mut order: Vec<usize> = (0..keys.len()).collect();
        if let (Groups::Private { .. }, Some(people)) = (&plan.spec().groups, plan.layout().people) {
            order.retain(|group| self.slots[group * self.width + people] > 0);
            order.sort_unstable_by(|a, b| keys[*a].cmp(&keys[*b]));
        }
        let state = |group: usize| GroupState {
            key: keys[group].clone(),
            slots: self.slots[group * self.width..][..self.width].to_vec(),
            cells: self.cells.iter().map(|cells| cells.runs(group)).collect(),
        };
        Partial::new(plan, range, order.into_iter().map(state).collect())
    }
}

#[inline]
fn add<const N: usize>(slots: &mut [i128], parts: Option<[i64; N]>) {
    if let Some(parts) = parts {
        slots.iter_mut().zip(parts).for_each(|(slot, part)| *slot += i128::from(part));
    }
}
