//! Threads for one large call: started when it begins, joined when it returns.
//!
//! No pool outlives a call, so that a process that forks (Python's `multiprocessing` does) never waits in the child for
//! workers that stayed with the parent.

use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;

use crate::error::Error;

/// Chunks (16 KiB each) below which another thread does not pay: 1 MiB.
const LEAST_CHUNKS: usize = 64;

/// More than this many threads never start, whatever the caller allows.
const MOST_THREADS: usize = 64;

/// How many threads one call may use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Threads {
    /// As many as the machine has, up to eight, where the data are large enough to pay for them.
    #[default]
    Auto,
    /// At most this many.
    AtMost(NonZeroUsize),
}

impl Threads {
    /// The calling thread alone.
    pub const ONE: Self = Self::AtMost(NonZeroUsize::MIN);

    /// Splits `chunks` into runs of nearly equal length, one a thread.
    pub(crate) fn runs(self, chunks: usize) -> impl Iterator<Item = Range<usize>> {
        let useful = (chunks / LEAST_CHUNKS).max(1);
        let threads = if useful == 1 { 1 } else { useful.min(self.most()) };
        (0..threads).map(move |i| chunks * i / threads..chunks * (i + 1) / threads)
    }

    /// Whether work on this many chunks would be shared.
    pub(crate) fn shares(self, chunks: usize) -> bool {
        chunks >= 2 * LEAST_CHUNKS && self.most() > 1
    }

    fn most(self) -> usize {
        static MACHINE: OnceLock<usize> = OnceLock::new();
        match self {
            Self::AtMost(most) => most.get().min(MOST_THREADS),
            Self::Auto => *MACHINE.get_or_init(|| thread::available_parallelism().map_or(1, NonZeroUsize::get).min(8)),
        }
    }
}

/// Runs `work` on every job, on as many threads as there are jobs or the system grants; the first error wins.
pub(crate) fn run_all<J: Send>(jobs: Vec<J>, work: impl Fn(J) -> Result<(), Error> + Sync) -> Result<(), Error> {
    let others = jobs.len().saturating_sub(1);
    let queue = Mutex::new(jobs);
    let drain = || {
        loop {
            let job = queue.lock().unwrap_or_else(PoisonError::into_inner).pop();
            match job {
                Some(job) => work(job)?,
                None => return Ok(()),
            }
        }
    };
    thread::scope(|scope| {
        let started: Vec<_> =
            (0..others).map_while(|_| thread::Builder::new().spawn_scoped(scope, drain).ok()).collect();
        let mine = drain();
        started.into_iter().map(|other| other.join().unwrap_or(Err(Error::Rejected))).fold(mine, Result::and)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_cover_every_chunk_once() {
        for chunks in [0, 1, 63, 64, 127, 128, 129, 1000, 4097] {
            for threads in [Threads::ONE, Threads::AtMost(NonZeroUsize::new(3).expect("3")), Threads::Auto] {
                let covered: Vec<usize> = threads.runs(chunks).flatten().collect();
                assert_eq!(covered, (0..chunks).collect::<Vec<_>>());
            }
        }
    }
}
