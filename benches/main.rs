//! Benchmarks of the veilsum crates.

fn main() {}
