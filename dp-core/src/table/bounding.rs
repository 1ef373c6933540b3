//! Contribution limits: which rows of a person count, chosen by keyed hash.
//!
//! The choice is a function of the *set* of a person's rows (a multiset: equal rows are numbered) and of a key that does
//! not depend on the data. Other people's rows have no part in it, so adding or removing a person changes that person's
//! rows alone; and neither the order of rows nor the way the table was cut matters.
//!
//! The order is: at most g groups, those with the smallest hashes; in each at most r rows; of these at most m rows.
//! Missing values and keys that are not reported are dropped *after* that: a row counts towards the limits whatever it
//! holds. Rows whose person is missing belong to nobody and are dropped first.

use super::accumulate::Accumulator;
use super::groups::NONE;
use super::key::Key;
use super::plan::{Groups, Plan};
use siphasher::sip::SipHasher24;
use std::cmp::Ordering;
use std::sync::atomic::{AtomicUsize, Ordering as Memory};
use std::sync::{Arc, Mutex};
use std::thread;

/// The rows of one bucket, column by column.
#[derive(Clone, Debug, Default)]
pub(super) struct Rows<Id> {
    pub(super) people: Vec<Id>,
    pub(super) groups: Vec<u32>,
    pub(super) values: Vec<f64>,
}

impl<Id> Rows<Id> {
    #[inline]
    pub(super) fn push(&mut self, person: Id, group: u32, values: impl ExactSizeIterator<Item = f64>) {
        if self.people.len() == self.people.capacity() {
            self.grow(values.len());
        }
        self.people.push(person);
        self.groups.push(group);
        self.values.extend(values);
    }

    /// A quarter more room, where a list by itself would take twice as much: rows are most of the memory there is.
    #[cold]
    fn grow(&mut self, values: usize) {
        let more = self.people.len() / 4 + 64;
        self.people.reserve_exact(more);
        self.groups.reserve_exact(more);
        self.values.reserve_exact(more * values);
    }
}

/// The keyed hashes of a plan, each for one purpose.
#[derive(Clone, Debug)]
pub(super) struct Hashes {
    pub(super) person: SipHasher24,
    person_low: SipHasher24,
    group: SipHasher24,
    group_choice: SipHasher24,
    row_choice: SipHasher24,
}

impl Hashes {
    pub(super) fn new(seed: &[u8; 16]) -> Self {
        let key = |purpose: &str| {
            let mut hasher = blake3::Hasher::new_derive_key(purpose);
            hasher.update(seed);
            let bytes: [u8; 32] = hasher.finalize().into();
            let (low, _) = bytes.split_first_chunk::<16>().expect("32 bytes begin with 16");
            SipHasher24::new_with_key(low)
        };
        Self {
            person: key("veilsum 0.1 table: person"),
            person_low: key("veilsum 0.1 table: person, second word"),
            group: key("veilsum 0.1 table: group"),
            group_choice: key("veilsum 0.1 table: choice of groups"),
            row_choice: key("veilsum 0.1 table: choice of rows"),
        }
    }

    /// A person by two words; the first is the place of the person.
    pub(super) fn wide(&self, canonical: &[u8]) -> u128 {
        u128::from(self.person.hash(canonical)) << 64 | u128::from(self.person_low.hash(canonical))
    }
}

/// One worker's rows of a bucket, and what its group numbers are called by all.
pub(super) type Piece<Id> = (Rows<Id>, Arc<Vec<u32>>);

/// A person's number in a bucket.
pub(super) trait Person: Copy + Ord + Send {
    /// What its rows are chosen by: a hash of the person's canonical bytes, the same for every type that carries it.
    fn token(self, bounder: &Bounder<'_>) -> u64;
}

impl Person for u128 {
    fn token(self, _: &Bounder<'_>) -> u64 {
        (self >> 64) as u64
    }
}

impl Person for u64 {
    fn token(self, bounder: &Bounder<'_>) -> u64 {
        (bounder.narrow_token)(bounder.hashes, self)
    }
}

/// Bounds people, bucket by bucket.
pub(super) struct Bounder<'a> {
    plan: &'a Plan,
    hashes: &'a Hashes,
    narrow_token: fn(&Hashes, u64) -> u64,
    keys: &'a [Vec<Key>],
    /// Hash of each group's key.
    key_hashes: Vec<u64>,
    /// Value columns.
    width: usize,
    most_rows: usize,
    most_groups: usize,
    most_per_group: usize,
}

