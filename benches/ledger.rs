//! Spends a second, against one row a transaction in a plain SQLite loop on the same disk.

use rusqlite::Connection;
use std::path::Path;
use std::time::Instant;
use veilsum_dp_core::accounting::Event;
use veilsum_dp_core::ledger::{Budget, Ledger, Policy, Spend, SqliteLedger};
use veilsum_dp_core::privacy::{Epsilon, Rational};
use veilsum_dp_core::sensitivity::Neighbors;

const ROUNDS: usize = 15;
const BATCH: u32 = 100;

/// Runs in the folder given, or a temporary one: the disk decides.
pub(crate) fn run() {
    let folder =
        tempfile::tempdir_in(std::env::args().nth(2).unwrap_or_else(|| ".".into())).expect("a writable folder");
    let ledger = ledger(&folder.path().join("ours.ledger"));
    let spend = spend();
    // Rows as long as ours, so that as many pages are written.
    let body = "x".repeat(240);
    let modes = [("FULL", "TRUNCATE"), ("EXTRA", "TRUNCATE"), ("FULL", "DELETE")];
    let plain = modes.map(|(sync, journal)| plain(&folder.path().join(format!("{sync}-{journal}.db")), sync, journal));

    let mut seconds = vec![Vec::new(); 1 + modes.len()];
    for _ in 0..ROUNDS {
        seconds[0].push(timed(|| _ = ledger.spend(&spend).expect("within the budget")));
        for (connection, seconds) in plain.iter().zip(&mut seconds[1..]) {
            seconds.push(timed(|| {
                connection
                    .execute("INSERT INTO rows (body, hash) VALUES (?1, zeroblob(32))", [&body])
                    .expect("inserts");
            }));
        }
    }
    let spends = ROUNDS as u64 * u64::from(BATCH);
    ledger.verify(None).expect("whole");
    assert_eq!(ledger.spent().expect("readable").epsilon, &Rational::from(spends) * &part());

    let rates: Vec<f64> = seconds.iter_mut().map(|s| f64::from(BATCH) / median(s)).collect();
    println!("ledger/ours: {:.0} spends/s ({spends} spends, sum exact, file verifies)", rates[0]);
    for ((sync, journal), rate) in modes.iter().zip(&rates[1..]) {
        println!("ledger/sqlite {journal} {sync}: {rate:.0} transactions/s; ours is {:.0} %", 100.0 * rates[0] / rate);
    }
}

fn timed(mut work: impl FnMut()) -> f64 {
    let start = Instant::now();
    (0..BATCH).for_each(|_| work());
    start.elapsed().as_secs_f64()
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn part() -> Rational {
    Rational::from_decimal(1e-6).expect("finite")
}

fn spend() -> Spend {
    Spend::new(Event::Pure { epsilon: Epsilon::new(part()).expect("> 0") }).label("a count of something or other")
}

fn ledger(path: &Path) -> SqliteLedger {
    let budget = Budget::Pure { epsilon: Epsilon::from_decimal(1.0).expect("valid") };
    let policy = Policy { dataset: "bench".into(), unit: "row".into(), neighbors: Neighbors::AddRemove, budget };
    SqliteLedger::open(path, policy).expect("a new ledger")
}

fn plain(path: &Path, sync: &str, journal: &str) -> Connection {
    let connection = Connection::open(path).expect("SQLite");
    let set_up = format!(
        "PRAGMA journal_mode = {journal}; PRAGMA synchronous = {sync};
         CREATE TABLE rows (number INTEGER PRIMARY KEY, body TEXT NOT NULL, hash BLOB NOT NULL)"
    );
    connection.execute_batch(&set_up).expect("set up");
    connection
}
