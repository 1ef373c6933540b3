//! The state that a ledger's rows add up to. Every store reads its rows through [`Book::read`] and writes what
//! [`Book::spend`] and [`Book::answer`] prepare.

use super::budget::{Charge, Policy};
use super::chain::Chain;
use super::record::{Answered, Body, Founding, Head, Row, Spent};
use super::spend::{Entry, Spend};
use crate::Error;
use crate::accounting::Event;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::time::{SystemTime, UNIX_EPOCH};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Everything that is known from rows 0 to `head`.
#[derive(Clone, Debug)]
pub(crate) struct Book {
    policy: Policy,
    chain: Chain,
    sums: Charge,
    head: Head,
    keys: HashMap<String, Keyed>,
    /// Spends that keep an answer, by row, with their key while the answer is not there.
    awaited: HashMap<u64, String>,
    /// The last event read and its charge: runs of equal events are common.
    last: Option<(Event, Charge)>,
}

/// What is known about an idempotency key.
#[derive(Clone, Debug)]
pub(crate) struct Keyed {
    /// The row of the spend.
    pub(crate) spend: u64,
    /// The row that holds its answer.
    pub(crate) answer: Option<u64>,
    /// Tells this spend from any other.
    digest: [u8; 32],
}

/// A row that fits the book and is not stored yet.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) row: Row,
    change: Change,
}

#[derive(Debug)]
enum Change {
    Spend { sums: Box<Charge>, key: Option<(String, [u8; 32], bool)> },
    Answer { spend: u64 },
}

impl Book {
    /// A new ledger and its row 0.
    pub(crate) fn found(policy: Policy, chain: Chain) -> Result<(Self, Row), Error> {
        policy.check()?;
        let mut id = [0; 16];
        getrandom::fill(&mut id).map_err(|_| Error::Entropy)?;
        let id = id.iter().map(|byte| format!("{byte:02x}")).collect();
        let (version, keyed) = (VERSION.into(), chain.is_keyed());
        let body = Body::Policy(Box::new(Founding { row: 0, id, time: now(), version, policy, keyed }));
        let row = Row::new(&chain, &[0; 32], 0, body.to_text(), None);
        Ok((Self::open(&row, chain)?, row))
    }

    /// The book after row 0.
    pub(crate) fn open(row: &Row, chain: Chain) -> Result<Self, Error> {
        if row.number != 0 {
            return Err(Error::damaged(0, "it is missing"));
        }
        check_key(row, &chain)?;
        let Body::Policy(founding) = parse(row, &chain, &[0; 32])? else {
            return Err(Error::damaged(0, "it is not the policy"));
        };
        let policy = founding.policy;
        let sums = policy.budget.nothing();
        let head = Head { row: 0, hash: row.hash };
        Ok(Self { policy, chain, sums, head, keys: HashMap::new(), awaited: HashMap::new(), last: None })
    }

    pub(crate) fn policy(&self) -> &Policy {
        &self.policy
    }

    pub(crate) fn sums(&self) -> &Charge {
        &self.sums
    }

    pub(crate) fn head(&self) -> Head {
        self.head
    }

    /// Takes in the next stored row after checking everything about it.
    pub(crate) fn read(&mut self, row: &Row) -> Result<(), Error> {
        let expected = self.head.row + 1;
        if row.number != expected {
            return Err(Error::damaged(expected, "it is missing: rows were removed or renumbered"));
        }
        let change = match parse(row, &self.chain, &self.head.hash)? {
            Body::Policy(_) => return Err(Error::damaged(expected, "it is a second policy")),
            Body::Spend(spent) => self.read_spend(*spent)?,
            Body::Answer(answered) => {
                if row.answer.is_none() || !self.awaited.contains_key(&answered.spend) {
                    return Err(Error::damaged(expected, "it answers no open spend"));
                }
                Change::Answer { spend: answered.spend }
            }
        };
        if row.answer.is_some() && matches!(change, Change::Spend { .. }) {
            return Err(Error::damaged(expected, "a spend holds an answer"));
        }
        self.apply(Head { row: row.number, hash: row.hash }, change);
        Ok(())
    }

    fn read_spend(&mut self, spent: Spent) -> Result<Change, Error> {
        let row = spent.row;
        let charge = match &self.last {
            Some((event, charge)) if *event == spent.event => charge.clone(),
            _ => self
                .policy
                .budget
                .charge(&spent.event, self.policy.neighbors)
                .map_err(|_| Error::damaged(row, "its event is not one that this ledger accepts"))?,
        };
        if charge != spent.charge {
            return Err(Error::damaged(row, "its charge is not what its event costs"));
        }
        let sums = self
            .policy
            .budget
            .admit(&self.sums, &charge)
            .map(Box::new)
            .map_err(|_| Error::damaged(row, "it spends more than the budget"))?;
        self.last = Some((spent.event.clone(), charge));
        let keeps_answer = spent.keeps_answer;
        let spend = Spend { event: spent.event, label: spent.label, key: spent.key, provenance: spent.provenance };
        if keeps_answer && spend.key.is_none() {
            return Err(Error::damaged(row, "it keeps an answer without a key"));
        }
        if spend.key.as_ref().is_some_and(|key| self.keys.contains_key(key)) {
            return Err(Error::damaged(row, "its key was used before"));
        }
        let digest = digest(&spend, keeps_answer);
        Ok(Change::Spend { sums, key: spend.key.map(|key| (key, digest, keeps_answer)) })
    }

