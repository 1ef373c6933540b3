//! Exact sums, group by group, in whole numbers.

use super::groups::NONE;
use super::key::Key;
use super::partial::{GroupState, Partial, Range, Runs};
use super::plan::{Groups, Map, Plan};

/// The state of all groups while rows come in.
#[derive(Debug)]
pub(super) struct Accumulator {
    /// Integers, `width` a group.
    slots: Vec<i128>,
    width: usize,
    /// For each quantile aggregate, one number a row: the group above the candidate nearest to the row's value.
    cells: Vec<Vec<u64>>,
}

impl Accumulator {
    pub(super) fn new(plan: &Plan, groups: usize) -> Self {
        let layout = plan.layout();
        Self { slots: vec![0; groups * layout.slots], width: layout.slots, cells: vec![vec![]; layout.counters] }
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
                        self.cells[part.slot].push(u64::from(group) << 32 | u64::from(cell));
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
        self.cells.iter_mut().for_each(|cells| cells.sort_unstable());
        self
    }

    /// The sum of two states whose groups have the same numbers and whose candidates are in order.
    pub(super) fn plus(mut self, other: Self) -> Self {
        self.slots.resize(self.slots.len().max(other.slots.len()), 0);
        self.slots.iter_mut().zip(&other.slots).for_each(|(sum, part)| *sum += part);
        self.cells = self.cells.into_iter().zip(other.cells).map(|(a, b)| merged(a, b)).collect();
        self
    }

    /// The same state with other numbers for the groups.
    pub(super) fn renumbered(mut self, numbers: &[u32]) -> Self {
        let mut slots = vec![0; numbers.len() * self.width];
        for (&number, state) in numbers.iter().zip(self.slots.chunks_exact(self.width.max(1))) {
            slots[number as usize * self.width..][..self.width].copy_from_slice(state);
        }
        self.slots = slots;
        for cell in self.cells.iter_mut().flatten() {
            *cell = u64::from(numbers[(*cell >> 32) as usize]) << 32 | (*cell & u64::from(u32::MAX));
        }
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
        let runs = |cells: &[u64], group: usize| {
            let from = cells.partition_point(|cell| (cell >> 32) < group as u64);
            let to = cells.partition_point(|cell| (cell >> 32) <= group as u64);
            Runs::from_sorted(cells[from..to].iter().map(|cell| *cell as u32))
        };
        let state = |group: usize| GroupState {
            key: keys[group].clone(),
            slots: self.slots[group * self.width..][..self.width].to_vec(),
            cells: self.cells.iter().map(|cells| runs(cells, group)).collect(),
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

fn merged(a: Vec<u64>, b: Vec<u64>) -> Vec<u64> {
    if a.is_empty() || b.is_empty() {
        return if a.is_empty() { b } else { a };
    }
    let mut all = Vec::with_capacity(a.len() + b.len());
    let (mut a, mut b) = (a.into_iter().peekable(), b.into_iter().peekable());
    while let (Some(x), Some(y)) = (a.peek(), b.peek()) {
        let from = if x <= y { &mut a } else { &mut b };
        all.extend(from.next());
    }
    all.extend(a.chain(b));
    all
}
