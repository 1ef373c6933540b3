//! The ledger: one conformance suite for every implementation.

#[path = "ledger/conformance.rs"]
mod conformance;

use veilsum_dp_core::ledger::MemoryLedger;

#[test]
fn in_memory() {
    conformance::suite(&mut |policy| Box::new(MemoryLedger::new(policy).expect("valid policy")));
}

/// A million spends of a millionth are exactly one, and there is no room for the next.
#[test]
fn a_million_millionths() {
    conformance::exact_sum(&MemoryLedger::new(conformance::pure(1.0)).expect("valid policy"), 1_000_000);
}
