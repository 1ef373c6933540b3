//! A ledger in one SQLite file that many processes and threads share.
//!
//! The rollback journal is kept in TRUNCATE mode with extra synchronisation, so between transactions the one file is
//! the whole truth, and a commit has reached the disk when it returns. Writers queue on an advisory lock beside the
//! file: SQLite's own waiting is by retries, which under contention starves some of the waiters. That lock is a
//! courtesy and carries no truth; SQLite's locks alone keep two writers apart.

mod connection;
mod format;

use super::book::{self, Book, Pending};
use super::chain::{Chain, MacKey};
use super::record::Head;
use super::store::{self, Audit, Store};
use super::{Amount, Answer, Entry, Ledger, Policy, Receipt, Spend};
use crate::Error;
use crate::mechanism::noiseless::is_noiseless;
use connection::{Access, Connected};
use rusqlite::{Connection, TransactionBehavior};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// A ledger in a file.
///
/// Every call sees what all processes have committed before it. After a fork the child leaves the inherited connection
/// alone and opens its own; a process with several threads must hold [`quiesce`] across the fork. While noise is switched
/// off for tests, spending is refused.
///
/// ```
/// # let folder = std::env::temp_dir().join(format!("veilsum-doc-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder).unwrap();
/// # let path = folder.join("survey.ledger");
/// use veilsum_dp_core::{accounting::Event, ledger::*, privacy::Epsilon, sensitivity::Neighbors};
/// let budget = Budget::Pure { epsilon: Epsilon::from_decimal(1.0)? };
/// let policy = Policy { dataset: "survey".into(), unit: "person".into(), neighbors: Neighbors::AddRemove, budget };
/// let ledger = SqliteLedger::open(&path, policy.clone())?;
/// ledger.spend(&Spend::new(Event::Pure { epsilon: Epsilon::from_decimal(0.4)? }))?;
/// assert_eq!(SqliteLedger::open(&path, policy)?.remaining()?.epsilon.to_string(), "3/5");
/// # std::fs::remove_dir_all(&folder).unwrap();
/// # Ok::<(), veilsum_dp_core::Error>(())
/// ```
#[derive(Debug)]
pub struct SqliteLedger {
    path: PathBuf,
    access: Access,
    chain: Chain,
    policy: Policy,
    open: Mutex<Open>,
}

#[derive(Debug)]
struct Open {
    connected: Connected,
    book: Book,
}

impl SqliteLedger {
    /// Opens the ledger at `path`, or creates it if there is no file.
    ///
    /// The whole file is verified first; one that does not verify is refused and left as it is.
    ///
    /// # Errors
    /// [`Error::LedgerPolicy`] if the file was made with another policy, [`Error::LedgerDamaged`] if it does not
    /// verify, [`Error::LedgerFile`] if it cannot be read and written, or is not a ledger.
    pub fn open(path: impl AsRef<Path>, policy: Policy) -> Result<Self, Error> {
        Self::open_chained(path.as_ref(), policy, Chain::Hash)
    }

    /// As [`open`](Self::open), with rows chained by HMAC-SHA-256 under `key`: nobody without it can write rows that
    /// verify, and the file is refused without it.
    ///
    /// # Errors
    /// Those of [`open`](Self::open); [`Error::LedgerPolicy`] too if the file was made without a key, and
    /// [`Error::LedgerDamaged`] if it was made with another.
    pub fn open_authenticated(path: impl AsRef<Path>, policy: Policy, key: MacKey) -> Result<Self, Error> {
        Self::open_chained(path.as_ref(), policy, Chain::Mac(key))
    }

    fn open_chained(path: &Path, policy: Policy, chain: Chain) -> Result<Self, Error> {
        policy.check()?;
        let ledger = Self::connect(path, Access::Write, chain, Some(&policy))?;
        ledger.policy.admits(&policy)?;
        Ok(ledger)
    }

    /// Opens an existing ledger to look at it: spending from it is refused, and the file may be read-only.
    ///
    /// # Errors
    /// [`Error::LedgerDamaged`] if it does not verify, [`Error::LedgerFile`] if it cannot be read or is not a ledger.
    pub fn inspect(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::connect(path.as_ref(), Access::Read, Chain::Hash, None)
    }

    /// As [`inspect`](Self::inspect), for a ledger made with a key.
    ///
    /// # Errors
    /// Those of [`inspect`](Self::inspect), and those about the key of [`open_authenticated`](Self::open_authenticated).
    pub fn inspect_authenticated(path: impl AsRef<Path>, key: MacKey) -> Result<Self, Error> {
        Self::connect(path.as_ref(), Access::Read, Chain::Mac(key), None)
    }

    fn connect(path: &Path, access: Access, chain: Chain, create: Option<&Policy>) -> Result<Self, Error> {
        let _running = running();
        // Absolute, so that a later change of the working folder does not lead a forked child elsewhere.
        let path = std::path::absolute(path).map_err(|e| connection::unusable(path, e))?;
        let (connected, book) = Connected::open(&path, access, &chain, create)?;
        let policy = book.policy().clone();
        Ok(Self { path, access, chain, policy, open: Mutex::new(Open { connected, book }) })
    }

