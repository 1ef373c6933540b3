//! Connecting to the file: creation, waiting one's turn, and forks.

use super::format;
use crate::Error;
use crate::ledger::Policy;
use crate::ledger::book::Book;
use crate::ledger::chain::Chain;
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};
use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long SQLite waits for a lock that a program outside the queue holds.
const PATIENCE: Duration = Duration::from_secs(600);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    Write,
}

/// A connection, and the process that may use it.
#[derive(Debug)]
pub(super) struct Connected {
    process: u32,
    path: PathBuf,
    /// `None` only while being dropped.
    connection: Option<Connection>,
    /// The lock that writers queue on; a reader without write access to the folder does without.
    queue: Option<File>,
}

impl Connected {
    /// Opens and verifies the file; with a policy, creates it first if there is none.
    pub(super) fn open(
        path: &Path,
        access: Access,
        chain: &Chain,
        create: Option<&Policy>,
    ) -> Result<(Self, Book), Error> {
        let queue =
            match OpenOptions::new().create(true).truncate(false).read(true).write(true).open(beside(path, "-queue")) {
                Ok(queue) => Some(queue),
                Err(_) if access == Access::Read => None,
                Err(error) => return Err(unusable(path, format!("its queue file cannot be opened: {error}"))),
            };
        let turn = Turn::take(queue.as_ref(), path)?;
        match fs::metadata(path) {
            Ok(found) if found.len() == 0 => {
                return Err(unusable(path, "the file is empty: a ledger never is, so it was cut or is something else"));
            }
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => match create {
                Some(policy) => create_file(path, policy, chain)?,
                None => return Err(unusable(path, "there is no such file")),
            },
            Err(error) => return Err(unusable(path, error)),
        }
        let connection = connect(path, access)?;
        drop(turn);
        let mut connected =
            Self { process: std::process::id(), path: path.to_owned(), connection: Some(connection), queue };
        let book = match access {
            Access::Write => connected.transaction(TransactionBehavior::Immediate, |connection| {
                let migrated = format::migrate(connection, path)?;
                format::read(connection, path, chain).map(|book| (migrated, book))
            })?,
            Access::Read => connected.transaction(TransactionBehavior::Deferred, |connection| {
                format::read(connection, path, chain).map(|book| (false, book))
            })?,
        };
        Ok((connected, book))
    }

    /// Whether this process opened it.
    pub(super) fn is_ours(&self) -> bool {
        self.process == std::process::id()
    }

    /// Waits for its turn and runs `body` in a transaction, which is committed if `body` says so and rolled back
    /// otherwise.
    pub(super) fn transaction<T>(
        &mut self,
        behavior: TransactionBehavior,
        body: impl FnOnce(&Connection) -> Result<(bool, T), Error>,
    ) -> Result<T, Error> {
        let Some(connection) = &mut self.connection else { return Err(unusable(&self.path, "it is closed")) };
        let _turn = Turn::take(self.queue.as_ref(), &self.path)?;
        let sqlite = |error| failed(&self.path, error);
        let transaction: Transaction<'_> = connection.transaction_with_behavior(behavior).map_err(sqlite)?;
        let (commit, outcome) = body(&transaction)?;
        if commit { transaction.commit() } else { transaction.rollback() }.map_err(sqlite)?;
        Ok(outcome)
    }
}

/// A connection that was inherited through a fork is neither used nor closed: closing it would undo or unlock what the
/// parent is doing. It is left to the end of the process.
impl Drop for Connected {
    fn drop(&mut self) {
        if !self.is_ours() {
            std::mem::forget(self.connection.take());
            std::mem::forget(self.queue.take());
        }
    }
}

/// A place at the head of the queue.
struct Turn<'a>(Option<&'a File>);

impl<'a> Turn<'a> {
    fn take(queue: Option<&'a File>, path: &Path) -> Result<Self, Error> {
        let Some(queue) = queue else { return Ok(Self(None)) };
        loop {
            match queue.lock() {
                Ok(()) => return Ok(Self(Some(queue))),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // A file system without such locks: SQLite's own waiting has to do.
                Err(error) if error.kind() == ErrorKind::Unsupported => return Ok(Self(None)),
                Err(error) => return Err(unusable(path, format!("its queue file cannot be locked: {error}"))),
            }
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if let Some(queue) = self.0 {
            // Unlocking what one holds fails only if the file is gone, and then there is nobody to wake.
            let _ = queue.unlock();
        }
    }
}

fn connect(path: &Path, access: Access) -> Result<Connection, Error> {
    let flags = match access {
        Access::Read => OpenFlags::SQLITE_OPEN_READ_ONLY,
        Access::Write => OpenFlags::SQLITE_OPEN_READ_WRITE,
    };
    let sqlite = |error| failed(path, error);
    let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX).map_err(sqlite)?;
    connection.busy_timeout(PATIENCE).map_err(sqlite)?;
    format::configure(&connection, access == Access::Write).map_err(sqlite)?;
    if access == Access::Write && connection.is_readonly("main").map_err(sqlite)? {
        return Err(unusable(path, "the file is read-only: a ledger that cannot record cannot spend"));
    }
    Ok(connection)
}

/// Writes a complete ledger under another name and links it into place, so that whatever interrupts this, `path` either
/// is a whole ledger or does not exist.
fn create_file(path: &Path, policy: &Policy, chain: &Chain) -> Result<(), Error> {
    let journal = beside(path, "-journal");
    if fs::metadata(&journal).is_ok_and(|journal| journal.len() > 0) {
        let why = format!("there is no such file, but its journal {} exists: put the file back", journal.display());
        return Err(unusable(path, why));
    }
    let draft = beside(path, &format!("-new-{}", std::process::id()));
    let clean = || {
        for left in [draft.clone(), beside(&draft, "-journal")] {
            // Left over from an attempt that was interrupted, if it is there at all.
            let _ = fs::remove_file(left);
        }
    };
    clean();
    let made = format::create(&draft, policy, chain).and_then(|()| {
        let linked = fs::hard_link(&draft, path).or_else(|error| match error.kind() {
            ErrorKind::AlreadyExists => Ok(()),
            // No hard links here: whoever creates holds the queue, so nothing is replaced.
            _ if !path.exists() => fs::rename(&draft, path),
            _ => Err(error),
        });
        linked.and_then(|()| sync_folder(path)).map_err(|error| unusable(path, error))
    });
    clean();
    made
}

/// The new name itself must survive a power cut.
fn sync_folder(path: &Path) -> std::io::Result<()> {
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

pub(super) fn unusable(path: &Path, why: impl std::fmt::Display) -> Error {
    Error::LedgerFile { path: path.display().to_string(), why: why.to_string() }
}

pub(super) fn failed(path: &Path, error: rusqlite::Error) -> Error {
    use rusqlite::ErrorCode;
    let remedy = match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => ": make room and try again; nothing was spent",
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            ": it is damaged or not a ledger; restore it from where it is known to be whole"
        }
        Some(ErrorCode::DatabaseBusy) => ": another program has held it for ten minutes",
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
            ": the file and its folder must be readable and writable"
        }
        _ => "",
    };
    unusable(path, format!("{error}{remedy}"))
}
