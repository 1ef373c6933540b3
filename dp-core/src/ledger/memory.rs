//! A ledger that lives as long as its process.

use super::book::{self, Book, Pending};
use super::chain::Chain;
use super::record::{Head, Row};
use super::store::{self, Audit, Store};
use super::{Amount, Answer, Entry, Ledger, Policy, Receipt, Spend};
use crate::Error;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A ledger in memory: for sessions without a file, and for tests. What it forgets when the process ends was spent all
/// the same.
#[derive(Debug)]
pub struct MemoryLedger {
    policy: Policy,
    kept: Mutex<Kept>,
}

#[derive(Debug)]
struct Kept {
    book: Book,
    rows: Vec<Row>,
}

impl MemoryLedger {
    /// An empty ledger under `policy`.
    ///
    /// # Errors
    /// If a text of the policy is too long.
    pub fn new(policy: Policy) -> Result<Self, Error> {
        let (book, row) = Book::found(policy, Chain::Hash)?;
        Ok(Self { policy: book.policy().clone(), kept: Mutex::new(Kept { book, rows: vec![row] }) })
    }

    /// Every change is whole before the lock is released, so a panic elsewhere leaves nothing half done.
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MemoryLedger {
    fn transact<T>(&self, step: impl FnOnce(&Book) -> Result<(Option<Pending>, T), Error>) -> Result<(T, Head), Error> {
        let mut kept = self.kept();
        let (pending, outcome) = step(&kept.book)?;
        if let Some(pending) = pending {
            kept.rows.push(pending.row.clone());
            kept.book.advance(pending);
        }
        Ok((outcome, kept.book.head()))
    }

    fn stored_answer(&self, row: u64) -> Result<Vec<u8>, Error> {
        let kept = self.kept();
        let stored = usize::try_from(row).ok().and_then(|row| kept.rows.get(row)).and_then(|row| row.answer.clone());
        stored.ok_or_else(|| Error::damaged(row, "its answer is missing"))
    }
}

impl Ledger for MemoryLedger {
    fn policy(&self) -> &Policy {
        &self.policy
    }

    fn spend(&self, spend: &Spend) -> Result<Receipt, Error> {
        store::spend(self, spend)
    }

    fn release(&self, spend: &Spend, mechanism: &mut dyn FnMut() -> Result<Vec<u8>, Error>) -> Result<Answer, Error> {
        store::release(self, spend, mechanism)
    }

    fn spent(&self) -> Result<Amount, Error> {
        Ok(self.policy.budget.spent(self.kept().book.sums()))
    }

    fn remaining(&self) -> Result<Amount, Error> {
        Ok(self.policy.budget.remaining(self.kept().book.sums()))
    }

    fn history(&self) -> Result<Vec<Entry>, Error> {
        self.kept().rows.iter().filter_map(|row| book::entry(row).transpose()).collect()
    }

    fn head(&self) -> Result<Head, Error> {
        Ok(self.kept().book.head())
    }

    fn verify(&self, head: Option<&Head>) -> Result<(), Error> {
        let kept = self.kept();
        let mut audit = Audit::new(&Chain::Hash, head);
        kept.rows.iter().try_for_each(|row| audit.row(row))?;
        audit.finish().map(|_| ())
    }
}