    /// Where the ledger is, absolute.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The connection of this process, and the book as far as this process has read.
    fn open_here(&self) -> Result<MutexGuard<'_, Open>, Error> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if !open.connected.is_ours() {
            let (connected, book) = Connected::open(&self.path, self.access, &self.chain, None)?;
            book.policy().admits(&self.policy)?;
            let known = open.book.head();
            *open = Open { connected, book };
            open.check_continues(&self.chain, known)?;
        }
        Ok(open)
    }

    /// Runs `look` in a transaction, on the book as of now.
    fn look<T>(&self, look: impl FnOnce(&Connection, &Book) -> Result<T, Error>) -> Result<T, Error> {
        let _running = running();
        let mut open = self.open_here()?;
        let Open { connected, book } = &mut *open;
        connected.transaction(TransactionBehavior::Deferred, |connection| {
            format::catch_up(connection, book)?;
            look(connection, book).map(|outcome| (false, outcome))
        })
    }
}

impl Open {
    /// After opening anew: the rows that this process had seen must still be there.
    fn check_continues(&mut self, chain: &Chain, known: Head) -> Result<(), Error> {
        self.connected.transaction(TransactionBehavior::Deferred, |connection| {
            format::audit(connection, chain, Some(&known)).map(|_| (false, ()))
        })
    }
}

impl Store for SqliteLedger {
    fn transact<T>(&self, step: impl FnOnce(&Book) -> Result<(Option<Pending>, T), Error>) -> Result<(T, Head), Error> {
        if self.access == Access::Read {
            return Err(connection::unusable(
                &self.path,
                "it was opened to be looked at: open it with its policy to spend",
            ));
        }
        let _running = running();
        let mut open = self.open_here()?;
        let Open { connected, book } = &mut *open;
        let (pending, outcome) = connected.transaction(TransactionBehavior::Immediate, |connection| {
            format::catch_up(connection, book)?;
            let (pending, outcome) = step(book)?;
            if let Some(pending) = &pending {
                format::insert(connection, &pending.row)?;
            }
            Ok((pending.is_some(), (pending, outcome)))
        })?;
        // Durable from here on.
        if let Some(pending) = pending {
            book.advance(pending);
        }
        Ok((outcome, book.head()))
    }

    fn stored_answer(&self, row: u64) -> Result<Vec<u8>, Error> {
        self.look(|connection, _| {
            let stored = format::row(connection, row)?.and_then(|row| row.answer);
            stored.ok_or_else(|| Error::damaged(row, "its answer is missing"))
        })
    }
}

impl Ledger for SqliteLedger {
    fn policy(&self) -> &Policy {
        &self.policy
    }

    fn spend(&self, spend: &Spend) -> Result<Receipt, Error> {
        refuse_noiseless()?;
        store::spend(self, spend)
    }

    fn release(&self, spend: &Spend, mechanism: &mut dyn FnMut() -> Result<Vec<u8>, Error>) -> Result<Answer, Error> {
        refuse_noiseless()?;
        store::release(self, spend, mechanism)
    }

    fn spent(&self) -> Result<Amount, Error> {
        self.look(|_, book| Ok(self.policy.budget.spent(book.sums())))
    }

    fn remaining(&self) -> Result<Amount, Error> {
        self.look(|_, book| Ok(self.policy.budget.remaining(book.sums())))
    }

    fn history(&self) -> Result<Vec<Entry>, Error> {
        self.look(|connection, _| {
            let (mut audit, mut entries) = (Audit::new(&self.chain, None), Vec::new());
            format::each_row(connection, 0, |row| {
                audit.row(&row)?;
                entries.extend(book::entry(&row)?);
                Ok(())
            })?;
            audit.finish().map(|_| entries)
        })
    }

    fn head(&self) -> Result<Head, Error> {
        self.look(|_, book| Ok(book.head()))
    }

    fn verify(&self, head: Option<&Head>) -> Result<(), Error> {
        let _running = running();
        let mut open = self.open_here()?;
        let Open { connected, book } = &mut *open;
        // The audit comes before the book catches up, so that it names the first row at fault.
        connected.transaction(TransactionBehavior::Deferred, |connection| {
            format::check_file(connection, &self.path)?;
            format::audit(connection, &self.chain, head)?;
            format::catch_up(connection, book).map(|()| (false, ()))
        })
    }
}

fn refuse_noiseless() -> Result<(), Error> {
    if is_noiseless() { Err(Error::LedgerNoiseless) } else { Ok(()) }
}

/// Held for reading by every call on a ledger, and for writing across a fork.
static CALLS: RwLock<()> = RwLock::new(());

fn running() -> RwLockReadGuard<'static, ()> {
    CALLS.read().unwrap_or_else(PoisonError::into_inner)
}

/// No ledger call runs in this process while this is held. See [`quiesce`].
#[derive(Debug)]
pub struct Quiet(#[expect(dead_code, reason = "held, not read")] RwLockWriteGuard<'static, ()>);

/// Waits until no ledger call of this process is running and holds new ones off until the result is dropped.
///
/// A process with several threads takes this before `fork` and drops it afterwards in the parent and in the child: the
/// child would otherwise inherit locks whose owners it does not have. (The Python package does so by itself.)
#[must_use]
pub fn quiesce() -> Quiet {
    Quiet(CALLS.write().unwrap_or_else(PoisonError::into_inner))
}
