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

/// A file as format 1 wrote it, made anew (and kept, in the folder that `VEILSUM_WRITE_VECTORS` names), is taken over too.
#[test]
fn format_1_made_anew_is_taken_over() {
    let temporary = tempfile::tempdir().expect("a temporary folder");
    let folder = std::env::var_os("VEILSUM_WRITE_VECTORS").map_or_else(|| temporary.path().to_owned(), Into::into);
    let path = folder.join("ledger-format-1.ledger");
    let ledger = SqliteLedger::open(&path, pure(1.0)).expect("a new ledger");
    ledger.spend(&spend_of(0.5).label("a half")).expect("fits");
    ledger.spend(&spend_of(0.25).label("a quarter").key("q")).expect("fits");
    let head = ledger.head().expect("readable");
    std::fs::write(path.with_extension("head"), format!("{head}\n")).expect("writable");
    drop(ledger);
    let connection = Connection::open(&path).expect("SQLite");
    connection
        .execute_batch("ALTER TABLE rows DROP COLUMN answer; PRAGMA user_version = 1; VACUUM")
        .expect("the older format");
    connection.close().expect("closes");
    let copy = temporary.path().join("copy.ledger");
    std::fs::copy(&path, &copy).expect("copied");
    SqliteLedger::open(&copy, pure(1.0)).and_then(|ledger| ledger.verify(Some(&head))).expect("taken over");
}
