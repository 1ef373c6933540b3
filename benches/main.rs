//! Benchmarks of the veilsum crates: `veilsum-benches GROUP`. `benches/peers/GROUP.py` runs them beside their peers.

mod accounting;
mod ledger;
mod noise;
mod round;
mod sealing;

fn main() {
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        Some("accounting") => accounting::run(arguments),
        Some("crypto") => sealing::run(),
        Some("federated") => round::run(arguments.next().as_deref()),
        Some("federated-server") => round::serve(&arguments.collect::<Vec<_>>()),
        Some("ledger") => ledger::run(),
        Some("noise") => noise::run(),
        _ => eprintln!("usage: veilsum-benches GROUP, with GROUP one of: accounting, crypto, federated, ledger, noise"),
    }
}
