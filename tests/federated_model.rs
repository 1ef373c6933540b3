//! The protocol as a state machine, driven at random: messages are lost, repeated, reordered and delayed, clients and the
//! server crash and come back. Whatever happens, the result is the exact sum over the counted set, or the round stops, and
//! of no client do shares of both kinds ever leave.

use proptest::prelude::*;
use std::collections::BTreeMap;
use veilsum_federated::client::Seat;
use veilsum_federated::{Cohort as Losses, Server, Setup, Stage};
use veilsum_tests::cohort::{Cohort, HEADER, Messages, SIGNATURE};

const STAGES: [Stage; 5] = [Stage::Advertise, Stage::Share, Stage::Upload, Stage::Confirm, Stage::Unmask];
const CLIENTS: u32 = 7;

/// What happens to one client at one stage.
#[derive(Clone, Copy, Debug)]
enum Fate {
    /// It answers, and the server hears it.
    Answers,
    /// It answers, and its message is lost; the server never hears it.
    Unheard,
    /// It never gets the stage's message.
    Gone,
    /// Its message comes twice.
    Twice,
    /// Its message comes after the stage is over.
    Late,
    /// It crashes before it answers, and comes back from a snapshot.
    CrashesBefore,
    /// It crashes after its answer was written, and sends it again.
    CrashesAfter,
    /// The message of the stage before is delivered again, then the right one.
    Replayed,
}

fn fates() -> impl Strategy<Value = Vec<Fate>> {
    let one = prop_oneof![
        40 => Just(Fate::Answers),
        1 => Just(Fate::Unheard),
        1 => Just(Fate::Gone),
        4 => Just(Fate::Twice),
        1 => Just(Fate::Late),
        4 => Just(Fate::CrashesBefore),
        4 => Just(Fate::CrashesAfter),
        4 => Just(Fate::Replayed),
    ];
    prop::collection::vec(one, 5 * CLIENTS as usize)
}

/// Records the kinds of share in an unmask message: list items are (dealer, kind, share), 37 bytes each.
fn record(kinds: &mut BTreeMap<u32, u8>, message: &[u8]) {
    for item in message[HEADER + 4..message.len() - SIGNATURE].chunks_exact(37) {
        let dealer = u32::from_be_bytes(item[..4].try_into().expect("four bytes"));
        let before = kinds.entry(dealer).or_insert(item[4]);
        assert_eq!(*before, item[4], "both kinds of share of client {dealer} left");
    }
}

fn play(fates: &[Fate], order: u64, server_crashes: u8) -> Result<(), TestCaseError> {
    let mut cohort = Cohort::new(Setup::new(CLIENTS, 3, 1.0, Losses::Counts { corrupt: 1, dropouts: 2 }));
    let key = veilsum_crypto::Key::generate().expect("entropy");
    cohort.server.keep_log();
    let (mut log, mut kinds) = (Vec::new(), BTreeMap::new());
    let mut messages = cohort.start();
    let mut before: Messages = BTreeMap::new();
    let mut heard: Vec<u32> = (0..CLIENTS).collect();
    let mut counted = Vec::new();
    for (at, &stage) in STAGES.iter().enumerate() {
        let mut turn: Vec<u32> = messages.keys().copied().collect();
        turn.sort_by_key(|&client| (u64::from(client) + 11).wrapping_mul(order | 1).rotate_left(at as u32 * 7));
        let (mut late, mut now_heard) = (Vec::new(), Vec::new());
        for client in turn {
            let fate = fates[at * CLIENTS as usize + client as usize];
            let message = messages[&client].clone();
            if matches!(fate, Fate::Gone) || !heard.contains(&client) {
                continue;
            }
            if let (Fate::Replayed, Some(old)) = (fate, before.get(&client)) {
                prop_assert!(cohort.answer(stage, client, old).is_err() || stage == Stage::Advertise);
            }
            if matches!(fate, Fate::CrashesBefore) {
                let snapshot = cohort.seats[client as usize].snapshot(&key).expect("entropy");
                cohort.seats[client as usize] = Seat::restore(cohort.party(client), &key, &snapshot).expect("ours");
            }
            let mut bytes = cohort.answer(stage, client, &message).expect("an honest message");
            if matches!(fate, Fate::CrashesAfter) {
                let snapshot = cohort.seats[client as usize].snapshot(&key).expect("entropy");
                cohort.seats[client as usize] = Seat::restore(cohort.party(client), &key, &snapshot).expect("ours");
                let again = cohort.answer(stage, client, &message).expect("a repeat");
                prop_assert_eq!(&again, &bytes);
                bytes = again;
            }
            if stage == Stage::Unmask {
                record(&mut kinds, &bytes);
            }
            match fate {
                Fate::Unheard => continue,
                Fate::Late => {
                    late.push((client, bytes));
                    continue;
                }
                Fate::Twice => {
                    cohort.server.receive(client, &bytes).expect("honest");
                    cohort.server.receive(client, &bytes).expect("a repeat");
                }
                _ => cohort.server.receive(client, &bytes).expect("honest"),
            }
            now_heard.push(client);
        }
        log.extend(cohort.server.take_log());
        if server_crashes >> at & 1 == 1 {
            let roster = cohort.roster.clone();
            cohort.server = Server::resume(cohort.config.clone(), roster, &cohort.id, &log).expect("our log").server;
        }
        let Ok(next) = cohort.server.finish_stage() else {
            // Stopped: allowed only when too few were left.
            prop_assert!(now_heard.len() < CLIENTS as usize - 2);
            return Ok(());
        };
        log.extend(cohort.server.take_log());
        for (client, bytes) in late {
            prop_assert!(cohort.server.receive(client, &bytes).is_err(), "a late message was taken");
        }
        if stage == Stage::Upload {
            counted = now_heard.clone();
            counted.sort_unstable();
        }
        heard = now_heard;
        before = std::mem::replace(&mut messages, next);
    }
    let outcome = cohort.server.result().expect("finished");
    prop_assert_eq!(&outcome.survivors, &counted);
    prop_assert_eq!(&outcome.integers, &cohort.expected(&counted));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if std::env::var_os("VEILSUM_DEEP").is_some() { 5_000 } else { 120 }))]

    #[test]
    fn the_exact_sum_or_nothing(fates in fates(), order: u64, server_crashes in 0_u8..32) {
        play(&fates, order, server_crashes)?;
    }
}
