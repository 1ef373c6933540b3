//! Attacks from the literature, and empirical audits: each must succeed on a mechanism that is broken as described, and
//! fail on ours.
//!
//! Everything is drawn afresh. Each comparison has a false-alarm probability of at most 1e-11
//! (`veilsum_tests::audit::FALSE_ALARM`); there are fewer than 60 on sound mechanisms, so a run fails by chance with
//! probability below 1e-9.

use std::cell::RefCell;
use std::f64::consts::TAU;
use veilsum_dp_core::accounting::{Event, profile};
use veilsum_dp_core::mechanism::{
    Additive, Curve, DiscreteGaussian, DiscreteLaplace, Exponential, Gaussian, Laplace, Mechanism, RandomizedResponse,
    ReportNoisyMax, Skellam, SparseVector,
};
use veilsum_dp_core::noise::exact::Exact;
use veilsum_dp_core::privacy::{Epsilon, Positive};
use veilsum_dp_core::sensitivity::{L1, L2, LInf, Neighbors};
use veilsum_tests::audit::{Claim, refuted};

// ---- what is attacked

fn positive(x: f64) -> Positive {
    Positive::from_f64("test", x).expect("positive")
}

fn epsilon(x: f64) -> Epsilon {
    Epsilon::from_decimal(x).expect("in range")
}

fn laplace(scale: f64) -> Laplace {
    Laplace::new(positive(scale), L1::from_f64(1.0).expect("positive")).expect("in range")
}

fn gaussian(sigma: f64) -> Gaussian {
    Gaussian::new(positive(sigma), L2::from_f64(1.0).expect("positive")).expect("in range")
}

/// Releases of `x`, one after the other; drawn in batches, which is faster and the same law.
fn releases<T: Additive>(mechanism: &T, x: T::Number) -> impl FnMut() -> T::Number {
    let mut batch = Vec::new();
    move || {
        if batch.is_empty() {
            batch = vec![x; 1 << 13];
            mechanism.release_in_place(&mut batch).expect("entropy");
        }
        batch.pop().expect("filled")
    }
}

fn one<T: Additive<Number = f64>>(mechanism: &T, x: f64) -> f64 {
    mechanism.release_one(x).expect("entropy")
}

/// A source for the planted samplers; the bits are sound, what is made of them is not.
struct Uniform(RefCell<Exact>);

impl Uniform {
    fn new() -> Self {
        Self(RefCell::new(Exact::new().expect("entropy")))
    }

    /// k / 2^53 for k from 1 to 2^53, as generators have it.
    fn float(&self) -> f64 {
        ((self.0.borrow_mut().word() >> 11) + 1) as f64 * 2f64.powi(-53)
    }

    fn sign(&self) -> f64 {
        if self.0.borrow_mut().word() & 1 == 0 { 1.0 } else { -1.0 }
    }

    /// The textbook: a uniform float through a logarithm.
    fn laplace(&self) -> f64 {
        self.sign() * -self.float().ln()
    }

    /// Box and Muller.
    fn normals(&self) -> [f64; 2] {
        box_muller(self.float(), self.float())
    }
}

fn box_muller(u: f64, v: f64) -> [f64; 2] {
    let radius = (-2.0 * u.ln()).sqrt();
    [radius * (TAU * v).cos(), radius * (TAU * v).sin()]
}

// ---- attacks on floats

/// Mironov 2012, "On significance of the least significant bits for differential privacy": which doubles can a uniform
/// float through a logarithm reach at all?
fn reachable_by_logarithm(noise: f64) -> bool {
    let near = ((-noise.abs()).exp() * 2f64.powi(53)).round();
    (-16..=16).any(|step| {
        let u = (near + f64::from(step)) * 2f64.powi(-53);
        u > 0.0 && u <= 1.0 && -u.ln() == noise.abs()
    })
}

#[test]
fn mironov_tells_a_naive_laplace_release_by_its_low_bits() {
    let claim = Claim { epsilon: 1.0, delta: 0.0 };
    let events = |y: &f64| vec![reachable_by_logarithm(*y), reachable_by_logarithm(*y - 1.0)];
    let naive = Uniform::new();
    assert!(refuted(claim, 5_000, || naive.laplace(), || 1.0 + naive.laplace(), events).is_some(), "the attack works");
    let ours = laplace(1.0);
    assert_eq!(refuted(claim, 50_000, releases(&ours, 0.0), releases(&ours, 1.0), events), None);
}

