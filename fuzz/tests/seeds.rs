//! Replays every seed through its target.

use std::fs;
use std::path::Path;

#[test]
fn every_seed_of_every_target() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds");
    for (name, body) in veilsum_fuzz::TARGETS {
        let folder = seeds.join(name);
        let mut replayed = 0;
        for entry in fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
            body(&fs::read(entry.expect("readable folder").path()).expect("readable seed"));
            replayed += 1;
        }
        body(b"");
        assert!(replayed > 0, "{name} has no seeds");
        println!("{name}: {replayed} seeds");
    }
}
