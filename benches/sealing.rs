//! Sealing: streams beside the raw cipher, one-shot calls, and sealing to a person beside HPKE alone.
//!
//! Prints `name value unit` lines; `benches/peers/crypto.py` puts them beside the peers.

use std::hint::black_box;
use std::io::{self, Read, Write};
use std::num::NonZeroUsize;
use std::time::Instant;

use aes_gcm::Aes256Gcm;
use aes_gcm::aead::{AeadInOut, KeyInit};
use hpke::{OpModeS, aead::AesGcm256, kdf::HkdfSha512, kem::XWing};
use rand::rngs::SysRng;
use veilsum_crypto::{Identity, Key, PeerSet, Recipients, Threads, UnixTime};

const SIZE: usize = 64 << 20;
const CHUNK: usize = 16 << 10;

pub(crate) fn run() {
    let key = Key::generate().expect("entropy");
    let data = vec![7; SIZE];
    let mut sealed = vec![0; Key::sealed_length(SIZE).expect("small")];
    let mut opened = vec![0; SIZE];

    let cipher = Aes256Gcm::new(&[7; 32].into());
    let mut chunk = vec![0; CHUNK];
    rate("raw_aes_gcm_16k", || {
        for _ in 0..SIZE / CHUNK {
            black_box(cipher.encrypt_inout_detached(&[0; 12].into(), &[], chunk.as_mut_slice().into()).expect("short"));
        }
    });
    for threads in [1, 2] {
        let limit = Threads::AtMost(NonZeroUsize::new(threads).expect("one or two"));
        rate(&format!("seal_into_{threads}"), || {
            key.seal_into(&data, &mut sealed, b"bench", limit).expect("sealed");
        });
        rate(&format!("open_into_{threads}"), || {
            key.open_into(&sealed, &mut opened, b"bench", limit).expect("opened");
        });
        assert!(opened == data, "what was sealed must open");
        // From a source of 64 KiB, as a pipe gives, into one that takes everything.
        rate(&format!("stream_seal_{threads}"), || {
            let mut writer = key.writer(io::sink(), b"bench", limit).expect("started");
            for _ in 0..SIZE >> 16 {
                writer.write_all(&data[..1 << 16]).expect("written");
            }
            writer.finish().expect("finished");
        });
        rate(&format!("stream_open_{threads}"), || {
            let mut reader = key.reader(&sealed[..], b"bench", limit).expect("started");
            let mut piece = vec![0; 1 << 16];
            while reader.read(&mut piece).expect("read") > 0 {}
        });
    }

    let (alice, bob) = (Identity::generate().expect("entropy"), Identity::generate().expect("entropy"));
    let to_bob = Recipients::new([bob.peer()]).expect("one");
    let listed = PeerSet::new([alice.peer().clone()]);
    let small = [7; 100];
    let sealed = alice.seal_to(&to_bob, &small, b"bench").expect("sealed");
    println!("seal_to_overhead {} bytes", sealed.len() - small.len());
    time("seal_to_100", || {
        black_box(alice.seal_to(&to_bob, &small, b"bench").expect("sealed"));
    });
    time("open_from_100", || {
        black_box(bob.open_from(&listed, UnixTime(0), &sealed, b"bench").expect("opened"));
    });
    time("sign_200", || {
        black_box(alice.sign("bench.v1", &[7; 200]));
    });
    let (_, public) = <XWing as hpke::Kem>::gen_keypair_with_rng(&mut rand::rand_core::UnwrapErr(SysRng));
    time("hpke_alone_100", || {
        let mut random = rand::rand_core::UnwrapErr(SysRng);
        let (enc, mut context) =
            hpke::setup_sender_with_rng::<AesGcm256, HkdfSha512, XWing>(&OpModeS::Base, &public, b"bench", &mut random)
                .expect("a good key");
        black_box((enc, context.seal(&small, b"").expect("short")));
    });
}

/// Gigabytes a second over `SIZE` bytes: the best of a second's runs, seven at least.
fn rate(name: &str, mut work: impl FnMut()) {
    let start = Instant::now();
    let more = |runs: &usize| *runs < 7 || start.elapsed().as_secs() < 1;
    let best = (0..).take_while(more).map(|_| seconds(&mut work)).fold(f64::INFINITY, f64::min);
    println!("{name} {:.3} GB/s", SIZE as f64 / best / 1e9);
}

/// Microseconds a call, the best of eleven runs of 200.
fn time(name: &str, mut work: impl FnMut()) {
    let run = || {
        for _ in 0..200 {
            work();
        }
    };
    let mut run = run;
    let best = (0..11).map(|_| seconds(&mut run)).fold(f64::INFINITY, f64::min);
    println!("{name} {:.2} us", best / 200.0 * 1e6);
}

fn seconds(work: &mut impl FnMut()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}