/// Jin, McMurtry, Rubinstein and Ohrimenko 2022, "Are we there yet? Timing and floating-point attacks on differential
/// privacy systems": two Gaussian releases from one Box-Muller pair give their uniform floats away.
fn reachable_by_box_muller(pair: [f64; 2]) -> bool {
    let near_u = ((-0.5 * (pair[0] * pair[0] + pair[1] * pair[1])).exp() * 2f64.powi(53)).round();
    let near_v = ((pair[1].atan2(pair[0]) / TAU).rem_euclid(1.0) * 2f64.powi(53)).round();
    (-10..=10).any(|i| {
        (-10..=10).any(|j| {
            let (u, v) = ((near_u + f64::from(i)) * 2f64.powi(-53), (near_v + f64::from(j)) * 2f64.powi(-53));
            u > 0.0 && box_muller(u, v) == pair
        })
    })
}

#[test]
fn jin_et_al_tell_a_box_muller_release_by_its_pair() {
    let claim = Claim { epsilon: 1.0, delta: profile_delta(&gaussian(1.0), 1.0) };
    let events = |y: &[f64; 2]| vec![reachable_by_box_muller(*y), reachable_by_box_muller([y[0] - 1.0, y[1]])];
    let naive = Uniform::new();
    let shifted = || naive.normals().map(|z| z + 0.0);
    let moved = || {
        let [a, b] = naive.normals();
        [a + 1.0, b]
    };
    assert!(refuted(claim, 500, shifted, moved, events).is_some(), "the attack works");
    let ours = gaussian(1.0);
    let pair = |x: [f64; 2]| -> [f64; 2] {
        let mut pair = x;
        ours.release_in_place(&mut pair).expect("entropy");
        pair
    };
    assert_eq!(refuted(claim, 2_000, || pair([0.0, 0.0]), || pair([1.0, 0.0]), events), None);
}

/// Haney, Desfontaines, Hartman, Shrestha and Hay 2022, "Precision-based attacks and interval refining": even exact
/// noise tells its input if a floating-point addition rounds the sum, since the sum keeps the coarser precision.
fn precision(y: &f64) -> Vec<bool> {
    let mut events: Vec<bool> = (20..80).step_by(2).map(|bits| (y * 2f64.powi(bits)).fract() == 0.0).collect();
    events.push(y.is_sign_negative() && *y == 0.0);
    events.push(*y == 0.0);
    events.push(y.to_bits().trailing_zeros() >= 20);
    events
}

#[test]
fn haney_et_al_tell_a_rounded_sum_by_its_precision() {
    let claim = Claim { epsilon: 1.0, delta: 0.0 };
    let naive = Uniform::new();
    assert!(
        refuted(claim, 5_000, || 0.0 + naive.laplace(), || 1.0 + naive.laplace(), precision).is_some(),
        "the attack works on floats through a logarithm"
    );
    // Exactly distributed noise with fine low bits, added by a floating-point addition.
    let fine = laplace(2f64.powi(-20));
    let planted = |x: f64| x + one(&fine, 0.0);
    let far = Claim { epsilon: 1.0, delta: 0.0 };
    assert!(
        refuted(
            far,
            5_000,
            || planted(0.0),
            || planted(1024.0 * 1024.0),
            |y| {
                precision(&(y - y.round())) // the fraction alone, so that the shift itself is no evidence
            }
        )
        .is_some(),
        "the attack works on exact noise in a rounded sum"
    );
    let ours = laplace(1.0);
    assert_eq!(refuted(claim, 50_000, releases(&ours, 0.0), releases(&ours, 1.0), precision), None);
    assert_eq!(refuted(claim, 50_000, releases(&ours, 1e-9), releases(&ours, 1.0 / 3.0), precision), None);
    assert_eq!(refuted(claim, 50_000, releases(&ours, -5e-324), releases(&ours, 0.0), precision), None);
    let normal = gaussian(1.0);
    let claim = Claim { epsilon: 1.0, delta: profile_delta(&normal, 1.0) };
    assert_eq!(refuted(claim, 50_000, releases(&normal, 0.0), releases(&normal, 1.0), precision), None);
}

