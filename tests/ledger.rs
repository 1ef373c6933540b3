//! The ledger: one conformance suite for every implementation, and what only a file can suffer: kills, races, forks,
//! full disks, damage.

#[path = "ledger/conformance.rs"]
mod conformance;
#[path = "ledger/crashes.rs"]
mod crashes;
#[path = "ledger/damage.rs"]
mod damage;
#[path = "ledger/disk.rs"]
mod disk;
#[path = "ledger/formats.rs"]
mod formats;
#[path = "ledger/sharing.rs"]
mod sharing;
#[path = "ledger/worker.rs"]
mod worker;

use veilsum_dp_core::Error;
use veilsum_dp_core::ledger::{Ledger, MacKey, MemoryLedger, SqliteLedger};

#[test]
fn in_memory() {
    conformance::suite(&mut |policy| Box::new(MemoryLedger::new(policy).expect("valid policy")));
}

#[test]
fn in_a_file() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut made = 0;
    conformance::suite(&mut |policy| {
        made += 1;
        Box::new(SqliteLedger::open(folder.path().join(format!("{made}.ledger")), policy).expect("a new ledger"))
    });
}

#[test]
fn in_a_file_with_a_key() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut made = 0;
    conformance::suite(&mut |policy| {
        made += 1;
        let path = folder.path().join(format!("{made}.ledger"));
        Box::new(SqliteLedger::open_authenticated(path, policy, key(7)).expect("a new ledger"))
    });
}

fn key(first: u8) -> MacKey {
    let bytes: Vec<u8> = (0..32).map(|i| first + i).collect();
    MacKey::new(&bytes).expect("32 bytes")
}

/// A million spends of a millionth are exactly one, and there is no room for the next.
#[test]
fn a_million_millionths() {
    conformance::exact_sum(&MemoryLedger::new(conformance::pure(1.0)).expect("valid policy"), 1_000_000);
}

/// A session that differs in anything from what the file was made with is refused, and the file stays as it is.
#[test]
fn another_policy_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("a.ledger");
    let made = conformance::zcdp_policy();
    let head = SqliteLedger::open(&path, made.clone()).and_then(|ledger| ledger.head()).expect("a new ledger");
    for (asked, expected) in conformance::other_policies(&made) {
        match SqliteLedger::open(&path, asked) {
            Err(Error::LedgerPolicy { field, .. }) => assert_eq!(field, expected),
            other => panic!("{expected}: {other:?}"),
        }
    }
    assert_eq!(SqliteLedger::open(&path, made).and_then(|ledger| ledger.head()).expect("the same"), head);
}
