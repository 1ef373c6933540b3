//! Secure aggregation: whole rounds with real keys, the server timed on its own threads. One JSON object a line.
//!
//! Clients work on every core, since their time is not what is asked; the server's calls run in a pool of as many
//! threads as the row says. Every sum is checked against the exact one.

use rayon::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use veilsum_crypto::Identity;
use veilsum_federated::client::{Party, Seat};
use veilsum_federated::{Cohort, Roster, RoundConfig, RoundId, Server, Setup, Stage, Update, hazmat, simulate};

const STAGES: [Stage; 5] = [Stage::Advertise, Stage::Share, Stage::Upload, Stage::Confirm, Stage::Unmask];

pub(crate) fn run(only: Option<&str>) {
    let wanted = |name: &str| only.is_none_or(|only| only.split(',').any(|one| one == name));
    if wanted("raw") {
        raw();
    }
    if wanted("shamir") {
        shamir();
    }
    if wanted("client") {
        client();
    }
    let fractions = |corrupt, dropouts| Cohort::Fractions { corrupt, dropouts };
    if wanted("server500") {
        let setup = Setup::new(500, 100_000, 1.0, Cohort::Counts { corrupt: 25, dropouts: 50 });
        server("server500", setup, 50, 1);
    }
    if wanted("server1000") {
        let setup = Setup::new(1_000, 100_000, 1.0, fractions(0.05, 0.3));
        server("server1000", Setup { malicious_server: false, ..setup }, 300, 1);
    }
    if wanted("server1000malicious") {
        server("server1000malicious", Setup::new(1_000, 100_000, 1.0, fractions(0.05, 0.3)), 300, 1);
    }
    if wanted("large") {
        let setup = Setup::new(1_000, 1 << 20, 1.0, fractions(0.10, 0.10));
        server("large", Setup { malicious_server: false, ..setup }, 100, 2);
    }
    if wanted("memory") {
        memory();
    }
}

fn seconds(time: Duration) -> f64 {
    time.as_secs_f64()
}

fn best(times: usize, mut work: impl FnMut()) -> f64 {
    let mut least = f64::INFINITY;
    for _ in 0..times {
        let begin = Instant::now();
        work();
        least = least.min(seconds(begin.elapsed()));
    }
    least
}

/// Raw AES-256-CTR beside masks: bytes of keystream a second.
fn raw() {
    use aes::Aes256;
    use cipher::{KeyIvInit, StreamCipher};
    let mut block = vec![0_u8; 16 * 1024];
    let mut stream = ctr::Ctr128BE::<Aes256>::new(&[1; 32].into(), &[0; 16].into());
    let aes = best(30, || (0..1_000).for_each(|_| stream.write_keystream(&mut block)));
    let aes = 1_000.0 * 16.0 * 1024.0 / aes;
    let keys: Vec<[u8; 32]> = (0..50).map(|i| [i; 32]).collect();
    let mut sum = vec![0_u32; 1_000_000];
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a thread");
    let masks = pool.install(|| best(5, || hazmat::add_masks(&mut sum, &keys)));
    let masks = 50.0 * 4e6 / masks;
    println!("{{\"row\":\"raw\",\"aes_bytes\":{aes},\"mask_bytes\":{masks}}}");
}

fn shamir() {
    let points: Vec<u16> = (1..=100).collect();
    let seed = [7; 32];
    let mut shares = Vec::new();
    let split = best(200, || shares = hazmat::split(&seed, 51, &points).expect("entropy"));
    let weights = hazmat::weights(&points[40..91]);
    let rebuild = best(200, || {
        let weights = hazmat::weights(&points[40..91]);
        let rebuilt = hazmat::rebuild(shares[40..91].iter().map(|share| &**share), &weights);
        assert_eq!(*rebuilt, seed);
    });
    drop(weights);
    println!("{{\"row\":\"shamir\",\"split\":{split},\"rebuild\":{rebuild}}}");
}

struct Cast {
    seats: Vec<Seat>,
    server: Server,
    config: Arc<RoundConfig>,
}

fn cast(setup: Setup) -> Cast {
    let config = Arc::new(setup.check().expect("a safe round"));
    let clients = config.shape().clients;
    let identities: Vec<Arc<Identity>> =
        (0..clients).into_par_iter().map(|_| Arc::new(Identity::generate().expect("entropy"))).collect();
    let roster = Roster::new(identities.iter().map(|identity| identity.peer().clone())).expect("distinct");
    let id = RoundId { beacon: config.needs_beacon().then_some([5; 32]), ..RoundId::default() };
    let server = Server::new(config.clone(), roster.clone(), &id).expect("a round");
    let seats = (0..)
        .zip(identities)
        .map(|(number, identity)| {
            let party = Party::new(config.clone(), identity, roster.clone(), number, &id).expect("on the roster");
            Seat::enrol(party).expect("entropy")
        })
        .collect();
    Cast { seats, server, config }
}

