//! Raw AWS-LC AES-256-GCM on 16 KiB at a time, in place: the line to compare streams with.

use std::time::Instant;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

fn main() {
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &[7; 32]).expect("32 bytes"));
    let mut chunk = vec![0; 16 << 10];
    let mut best = f64::INFINITY;
    for _ in 0..100 {
        let start = Instant::now();
        for _ in 0..4096 {
            let nonce = Nonce::assume_unique_for_key([0; 12]);
            let _tag = key.seal_in_place_separate_tag(nonce, Aad::empty(), &mut chunk).expect("short");
        }
        best = best.min(start.elapsed().as_secs_f64());
    }
    println!("raw_aws_lc_16k {:.3} GB/s", (64 << 20) as f64 / best / 1e9);
}