#[test]
fn a_grid_that_depends_on_the_value_is_told_and_ours_does_not() {
    let ours = laplace(1.0);
    // Rounding to the precision of the result, as snapping to a data-dependent grid does.
    let planted = |x: f64| {
        let y = one(&ours, x);
        let unit = 2f64.powi(if x == 0.0 { -20 } else { -19 });
        (y / unit).round() * unit
    };
    let claim = Claim { epsilon: 1.0, delta: 0.0 };
    let events = |y: &f64| vec![(y * 2f64.powi(19)).fract() == 0.0];
    assert!(refuted(claim, 20_000, || planted(0.0), || planted(1.0), events).is_some(), "the attack works");
    let grid = ours.grid();
    for x in [0.0, 1.0, 1e-300, 0.1, -1e6, 12_345.678] {
        for _ in 0..200 {
            assert_eq!((one(&ours, x) / grid).fract(), 0.0);
        }
    }
}

// ---- empirical audits on neighbours

fn profile_delta(mechanism: &impl Curve, epsilon: f64) -> f64 {
    mechanism.delta(epsilon).expect("a curve").hi()
}

/// y <= t for thresholds around both inputs.
fn thresholds(y: &f64) -> Vec<bool> {
    (-16..=24).map(|t| *y <= 0.25 * f64::from(t)).collect()
}

/// y = k and y <= k.
fn integers(y: &i64) -> Vec<bool> {
    (-6..=7).flat_map(|k| [*y == k, *y <= k]).collect()
}

/// Enough to refute noise that is a fifth too small.
const N: u64 = 200_000;

#[test]
fn laplace_audit() {
    let claim = Claim { epsilon: 1.0, delta: 0.0 };
    let (ours, small) = (laplace(1.0), laplace(0.8));
    assert_eq!(refuted(claim, N, releases(&ours, 0.0), releases(&ours, 1.0), thresholds), None);
    assert!(
        refuted(claim, N, releases(&small, 0.0), releases(&small, 1.0), thresholds).is_some(),
        "a fifth too little"
    );
}

#[test]
fn gaussian_audit() {
    let (ours, small) = (gaussian(1.0), gaussian(0.8));
    for at in [0.5, 1.0, 2.0] {
        let claim = Claim { epsilon: at, delta: profile_delta(&ours, at) };
        assert_eq!(refuted(claim, N, releases(&ours, 0.0), releases(&ours, 1.0), thresholds), None);
        assert!(refuted(claim, N, releases(&small, 0.0), releases(&small, 1.0), thresholds).is_some());
    }
}

#[test]
fn integer_audits() {
    let unit = || L1::new(1u32.into()).expect("positive");
    let discrete_laplace = |scale: f64| DiscreteLaplace::new(positive(scale), unit()).expect("in range");
    let (ours, small) = (discrete_laplace(1.0), discrete_laplace(0.8));
    let claim = Claim { epsilon: 1.0, delta: 0.0 };
    assert_eq!(refuted(claim, N, releases(&ours, 0), releases(&ours, 1), integers), None);
    assert!(refuted(claim, N, releases(&small, 0), releases(&small, 1), integers).is_some());

    let ours = DiscreteGaussian::new(positive(1.0), unit()).expect("in range");
    let claim = Claim { epsilon: 1.0, delta: profile_delta(&ours, 1.0) };
    assert_eq!(refuted(claim, N, releases(&ours, 0), releases(&ours, 1), integers), None);
    // The continuous curve at the same sigma claims less than the discrete law keeps.
    let continuous = Claim { epsilon: 1.0, delta: profile_delta(&gaussian(1.0), 1.0) };
    assert!(continuous.delta < claim.delta);
    let (here, there) = (releases(&ours, 0), releases(&ours, 1));
    assert!(refuted(continuous, 10 * N, here, there, integers).is_some(), "the wrong curve is caught");

    let skellam = |variance: f64| Skellam::new(positive(variance), unit()).expect("in range");
    let (ours, small) = (skellam(1.0), skellam(0.7));
    let claim = Claim { epsilon: 1.0, delta: profile_delta(&ours, 1.0) };
    assert_eq!(refuted(claim, N, releases(&ours, 0), releases(&ours, 1), integers), None);
    assert!(refuted(claim, N, releases(&small, 0), releases(&small, 1), integers).is_some());
}

