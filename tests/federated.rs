//! Whole rounds: exact sums, losses at every stage, crashes of either side at every stage, distributed noise.

use std::collections::BTreeMap;
use std::sync::Arc;
use veilsum_dp_core::accounting::Event;
use veilsum_dp_core::privacy::{Delta, Epsilon};
use veilsum_federated::client::Seat;
use veilsum_federated::{Cohort as Losses, DistributedNoise, Error, Server, Setup, Stage, Unit, Update, simulate};
use veilsum_tests::cohort::Cohort;

const STAGES: [Stage; 5] = [Stage::Advertise, Stage::Share, Stage::Upload, Stage::Confirm, Stage::Unmask];

fn six() -> Setup {
    Setup::new(6, 5, 1.0, Losses::Counts { corrupt: 1, dropouts: 1 })
}

fn counted(clients: u32, lost: &BTreeMap<u32, Stage>) -> Vec<u32> {
    (0..clients).filter(|client| lost.get(client).is_none_or(|stage| *stage > Stage::Upload)).collect()
}

#[test]
fn sums_are_exact_whoever_is_lost_at_whatever_stage() {
    for malicious_server in [true, false] {
        for stage in STAGES {
            let mut cohort = Cohort::new(Setup { malicious_server, ..six() });
            let lost = BTreeMap::from([(2, stage)]);
            let mut messages = cohort.start();
            for now in STAGES {
                let gone: &[u32] = if lost[&2] <= now { &[2] } else { &[] };
                messages = cohort.stage(now, &messages, gone).expect("one may be lost");
            }
            let outcome = cohort.server.result().expect("done");
            assert_eq!(outcome.survivors, counted(6, &lost));
            assert_eq!(outcome.integers, cohort.expected(&outcome.survivors));
        }
    }
}

#[test]
fn sparse_rounds_are_exact_with_random_losses() {
    for malicious_server in [true, false] {
        let setup = Setup::new(200, 3, 1.0, Losses::Fractions { corrupt: 0.02, dropouts: 0.05 });
        let config = Arc::new(Setup { malicious_server, ..setup }.check().expect("a round"));
        assert!(!config.shape().is_complete(), "{:?}", config.shape());
        let updates: Vec<Vec<f64>> = (0..200).map(|i| vec![f64::from(i) / 1000.0; 3]).collect();
        let updates: Vec<Update<'_>> = updates.iter().map(|u| Update::Vector(u)).collect();
        let lost: BTreeMap<u32, Stage> = (0..10).map(|i| (i * 19 + 3, STAGES[i as usize % 5])).collect();
        let round = simulate(&config, &updates, None, &lost, false, &mut |_| false).expect("a round");
        let counted = counted(200, &lost);
        assert_eq!(round.outcome.survivors, counted);
        let top = config.top() as f64;
        let exact: i64 = counted.iter().map(|&i| (f64::from(i) / 1000.0 * top).round() as i64).sum();
        assert_eq!(round.outcome.integers, [exact; 3]);
    }
}

#[test]
fn a_client_that_crashes_at_any_stage_resumes_from_its_snapshot() {
    let key = veilsum_crypto::Key::generate().expect("entropy");
    for crash in STAGES {
        for answered in [false, true] {
            let mut cohort = Cohort::new(six());
            let mut messages = cohort.start();
            for now in STAGES {
                if now == crash {
                    if answered {
                        // Killed after the answer and its snapshot were written, before it was sent.
                        let bytes = cohort.answer(now, 1, &messages[&1]).expect("honest");
                        let snapshot = cohort.seats[1].snapshot(&key).expect("entropy");
                        cohort.seats[1] = Seat::restore(cohort.party(1), &key, &snapshot).expect("our snapshot");
                        assert_eq!(cohort.answer(now, 1, &messages[&1]).expect("a repeat"), bytes);
                    } else {
                        let snapshot = cohort.seats[1].snapshot(&key).expect("entropy");
                        cohort.seats[1] = Seat::restore(cohort.party(1), &key, &snapshot).expect("our snapshot");
                    }
                }
                messages = cohort.stage(now, &messages, &[]).expect("nobody is lost");
            }
            assert_eq!(cohort.server.result().expect("done").integers, cohort.expected(&[0, 1, 2, 3, 4, 5]));
        }
    }
}

#[test]
fn a_server_that_crashes_anywhere_resumes_from_its_log() {
    let mut cohort = Cohort::new(six());
    cohort.server.keep_log();
    let mut log = Vec::new();
    let mut messages = cohort.start();
    for now in STAGES {
        for client in 0..6 {
            if now == Stage::Upload && client == 4 {
                continue;
            }
            let Some(message) = messages.get(&client).cloned() else { continue };
            let bytes = cohort.answer(now, client, &message).expect("honest");
            cohort.server.receive(client, &bytes).expect("honest");
            log.extend(cohort.server.take_log());
            // Killed here, in the middle of writing the next record: only whole records count.
            let torn = [&log[..], &[0, 0, 1, 0, 0, 0]].concat();
            let resumed =
                Server::resume(cohort.config.clone(), cohort.roster.clone(), &cohort.id, &torn).expect("our log");
            assert_eq!(resumed.whole, log.len());
            assert_eq!(resumed.server.stage(), now);
            if now > Stage::Advertise {
                assert_eq!(resumed.messages, messages, "what the last stage sent is sent again");
            }
            cohort.server = resumed.server;
        }
        messages = cohort.server.finish_stage().expect("enough");
        log.extend(cohort.server.take_log());
    }
    assert_eq!(cohort.server.result().expect("done").integers, cohort.expected(&[0, 1, 2, 3, 5]));
    // An altered log is refused, not reset.
    for at in [0, 9, log.len() / 2, log.len() - 1] {
        let mut altered = log.clone();
        altered[at] ^= 1;
        let resumed = Server::resume(cohort.config.clone(), cohort.roster.clone(), &cohort.id, &altered);
        // A changed length may look like a record cut short; nothing after it is taken then.
        assert!(resumed.is_err() || resumed.is_ok_and(|r| r.whole < log.len()));
    }
}