/// A client of 50 neighbours and a million parameters: everything up to its upload, on one thread.
fn client() {
    let setup = Setup::new(51, 1_000_000, 1.0, Cohort::Counts { corrupt: 2, dropouts: 5 });
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a thread");
    let update: Vec<f64> = (0..1_000_000).map(|i| f64::from(i % 1_000) * 1e-6).collect();
    let mut least = [f64::INFINITY; 2];
    for _ in 0..5 {
        let Cast { mut seats, mut server, .. } = cast(setup.clone());
        for (client, seat) in (0..).zip(&mut seats) {
            server.receive(client, &seat.advertise().expect("first")).expect("honest");
        }
        let directories = server.finish_stage().expect("enough");
        let mut share = 0.0;
        for (client, seat) in (0..).zip(&mut seats) {
            let begin = Instant::now();
            let bytes = pool.install(|| seat.share(&directories[&client])).expect("honest");
            share = seconds(begin.elapsed());
            server.receive(client, &bytes).expect("honest");
        }
        let deliveries = server.finish_stage().expect("enough");
        let begin = Instant::now();
        pool.install(|| seats[50].upload(&deliveries[&50], Update::Vector(&update), 1)).expect("honest");
        let upload = seconds(begin.elapsed());
        least = [least[0].min(share), least[1].min(upload)];
    }
    println!("{{\"row\":\"client\",\"share\":{},\"upload\":{}}}", least[0], least[1]);
}

/// A round in which `lost` clients are gone before they upload; the server alone is timed.
fn server(row: &str, setup: Setup, lost: u32, threads: usize) {
    let begin = Instant::now();
    let Cast { mut seats, mut server, config } = cast(setup);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
    let dimension = config.dimension();
    let updates: Vec<Vec<f64>> = (0..8).map(|i| vec![f64::from(i) / 10_000.0; dimension]).collect();
    let gone = |client: u32| {
        client.is_multiple_of(config.shape().clients / lost) && client / (config.shape().clients / lost) < lost
    };
    let (mut up, mut down) = (vec![0_u64; seats.len()], vec![0_u64; seats.len()]);
    let mut messages: BTreeMap<u32, Vec<u8>> = (0..config.shape().clients).map(|c| (c, Vec::new())).collect();
    let (mut time, mut last) = (Duration::ZERO, Duration::ZERO);
    for stage in STAGES {
        let mut there: Vec<(&mut Seat, &Vec<u8>)> = seats
            .iter_mut()
            .filter_map(|seat| messages.get(&seat.number()).map(|message| (seat, message)))
            .filter(|(seat, _)| stage < Stage::Upload || !gone(seat.number()))
            .collect();
        for batch in there.chunks_mut(16) {
            let answers: Vec<(u32, usize, Vec<u8>)> = batch
                .par_iter_mut()
                .map(|(seat, message)| {
                    let update = Update::Vector(&updates[seat.number() as usize % 8]);
                    let bytes = match stage {
                        Stage::Advertise => seat.advertise(),
                        Stage::Share => seat.share(message),
                        Stage::Upload => seat.upload(message, update, 1),
                        Stage::Confirm => seat.confirm(message),
                        Stage::Unmask | Stage::Done => seat.unmask(message),
                    };
                    (seat.number(), message.len(), bytes.expect("honest"))
                })
                .collect();
            for (client, received, bytes) in answers {
                down[client as usize] += received as u64;
                up[client as usize] += bytes.len() as u64;
                let start = Instant::now();
                pool.install(|| server.receive(client, &bytes)).expect("honest");
                time += start.elapsed();
            }
        }
        let start = Instant::now();
        messages = pool.install(|| server.finish_stage()).expect("enough");
        last = start.elapsed();
        time += last;
    }
    let outcome = server.result().expect("done");
    let top = config.top() as f64;
    let factor = |i: u32| {
        let x = f64::from(i % 8) / 10_000.0;
        let norm = x * (dimension as f64).sqrt();
        if norm > 1.0 { x / norm } else { x }
    };
    let exact: f64 = outcome.survivors.iter().map(|&i| (factor(i) * top).round()).sum();
    let off = outcome.integers.iter().map(|&x| (x as f64 - exact).abs()).fold(0.0, f64::max);
    assert!(off <= outcome.survivors.len() as f64, "the sum is off by {off} grid steps");
    let bits = 16.0;
    let plain = dimension as f64 * bits / 8.0;
    let busiest = up.iter().zip(&down).map(|(u, d)| u + d).max().unwrap_or_default() as f64;
    println!(
        "{{\"row\":\"{row}\",\"degree\":{},\"threshold\":{},\"bits\":{},\"server\":{},\"unmask\":{},\"expansion\":{},\"peak_mb\":{},\"wall\":{}}}",
        config.shape().neighbors,
        config.shape().threshold,
        config.modulus_bits(),
        seconds(time),
        seconds(last),
        busiest / plain,
        peak_megabytes(),
        seconds(begin.elapsed()),
    );
}

/// Ten thousand clients in one process.
fn memory() {
    let setup = Setup::new(10_000, 1_000, 1.0, Cohort::Fractions { corrupt: 0.05, dropouts: 0.05 });
    let config = Arc::new(Setup { malicious_server: false, ..setup }.check().expect("a safe round"));
    let update = vec![0.01; 1_000];
    let updates = vec![Update::Vector(&update); 10_000];
    let lost = (0..500).map(|i| (i * 20, STAGES[i as usize % 5])).collect();
    let begin = Instant::now();
    let round = simulate(&config, &updates, None, &lost, false, &mut |_| false).expect("a round");
    let wall = seconds(begin.elapsed());
    let survivors = round.outcome.survivors.len() as i64;
    let one = (0.01 * config.top() as f64).round() as i64;
    assert!(round.outcome.integers.iter().all(|&x| x == one * survivors));
    println!("{{\"row\":\"memory\",\"wall\":{wall},\"survivors\":{survivors},\"peak_mb\":{}}}", peak_megabytes());
}

/// The most memory that this process has had, where the system tells.
fn peak_megabytes() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kb| kb.parse::<f64>().ok()).unwrap_or(f64::NAN) / 1024.0
}
