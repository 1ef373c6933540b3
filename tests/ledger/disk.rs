//! Disks that are full, fail, or may not be written; and that a spend is on the disk when it returns.

use crate::conformance::{pure, spend_of};
use crate::worker::{self, BUDGET, PART};
use nix::libc::{RLIMIT_FSIZE, SIG_IGN, SIGXFSZ, rlimit, setrlimit, signal};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use veilsum_dp_core::ledger::{Ledger, SqliteLedger};
use veilsum_dp_core::privacy::Rational;

/// No file of the worker may grow past a limit, as on a full disk: spends fail cleanly there, those before are
/// recorded, and with room again the ledger goes on.
#[test]
fn a_full_disk() {
    for kilobytes in [0, 4, 9, 12, 20, 40, 64] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("full.ledger");
        let mut command = worker::command("until-failure", &path);
        // SAFETY: two async-signal-safe calls between fork and exec.
        unsafe {
            command.pre_exec(move || {
                let limit = rlimit { rlim_cur: kilobytes * 1024, rlim_max: kilobytes * 1024 };
                signal(SIGXFSZ, SIG_IGN);
                setrlimit(RLIMIT_FSIZE, &raw const limit);
                Ok(())
            });
        }
        let (reports, status) = worker::spawn(command).end();
        assert!(status.success());
        let accepted: u64 = reports[0][0].parse().expect("a count");
        assert!(accepted < 400 && reports[0].len() > 2, "{kilobytes} KiB: {reports:?}");
        let ledger = SqliteLedger::open(&path, pure(BUDGET)).expect("whole, or not there and made anew");
        let part = Rational::from_decimal(PART).expect("finite");
        assert_eq!(ledger.spent().expect("readable").epsilon, &Rational::from(accepted) * &part);
        ledger.spend(&spend_of(PART)).expect("there is room again");
        ledger.verify(None).expect("whole");
    }
}

/// Every system call that writes or syncs fails once, at each of its occurrences: whatever was reported as paid is
/// recorded, and the file is whole.
#[test]
fn every_write_and_sync_fails_once() {
    if !strace_works() {
        return println!("strace is not installed or may not trace here: failing system calls were not injected");
    }
    for (calls, error) in
        [("pwrite64", "ENOSPC"), ("pwrite64", "EIO"), ("fdatasync,fsync", "EIO"), ("ftruncate", "EIO")]
    {
        for occurrence in [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 15, 19, 24] {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let path = folder.path().join("faulty.ledger");
            let fault = format!("--inject={calls}:error={error}:when={occurrence}");
            let (accepted, said) = traced_until_failure(&path, &[&fault]);
            let ledger = SqliteLedger::open(&path, pure(BUDGET)).unwrap_or_else(|e| panic!("{fault}: {said}: {e}"));
            let recorded = ledger.history().expect("readable").len() as u64;
            // A failed sync may leave the row there: charged and not released.
            assert!(
                (accepted..=accepted + 1).contains(&recorded),
                "{fault}: {accepted} paid, {recorded} recorded: {said}"
            );
            ledger.verify(None).expect("whole");
        }
    }
}

/// Runs the worker under strace until something fails; how many spends it says succeeded, and what it said.
fn traced_until_failure(path: &Path, options: &[&str]) -> (u64, String) {
    let worker = worker::command("until-failure", path);
    let mut command = Command::new("strace");
    command.args(["-f", "-o", "/dev/null"]).args(options).arg(worker.get_program()).args(worker.get_args());
    command.envs(worker.get_envs().filter_map(|(key, value)| Some((key, value?)))).env("VEILSUM_LEDGER_SPENDS", "8");
    let (reports, _) = worker::spawn(command).end();
    (reports[0][0].parse().expect("a count"), reports[0][1..].join(" "))
}

/// The kernel was asked to sync what the spend wrote, and the rollback journal was emptied and synced, before `spend`
/// returned.
#[test]
fn synced_before_it_returns() {
    if !strace_works() {
        return println!("strace is not installed or may not trace here: the order of system calls was not checked");
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (path, log) = (folder.path().join("traced.ledger"), folder.path().join("log"));
    SqliteLedger::open(&path, pure(BUDGET)).expect("a new ledger");
    let worker = worker::command("once", &path);
    let status = Command::new("strace")
        .args(["-f", "-y", "-e", "trace=write,pwrite64,fsync,fdatasync,ftruncate", "-o"])
        .arg(&log)
        .arg(worker.get_program())
        .args(worker.get_args())
        .envs(worker.get_envs().filter_map(|(key, value)| Some((key, value?))))
        .output()
        .expect("strace runs")
        .status;
    assert!(status.success());
    let log = std::fs::read_to_string(log).expect("readable");
    let line =
        |text: &str| log.lines().position(|line| line.contains(text)).unwrap_or_else(|| panic!("no {text} in\n{log}"));
    let during: Vec<&str> = log.lines().skip(line("@opened")).take(line("@paid") - line("@opened")).collect();
    let last = |calls: &[&str], file: &str| {
        let file = format!("{file}>");
        during.iter().rposition(|line| line.contains(&file) && calls.iter().any(|call| line.contains(call)))
    };
    let (file, journal) = ("traced.ledger", "traced.ledger-journal");
    let sync = ["fsync(", "fdatasync("];
    let written = last(&["pwrite64("], file).expect("the row is written");
    let synced = last(&sync, file).expect("the file is synced");
    let emptied = last(&["ftruncate("], journal).expect("the journal is emptied");
    let closed = last(&sync, journal).expect("the journal is synced");
    let first_synced = during.iter().position(|line| line.contains(journal) && sync.iter().any(|s| line.contains(s)));
    let first_written = during.iter().position(|line| line.contains("traced.ledger>") && line.contains("pwrite64("));
    assert!(
        first_synced < first_written,
        "the journal is on the disk before the file is touched:\n{}",
        during.join("\n")
    );
    assert!(written < synced && synced < emptied && emptied < closed, "in this order:\n{}", during.join("\n"));
}

/// A file that may be read and not written can be looked at and verified, and is refused for spending when it is opened.
#[test]
fn a_read_only_file() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("fixed.ledger");
    let ledger = SqliteLedger::open(&path, pure(BUDGET)).expect("a new ledger");
    ledger.spend(&spend_of(0.5)).expect("fits");
    drop(ledger);
    let mode = |path: &Path, mode| std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("own file");
    for name in ["fixed.ledger", "fixed.ledger-queue", "fixed.ledger-journal"] {
        let path = folder.path().join(name);
        if path.exists() {
            mode(&path, 0o444);
        }
    }
    mode(folder.path(), 0o555);
    let binary = folder.path().with_extension("worker");
    let mut command = worker::command("unwritable", &path);
    if nix::unistd::geteuid().is_root() {
        // Root writes whatever it likes: become nobody, from a copy of this binary that nobody may run.
        std::fs::copy(std::env::current_exe().expect("this binary"), &binary).expect("copied");
        mode(&binary, 0o755);
        let mut plain = Command::new(&binary);
        plain.args(command.get_args()).envs(command.get_envs().filter_map(|(key, value)| Some((key, value?))));
        plain.uid(65_534).gid(65_534).current_dir("/");
        command = plain;
    }
    let (reports, status) = worker::spawn(command).end();
    mode(folder.path(), 0o755);
    if binary.exists() {
        std::fs::remove_file(&binary).expect("own file");
    }
    assert!(status.success() && reports[0][0] == "1/2", "{reports:?}");
}

fn strace_works() -> bool {
    Command::new("strace").args(["-o", "/dev/null", "true"]).output().is_ok_and(|output| output.status.success())
}
