//! Files that were changed behind the ledger's back: refused, by row where there is one, and never reset.

use crate::conformance::{epsilon, pure, spend_of};
use crate::key;
use rusqlite::{Connection, params};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use veilsum_dp_core::Error;
use veilsum_dp_core::accounting::Event;
use veilsum_dp_core::ledger::{Entry, Head, Ledger, MacKey, Spend, SqliteLedger};

/// A ledger with five spends and a stored answer, and where it is.
fn small(folder: &Path) -> PathBuf {
    let path = folder.join("small.ledger");
    let ledger = SqliteLedger::open(&path, pure(1.0)).expect("a new ledger");
    for part in [0.01, 0.02, 0.03, 0.04] {
        ledger.spend(&spend_of(part).label(format!("part {part}"))).expect("fits");
    }
    ledger.release(&spend_of(0.05).key("k"), &mut || Ok(b"answer".to_vec())).expect("fits");
    path
}

fn opened(path: &Path) -> Result<(Head, Vec<Entry>, SqliteLedger), Error> {
    let ledger = SqliteLedger::open(path, pure(1.0))?;
    Ok((ledger.head()?, ledger.history()?, ledger))
}

#[test]
fn verify_names_the_first_row_at_fault() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let whole = std::fs::read(small(folder.path())).expect("readable");
    type Tamper = fn(&Connection) -> rusqlite::Result<usize>;
    let cases: [(&str, u64, Tamper); 12] = [
        ("changed", 3, |c| c.execute("UPDATE rows SET body = replace(body, '3/100', '1/100') WHERE number = 3", [])),
        ("relabelled", 2, |c| c.execute("UPDATE rows SET body = replace(body, 'part', 'pxrt') WHERE number = 2", [])),
        ("removed in the middle", 2, |c| c.execute("DELETE FROM rows WHERE number = 2", [])),
        ("removed and renumbered", 2, |c| {
            c.execute("DELETE FROM rows WHERE number = 2", [])?;
            (3..7).try_fold(0, |_, n| c.execute("UPDATE rows SET number = ?1 WHERE number = ?2", params![n - 1, n]))
        }),
        ("reordered", 2, |c| {
            c.execute("UPDATE rows SET number = 99 WHERE number = 2", [])?;
            c.execute("UPDATE rows SET number = 2 WHERE number = 3", [])?;
            c.execute("UPDATE rows SET number = 3 WHERE number = 99", [])
        }),
        ("another answer", 6, |c| c.execute("UPDATE rows SET answer = x'00' WHERE number = 6", [])),
        ("another answer of the same length", 6, |c| {
            c.execute("UPDATE rows SET answer = CAST('ANSWER' AS BLOB) WHERE number = 6", [])
        }),
        ("no answer", 6, |c| c.execute("UPDATE rows SET answer = NULL WHERE number = 6", [])),
        ("an answer where none belongs", 1, |c| c.execute("UPDATE rows SET answer = x'00' WHERE number = 1", [])),
        ("another hash", 4, |c| c.execute("UPDATE rows SET hash = zeroblob(32) WHERE number = 4", [])),
        ("a larger budget", 0, |c| {
            c.execute(r#"UPDATE rows SET body = replace(body, '"epsilon":"1"', '"epsilon":"9"') WHERE number = 0"#, [])
        }),
        ("no policy", 0, |c| c.execute("DELETE FROM rows WHERE number = 0", [])),
    ];
    for (what, first, tamper) in cases {
        let path = folder.path().join(format!("{what}.ledger"));
        std::fs::write(&path, &whole).expect("writable");
        let before = SqliteLedger::open(&path, pure(1.0)).expect("whole");
        let connection = Connection::open(&path).expect("SQLite");
        assert!(tamper(&connection).expect("tampers") > 0, "{what}: nothing was changed");
        connection.close().expect("closes");
        for refused in [before.verify(None), opened(&path).map(|_| ())] {
            match refused {
                Err(Error::LedgerDamaged { row, .. }) => assert_eq!(row, first, "{what}"),
                other => panic!("{what}: {other:?}"),
            }
        }
    }
}

