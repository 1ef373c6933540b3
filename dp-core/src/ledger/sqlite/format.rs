//! The file format: one table of rows, and the steps from older formats.
//!
//! Format 1 had no stored answers; format 2 adds them. Row bytes and hashes are the same in both, so that a head pinned
//! under format 1 still holds.

use super::connection::{failed, unusable};
use crate::Error;
use crate::ledger::Policy;
use crate::ledger::book::Book;
use crate::ledger::chain::Chain;
use crate::ledger::record::{Head, Row};
use crate::ledger::store::Audit;
use rusqlite::{Connection, OptionalExtension, params};
use std::path::Path;

/// "vslg": tells a ledger from other SQLite files.
const APPLICATION: i32 = 0x7673_6c67;
const FORMAT: i32 = 2;

const TABLE: &str =
    "CREATE TABLE rows (number INTEGER PRIMARY KEY, body TEXT NOT NULL, hash BLOB NOT NULL, answer BLOB)";

/// The step from each format to the next; the first leads from format 1.
const MIGRATIONS: [&str; FORMAT as usize - 1] = ["ALTER TABLE rows ADD COLUMN answer BLOB"];

pub(super) fn configure(connection: &Connection, writes: bool) -> rusqlite::Result<()> {
    // What a schema says is data here, and no trigger or view belongs in it.
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    if writes {
        connection.pragma_update(None, "fullfsync", true)?;
        connection.pragma_update(None, "synchronous", "EXTRA")?;
        connection.query_row("PRAGMA journal_mode = TRUNCATE", [], |_| Ok(()))?;
    }
    Ok(())
}

/// Writes a new ledger to a path where there is nothing.
pub(super) fn create(path: &Path, policy: &Policy, chain: &Chain) -> Result<(), Error> {
    let (_, row) = Book::found(policy.clone(), chain.clone())?;
    let sqlite = |error| failed(path, error);
    let mut connection = Connection::open(path).map_err(sqlite)?;
    configure(&connection, true).map_err(sqlite)?;
    let transaction = connection.transaction().map_err(sqlite)?;
    transaction.pragma_update(None, "application_id", APPLICATION).map_err(sqlite)?;
    transaction.pragma_update(None, "user_version", FORMAT).map_err(sqlite)?;
    transaction.execute(TABLE, []).map_err(sqlite)?;
    insert(&transaction, &row)?;
    transaction.commit().map_err(sqlite)?;
    connection.close().map_err(|(_, error)| failed(path, error))
}

/// Takes an older format to the present one, inside the caller's transaction. Says whether there was anything to do.
pub(super) fn migrate(connection: &Connection, path: &Path) -> Result<bool, Error> {
    let found = version(connection, path)?;
    let sqlite = |error| failed(path, error);
    let steps = MIGRATIONS.iter().skip(usize::try_from(found - 1).unwrap_or(MIGRATIONS.len()));
    for step in steps.clone() {
        connection.execute(step, []).map_err(sqlite)?;
    }
    if found < FORMAT {
        connection.pragma_update(None, "user_version", FORMAT).map_err(sqlite)?;
    }
    Ok(found < FORMAT)
}

/// The format of a file that is a ledger at all.
fn version(connection: &Connection, path: &Path) -> Result<i32, Error> {
    let number =
        |name| connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0)).map_err(|e| failed(path, e));
    if number("application_id")? != APPLICATION {
        return Err(unusable(path, "the file is not a ledger"));
    }
    match number("user_version")? {
        found @ 1..=FORMAT => Ok(found),
        found => Err(unusable(
            path,
            format!("the file has format {found} and this version reads 1 to {FORMAT}: use a newer version of veilsum"),
        )),
    }
}

/// Checks the whole file and reads its book.
pub(super) fn read(connection: &Connection, path: &Path, chain: &Chain) -> Result<Book, Error> {
    check_file(connection, path)?;
    audit(connection, chain, None)
}