    /// Whether this very spend is recorded under its key already.
    pub(crate) fn keyed(&self, spend: &Spend, keeps_answer: bool) -> Result<Option<&Keyed>, Error> {
        let Some((key, keyed)) = spend.key.as_ref().and_then(|key| self.keys.get_key_value(key)) else {
            return Ok(None);
        };
        if keyed.digest == digest(spend, keeps_answer) {
            Ok(Some(keyed))
        } else {
            Err(Error::LedgerKey { key: key.clone(), row: keyed.spend })
        }
    }

    /// Prepares the row of a spend whose key, if any, is new.
    pub(crate) fn spend(&self, spend: &Spend, keeps_answer: bool) -> Result<Pending, Error> {
        let charge = self.policy.budget.charge(&spend.event, self.policy.neighbors)?;
        let sums = Box::new(self.policy.budget.admit(&self.sums, &charge)?);
        let key = spend.key.clone().map(|key| (key, digest(spend, keeps_answer), keeps_answer));
        let row = self.head.row + 1;
        let body = Body::Spend(Box::new(Spent {
            row,
            time: now(),
            version: VERSION.into(),
            event: spend.event.clone(),
            charge,
            label: spend.label.clone(),
            key: spend.key.clone(),
            provenance: spend.provenance.clone(),
            keeps_answer,
        }));
        let row = Row::new(&self.chain, &self.head.hash, row, body.to_text(), None);
        Ok(Pending { row, change: Change::Spend { sums, key } })
    }

    /// Prepares the row that stores the answer of an awaited spend.
    pub(crate) fn answer(&self, spend: u64, bytes: Vec<u8>) -> Pending {
        let row = self.head.row + 1;
        let body = Body::Answer(Answered { row, time: now(), version: VERSION.into(), spend });
        let row = Row::new(&self.chain, &self.head.hash, row, body.to_text(), Some(bytes));
        Pending { row, change: Change::Answer { spend } }
    }

    /// Takes in a row that this book prepared and that is stored now.
    pub(crate) fn advance(&mut self, pending: Pending) {
        self.apply(Head { row: pending.row.number, hash: pending.row.hash }, pending.change);
    }

    fn apply(&mut self, head: Head, change: Change) {
        self.head = head;
        match change {
            Change::Spend { sums, key } => {
                self.sums = *sums;
                if let Some((key, digest, keeps_answer)) = key {
                    if keeps_answer {
                        self.awaited.insert(head.row, key.clone());
                    }
                    self.keys.insert(key, Keyed { spend: head.row, answer: None, digest });
                }
            }
            Change::Answer { spend } => {
                let key = self.awaited.remove(&spend);
                if let Some(keyed) = key.and_then(|key| self.keys.get_mut(&key)) {
                    keyed.answer = Some(head.row);
                }
            }
        }
    }
}

/// The entry of a stored row that was checked before; `None` unless it is a spend.
pub(crate) fn entry(row: &Row) -> Result<Option<Entry>, Error> {
    match serde_json::from_str(&row.body) {
        Ok(Body::Spend(spent)) => {
            let Spent { row, time, version, event, charge, label, key, provenance, keeps_answer } = *spent;
            Ok(Some(Entry { row, time, event, charge, label, key, provenance, version, keeps_answer }))
        }
        Ok(_) => Ok(None),
        Err(_) => Err(Error::damaged(row.number, "it cannot be read")),
    }
}

/// A ledger is opened with a key if and only if it was made with one: whatever else row 0 says is not believed yet.
fn check_key(row: &Row, chain: &Chain) -> Result<(), Error> {
    let says = match serde_json::from_str(&row.body) {
        Ok(Body::Policy(founding)) => founding.keyed,
        // Refused with its reason when it is parsed.
        _ => return Ok(()),
    };
    let told = |keyed| if keyed { "given" } else { "none" }.to_owned();
    if says == chain.is_keyed() {
        return Ok(());
    }
    Err(Error::LedgerPolicy { field: "mac_key", stored: told(says), asked: told(chain.is_keyed()) })
}

/// Checks a row's place in the chain and reads what it says.
fn parse(row: &Row, chain: &Chain, previous: &[u8; 32]) -> Result<Body, Error> {
    let body: Result<Body, _> = serde_json::from_str(&row.body);
    if row.continues(chain, previous) {
        return match body {
            Ok(body) if body.row() == row.number => Ok(body),
            Ok(_) => Err(Error::damaged(row.number, "it gives another number than the one it is stored under")),
            Err(_) => Err(Error::damaged(row.number, "it cannot be read by this version")),
        };
    }
    Err(Error::damaged(
        row.number,
        match body {
            Ok(body) if body.row() != row.number => "it was moved here: rows were removed or reordered",
            _ if chain.is_keyed() && row.number == 0 => "it was changed, or the key is another ledger's",
            _ => "it was changed, or the row before it was replaced",
        },
    ))
}

fn digest(spend: &Spend, keeps_answer: bool) -> [u8; 32] {
    let text = serde_json::to_vec(&(&spend.event, &spend.provenance, keeps_answer))
        .expect("maps with text keys and numbers always serialize");
    Sha256::digest(text).into()
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| u64::try_from(t.as_millis()).unwrap_or(u64::MAX))
}
