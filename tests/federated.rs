//! Whole rounds: exact sums, losses at every stage, crashes of either side at every stage, distributed noise.

use std::collections::BTreeMap;
use std::sync::Arc;
use veilsum_dp_core::accounting::{Event, RdpAccountant};
use veilsum_dp_core::privacy::{Delta, Epsilon};
use veilsum_dp_core::sensitivity::Neighbors;
use veilsum_federated::client::Seat;
use veilsum_federated::{
    Cohort as Losses, DistributedNoise, Error, Metric, Server, Setup, Stage, Unit, Update, hazmat, simulate,
};
use veilsum_tests::audit::{Claim, refuted};
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
        let round = simulate(&config, &updates, None, None, &lost, false, &mut |_| false).expect("a round");
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

/// The accountant, in outward-rounded arithmetic, finds every promise kept over all rounds with
/// the fewest honest survivors that a finished round can have; and broken over twice the rounds, so that the check can fail.
#[test]
fn the_accountant_certifies_the_noise_of_the_fewest_honest_survivors() {
    let mut over = Vec::new();
    let mut at = 0_u32;
    let (promises, lengths) = if std::env::var_os("VEILSUM_DEEP").is_some() { (6, 4) } else { (3, 2) };
    let all = [("0.1", "1e-10"), ("1", "1e-6"), ("50", "1e-9"), ("0.5", "1e-5"), ("3", "1e-5"), ("8", "1e-3")];
    for &(epsilon, delta) in &all[..promises] {
        for &rounds in &[1, 100, 7, 1_000][..lengths] {
            for (dimension, clip, value_bits) in [(1, 1.0, 16), (10, 0.3, 4), (1_000, 1e3, 8), (100_000, 1.0, 12)] {
                at += 1;
                let cohort = match at % 3 {
                    0 => Losses::Counts { corrupt: 1, dropouts: 1 },
                    1 => Losses::Counts { corrupt: 0, dropouts: 2 },
                    _ => Losses::Fractions { corrupt: 0.1, dropouts: 0.1 },
                };
                let promise = noise(epsilon, delta, rounds);
                let setup = Setup::new(10, dimension, clip, cohort);
                let Ok(config) = (Setup { noise: Some(promise.clone()), value_bits, ..setup }).check() else {
                    panic!("epsilon {epsilon} delta {delta} rounds {rounds} dimension {dimension} has a round");
                };
                let plan = config.noise().expect("noise");
                let survivors = config.honest_minimum() + config.shape().corrupt;
                let charged = |rounds: u64| {
                    let mut accountant = RdpAccountant::new(Neighbors::ZeroOut);
                    let event = plan.event(survivors, config.shape().corrupt).expect("someone honest");
                    accountant.compose(&event, rounds).expect("Skellam noise has a Renyi bound");
                    accountant.epsilon(promise.delta().rational().lower()).expect("delta in range").hi()
                };
                let (found, promised) = (charged(rounds.into()), promise.epsilon().rational().lower());
                if found > promised {
                    over.push(format!("{found} > {promised}: delta {delta}, {rounds} rounds, dimension {dimension}"));
                }
                assert!(charged(2 * u64::from(rounds)) > promised, "twice the rounds: {epsilon} {delta} {rounds}");
            }
        }
    }
    assert!(over.is_empty(), "{} of {at} over:\n{}", over.len(), over.join("\n"));
}

