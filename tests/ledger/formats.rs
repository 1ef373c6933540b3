//! Older files, and newer ones.

use crate::conformance::{pure, spend_of};
use rusqlite::Connection;
use std::path::Path;
use veilsum_dp_core::Error;
use veilsum_dp_core::ledger::{Ledger, SqliteLedger};
use veilsum_dp_core::privacy::Rational;

/// Written by format 1 and kept as it was; its head was noted then.
const FORMAT_1: &[u8] = include_bytes!("../vectors/ledger-format-1.ledger");
const FORMAT_1_HEAD: &str = include_str!("../vectors/ledger-format-1.head");

#[test]
fn format_1_is_taken_over() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("old.ledger");
    std::fs::write(&path, FORMAT_1).expect("writable");
    assert_eq!(user_version(&path), 1);
    let head = FORMAT_1_HEAD.trim().parse().expect("a head");
    let ledger = SqliteLedger::open(&path, pure(1.0)).expect("taken over");
    assert_eq!(user_version(&path), 2);
    ledger.verify(Some(&head)).expect("the pinned head still holds");
    assert_eq!(ledger.spent().expect("readable").epsilon, Rational::new(3, 4).expect("not zero"));
    let labels: Vec<_> = ledger.history().expect("readable").into_iter().map(|entry| entry.label).collect();
    assert_eq!(labels, ["a half", "a quarter"]);
    let answer = ledger.release(&spend_of(0.25).key("k"), &mut || Ok(vec![1])).expect("stored answers work now");
    assert_eq!(answer.bytes, [1]);
    drop(ledger);
    SqliteLedger::open(&path, pure(1.0)).and_then(|ledger| ledger.verify(Some(&head))).expect("opens again");
}

/// Looking does not take over: the file stays as it is.
#[test]
fn looking_changes_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("old.ledger");
    std::fs::write(&path, FORMAT_1).expect("writable");
    assert!(matches!(SqliteLedger::inspect(&path), Err(Error::LedgerFile { .. })));
    assert_eq!(std::fs::read(&path).expect("readable"), FORMAT_1);
}

fn user_version(path: &Path) -> i32 {
    let connection = Connection::open(path).expect("SQLite");
    connection.pragma_query_value(None, "user_version", |row| row.get(0)).expect("readable")
}

/// Writes the vector again, from a ledger of this version without stored answers: run by hand, with a path.
#[test]
fn write_format_1() {
    let Some(folder) = std::env::var_os("VEILSUM_WRITE_VECTORS") else { return };
    let path = Path::new(&folder).join("ledger-format-1.ledger");
    let ledger = SqliteLedger::open(&path, pure(1.0)).expect("a new ledger");
    ledger.spend(&spend_of(0.5).label("a half")).expect("fits");
    ledger.spend(&spend_of(0.25).label("a quarter").key("q")).expect("fits");
    std::fs::write(path.with_extension("head"), format!("{}\n", ledger.head().expect("readable"))).expect("writable");
    drop(ledger);
    let connection = Connection::open(&path).expect("SQLite");
    connection
        .execute_batch("ALTER TABLE rows DROP COLUMN answer; PRAGMA user_version = 1; VACUUM")
        .expect("the older format");
}