fn noise(epsilon: &str, delta: &str, rounds: u32) -> DistributedNoise {
    let epsilon = Epsilon::new(epsilon.parse().expect("a number")).expect("> 0");
    DistributedNoise::new(epsilon, Delta::new(delta.parse().expect("a number")).expect("in range"), rounds)
        .expect("valid")
}

#[test]
fn noise_is_charged_for_survivors_less_the_corrupt() {
    let setup = Setup { noise: Some(noise("1", "1e-5", 40)), value_bits: 8, ..six() };
    let config = setup.check().expect("a round");
    let plan = config.noise().expect("noise");
    assert_eq!(config.honest_minimum(), 4);
    assert!(plan.epsilon(4) <= 1.0 && plan.epsilon(4) > 0.999, "{}", plan.epsilon(4));
    assert!(plan.epsilon(3) > 1.0 && plan.epsilon(5) < plan.epsilon(4));
    let variance = |survivors| match plan.event(survivors, 1).expect("someone honest") {
        Event::Skellam { variance, l1, squared_l2 } => {
            assert_eq!((l1, squared_l2), (plan.l1(), plan.squared_l2()));
            variance.rational().nearest()
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(variance(5), 4.0 * plan.share_variance());
    assert_eq!(variance(6), 5.0 * plan.share_variance());
    assert!(plan.event(1, 1).is_err());
}

/// With the most dropouts and colluders, what the colluders do not know of the noise has at least the promised variance.
/// They know their own shares; in the sum those are as good as absent, so a round without the corrupt client's share is
/// measured: all honest shares come from the survivors less the corrupt.
#[test]
fn the_honest_noise_has_the_promised_variance() {
    let dimension = 2_048;
    let setup = Setup::new(5, dimension, 1.0, Losses::Counts { corrupt: 1, dropouts: 1 });
    let config =
        Arc::new(Setup { noise: Some(noise("8", "1e-5", 1)), value_bits: 4, ..setup }.check().expect("a round"));
    let plan = config.noise().expect("noise");
    let zero = vec![0.0; dimension];
    let updates = vec![Update::Vector(&zero); 5];
    let lost = BTreeMap::from([(3, Stage::Upload)]);
    let round = simulate(&config, &updates, None, &lost, false, &mut |_| false).expect("a round");
    let mean_square = round.outcome.integers.iter().map(|&x| (x * x) as f64).sum::<f64>() / dimension as f64;
    // Four shares are in the sum; the squares of 2,048 Skellam draws, of excess kurtosis at most 1/V, average to their
    // variance within 8 standard errors of sqrt((2 + 1/V)/2048) but for a probability below 1e-12.
    let expected = 4.0 * plan.share_variance();
    let error = 8.0 * ((2.0 + 1.0 / expected) / dimension as f64).sqrt();
    assert!((mean_square / expected - 1.0).abs() < error, "{mean_square} for {expected}");
    assert!(3.0 * plan.share_variance() >= plan.event(4, 1).map(|_| 3.0 * plan.share_variance()).expect("noise"));
}

#[test]
fn records_are_protected_one_by_one() {
    let setup =
        Setup { noise: Some(noise("2", "1e-5", 1)), value_bits: 8, unit: Unit::Record { most: 1_000 }, ..six() };
    let config = Arc::new(setup.check().expect("a round"));
    let one_loud = vec![1e6; 5 * 200];
    let updates = vec![Update::Records(&one_loud); 6];
    let round = simulate(&config, &updates, None, &BTreeMap::new(), false, &mut |_| false).expect("a round");
    // 1,200 records of norm 1 along the diagonal, whatever they were before.
    let expected = 1_200.0 / 5.0_f64.sqrt();
    let noise = (6.0 * config.noise().expect("noise").share_variance()).sqrt() / config.top() as f64;
    for x in &round.outcome.sum {
        assert!((x - expected).abs() < 0.02 * expected + 10.0 * noise, "{x} for {expected}");
    }
}

#[test]
fn rounds_that_no_parameters_make_safe_are_refused() {
    for (clients, corrupt, dropouts) in [(100, 0.5, 0.3), (10, 0.4, 0.4), (3, 0.05, 0.05)] {
        let setup = Setup::new(clients, 1, 1.0, Losses::Fractions { corrupt, dropouts });
        assert!(matches!(setup.check(), Err(Error::Unsafe { .. })));
    }
    for noise_setup in [
        Setup { max_weight: 2, noise: Some(noise("1", "1e-5", 1)), ..six() },
        Setup { max_weight: 2, unit: Unit::Record { most: 5 }, ..six() },
    ] {
        assert!(matches!(noise_setup.check(), Err(Error::Parameter { .. })));
    }
}