impl<'a> Bounder<'a> {
    pub(super) fn new(
        plan: &'a Plan,
        hashes: &'a Hashes,
        keys: &'a [Vec<Key>],
        narrow_token: fn(&Hashes, u64) -> u64,
    ) -> Self {
        let mut bytes = vec![];
        let mut key_hash = |key: &Vec<Key>| {
            bytes.clear();
            key.iter().for_each(|part| part.write(&mut bytes));
            hashes.group.hash(&bytes)
        };
        let limits = plan.limits();
        // A limit that the limit on rows implies is none.
        let of_groups = |limit: u32| match plan.spec().groups == Groups::Whole || limit >= limits.rows() {
            true => usize::MAX,
            false => limit as usize,
        };
        Self {
            plan,
            hashes,
            narrow_token,
            keys,
            key_hashes: keys.iter().map(&mut key_hash).collect(),
            width: plan.layout().columns.len(),
            most_rows: limits.rows() as usize,
            most_groups: of_groups(limits.groups()),
            most_per_group: of_groups(limits.rows_per_group()),
        }
    }

    /// Bounds every bucket and adds what is left to `total`.
    pub(super) fn add_up<Id: Person>(
        &self,
        buckets: &[Mutex<Vec<Piece<Id>>>],
        total: Accumulator,
        threads: usize,
    ) -> Accumulator {
        let next = AtomicUsize::new(0);
        let work = || {
            let mut sums = Accumulator::new(self.plan, self.keys.len());
            let mut scratch = Scratch::new(self.keys.len());
            while let Some(bucket) = buckets.get(next.fetch_add(1, Memory::Relaxed)) {
                let pieces = std::mem::take(&mut *bucket.lock().unwrap_or_else(|poisoned| poisoned.into_inner()));
                self.bucket(&join(pieces), &mut sums, &mut scratch);
            }
            sums.sorted()
        };
        let done = thread::scope(|scope| {
            let others: Vec<_> = (1..threads.min(buckets.len())).map(|_| scope.spawn(work)).collect();
            let mut done = vec![work()];
            done.extend(others.into_iter().map(|t| t.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))));
            done
        });
        done.into_iter().fold(total, Accumulator::plus)
    }

    fn bucket<Id: Person>(&self, rows: &Rows<Id>, sums: &mut Accumulator, scratch: &mut Scratch) {
        let mut order: Vec<(Id, u32)> = rows.people.iter().copied().zip(0..).collect();
        order.sort_unstable();
        let always = self.most_rows.min(self.most_groups).min(self.most_per_group);
        for person in order.chunk_by(|a, b| a.0 == b.0) {
            scratch.kept.clear();
            if person.len() <= always {
                scratch.kept.extend(person.iter().map(|(_, row)| *row as usize));
            } else {
                self.choose(rows, person, scratch);
            }
            scratch.person += 1;
            for &row in &scratch.kept {
                let group = rows.groups[row];
                sums.row(self.plan, group, &rows.values[row * self.width..][..self.width]);
                if group != NONE
                    && std::mem::replace(&mut scratch.seen[group as usize], scratch.person) != scratch.person
                {
                    sums.person(self.plan, group);
                }
            }
        }
    }

    /// The rows of one person that count, into `scratch.kept`.
    fn choose<Id: Person>(&self, rows: &Rows<Id>, person: &[(Id, u32)], scratch: &mut Scratch) {
        let token = person[0].0.token(self);
        let content = |row: usize| (rows.groups[row], &rows.values[row * self.width..][..self.width]);
        let Scratch { candidates: all, bytes, .. } = scratch;
        let mut hash = |(group, values): (u32, &[f64]), copies: u64| {
            bytes.clear();
            bytes.extend(token.to_le_bytes());
            bytes.extend(self.key_hash(group).to_le_bytes());
            values.iter().for_each(|value| bytes.extend(value.to_bits().to_le_bytes()));
            bytes.extend(copies.to_le_bytes());
            self.hashes.row_choice.hash(bytes)
        };
        all.clear();
        if self.most_groups == usize::MAX && self.most_per_group == usize::MAX {
            // Where all rows differ in their hashes, they differ, and the order of the hashes is all there is.
            all.extend(person.iter().map(|&(_, row)| {
                let row = row as usize;
                Candidate { row, rank: 0, hash: hash(content(row), 0) }
            }));
            all.sort_unstable_by_key(|candidate| candidate.hash);
            if all.windows(2).all(|pair| pair[0].hash != pair[1].hash) {
                scratch.kept.extend(all[..self.most_rows].iter().map(|candidate| candidate.row));
                return;
            }
            all.clear();
        }
        all.extend(person.iter().map(|&(_, row)| Candidate { row: row as usize, rank: 0, hash: 0 }));
        all.sort_unstable_by(|a, b| self.canonical(content(a.row), content(b.row)));
        let mut copies = 0_u64;
        for rank in 0..all.len() {
            let (group, values) = content(all[rank].row);
            let again = rank > 0 && self.canonical(content(all[rank - 1].row), (group, values)).is_eq();
            copies = if again { copies + 1 } else { 0 };
            (all[rank].rank, all[rank].hash) = (rank, hash((group, values), copies));
        }
        let group = |candidate: &Candidate| rows.groups[candidate.row];
        let mut groups: Vec<(u64, usize, u32)> = all
            .chunk_by(|a, b| group(a) == group(b))
            .enumerate()
            .filter(|(_, run)| group(&run[0]) != NONE)
            .map(|(place, run)| (self.group_choice(token, group(&run[0])), place, group(&run[0])))
            .collect();
        groups.sort_unstable();
        groups.truncate(self.most_groups);
        let stays = |g: u32| g == NONE || groups.iter().any(|(_, _, kept)| *kept == g);
        let mut kept: Vec<Candidate> = vec![];
        for run in all.chunk_by_mut(|a, b| group(a) == group(b)) {
            let g = group(&run[0]);
            if stays(g) {
                let most = if g == NONE { run.len() } else { run.len().min(self.most_per_group) };
                kept.extend_from_slice(smallest(run, most));
            }
        }
        let most = kept.len().min(self.most_rows);
        scratch.kept.extend(smallest(&mut kept, most).iter().map(|candidate| candidate.row));
    }

    fn key_hash(&self, group: u32) -> u64 {
        self.key_hashes.get(group as usize).copied().unwrap_or(0)
    }

    fn group_choice(&self, token: u64, group: u32) -> u64 {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&token.to_le_bytes());
        bytes[8..].copy_from_slice(&self.key_hash(group).to_le_bytes());
        self.hashes.group_choice.hash(&bytes)
    }

    /// An order of rows by their content alone; equal exactly where the rows are.
    fn canonical(&self, (a, a_values): (u32, &[f64]), (b, b_values): (u32, &[f64])) -> Ordering {
        let by_group = if a == b {
            Ordering::Equal
        } else {
            let key = |group: u32| (self.key_hash(group), self.keys.get(group as usize));
            key(a).cmp(&key(b))
        };
        let bits = |value: &f64| value.to_bits();
        by_group.then_with(|| a_values.iter().map(bits).cmp(b_values.iter().map(bits)))
    }
}