/// Every survivor's share of the noise is in the sum, of the variance that was sized. Zero updates leave the noise alone.
///
/// The sum of the shares is the difference Z of two Poisson variables, of variance V in all: E e^(sZ) = exp(V (cosh s - 1)),
/// so its even moments are at least a Gaussian's, and the squares need a bound of their own. With a Gaussian g that is
/// independent, E e^(t Z^2) = E exp(V (cosh(sqrt(2t) g) - 1)), which is infinite; so coordinates are cut at R first.
/// |Z| < R in all coordinates but for a probability of 2 d exp(-R^2 / (2 (V + R/3))) (Bernstein); the squares of what is
/// left lie in [0, R^2] and have a variance of at most E Z^4 = 3 V^2 + V, so Bernstein's inequality bounds their mean; and
/// cutting at R moves the mean, down only, by at most sqrt(E Z^4 P[|Z| >= R]) (Cauchy and Schwarz).
#[test]
fn the_noise_of_the_survivors_has_the_variance_that_was_sized() {
    let dimension = 65_536;
    let setup = Setup::new(5, dimension, 1.0, Losses::Counts { corrupt: 1, dropouts: 1 });
    let config =
        Arc::new(Setup { noise: Some(noise("8", "1e-5", 1)), value_bits: 4, ..setup }.check().expect("a round"));
    let plan = config.noise().expect("noise");
    let zero = vec![0.0; dimension];
    let updates = vec![Update::Vector(&zero); 5];
    let lost = BTreeMap::from([(3, Stage::Upload)]);
    let round = simulate(&config, &updates, None, None, &lost, false, &mut |_| false).expect("a round");
    assert_eq!(round.outcome.survivors, [0, 1, 2, 4]);
    let d = dimension as f64;
    let mean_square = round.outcome.integers.iter().map(|&x| (x * x) as f64).sum::<f64>() / d;
    let variance = 4.0 * plan.share_variance();
    let fourth = 3.0 * variance * variance + variance;
    // False alarms: e^-30 for a coordinate beyond R, 2 e^-26 for the mean of the others: below 2e-11.
    let log_tail = 30.0 + (2.0 * d).ln();
    let third = log_tail / 3.0;
    let reach = third + (third * third + 2.0 * variance * log_tail).sqrt();
    let moved = (fourth * (-log_tail).exp() * 2.0).sqrt();
    let off = (2.0 * fourth * 26.0 / d).sqrt() + reach * reach * 26.0 / (3.0 * d) + moved;
    // One share more or fewer, a quarter of the variance, is far outside.
    assert!(off < 0.12 * variance, "the bound {off} tells nothing about {variance}");
    assert!((mean_square - variance).abs() <= off, "{mean_square} for {variance}, bound {off}");
}

/// An attacker who knows all records but one, and every site's count, guesses from the sum whether that one was there: six
/// sites as in the demo, one of them lost, the loudest record there can be. What it finds refutes no claim that was made,
/// and does refute a claim of a tenth of the noise's epsilon, so that the audit can fail.
#[test]
fn a_membership_audit_stays_below_the_claim() {
    let n = if std::env::var_os("VEILSUM_DEEP").is_some() { 20_000 } else { 150 };
    let lost = BTreeMap::from([(4, Stage::Upload)]);
    let audit = |promised: &str, claimed: f64| {
        let (promise, unit) = (noise(promised, "1e-6", 1), Unit::Record { most: 1_000 });
        let setup = Setup { noise: Some(promise), unit, dimension: 12, ..six() };
        let config = Arc::new(setup.check().expect("a round"));
        let (others, one) = ([0.1; 12 * 20], [1.0 / 12.0_f64.sqrt(); 12]);
        let with = [&others[..], &one].concat();
        let seen = |first: &[f64]| {
            let mut updates = [Update::Records(&others); 6];
            updates[0] = Update::Records(first);
            let round = simulate(&config, &updates, None, None, &lost, false, &mut |_| false).expect("a round");
            // Along the record, less what the attacker knows.
            round.outcome.sum.iter().zip(&one).map(|(sum, x)| sum * x).sum::<f64>()
        };
        let deviation = (5.0 * config.noise().expect("noise").share_variance()).sqrt() / config.top() as f64;
        let known = 5.0 * 20.0 * 0.1 * 12.0_f64.sqrt();
        let events = |x: &f64| (-3..=3).map(|k| *x - known > 0.5 + f64::from(k) * deviation).collect();
        refuted(Claim { epsilon: claimed, delta: 1e-6 }, n, || seen(&with), || seen(&others), events)
    };
    assert_eq!(audit("2", 2.0), None);
    assert!(audit("30", 0.5).is_some(), "an audit that finds nothing anywhere");
}

