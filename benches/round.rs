//! Secure aggregation: whole rounds with real keys. One JSON object a line.
//!
//! Clients work on every core, since their time is not what is asked; the server is a process of its own, whose calls run
//! in a pool of as many threads as the row says and whose memory is read from the system. Every sum is checked. Times are
//! seconds on cores (user and system time of the process), so that other work on the machine does not show.

use nix::sys::resource::{UsageWho, getrusage};
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;
use veilsum_crypto::{Identity, Peer};
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
    for (row, threads) in [("server500", 1), ("server1000", 1), ("server1000malicious", 1), ("large", 2)] {
        if wanted(row) {
            server(row, threads);
        }
    }
    if wanted("memory") {
        memory();
    }
}

/// What work cost: seconds on the clock, and on this process's cores, which other work on the machine does not change.
#[derive(Clone, Copy, Default)]
struct Cost {
    clock: f64,
    cores: f64,
}

fn cost<T>(work: impl FnOnce() -> T) -> (T, Cost) {
    let (begin, before) = (Instant::now(), on_cores());
    let done = work();
    (done, Cost { cores: on_cores() - before, clock: begin.elapsed().as_secs_f64() })
}

fn on_cores() -> f64 {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("our own usage");
    [usage.user_time(), usage.system_time()].iter().map(|t| t.tv_sec() as f64 + t.tv_usec() as f64 / 1e6).sum()
}

/// The least seconds on cores.
fn best(times: usize, mut work: impl FnMut()) -> f64 {
    (0..times).map(|_| cost(&mut work).1.cores).fold(f64::INFINITY, f64::min)
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
    let split = best(5, || (0..1_000).for_each(|_| shares = hazmat::split(&seed, 51, &points).expect("entropy"))) / 1e3;
    let rebuild = best(5, || {
        for _ in 0..10_000 {
            let weights = hazmat::weights(&points[40..91]);
            let rebuilt = hazmat::rebuild(shares[40..91].iter().map(|share| &**share), &weights);
            assert_eq!(*rebuilt, seed);
        }
    }) / 1e4;
    println!("{{\"row\":\"shamir\",\"split\":{split},\"rebuild\":{rebuild}}}");
}

fn people(clients: u32) -> (Vec<Arc<Identity>>, Roster) {
    let identities: Vec<Arc<Identity>> =
        (0..clients).into_par_iter().map(|_| Arc::new(Identity::generate().expect("entropy"))).collect();
    let roster = Roster::new(identities.iter().map(|identity| identity.peer().clone())).expect("distinct");
    (identities, roster)
}

fn seats(config: &Arc<RoundConfig>, identities: &[Arc<Identity>], roster: &Roster) -> Vec<Seat> {
    (0..)
        .zip(identities)
        .map(|(number, identity)| {
            let id = round_id(config);
            let party =
                Party::new(config.clone(), identity.clone(), roster.clone(), number, &id).expect("on the roster");
            Seat::enrol(party).expect("entropy")
        })
        .collect()
}

/// A client of 50 neighbours and a million parameters: everything up to its upload, on one thread.
fn client() {
    let setup = Setup::new(51, 1_000_000, 1.0, Cohort::Counts { corrupt: 2, dropouts: 5 });
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a thread");
    let update: Vec<f64> = (0..1_000_000).map(|i| f64::from(i % 1_000) * 1e-6).collect();
    let mut least = [f64::INFINITY; 2];
    let config = Arc::new(setup.check().expect("a safe round"));
    let (identities, roster) = people(51);
    for _ in 0..5 {
        let mut seats = seats(&config, &identities, &roster);
        let mut server = Server::new(config.clone(), roster.clone(), &round_id(&config)).expect("a round");
        for (client, seat) in (0..).zip(&mut seats) {
            server.receive(client, &seat.advertise().expect("first")).expect("honest");
        }
        let directories = server.finish_stage().expect("enough");
        let mut share = 0.0;
        for (client, seat) in (0..).zip(&mut seats) {
            let (bytes, spent) = cost(|| pool.install(|| seat.share(&directories[&client])).expect("honest"));
            share = spent.cores;
            server.receive(client, &bytes).expect("honest");
        }
        let deliveries = server.finish_stage().expect("enough");
        let (_, spent) = cost(|| {
            pool.install(|| seats[50].upload(&deliveries[&50], Update::Vector(&update), 1, &[])).expect("honest")
        });
        let upload = spent.cores;
        least = [least[0].min(share), least[1].min(upload)];
    }
    println!("{{\"row\":\"client\",\"share\":{},\"upload\":{}}}", least[0], least[1]);
}

