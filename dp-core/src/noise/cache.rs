//! Tables that were built before, by law and scale.

use super::cover::Cover;
use num_rational::BigRational;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// The laws that tables are kept for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Law {
    DiscreteLaplace,
    DiscreteGaussian,
    Skellam,
    Laplace,
    Gaussian,
}

type Entry = (Law, BigRational, Arc<Cover>);

/// At most this many tables are kept; the least recently used one goes. A table takes less than 0.3 MB.
const KEPT: usize = 32;
static TABLES: Mutex<VecDeque<Entry>> = Mutex::new(VecDeque::new());

/// The cover of `law` at the scale (in cells), built unless it is at hand.
pub(crate) fn cover(law: Law, scale: &BigRational, build: impl FnOnce() -> Cover) -> Arc<Cover> {
    if let Some(found) = recall(law, scale) {
        return found;
    }
    // Built outside the lock: two threads may build the same table, and one of the two is kept.
    let built = Arc::new(build());
    let mut tables = TABLES.lock().unwrap_or_else(PoisonError::into_inner);
    if tables.len() >= KEPT {
        tables.pop_front();
    }
    tables.push_back((law, scale.clone(), Arc::clone(&built)));
    built
}

fn recall(law: Law, scale: &BigRational) -> Option<Arc<Cover>> {
    let mut tables = TABLES.lock().unwrap_or_else(PoisonError::into_inner);
    let position = tables.iter().position(|(l, s, _)| *l == law && s == scale)?;
    let entry = tables.remove(position)?;
    let found = Arc::clone(&entry.2);
    tables.push_back(entry);
    Some(found)
}
