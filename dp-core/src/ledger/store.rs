//! What a ledger needs of its storage, and the one implementation of spending over it.

use super::book::{Book, Pending};
use super::chain::Chain;
use super::record::{Head, Row};
use super::spend::{Answer, Receipt, Spend};
use crate::Error;

/// Rows, and the book they add up to.
pub(crate) trait Store {
    /// Runs `step` on the book as of the last stored row, alone, and stores durably the row it asks for.
    fn transact<T>(&self, step: impl FnOnce(&Book) -> Result<(Option<Pending>, T), Error>) -> Result<(T, Head), Error>;

    /// The bytes stored with a row.
    fn stored_answer(&self, row: u64) -> Result<Vec<u8>, Error>;
}

/// Longest answer, in bytes: what the file format holds in one row.
const MAX_ANSWER: usize = 1 << 29;

pub(crate) fn spend(store: &impl Store, spend: &Spend) -> Result<Receipt, Error> {
    spend.check()?;
    let ((row, repeated), head) = store.transact(|book| match book.keyed(spend, false)? {
        Some(keyed) => Ok((None, (keyed.spend, true))),
        None => {
            let pending = book.spend(spend, false)?;
            let row = pending.row.number;
            Ok((Some(pending), (row, false)))
        }
    })?;
    Ok(Receipt { row, head, repeated })
}

/// Reserve and commit, then run, then store, then hand out.
pub(crate) fn release(
    store: &impl Store,
    spend: &Spend,
    mechanism: &mut dyn FnMut() -> Result<Vec<u8>, Error>,
) -> Result<Answer, Error> {
    spend.check()?;
    if spend.key.is_none() {
        let receipt = self::spend(store, spend)?;
        return Ok(Answer { bytes: mechanism()?, receipt });
    }
    let ((row, stored, repeated), head) = store.transact(|book| match book.keyed(spend, true)? {
        Some(keyed) => Ok((None, (keyed.spend, keyed.answer, true))),
        None => {
            let pending = book.spend(spend, true)?;
            let row = pending.row.number;
            Ok((Some(pending), (row, None, false)))
        }
    })?;
    if let Some(answer) = stored {
        return Ok(Answer { bytes: store.stored_answer(answer)?, receipt: Receipt { row, head, repeated } });
    }
    let bytes = mechanism()?;
    if bytes.len() > MAX_ANSWER {
        return Err(Error::Overflow {
            what: "the answer",
            fits: "the 512 MiB that a ledger stores under a key",
            remedy: "release it in parts",
        });
    }
    // Another process may have stored its answer meanwhile: then that one is handed out and ours is forgotten.
    let (first, head) = store.transact(|book| match book.keyed(spend, true)?.and_then(|keyed| keyed.answer) {
        Some(answer) => Ok((None, Some(answer))),
        None => Ok((Some(book.answer(row, bytes.clone())), None)),
    })?;
    let bytes = match first {
        Some(answer) => store.stored_answer(answer)?,
        None => bytes,
    };
    Ok(Answer { bytes, receipt: Receipt { row, head, repeated } })
}

/// Reads rows from row 0 on, checks everything about them, and compares with a head kept elsewhere.
#[derive(Debug)]
pub(crate) struct Audit<'a> {
    chain: &'a Chain,
    book: Option<Book>,
    pinned: Option<&'a Head>,
}

impl<'a> Audit<'a> {
    /// Before row 0; `pinned` must be met on the way.
    pub(crate) fn new(chain: &'a Chain, pinned: Option<&'a Head>) -> Self {
        Self { chain, book: None, pinned }
    }

    /// Takes the next row.
    pub(crate) fn row(&mut self, row: &Row) -> Result<(), Error> {
        let head = match &mut self.book {
            Some(book) => {
                book.read(row)?;
                book.head()
            }
            empty => empty.insert(Book::open(row, self.chain.clone())?).head(),
        };
        match self.pinned {
            Some(pinned) if pinned.row == head.row && *pinned != head => {
                Err(Error::damaged(row.number, "it is not the row that the given head names"))
            }
            Some(pinned) if pinned.row == head.row => {
                self.pinned = None;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// After the last row.
    pub(crate) fn finish(self) -> Result<Book, Error> {
        let book = self.book.ok_or_else(|| Error::damaged(0, "it is missing"))?;
        match self.pinned {
            None => Ok(book),
            Some(_) => Err(Error::damaged(
                book.head().row() + 1,
                "it is missing: the given head is from after it, so the end was cut off or an old copy put back",
            )),
        }
    }
}
