//! Processes killed at random points: what was handed out is paid for, and the file is whole.

use crate::conformance::{pure, spend_of};
use crate::worker::{self, BUDGET, PART};
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use veilsum_dp_core::Error;
use veilsum_dp_core::ledger::{Ledger, SqliteLedger};
use veilsum_dp_core::privacy::Rational;

/// Three workers share a ledger and are killed together, again and again, at moments spread over opening, creating,
/// spending and storing answers. After each round: the file verifies and continues the head pinned before, every value
/// that was handed out has its row, rows and the sum agree exactly, and every key still has the answer it had.
#[test]
fn killed_at_random_points() {
    let deep = std::env::var_os("VEILSUM_DEEP").is_some();
    let rounds: u64 = if deep { 350 } else { 20 };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut random = Mixer::from_clock();
    let (mut kills, mut handed_out, mut interrupted, mut reopened) = (0, 0_u64, 0, 0);
    let started = Instant::now();
    let mut path = folder.path().join("0.ledger");
    let (mut pinned, mut answers) = (None, HashMap::<String, String>::new());
    let mut rows_seen = HashSet::new();
    for round in 0..rounds {
        if round % 10 == 0 {
            path = folder.path().join(format!("{round}.ledger"));
            (pinned, answers, rows_seen) = (None, HashMap::new(), HashSet::new());
        }
        let mut workers: Vec<_> = (0..3).map(|_| worker::spawn(worker::command("until-killed", &path))).collect();
        // Every other round waits until values flow; the others end in the middle of opening, too.
        let first = if round % 2 == 0 { workers[0].report() } else { None };
        std::thread::sleep(Duration::from_micros(random.below(80_000)));
        for worker in &mut workers {
            std::thread::sleep(Duration::from_micros(random.below(2_000)));
            worker.kill();
        }
        for (worker, first) in workers.into_iter().zip(first.into_iter().map(Some).chain(std::iter::repeat(None))) {
            kills += 1;
            let (reports, status) = worker.end();
            assert!(status.code().is_none(), "a worker ended before it was killed: {status:?}");
            for report in first.into_iter().chain(reports) {
                let [row, key, value] = report.as_slice() else { panic!("{report:?}") };
                handed_out += 1;
                if key == "-" {
                    assert!(rows_seen.insert(row.clone()), "row {row} paid for two values");
                } else {
                    let first = answers.entry(key.clone()).or_insert_with(|| value.clone());
                    assert_eq!(first, value, "two answers were handed out under one key");
                    rows_seen.insert(row.clone());
                }
            }
        }
        interrupted += u32::from(journal_is_hot(&path));
        if !path.exists() {
            assert!(rows_seen.is_empty(), "values were handed out and there is no ledger");
            continue;
        }
        reopened += 1;
        let ledger = SqliteLedger::open(&path, pure(BUDGET)).expect("whole after a kill");
        ledger.verify(pinned.as_ref()).expect("verifies and continues what was pinned");
        pinned = Some(ledger.head().expect("readable"));
        let history = ledger.history().expect("readable");
        let recorded: HashSet<String> = history.iter().map(|entry| entry.row.to_string()).collect();
        assert!(rows_seen.is_subset(&recorded), "a value was handed out and its spend is gone");
        let spent = ledger.spent().expect("readable").epsilon;
        let part = Rational::from_decimal(PART).expect("finite");
        assert_eq!(spent, &Rational::from(history.len() as u64) * &part, "the sum is not what the rows say");
        assert!(spent <= Rational::from_decimal(BUDGET).expect("finite"));
        for (key, value) in &answers {
            let spend = spend_of(PART).key(format!("cell {key}"));
            let stored = ledger.release(&spend, &mut || Err(Error::Entropy)).expect("stored");
            assert_eq!(stored.bytes, value.as_bytes());
        }
    }
    println!(
        "kill loop: {kills} processes killed, {handed_out} values handed out, {reopened} reopenings, {interrupted} of \
         them over a transaction in progress, in {:.1} s",
        started.elapsed().as_secs_f64()
    );
    assert!(kills >= if deep { 1000 } else { 50 });
    assert!(handed_out >= rounds / 2, "the workers were killed before they did anything: {handed_out} values");
}

fn journal_is_hot(path: &std::path::Path) -> bool {
    let mut journal = path.as_os_str().to_owned();
    journal.push("-journal");
    std::fs::metadata(journal).is_ok_and(|journal| journal.len() > 0)
}

/// Random enough to spread the kills (SplitMix64, seeded by the clock).
struct Mixer(u64);

impl Mixer {
    fn from_clock() -> Self {
        let nanos = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_nanos();
        Self(u64::try_from(nanos & u128::from(u64::MAX)).expect("masked"))
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}