/// The demo's training as the server and a corrupt site see it: six sites, 40 rounds, one site lost in one of them, sized
/// for (1, 1e-5) in all and charged for what happened. The attacker knows all records but one, has that one in every round
/// at the clip, adds up what the rounds show along it, and guesses whether it was there. What clients add is what they
/// would mask; masks themselves cancel, and other tests see to that. Nothing that it finds refutes the charge. Where the
/// noise was sized for one round and 40 were run all the same, it does, so the audit can fail: of 4,000 trainings, about
/// 1,850 with the record and 270 without it are beyond one and a half deviations, where 1 by e allows for 2.7 times as many.
#[test]
fn a_membership_audit_of_the_demos_training_stays_below_the_charge() {
    const ROUNDS: u32 = 40;
    const DIMENSION: usize = 18;
    let n = if std::env::var_os("VEILSUM_DEEP").is_some() { 100_000 } else { 4_000 };
    let audit = |sized_for: u32| {
        let (promise, unit) = (noise("1", "1e-5", sized_for), Unit::Record { most: 1_000 });
        let cohort = Cohort::new(Setup { noise: Some(promise), unit, dimension: DIMENSION, ..six() });
        let (party, plan) = (cohort.party(0), cohort.config.noise().expect("noise"));
        // One of six was lost in one round, and one of those left is corrupt.
        let honest = |round: u32| if round == 20 { 4 } else { 5 };
        let mut accountant = RdpAccountant::new(Neighbors::ZeroOut);
        for round in 0..ROUNDS {
            let event = plan.event(honest(round) + 1, 1).expect("someone honest");
            accountant.compose(&event, 1).expect("Skellam noise has a Renyi bound");
        }
        let charged = accountant.epsilon(1e-5).expect("delta in range").hi();
        let one = [1.0 / (DIMENSION as f64).sqrt(); DIMENSION];
        let encoded = |sum: &mut [i64; DIMENSION], records: &[f64]| {
            let added = hazmat::encoded(&party, Update::Records(records)).expect("finite");
            sum.iter_mut().zip(added.iter()).for_each(|(s, x)| *s += x);
        };
        // What the other honest sites add serves once with the record and once without: each bound is on one of the two.
        let others: Vec<[i64; DIMENSION]> = (0..n)
            .map(|_| {
                let mut sum = [0; DIMENSION];
                (0..ROUNDS).flat_map(|round| 1..honest(round)).for_each(|_| encoded(&mut sum, &[]));
                sum
            })
            .collect();
        let seen = |others: Option<&[i64; DIMENSION]>, first: &[f64]| {
            let mut sum = *others.expect("n of them");
            (0..ROUNDS).for_each(|_| encoded(&mut sum, first));
            hazmat::decoded(&party, &sum).iter().zip(&one).map(|(sum, x)| sum * x).sum::<f64>()
        };
        let (mut with, mut without) = (others.iter(), others.iter());
        let shares: u32 = (0..ROUNDS).map(honest).sum();
        let deviation = (f64::from(shares) * plan.share_variance()).sqrt() / cohort.config.top() as f64;
        let events = |x: &f64| (-6..=6).map(|k| *x > 20.0 + 0.5 * f64::from(k) * deviation).collect();
        let claim = Claim { epsilon: charged.min(1.0), delta: 1e-5 };
        (charged, refuted(claim, n, || seen(with.next(), &one), || seen(without.next(), &[]), events))
    };
    let (charged, found) = audit(ROUNDS);
    assert!(charged <= 1.0, "{charged}");
    assert_eq!(found, None);
    let (charged, found) = audit(1);
    assert!(
        charged > 1.0 && found.is_some(),
        "an audit that does not see noise for one round in 40: charged {charged}"
    );
}