/// The server of a round, in a process of its own, so that its memory is its own. Frames go in and out:
/// `u32 client, u32 length, bytes`; the client 2^32 - 1 ends a stage on the way in, and the answers on the way out.
pub(crate) fn serve(arguments: &[String]) {
    let (row, threads) = (arguments[0].as_str(), arguments[1].parse().expect("a number"));
    let config = Arc::new(setup_of(row).0.check().expect("a safe round"));
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
    let (mut input, mut output) = (std::io::stdin().lock(), std::io::BufWriter::new(std::io::stdout().lock()));
    let peers: Vec<Peer> =
        (0..config.shape().clients).map(|_| Peer::from_bytes(&read_frame(&mut input).1).expect("a peer")).collect();
    let roster = Roster::new(peers).expect("distinct");
    let mut server = Server::new(config.clone(), roster, &round_id(&config)).expect("a round");
    let before = peak_megabytes();
    let mut all = Cost::default();
    let mut last = Cost::default();
    while server.stage() != Stage::Done {
        let (client, bytes) = read_frame(&mut input);
        if client != END {
            let (_, spent) = cost(|| pool.install(|| server.receive(client, &bytes)).expect("honest"));
            all = Cost { clock: all.clock + spent.clock, cores: all.cores + spent.cores };
            continue;
        }
        let (messages, spent) = cost(|| pool.install(|| server.finish_stage()).expect("enough"));
        all = Cost { clock: all.clock + spent.clock, cores: all.cores + spent.cores };
        last = spent;
        messages.iter().for_each(|(client, bytes)| write_frame(&mut output, *client, bytes));
        write_frame(&mut output, END, &[]);
    }
    let outcome = server.result().expect("done");
    let sum: Vec<u8> = outcome.integers.iter().flat_map(|x| x.to_be_bytes()).collect();
    write_frame(&mut output, outcome.survivors.len() as u32, &sum);
    let figures = [all.cores, last.cores, all.clock, before, peak_megabytes()];
    let figures: Vec<u8> = figures.iter().flat_map(|x| x.to_be_bytes()).collect();
    write_frame(&mut output, END, &figures);
}

const END: u32 = u32::MAX;

fn read_frame(input: &mut impl Read) -> (u32, Vec<u8>) {
    let mut head = [0; 8];
    input.read_exact(&mut head).expect("a frame");
    let word = |at: usize| u32::from_be_bytes(head[at..at + 4].try_into().expect("four bytes"));
    let mut bytes = vec![0; word(4) as usize];
    input.read_exact(&mut bytes).expect("a frame");
    (word(0), bytes)
}

fn write_frame(output: &mut impl Write, client: u32, bytes: &[u8]) {
    let head = [client.to_be_bytes(), (bytes.len() as u32).to_be_bytes()].concat();
    output.write_all(&head).and_then(|()| output.write_all(bytes)).and_then(|()| output.flush()).expect("a pipe");
}

fn round_id(config: &RoundConfig) -> RoundId {
    RoundId { beacon: config.needs_beacon().then_some([5; 32]), ..RoundId::default() }
}

/// The round of a row, and how many of its clients are gone before they upload.
fn setup_of(row: &str) -> (Setup, u32) {
    let fractions = |corrupt, dropouts| Cohort::Fractions { corrupt, dropouts };
    let thousand = Setup::new(1_000, 100_000, 1.0, fractions(0.05, 0.3));
    match row {
        "server500" => (Setup::new(500, 100_000, 1.0, Cohort::Counts { corrupt: 25, dropouts: 50 }), 50),
        "server1000" => (Setup { malicious_server: false, ..thousand }, 300),
        "server1000malicious" => (thousand, 300),
        _ => {
            let setup = Setup::new(1_000, 1 << 20, 1.0, fractions(0.10, 0.10));
            (Setup { malicious_server: false, ..setup }, 100)
        }
    }
}

