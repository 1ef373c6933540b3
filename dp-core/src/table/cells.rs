//! Rows counted by group and candidate: what quantiles are found in.

use super::partial::Runs;
use super::plan::{Groups, Plan};

/// The counts of one quantile aggregate: a list of rows while there are few, a table of counts when that is smaller.
#[derive(Clone, Debug)]
pub(super) struct Cells {
    /// One number a row: the group above the candidate. Empty where there is a table.
    list: Vec<u64>,
    table: Vec<u64>,
    /// Candidates a group.
    width: usize,
    /// Counts of a table; beyond any list where the groups are unknown or the counts too many.
    size: usize,
}

/// Most counts of a table: 16 MB for each thread.
const LARGEST: usize = 1 << 21;

impl Cells {
    /// For candidates 0 to `last`.
    pub(super) fn new(plan: &Plan, last: u32) -> Self {
        let width = last as usize + 1;
        Self { list: vec![], table: vec![], width, size: table_size(plan, width).unwrap_or(usize::MAX) }
    }

    #[inline]
    pub(super) fn count(&mut self, group: u32, cell: u32) {
        if !self.table.is_empty() {
            self.table[group as usize * self.width + cell as usize] += 1;
            return;
        }
        self.list.push(u64::from(group) << 32 | u64::from(cell));
        if self.list.len() >= self.size {
            self.tabulate();
        }
    }

    /// Turns the list into a table.
    fn tabulate(&mut self) {
        self.table.resize(self.size, 0);
        for row in std::mem::take(&mut self.list) {
            self.table[(row >> 32) as usize * self.width + (row & u64::from(u32::MAX)) as usize] += 1;
        }
    }

    /// Brings a list into order.
    pub(super) fn sort(&mut self) {
        self.list.sort_unstable();
    }

    /// The sum of two counts whose groups have the same numbers and whose lists are in order.
    pub(super) fn plus(mut self, mut other: Self) -> Self {
        if self.table.is_empty() && other.table.is_empty() {
            self.list = merged(self.list, other.list);
            return self;
        }
        self.tabulate();
        other.tabulate();
        self.table.iter_mut().zip(&other.table).for_each(|(sum, count)| *sum += count);
        self
    }

    /// The same counts with other numbers for the groups.
    pub(super) fn renumber(&mut self, numbers: &[u32]) {
        for row in &mut self.list {
            *row = u64::from(numbers[(*row >> 32) as usize]) << 32 | (*row & u64::from(u32::MAX));
        }
        let table = std::mem::take(&mut self.table);
        self.table.resize(table.len(), 0);
        for (&number, counts) in numbers.iter().zip(table.chunks_exact(self.width)) {
            self.table[number as usize * self.width..][..self.width].copy_from_slice(counts);
        }
    }

    /// What a group has, once the list is in order.
    pub(super) fn runs(&self, group: usize) -> Runs {
        if !self.table.is_empty() {
            let counts = &self.table[group * self.width..][..self.width];
            return Runs::from_runs((0..).zip(counts.iter().copied()).filter(|(_, count)| *count > 0));
        }
        let from = self.list.partition_point(|row| (row >> 32) < group as u64);
        let to = self.list.partition_point(|row| (row >> 32) <= group as u64);
        let rows = self.list[from..to].chunk_by(|a, b| a == b);
        Runs::from_runs(rows.map(|same| (same[0] as u32, same.len() as u64)))
    }
}

/// The counts of a table for a plan whose groups are known, unless they are too many.
fn table_size(plan: &Plan, width: usize) -> Option<usize> {
    let groups = match &plan.spec().groups {
        Groups::Whole => 1,
        Groups::Public { keys, .. } => keys.len(),
        Groups::Private { .. } => return None,
    };
    groups.checked_mul(width).filter(|size| (1..=LARGEST).contains(size))
}

/// Whether a list grows no longer than a table of bounded size.
pub(super) fn is_bounded(plan: &Plan, last: u32) -> bool {
    table_size(plan, last as usize + 1).is_some()
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
