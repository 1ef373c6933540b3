//! The switch behind `veilsum.testing.noiseless`.

use pyo3::prelude::*;
use std::cell::RefCell;
use veilsum_dp_core::mechanism::noiseless::{self, Noiseless};

thread_local! {
    static HELD: RefCell<Vec<Noiseless>> = const { RefCell::new(Vec::new()) };
}

/// Switch noise off on this thread, until as many calls of ``noiseless_end``.
#[pyfunction]
pub(crate) fn noiseless_begin() {
    HELD.with_borrow_mut(|held| held.push(Noiseless::begin()));
}

/// Take back one ``noiseless_begin`` of this thread; whether there was one.
#[pyfunction]
pub(crate) fn noiseless_end() -> bool {
    HELD.with_borrow_mut(Vec::pop).is_some()
}

/// Whether releases on this thread are without noise at the moment, and NOT PRIVATE.
#[pyfunction]
pub(crate) fn is_noiseless() -> bool {
    noiseless::is_noiseless()
}