/// Checks every row, and that they go on from a head kept elsewhere.
pub(super) fn audit(connection: &Connection, chain: &Chain, pinned: Option<&Head>) -> Result<Book, Error> {
    let mut audit = Audit::new(chain, pinned);
    each_row(connection, 0, |row| audit.row(&row))?;
    audit.finish()
}

/// Checks everything about the file that is not in the rows.
pub(super) fn check_file(connection: &Connection, path: &Path) -> Result<(), Error> {
    let sqlite = |error| failed(path, error);
    if version(connection, path)? < FORMAT {
        return Err(unusable(path, "the file has an older format: open it once for spending, which updates it"));
    }
    let mut schema = connection.prepare("SELECT type, name, sql FROM sqlite_schema").map_err(sqlite)?;
    let found: Vec<(String, String, String)> = schema
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .and_then(Iterator::collect)
        .map_err(sqlite)?;
    if found != [("table".into(), "rows".into(), TABLE.into())] {
        return Err(unusable(path, "the file has other tables, or triggers or views, than a ledger has"));
    }
    let report: String = connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0)).map_err(sqlite)?;
    if report == "ok" { Ok(()) } else { Err(unusable(path, format!("the file is damaged: {report}"))) }
}

/// Takes in the rows that were committed since `book` was last here.
pub(super) fn catch_up(connection: &Connection, book: &mut Book) -> Result<(), Error> {
    let head = book.head();
    let known: Option<Vec<u8>> = connection
        .prepare_cached("SELECT hash FROM rows WHERE number = ?1")
        .and_then(|mut query| query.query_row([head.row().cast_signed()], |row| row.get(0)).optional())
        .map_err(|error| unreadable(head.row(), &error))?;
    if known.as_deref() != Some(&head.hash) {
        return Err(Error::damaged(
            head.row(),
            "it was there a moment ago and is not any more: the file was replaced by an older or another one",
        ));
    }
    each_row(connection, head.row() + 1, |row| book.read(&row))
}

pub(super) fn insert(connection: &Connection, row: &Row) -> Result<(), Error> {
    connection
        .prepare_cached("INSERT INTO rows (number, body, hash, answer) VALUES (?1, ?2, ?3, ?4)")
        .and_then(|mut insert| insert.execute(params![row.number.cast_signed(), row.body, row.hash, row.answer]))
        .map_err(|error| match connection.path() {
            Some(path) => failed(Path::new(path), error),
            None => unreadable(row.number, &error),
        })
        .map(|_| ())
}

/// Row `number`, if there is one.
pub(super) fn row(connection: &Connection, number: u64) -> Result<Option<Row>, Error> {
    connection
        .prepare_cached("SELECT number, body, hash, answer FROM rows WHERE number = ?1")
        .and_then(|mut query| query.query_row([number.cast_signed()], from_sql).optional())
        .map_err(|error| unreadable(number, &error))
}

/// Hands the rows from `first` on to `take`, in order.
pub(super) fn each_row(
    connection: &Connection,
    first: u64,
    mut take: impl FnMut(Row) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut query = connection
        .prepare_cached("SELECT number, body, hash, answer FROM rows WHERE number >= ?1 ORDER BY number")
        .map_err(|error| unreadable(first, &error))?;
    let found = query.query_map([first.cast_signed()], from_sql).map_err(|error| unreadable(first, &error))?;
    for (row, expected) in found.zip(first..) {
        take(row.map_err(|error| unreadable(expected, &error))?)?;
    }
    Ok(())
}

fn from_sql(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    let number = row.get::<_, i64>(0)?.cast_unsigned();
    Ok(Row { number, body: row.get(1)?, hash: row.get(2)?, answer: row.get(3)? })
}

fn unreadable(row: u64, error: &rusqlite::Error) -> Error {
    Error::damaged(row, format!("it cannot be read: {error}"))
}
