//! Which stages were answered by any copy of a client, so that a snapshot from before an answer cannot give another.
//!
//! Two vectors under the same masks would give away their difference. A client that is restored in the process that
//! answered is refused here. Across processes the order does it: write the snapshot that follows an answer before the
//! answer is sent, and restore the newest. A disk that is rolled back defeats that, so such a client counts as corrupt;
//! a monotonic counter in hardware would close the gap.

use crate::Error;
use std::collections::HashSet;
use std::sync::{LazyLock, Mutex, PoisonError};

/// The public name of one draw of round secrets: the same for a client and all its copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Lineage(pub(super) [u8; 32]);

static ANSWERED: LazyLock<Mutex<HashSet<(Lineage, &'static str)>>> = LazyLock::new(Mutex::default);

impl Lineage {
    /// Refuses a stage that a copy has answered.
    pub(super) fn check(&self, stage: &'static str) -> Result<(), Error> {
        let answered = ANSWERED.lock().unwrap_or_else(PoisonError::into_inner);
        if answered.contains(&(*self, stage)) { Err(refusal(stage)) } else { Ok(()) }
    }

    /// Records an answer; of two copies that raced, one is refused.
    pub(super) fn record(&self, stage: &'static str) -> Result<(), Error> {
        let mut answered = ANSWERED.lock().unwrap_or_else(PoisonError::into_inner);
        if answered.insert((*self, stage)) { Ok(()) } else { Err(refusal(stage)) }
    }
}

fn refusal(stage: &'static str) -> Error {
    Error::refused(
        stage,
        "another copy of this client has answered this stage since the snapshot was taken: restore the newest snapshot",
    )
}