/// A cut tail and an old copy put back verify by themselves, as documented; a head kept elsewhere finds both, and so
/// does a ledger that is open.
#[test]
fn a_pinned_head_finds_what_the_chain_cannot() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = small(folder.path());
    let old = std::fs::read(&path).expect("readable");
    let ledger = SqliteLedger::open(&path, pure(1.0)).expect("whole");
    ledger.spend(&spend_of(0.5)).expect("fits");
    let head = ledger.head().expect("readable");

    let connection = Connection::open(&path).expect("SQLite");
    connection.execute("DELETE FROM rows WHERE number = ?1", [head.row().cast_signed()]).expect("cuts");
    connection.close().expect("closes");
    for cut in ["the tail was cut", "an old copy was put back"] {
        let (_, _, again) = opened(&path).expect("verifies by itself");
        again.verify(None).expect("verifies by itself");
        match again.verify(Some(&head)) {
            Err(Error::LedgerDamaged { row, .. }) => assert_eq!(row, head.row(), "{cut}"),
            other => panic!("{cut}: {other:?}"),
        }
        let seen = ledger.spend(&spend_of(0.1)).expect_err("the open ledger remembers");
        assert!(matches!(seen, Error::LedgerDamaged { .. }), "{cut}: {seen}");
        std::fs::write(&path, &old).expect("writable");
    }
}

/// Triggers, views and further tables are not part of a ledger.
#[test]
fn a_foreign_schema_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let whole = std::fs::read(small(folder.path())).expect("readable");
    for sql in [
        "CREATE TRIGGER forget AFTER INSERT ON rows BEGIN DELETE FROM rows WHERE number = NEW.number; END",
        "CREATE VIEW v AS SELECT 1",
        "CREATE TABLE other (x)",
        "CREATE INDEX i ON rows (body)",
        "ALTER TABLE rows ADD COLUMN x",
        "PRAGMA application_id = 1",
        "PRAGMA user_version = 3",
        "PRAGMA user_version = 0",
    ] {
        let path = folder.path().join("foreign.ledger");
        std::fs::write(&path, &whole).expect("writable");
        Connection::open(&path).and_then(|connection| connection.execute_batch(sql)).expect("changes the schema");
        assert!(matches!(opened(&path), Err(Error::LedgerFile { .. })), "{sql}");
    }
}

#[test]
fn truncated_anywhere() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let whole = std::fs::read(small(folder.path())).expect("readable");
    let path = folder.path().join("cut.ledger");
    let page_ends = (0..whole.len()).filter(|length| length % 4096 == 0);
    for length in page_ends.flat_map(|end| [end.saturating_sub(1), end, end + 1, end + 100, end + 2048]) {
        if length >= whole.len() {
            continue;
        }
        std::fs::write(&path, &whole[..length]).expect("writable");
        assert!(opened(&path).is_err(), "cut to {length} bytes");
        assert_eq!(std::fs::read(&path).expect("readable"), whole[..length], "a refused file is left as it is");
    }
}

/// Each byte flipped: the file is refused, or (where the byte means nothing) everything it says is unchanged.
#[test]
fn every_byte_flipped() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = small(folder.path());
    let whole = std::fs::read(&path).expect("readable");
    let (head, history, ledger) = opened(&path).expect("whole");
    drop(ledger);
    let masks: &[u8] =
        if std::env::var_os("VEILSUM_DEEP").is_some() { &[0xff, 1, 2, 4, 8, 16, 32, 64, 128] } else { &[0xff] };
    let (mut refused, mut harmless) = (0, 0);
    for mask in masks {
        for position in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[position] ^= mask;
            std::fs::write(&path, &flipped).expect("writable");
            match opened(&path) {
                Err(_) => refused += 1,
                Ok((found, entries, _)) => {
                    harmless += 1;
                    assert_eq!(found, head, "byte {position} ^ {mask}");
                    assert!(entries == history, "byte {position} ^ {mask}");
                }
            }
        }
    }
    println!("{refused} flips refused, {harmless} in bytes that mean nothing");
    std::fs::write(&path, &whole).expect("writable");
    let contents = "SELECT sum(length(body) + length(hash) + ifnull(length(answer), 0)) FROM rows";
    let contents: u32 =
        Connection::open(&path).and_then(|c| c.query_row(contents, [], |row| row.get(0))).expect("readable");
    assert!(refused > contents as usize * masks.len(), "{refused} refused, and the rows alone have {contents} bytes");
}

