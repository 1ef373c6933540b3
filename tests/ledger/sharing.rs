//! Many processes, threads and forks on one file.

use crate::conformance::{pure, spend_of};
use crate::worker::{self, BUDGET, PART};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};
use std::path::Path;
use veilsum_dp_core::ledger::{Ledger, SqliteLedger, quiesce};
use veilsum_dp_core::privacy::Rational;

/// Eight processes with sixteen threads each: all spends succeed until the budget is gone, and none after that.
#[test]
fn processes_and_threads_race() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("race.ledger");
    let workers: Vec<_> = (0..8).map(|_| worker::spawn(worker::command("race", &path))).collect();
    let mut accepted = 0;
    for worker in workers {
        let (reports, status) = worker.end();
        assert!(status.success(), "a worker was refused for another reason than the budget");
        assert_eq!(reports.len(), 16);
        accepted += reports.iter().map(|words| words[0].parse::<u32>().expect("a count")).sum::<u32>();
    }
    assert_eq!(accepted, 512);
    let ledger = SqliteLedger::open(&path, pure(BUDGET)).expect("whole");
    assert_eq!(ledger.spent().expect("readable").epsilon, Rational::one());
    assert_eq!(ledger.history().expect("readable").len(), 512);
}

/// A forked child leaves the inherited connection open and untouched, opens its own, and both go on spending.
#[test]
fn forks() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("fork.ledger");
    let ledger = SqliteLedger::open(&path, pure(BUDGET)).expect("a new ledger");
    ledger.spend(&spend_of(PART)).expect("fits");
    std::thread::scope(|scope| {
        // Other threads are in the middle of spending whenever the fork happens.
        let busy = scope.spawn(|| {
            for _ in 0..200 {
                ledger.spend(&spend_of(PART)).expect("fits");
            }
        });
        for _ in 0..10 {
            let inherited = descriptors(&path);
            let quiet = quiesce();
            // SAFETY: the child runs ledger calls and exits; `quiesce` keeps the locks it inherits free, and glibc
            // keeps its allocator usable.
            match unsafe { fork() }.expect("fork") {
                ForkResult::Child => {
                    drop(quiet);
                    let done = std::panic::catch_unwind(|| {
                        ledger.spend(&spend_of(PART)).expect("the child opens its own connection");
                        let own = descriptors(&path);
                        assert!(inherited.iter().all(|fd| own.contains(fd)), "the inherited connection was closed");
                        assert!(own.len() > inherited.len(), "the inherited connection was used");
                        ledger.verify(None).expect("whole");
                    });
                    exit_now(i32::from(done.is_err()));
                }
                ForkResult::Parent { child } => {
                    drop(quiet);
                    assert_eq!(waitpid(child, None).expect("ended"), WaitStatus::Exited(child, 0));
                }
            }
        }
        busy.join().expect("the parent was not disturbed");
    });
    ledger.spend(&spend_of(PART)).expect("the parent goes on");
    ledger.verify(None).expect("whole");
    assert_eq!(ledger.history().expect("readable").len(), 1 + 200 + 10 + 1);
}

/// A ledger dropped in a child leaves the inherited descriptors open.
#[test]
fn dropped_after_a_fork() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("drop.ledger");
    let ledger = SqliteLedger::open(&path, pure(BUDGET)).expect("a new ledger");
    let inherited = descriptors(&path);
    assert!(!inherited.is_empty());
    let quiet = quiesce();
    // SAFETY: as above.
    match unsafe { fork() }.expect("fork") {
        ForkResult::Child => {
            drop(quiet);
            drop(ledger);
            let kept = descriptors(&path) == inherited;
            exit_now(i32::from(!kept));
        }
        ForkResult::Parent { child } => {
            drop(quiet);
            assert_eq!(waitpid(child, None).expect("ended"), WaitStatus::Exited(child, 0));
            ledger.spend(&spend_of(PART)).expect("the parent goes on");
        }
    }
}

/// The numbers of this process's descriptors on that file.
fn descriptors(path: &Path) -> Vec<String> {
    let mut numbers: Vec<_> = std::fs::read_dir("/proc/self/fd")
        .expect("Linux")
        .filter_map(Result::ok)
        .filter(|entry| std::fs::read_link(entry.path()).is_ok_and(|target| target == path))
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    numbers.sort();
    numbers
}

/// Ends a forked child without running what belongs to the test harness.
fn exit_now(status: i32) -> ! {
    // SAFETY: ends the process.
    unsafe { nix::libc::_exit(status) }
}
