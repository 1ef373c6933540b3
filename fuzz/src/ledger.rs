//! Ledgers: damaged files, and events that nobody foresaw.

use std::sync::OnceLock;
use veilsum_dp_core::accounting::Event;
use veilsum_dp_core::ledger::{Budget, Ledger, MemoryLedger, Policy, Spend, SqliteLedger};
use veilsum_dp_core::privacy::{Delta, Epsilon, Rational};
use veilsum_dp_core::sensitivity::Neighbors;

/// The first byte chooses: changes to a whole file, or events for a ledger in memory.
pub fn ledger(data: &[u8]) {
    match data.split_first() {
        Some((0, changes)) => file(changes),
        Some((rule, events)) => spends(*rule, events),
        None => {}
    }
}

fn policy(budget: Budget) -> Policy {
    Policy { dataset: "fuzz".into(), unit: "row".into(), neighbors: Neighbors::ReplaceOne, budget }
}

fn pure() -> Policy {
    policy(Budget::Pure { epsilon: Epsilon::from_decimal(1.0).expect("valid") })
}

/// Four bytes a change: a position (two bytes, of 64 KiB), a mask, and whether to cut the file there. Whatever opens
/// says what the file said before.
fn file(changes: &[u8]) {
    static WHOLE: OnceLock<(Vec<u8>, String)> = OnceLock::new();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("fuzz.ledger");
    let (whole, head) = WHOLE.get_or_init(|| {
        let ledger = SqliteLedger::open(&path, pure()).expect("a new ledger");
        let spend = Spend::new(Event::Pure { epsilon: Epsilon::from_decimal(0.1).expect("valid") });
        ledger.spend(&spend.clone().label("first")).expect("fits");
        ledger.release(&spend.key("k"), &mut || Ok(vec![1, 2, 3])).expect("fits");
        let head = ledger.head().expect("readable").to_string();
        drop(ledger);
        (std::fs::read(&path).expect("readable"), head)
    });
    let mut bytes = whole.clone();
    for change in changes.chunks_exact(4) {
        let position = usize::from(u16::from_le_bytes([change[0], change[1]])).min(bytes.len().saturating_sub(1));
        if change[3] == 1 {
            bytes.truncate(position);
        } else if let Some(byte) = bytes.get_mut(position) {
            *byte ^= change[2];
        }
    }
    std::fs::write(&path, &bytes).expect("writable");
    if let Ok(ledger) = SqliteLedger::open(&path, pure()) {
        let found = ledger.head().expect("it opened").to_string();
        // An end that was cut off at a row is the one change that cannot be seen without the head.
        assert!(found == *head || ledger.verify(Some(&head.parse().expect("a head"))).is_err());
    }
}

/// One event a line, as JSON: never a panic, never more than the budget, and the ledger verifies.
fn spends(rule: u8, events: &[u8]) {
    let (epsilon, delta) = (Epsilon::from_decimal(1.0).expect("valid"), Delta::from_decimal(1e-6).expect("valid"));
    let budget = match rule % 3 {
        0 => Budget::Pure { epsilon },
        1 => Budget::Basic { epsilon, delta },
        _ => Budget::zcdp(epsilon, delta).expect("room"),
    };
    let ledger = MemoryLedger::new(policy(budget)).expect("valid");
    let mut before = Rational::zero();
    for line in events.split(|byte| *byte == b'\n').take(16) {
        let Ok(event) = serde_json::from_slice::<Event>(line) else { continue };
        let accepted = ledger.spend(&Spend::new(event)).is_ok();
        let spent = ledger.spent().expect("in memory").epsilon;
        assert!(spent >= before && spent <= Rational::one() && (accepted || spent == before));
        before = spent;
    }
    ledger.verify(None).expect("whole");
}