/// What is not a ledger is not touched.
#[test]
fn other_files_are_left_alone() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("notes.txt");
    for contents in [&b""[..], b"some notes", &[0; 100_000]] {
        std::fs::write(&path, contents).expect("writable");
        assert!(matches!(opened(&path), Err(Error::LedgerFile { .. })));
        assert_eq!(std::fs::read(&path).expect("readable"), contents);
    }
    std::fs::remove_file(&path).expect("removable");
    Connection::open(&path).and_then(|other| other.execute_batch("CREATE TABLE t (x)")).expect("another database");
    assert!(matches!(opened(&path), Err(Error::LedgerFile { .. })));
    assert!(matches!(opened(folder.path()), Err(Error::LedgerFile { .. })));
    assert!(matches!(opened(&folder.path().join("no/such/folder")), Err(Error::LedgerFile { .. })));
    assert!(matches!(SqliteLedger::inspect(folder.path().join("none")), Err(Error::LedgerFile { .. })));
}

/// Someone who may write the file and recompute hashes can still not write a row that spends nothing, costs less than
/// its event, or goes beyond the budget.
#[test]
fn forged_rows_are_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let donor = SqliteLedger::open(folder.path().join("large.ledger"), pure(10.0)).expect("a new ledger");
    donor.spend(&Spend::new(Event::Pure { epsilon: epsilon(5.0) })).expect("fits a larger budget");
    let path = small(folder.path());
    let connection = Connection::open(&path).expect("SQLite");
    connection.execute("ATTACH ?1 AS donor", [folder.path().join("large.ledger").to_str()]).expect("attaches");
    connection
        .execute("INSERT INTO rows SELECT 7, body, hash, answer FROM donor.rows WHERE number = 1", [])
        .expect("inserts");
    connection.close().map_err(|(_, e)| e).expect("closes");
    assert!(matches!(opened(&path), Err(Error::LedgerDamaged { row: 7, .. })));
}

/// Without the key there is no reading, no spending and no other history; with it everything is as without one.
#[test]
fn a_key_keeps_forgers_out() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("keyed.ledger");
    let ledger = SqliteLedger::open_authenticated(&path, pure(1.0), key(1)).expect("a new ledger");
    ledger.spend(&spend_of(0.5).label("a half")).expect("fits");
    let head = ledger.head().expect("readable");
    drop(ledger);

    for refused in [SqliteLedger::open(&path, pure(1.0)), SqliteLedger::inspect(&path)] {
        assert!(matches!(refused, Err(Error::LedgerPolicy { field: "mac_key", .. })));
    }
    let other = SqliteLedger::open_authenticated(&path, pure(1.0), key(2));
    assert!(matches!(other, Err(Error::LedgerDamaged { row: 0, .. })));
    let again = SqliteLedger::inspect_authenticated(&path, key(1)).expect("the same key");
    again.verify(Some(&head)).expect("as it was");

    // A forger who rewrites the policy to say that there is no key, and hashes every row anew, gets no further.
    let plain = folder.path().join("plain.ledger");
    SqliteLedger::open(&plain, pure(9.0)).expect("a new ledger");
    std::fs::copy(&plain, &path).expect("replaced");
    let replaced = SqliteLedger::open_authenticated(&path, pure(9.0), key(1));
    assert!(matches!(replaced, Err(Error::LedgerPolicy { field: "mac_key", .. })));
    // Nor one who leaves the word and links rows by plain hashes: the links do not verify under the key.
    rewrite(&plain, 0, r#","policy":"#, r#","keyed":true,"policy":"#);
    let forged = SqliteLedger::open_authenticated(&plain, pure(9.0), key(1));
    assert!(matches!(forged, Err(Error::LedgerDamaged { row: 0, .. })), "{forged:?}");

    for bad in [&[0_u8; 32][..], &[1, 2, 3], &[]] {
        let error = MacKey::new(bad).expect_err("no key").to_string();
        assert!(error.contains("32 bytes drawn at random"), "{error}");
    }
    assert_eq!(format!("{:?}", key(1)), "MacKey(..)");
}