#[test]
fn records_are_protected_one_by_one() {
    let setup =
        Setup { noise: Some(noise("2", "1e-5", 1)), value_bits: 8, unit: Unit::Record { most: 1_000 }, ..six() };
    let config = Arc::new(setup.check().expect("a round"));
    let one_loud = vec![1e6; 5 * 200];
    let updates = vec![Update::Records(&one_loud); 6];
    let round = simulate(&config, &updates, None, None, &BTreeMap::new(), false, &mut |_| false).expect("a round");
    // 1,200 records of norm 1 along the diagonal, whatever they were before.
    let expected = 1_200.0 / 5.0_f64.sqrt();
    let noise = (6.0 * config.noise().expect("noise").share_variance()).sqrt() / config.top() as f64;
    for x in &round.outcome.sum {
        assert!((x - expected).abs() < 0.02 * expected + 10.0 * noise, "{x} for {expected}");
    }
}

/// Counts are exact; other metrics are, to the grid that the ring has room for. Nothing of it depends on the clip or weights.
#[test]
fn metrics_travel_masked() {
    let metric = |name: &str, most| Metric { name: name.into(), most };
    for (value_bits, max_weight) in [(2, 1), (16, 1), (12, 9), (32, 1 << 20)] {
        let metrics = vec![metric("examples", 7_000.0), metric("loss", 1e-3), metric("huge", 1e200)];
        let config = Arc::new(Setup { metrics, value_bits, max_weight, ..six() }.check().expect("a round"));
        let updates = [Update::Vector(&[0.0; 5]); 6];
        let given: Vec<Vec<f64>> = (0..6).map(|i| vec![7_000.0 - f64::from(i), -1e-3, 1e200]).collect();
        let weights = [max_weight; 6];
        let lost = BTreeMap::from([(2, Stage::Upload)]);
        let round = simulate(&config, &updates, Some(&weights), Some(&given), &lost, false, &mut |_| false);
        let outcome = round.expect("a round").outcome;
        let steps = f64::from(1_u32 << (config.modulus_bits() - 1).min(31)) / 6.0 - 1.0;
        for (found, (exact, most)) in outcome.metrics.iter().zip([(34_987.0, 7_000.0), (-5e-3, 1e-3), (5e200, 1e200)]) {
            assert!((found - exact).abs() <= 5.0 * most / steps, "{found} for {exact}");
        }
        assert_eq!(outcome.weight, 5 * u64::from(max_weight));
        if steps > 7_000.0 {
            assert_eq!(outcome.metrics[0], 34_987.0);
        }
        for wrong in [vec![7_001.0, 0.0, 0.0], vec![0.0, f64::NAN, 0.0], vec![0.0; 2], vec![0.0; 4]] {
            let mut given = given.clone();
            given[3] = wrong;
            let refused = simulate(&config, &updates, Some(&weights), Some(&given), &lost, false, &mut |_| false);
            assert!(matches!(refused, Err(Error::Update { .. })));
        }
    }
    for metrics in [
        vec![metric("", 1.0)],
        vec![metric("twice", 1.0), metric("twice", 2.0)],
        vec![metric("a", 0.0)],
        vec![metric("a", f64::NAN)],
    ] {
        assert!(matches!(Setup { metrics, ..six() }.check(), Err(Error::Parameter { .. })));
    }
    let noisy = Setup { metrics: vec![metric("a", 1.0)], noise: Some(noise("1", "1e-5", 1)), value_bits: 8, ..six() };
    assert!(matches!(noisy.check(), Err(Error::Parameter { what: "metrics", .. })));
}

#[test]
fn promises_below_what_the_accountant_certifies_are_refused() {
    let setup = Setup { noise: Some(noise("0.00000001", "1e-10", 1)), value_bits: 2, ..six() };
    assert!(matches!(setup.check(), Err(Error::Unsafe { .. })));
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