/// Four unit shifts at sigma = 1 are worse than one shift by two, at the same L2 length: 3.4e-4 against 1.2e-4 at
/// epsilon 8. Summed here from the definition, and held against what the types promise.
#[test]
fn discrete_gaussian_vectors_do_not_have_the_scalar_curve_at_l2() {
    let weight = |x: i32| (-0.5 * f64::from(x) * f64::from(x)).exp();
    let total: f64 = (-40..=40).map(weight).sum();
    // The loss of one unit shift at x is (2x - 1) / 2 or so: sum four of them.
    let range = -9..=9;
    let mut vector = 0.0;
    for a in range.clone() {
        for b in range.clone() {
            for c in range.clone() {
                for d in range.clone() {
                    let p = weight(a) * weight(b) * weight(c) * weight(d);
                    let q = weight(a + 1) * weight(b + 1) * weight(c + 1) * weight(d + 1);
                    vector += (p - 8f64.exp() * q).max(0.0);
                }
            }
        }
    }
    let vector = vector / total.powi(4);
    let scalar: f64 = (-40..=40).map(|x| (weight(x) - 8f64.exp() * weight(x + 2)).max(0.0)).sum::<f64>() / total;
    assert!((vector - 3.4e-4).abs() < 1e-5 && (scalar - 1.2e-4).abs() < 1e-5, "{vector} {scalar}");

    let by_two = DiscreteGaussian::new(positive(1.0), L1::new(2u32.into()).expect("positive")).expect("in range");
    assert!((profile_delta(&by_two, 8.0) - scalar).abs() < 1e-9, "a scalar shift by two");
    let by_four = DiscreteGaussian::new(positive(1.0), L1::new(4u32.into()).expect("positive")).expect("in range");
    assert!(profile_delta(&by_four, 8.0) > vector, "the L1 length bounds the vector");
    let in_l2 = DiscreteGaussian::new(positive(1.0), L2::new(2u32.into()).expect("positive")).expect("in range");
    assert_eq!(in_l2.event(), Event::DiscreteGaussianVector { sigma: positive(1.0), squared_l2: 4 });
    match profile::delta(&in_l2.event(), Neighbors::AddRemove, 8.0) {
        Ok(delta) => assert!(delta.hi() > vector, "whoever bounds it, bounds it from above"),
        Err(refused) => assert!(refused.to_string().contains("discrete_gaussian_vector")),
    }
}

#[test]
fn randomized_response_audit() {
    let ours = |e: f64| RandomizedResponse::new(epsilon(e), 5).expect("in range");
    let answers = |m: &RandomizedResponse, x| {
        let m = m.clone();
        let mut batch = Vec::new();
        move || {
            if batch.is_empty() {
                batch = m.release(&[x; 1 << 10]).expect("entropy");
            }
            batch.pop().expect("filled")
        }
    };
    let events = |y: &u32| (0..5).map(|k| *y == k).collect();
    let claim = Claim { epsilon: 1.0, delta: 0.0 };
    let (right, eager) = (ours(1.0), ours(1.2));
    assert_eq!(refuted(claim, N, answers(&right, 0), answers(&right, 3), events), None);
    assert!(refuted(claim, N, answers(&eager, 0), answers(&eager, 3), events).is_some());
}