/// A row that may count: its place in the canonical order breaks ties between hashes.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    row: usize,
    rank: usize,
    hash: u64,
}

fn smallest(candidates: &mut [Candidate], most: usize) -> &[Candidate] {
    if most < candidates.len() {
        candidates.select_nth_unstable_by_key(most, |c| (c.hash, c.rank));
    }
    &candidates[..most]
}

/// Memory that is used again for each person.
struct Scratch {
    kept: Vec<usize>,
    candidates: Vec<Candidate>,
    bytes: Vec<u8>,
    /// Number of the person at work, and of the last person seen in each group.
    person: u64,
    seen: Vec<u64>,
}

impl Scratch {
    fn new(groups: usize) -> Self {
        Self { kept: vec![], candidates: vec![], bytes: vec![], person: 0, seen: vec![0; groups] }
    }
}

/// All workers' rows of a bucket, with one numbering of groups.
fn join<Id: Copy>(pieces: Vec<Piece<Id>>) -> Rows<Id> {
    let mut all = Rows { people: vec![], groups: vec![], values: vec![] };
    for (mut rows, numbers) in pieces {
        rows.groups.iter_mut().filter(|g| **g != NONE).for_each(|g| *g = numbers[*g as usize]);
        if all.people.is_empty() {
            all = rows;
        } else {
            all.people.append(&mut rows.people);
            all.groups.append(&mut rows.groups);
            all.values.append(&mut rows.values);
        }
    }
    all
}