/// Rows that are linked as they should be are still held against what they say.
#[test]
fn rows_that_say_what_cannot_be_are_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let whole = std::fs::read(small(folder.path())).expect("readable");
    // What to replace in which row, and which row is at fault then.
    let cases = [
        ("a charge that is not the event's", 3, r#""charge":{"epsilon":"3/100""#, r#""charge":{"epsilon":"1/100""#, 3),
        ("more than the budget", 4, "1/25", "99/100", 4),
        ("nothing", 2, "1/50", "0", 2),
        ("a row under another number", 2, r#""row":2"#, r#""row":3"#, 2),
        ("an answer kept without a key", 5, r#""key":"k","#, "", 5),
        ("an answer to another spend", 6, r#""spend":5"#, r#""spend":4"#, 6),
        ("a field that nobody knows", 1, r#""row":1"#, r#""row":1,"more":2"#, 1),
    ];
    for (what, number, from, to, fault) in cases {
        let path = folder.path().join(format!("{what}.ledger"));
        std::fs::write(&path, &whole).expect("writable");
        rewrite(&path, number, from, to);
        match opened(&path) {
            Err(Error::LedgerDamaged { row, .. }) => assert_eq!(row, fault, "{what}"),
            other => panic!("{what}: {other:?}"),
        }
    }
    let path = folder.path().join("untouched.ledger");
    std::fs::write(&path, &whole).expect("writable");
    rewrite(&path, 1, "part 0.01", "part one");
    opened(&path).expect("a label may say anything: whoever writes the file can link rows, and the docs say so");
}

/// Replaces a text in one row and links all rows anew.
fn rewrite(path: &Path, number: i64, from: &str, to: &str) {
    let connection = Connection::open(path).expect("SQLite");
    let rows: Vec<(i64, String, Option<Vec<u8>>)> = connection
        .prepare("SELECT number, body, answer FROM rows ORDER BY number")
        .and_then(|mut query| query.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?.collect())
        .expect("readable");
    let mut previous = vec![0; 32];
    for (at, body, answer) in rows {
        assert!(at != number || body.contains(from), "{from} is not in {body}");
        let body = if at == number { body.replace(from, to) } else { body };
        previous = plain_hash(&previous, at, &body, answer.as_deref());
        connection
            .execute("UPDATE rows SET body = ?1, hash = ?2 WHERE number = ?3", params![body, previous, at])
            .expect("rewritten");
    }
    connection.close().expect("closes");
}

/// The link of a row, as the format's document has it.
fn plain_hash(previous: &[u8], number: i64, body: &str, answer: Option<&[u8]>) -> Vec<u8> {
    let mut text = b"veilsum ledger row v1\0".to_vec();
    text.extend(previous);
    text.extend(number.to_be_bytes());
    text.extend((body.len() as u64).to_be_bytes());
    text.extend(body.as_bytes());
    if let Some(answer) = answer {
        text.extend((answer.len() as u64).to_be_bytes());
        text.extend(answer);
    }
    Sha256::digest(text).to_vec()
}
