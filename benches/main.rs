//! Benchmarks of the veilsum crates: `veilsum-benches GROUP`. `benches/peers/GROUP.py` runs them beside their peers.

mod noise;

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("noise") => noise::run(),
        _ => eprintln!("usage: veilsum-benches GROUP, with GROUP one of: noise"),
    }
}