#[test]
fn noisy_max_and_exponential_audits() {
    // Neighbours: one score up by one, all others down by one.
    let (here, there) = ([0.0; 5], [1.0, -1.0, -1.0, -1.0, -1.0]);
    let events = |winner: &usize| (0..5).map(|k| *winner == k).collect();
    let claim = Claim { epsilon: 1.0, delta: 0.0 };
    let best = |e: f64| ReportNoisyMax::new(epsilon(e), LInf::from_f64(1.0).expect("positive"));
    let winner = |m: &ReportNoisyMax, scores: &[f64]| m.release(scores).expect("entropy");
    let (right, eager) = (best(1.0), best(2.0)); // twice epsilon: as if the factor 2 were forgotten
    assert_eq!(refuted(claim, N / 2, || winner(&right, &here), || winner(&right, &there), events), None);
    assert!(refuted(claim, N / 2, || winner(&eager, &here), || winner(&eager, &there), events).is_some());

    let weighted = |scores: [i64; 5]| scores.map(|score| (1u64, score));
    let (here, there) = (weighted([0; 5]), weighted([1, -1, -1, -1, -1]));
    let choice = |e: f64| Exponential::new(epsilon(e), LInf::from_f64(1.0).expect("positive"));
    let chosen = |m: &Exponential, of: &[(u64, i64)]| m.release(of).expect("entropy");
    let (right, eager) = (choice(1.0), choice(2.0));
    // 0.649 against 0.2 is 10 standard deviations beyond what these bounds forgive, so the fault is not missed by chance.
    let n = N / 4;
    assert_eq!(refuted(claim, n, || chosen(&right, &here), || chosen(&right, &there), events), None);
    assert!(refuted(claim, n, || chosen(&eager, &here), || chosen(&eager, &there), events).is_some());
}

/// The variants that Lyu, Su and Li 2017 show to be broken, and the sound one.
#[test]
fn sparse_vector_audit() {
    let naive = Uniform::new();
    // Answers to all queries, with at most `hits` true ones; noise scales for threshold and queries.
    let planted = |queries: &[f64], hits: usize, threshold: f64, query: f64| {
        let bar = threshold * naive.laplace();
        let mut answers: Vec<bool> = Vec::new();
        for q in queries {
            let used = answers.iter().filter(|a| **a).count();
            answers.push(used < hits && q + query * naive.laplace() >= bar);
        }
        answers
    };
    let ours = |e: f64, queries: &[f64], hits: u32| {
        let unit = LInf::from_f64(1.0).expect("positive");
        let mut above = SparseVector::new(epsilon(e), 0.0, hits, unit).expect("in range");
        queries.iter().map(|q| above.hits() < hits && above.release(*q).expect("entropy")).collect::<Vec<bool>>()
    };
    let pattern = |answers: &Vec<bool>| -> Vec<bool> {
        let number = answers.iter().fold(0, |number, bit| 2 * number + usize::from(*bit));
        (0..1 << answers.len()).map(|k| number == k).collect()
    };
    let claim = Claim { epsilon: 1.0, delta: 0.0 };

    // Algorithm 5 of that paper (Stoddard et al. 2014): no noise on queries.
    let (here, there) = ([0.0, 1.0], [1.0, 0.0]);
    let (n, scale) = (20_000, 2.0);
    assert!(refuted(claim, n, || planted(&here, 1, scale, 0.0), || planted(&there, 1, scale, 0.0), pattern).is_some());
    assert_eq!(refuted(claim, N / 10, || ours(1.0, &here, 1), || ours(1.0, &there, 1), pattern), None);

    // Algorithm 6 (Chen et al. 2015): hits are not limited, and query noise does not grow with their number.
    let (here, there) = ([0.0; 6], [1.0, 1.0, 1.0, -1.0, -1.0, -1.0]);
    assert!(refuted(claim, N, || planted(&here, 6, 2.0, 2.0), || planted(&there, 6, 2.0, 2.0), pattern).is_some());
    assert_eq!(refuted(claim, N / 10, || ours(1.0, &here, 6), || ours(1.0, &there, 6), pattern), None);
    let count = |answers: &Vec<bool>| (0..=8).map(|k| answers.iter().filter(|a| **a).count() >= k).collect();
    let (here, there) = ([0.5; 8], [-0.5; 8]);
    assert_eq!(refuted(claim, N / 10, || ours(1.0, &here, 4), || ours(1.0, &there, 4), count), None);
    assert!(
        refuted(claim, N / 10, || ours(20.0, &here, 4), || ours(20.0, &there, 4), count).is_some(),
        "too little noise"
    );
}
