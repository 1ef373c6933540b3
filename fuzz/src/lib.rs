//! The bodies of the fuzz targets: one function a target, each taking the fuzzer's bytes.
//!
//! `fuzz_targets/` hands them to libFuzzer; `tests/seeds.rs` replays `seeds/<target>/` through them on a stable
//! toolchain, so that what fuzzing once found stays found.

mod accounting;
pub mod crypto;
pub mod federated;
mod ledger;
mod mechanism;
mod table;

pub use accounting::accounting;
pub use ledger::ledger;
pub use mechanism::mechanism;
pub use table::{partial, plan};

/// A target: its name, which is also the folder of its seeds, and its body.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
#[rustfmt::skip]
pub const TARGETS: &[Target] = &[
    ("accounting", accounting),
    ("crypto_envelope", crypto::envelope),
    ("crypto_keyring", crypto::keyring),
    ("crypto_open", crypto::open),
    ("crypto_peers", crypto::peers),
    ("crypto_stream", crypto::stream),
    ("federated_client", federated::client),
    ("federated_log", federated::log),
    ("federated_server", federated::server),
    ("ledger", ledger),
    ("mechanism", mechanism),
    ("partial", partial),
    ("plan", plan),
    ("rational", rational),
];

/// Parsing a number never panics, and what parses prints to something that parses to the same number.
pub fn rational(data: &[u8]) {
    use veilsum_dp_core::privacy::Rational;
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(number) = text.parse::<Rational>() {
        let again: Rational = number.to_string().parse().expect("what was printed parses");
        assert_eq!(number, again);
        assert!(number.lower() <= number.upper());
    }
}