/// A round against a server in another process; the clients are here. The server alone is timed.
fn server(row: &str, threads: usize) {
    let begin = Instant::now();
    let (setup, lost) = setup_of(row);
    let config = Arc::new(setup.check().expect("a safe round"));
    let clients = config.shape().clients;
    let (identities, roster) = people(clients);
    let mut process = Command::new(std::env::current_exe().expect("this binary"))
        .args(["federated-server", row, &threads.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it runs");
    let mut to = process.stdin.take().expect("piped");
    let mut from = std::io::BufReader::new(process.stdout.take().expect("piped"));
    identities.iter().for_each(|identity| write_frame(&mut to, 0, &identity.peer().to_bytes()));
    let mut seats = seats(&config, &identities, &roster);
    let dimension = config.dimension();
    let updates: Vec<Vec<f64>> = (0..8).map(|i| vec![f64::from(i) / 10_000.0; dimension]).collect();
    let gone = |client: u32| client.is_multiple_of(clients / lost) && client / (clients / lost) < lost;
    let (mut up, mut down) = (vec![0_u64; seats.len()], vec![0_u64; seats.len()]);
    let mut messages: BTreeMap<u32, Vec<u8>> = (0..clients).map(|c| (c, Vec::new())).collect();
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
                        Stage::Upload => seat.upload(message, update, 1, &[]),
                        Stage::Confirm => seat.confirm(message),
                        Stage::Unmask | Stage::Done => seat.unmask(message),
                    };
                    (seat.number(), message.len(), bytes.expect("honest"))
                })
                .collect();
            for (client, received, bytes) in answers {
                down[client as usize] += received as u64;
                up[client as usize] += bytes.len() as u64;
                write_frame(&mut to, client, &bytes);
            }
        }
        write_frame(&mut to, END, &[]);
        messages = std::iter::from_fn(|| Some(read_frame(&mut from)).filter(|(client, _)| *client != END)).collect();
    }
    let (survivors, sum) = read_frame(&mut from);
    let figures: Vec<f64> = read_frame(&mut from).1.as_chunks::<8>().0.iter().map(|x| f64::from_be_bytes(*x)).collect();
    let [time, last, clock, before, peak] = figures[..] else { panic!("five figures") };
    assert!(process.wait().expect("it ended").success());
    let top = config.top() as f64;
    let factor = |i: u32| {
        let x = f64::from(i % 8) / 10_000.0;
        let norm = x * (dimension as f64).sqrt();
        if norm > 1.0 { x / norm } else { x }
    };
    let exact: f64 = (0..clients).filter(|&i| !gone(i)).map(|i| (factor(i) * top).round()).sum();
    let off = |eight: &[u8; 8]| (i64::from_be_bytes(*eight) as f64 - exact).abs();
    let off = sum.as_chunks::<8>().0.iter().map(off).fold(0.0, f64::max);
    assert!(off <= f64::from(survivors), "the sum is off by {off} grid steps");
    let plain = dimension as f64 * 16.0 / 8.0;
    let busiest = up.iter().zip(&down).map(|(u, d)| u + d).max().unwrap_or_default() as f64;
    println!(
        "{{\"row\":\"{row}\",\"degree\":{},\"threshold\":{},\"bits\":{},\"server\":{time},\"unmask\":{last},\"clock\":{clock},\"expansion\":{},\"idle_mb\":{before},\"peak_mb\":{peak},\"model_mb\":{},\"wall\":{}}}",
        config.shape().neighbors,
        config.shape().threshold,
        config.modulus_bits(),
        busiest / plain,
        dimension as f64 * 4.0 / 1e6,
        begin.elapsed().as_secs_f64(),
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
    let round = simulate(&config, &updates, None, None, &lost, false, &mut |_| false).expect("a round");
    let wall = begin.elapsed().as_secs_f64();
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
