//! The mechanisms' contracts: what they refuse, where they clamp, the laws of the ones that choose, what copies and
//! threads do.
//!
//! Comparisons of frequencies use `veilsum_tests::audit::Bounds` at 1e-12 each way; there are fewer than 200, so a run
//! fails by chance with probability below 1e-9.

use proptest::prelude::*;
use veilsum_dp_core::Error;
use veilsum_dp_core::accounting::{Event, profile};
use veilsum_dp_core::mechanism::noiseless::Noiseless;
use veilsum_dp_core::mechanism::{
    Additive, Curve, DiscreteGaussian, DiscreteLaplace, Exponential, Gaussian, Laplace, Mechanism, RandomizedResponse,
    ReportNoisyMax, Skellam, SparseVector,
};
use veilsum_dp_core::privacy::{Delta, Epsilon, Positive, Rational};
use veilsum_dp_core::sensitivity::{L1, L2, LInf, Neighbors};
use veilsum_tests::audit::Bounds;

const ALPHA: f64 = 1e-12;

fn positive(x: f64) -> Positive {
    Positive::from_f64("test", x).expect("positive")
}

fn epsilon(x: f64) -> Epsilon {
    Epsilon::from_decimal(x).expect("in range")
}

fn delta(x: f64) -> Delta {
    Delta::from_decimal(x).expect("in range")
}

fn l1(x: f64) -> L1 {
    L1::from_f64(x).expect("positive")
}

fn l2(x: f64) -> L2 {
    L2::from_f64(x).expect("positive")
}

fn laplace(scale: f64) -> Laplace {
    Laplace::new(positive(scale), l1(1.0)).expect("in range")
}

fn gaussian(sigma: f64) -> Gaussian {
    Gaussian::new(positive(sigma), l2(1.0)).expect("in range")
}

fn discrete_laplace(scale: f64) -> DiscreteLaplace {
    DiscreteLaplace::new(positive(scale), l1(1.0)).expect("in range")
}

fn noisy_max(epsilon: f64, sensitivity: f64) -> ReportNoisyMax {
    ReportNoisyMax::new(self::epsilon(epsilon), LInf::from_f64(sensitivity).expect("positive"))
}

// ---- refusals

#[test]
fn nan_and_infinities_are_refused_before_anything_changes() {
    let (laplace, gaussian) = (laplace(1.0), gaussian(1.0));
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -f64::NAN, f64::from_bits(0x7ff0_0000_0000_0001)] {
        for mechanism in [&laplace as &dyn Additive<Number = f64>, &gaussian] {
            assert_eq!(mechanism.release_one(bad), Err(Error::NotFinite));
            for place in [0, 1, 99, 40_000] {
                let mut values = vec![7.0; 40_001];
                values[place] = bad;
                assert_eq!(mechanism.release_in_place(&mut values), Err(Error::NotFinite));
                assert!(values.iter().enumerate().all(|(i, v)| i == place || *v == 7.0), "no noise was added");
            }
        }
        assert_eq!(noisy_max(1.0, 1.0).release(&[0.0, bad]), Err(Error::NotFinite));
        let mut above = SparseVector::new(epsilon(1.0), 0.0, 1, LInf::from_f64(1.0).expect("positive")).expect("valid");
        assert_eq!(above.release(bad), Err(Error::NotFinite));
        assert!(SparseVector::new(epsilon(1.0), bad, 1, LInf::from_f64(1.0).expect("positive")).is_err());
    }
}

#[test]
fn parameters_out_of_range_are_refused() {
    for bad in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e-310] {
        assert!(Epsilon::from_decimal(bad).is_err(), "epsilon {bad}");
        assert!(Positive::from_f64("scale", bad).is_err(), "scale {bad}");
        assert!(L1::from_f64(bad).is_err() && L2::from_f64(bad).is_err() && LInf::from_f64(bad).is_err());
    }
    for bad in [1.0, -1e-9, 2.0, f64::NAN, f64::INFINITY] {
        assert!(Delta::from_decimal(bad).is_err(), "delta {bad}");
    }
    let zero = delta(0.0);
    assert!(Gaussian::calibrate(&epsilon(1.0), &zero, l2(1.0)).is_err());
    assert!(DiscreteGaussian::calibrate(&epsilon(1.0), &zero, l1(1.0)).is_err());
    assert!(Skellam::calibrate(&epsilon(1.0), &zero, l1(1.0)).is_err());
    for fractional in [0.5, 1.5] {
        assert!(DiscreteLaplace::new(positive(1.0), l1(fractional)).is_err());
        assert!(DiscreteGaussian::new(positive(1.0), l1(fractional)).is_err());
        assert!(Skellam::new(positive(1.0), l1(fractional)).is_err());
    }
    assert!(DiscreteGaussian::new(positive(1.0), l2(0.5)).is_err());
    for out_of_range in [2f64.powi(-22), 2f64.powi(51)] {
        assert!(DiscreteLaplace::new(positive(out_of_range), l1(1.0)).is_err());
        assert!(DiscreteGaussian::new(positive(out_of_range), l1(1.0)).is_err());
    }
    for out_of_range in [1e-300, 1e300] {
        assert!(Laplace::new(positive(out_of_range), l1(1.0)).is_err());
        assert!(Gaussian::new(positive(out_of_range), l2(1.0)).is_err());
    }
}

#[test]
fn empty_input_gives_empty_output() {
    assert_eq!(laplace(1.0).release(&[]), Ok(vec![]));
    assert_eq!(gaussian(1.0).release(&[]), Ok(vec![]));
    assert_eq!(discrete_laplace(1.0).release(&[]), Ok(vec![]));
    assert_eq!(RandomizedResponse::new(epsilon(1.0), 2).expect("valid").release(&[]), Ok(vec![]));
    assert!(noisy_max(1.0, 1.0).release(&[]).is_err());
    let choice = Exponential::new(epsilon(1.0), LInf::from_f64(1.0).expect("positive"));
    assert!(choice.release(&[]).is_err() && choice.release(&[(0, 5), (0, 7)]).is_err());
}

// ---- grids and ends

proptest! {
    #[test]
    fn float_releases_are_finite_and_on_the_grid(
        x in any::<f64>().prop_filter("finite", |x| x.is_finite()),
        exponent in -200i32..200,
        mantissa in 1.0f64..2.0,
    ) {
        let scale = mantissa * 2f64.powi(exponent);
        for mechanism in [&laplace(scale) as &dyn Additive<Number = f64>, &gaussian(scale)] {
            prop_assert_eq!(mechanism.grid(), 2f64.powi(exponent - 30), "the grid is the scale's");
            let y = mechanism.release_one(x).expect("entropy");
            prop_assert!(y.is_finite());
            let steps = y / mechanism.grid();
            prop_assert!(steps.is_infinite() || steps.fract() == 0.0);
            // 800 scales of noise happen with probability e^-800; the rest is the rounding to f64.
            prop_assert!((y - x).abs() <= 800.0 * scale + x.abs() * f64::EPSILON || !(y - x).is_finite());
        }
    }

    #[test]
    fn integer_releases_never_wrap(x in any::<i64>(), exponent in 0i32..50) {
        let mechanism = discrete_laplace(2f64.powi(exponent));
        let y = mechanism.release_one(x).expect("entropy");
        let moved = (i128::from(y) - i128::from(x)).unsigned_abs();
        prop_assert!(moved <= 800u128 << exponent, "e^-800");
    }

    #[test]
    fn without_noise_a_release_moves_by_what_its_input_moves(x in -1e12f64..1e12, y in -1e12f64..1e12) {
        let _guard = Noiseless::begin();
        let mechanism = laplace(1.0);
        let [a, b] = [x, y].map(|x| mechanism.release_one(x).expect("no entropy needed"));
        prop_assert!((a - x).abs() <= 0.5 * mechanism.grid() && (b - y).abs() <= 0.5 * mechanism.grid());
    }
}

#[test]
fn integers_clamp_at_the_ends_of_their_type() {
    let mechanism = discrete_laplace(2f64.powi(40));
    for end in [i64::MAX, i64::MIN] {
        let released = mechanism.release(&[end; 1000]).expect("entropy");
        assert!(released.contains(&end), "half of them are clamped");
        assert!(released.iter().all(|y| (y ^ end) >= 0), "none wraps");
    }
    let mut wide = [i128::MAX, i128::MIN, 0, 1 << 100];
    for _ in 0..100 {
        mechanism.release_wide(&mut wide).expect("entropy");
        assert!(wide[0] > i128::MAX / 2 && wide[1] < i128::MIN / 2 && wide[3] > 1 << 99);
    }
}

#[test]
fn the_largest_floats_stay_finite() {
    for x in [f64::MAX, f64::MIN, 1e308, -1e308, f64::MIN_POSITIVE, 5e-324, -0.0] {
        for y in laplace(2f64.powi(800)).release(&[x; 100]).expect("entropy") {
            assert!(y.is_finite());
        }
    }
}

// ---- fresh noise

#[test]
fn batches_copies_and_threads_never_repeat() {
    let mechanism = discrete_laplace(2f64.powi(30));
    let mut seen = std::collections::HashSet::new();
    // Windows of 3 draws of 31 bits or so: any two of 2^18 coincide with probability below 2^-57.
    let mut add = |values: &[i64]| {
        for window in values.chunks_exact(3) {
            assert!(seen.insert(window.to_vec()), "noise repeated");
        }
    };
    add(&mechanism.release(&vec![0; 99_999]).expect("entropy"));
    let twin = mechanism.clone();
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let mine = mechanism.clone();
            std::thread::spawn(move || mine.release(&vec![0; 9_999]).expect("entropy"))
        })
        .collect();
    threads.into_iter().for_each(|t| add(&t.join().expect("no panic")));
    for _ in 0..100 {
        add(&mechanism.release(&[0; 30]).expect("entropy"));
        add(&twin.release(&[0; 30]).expect("entropy"));
    }
    let floats = gaussian(1.0).release(&vec![0.0; 50_000]).expect("entropy");
    let distinct: std::collections::HashSet<Vec<u64>> =
        floats.chunks_exact(4).map(|w| w.iter().map(|x| x.to_bits()).collect()).collect();
    assert_eq!(distinct.len(), 12_500);
}

// ---- curves, events, accuracy

#[test]
fn events_say_what_ran() {
    let third: Rational = "1/3".parse().expect("a fraction");
    let multiplier = Positive::new("test", "3/2".parse().expect("a fraction")).expect("positive");
    assert_eq!(
        Laplace::new(
            Positive::new("scale", &third + &third).expect("positive"),
            L1::new("4/9".parse().expect("a fraction")).expect("positive")
        )
        .expect("in range")
        .event(),
        Event::Laplace { noise_multiplier: multiplier.clone() }
    );
    assert_eq!(
        Gaussian::new(positive(3.0), l2(2.0)).expect("in range").event(),
        Event::Gaussian { noise_multiplier: multiplier }
    );
    assert_eq!(
        DiscreteLaplace::new(positive(3.0), l1(2.0)).expect("in range").event(),
        Event::DiscreteLaplace { scale: positive(3.0), sensitivity: 2 }
    );
    // An L2 bound of sqrt(8) or so: squared lengths are whole numbers.
    assert_eq!(
        Skellam::new(positive(3.0), l2(2.83)).expect("in range").event(),
        Event::Skellam { variance: positive(3.0), l1: 8, squared_l2: 8 }
    );
    let response = RandomizedResponse::new(epsilon(1.0), 3).expect("valid");
    assert_eq!(response.event(), Event::RandomizedResponse { epsilon: epsilon(1.0), categories: 3 });
    assert_eq!(response.neighbors(), Some(Neighbors::ReplaceOne));
    assert_eq!(laplace(1.0).neighbors(), None);
    assert!(profile::delta(&response.event(), Neighbors::AddRemove, 0.5).is_err(), "the wrong relation is refused");
}

#[test]
fn pure_curves_reach_zero_at_their_epsilon() {
    for (mechanism, at) in [
        (Box::new(laplace(2.0)) as Box<dyn CurveOf>, 0.5),
        (Box::new(discrete_laplace(2.0)), 0.5),
        (Box::new(RandomizedResponse::new(epsilon(0.5), 4).expect("valid")), 0.5),
        (Box::new(noisy_max(0.5, 1.0)), 0.5),
    ] {
        let (lo, hi) = mechanism.epsilon_at(0.0);
        assert!(lo <= at && at <= hi && hi <= at * (1.0 + 1e-12), "[{lo}, {hi}]");
        assert!(mechanism.delta_at(at).0 <= 1e-300 && mechanism.delta_at(at).1 < 1e-15);
        assert!(mechanism.delta_at(0.0).0 > 0.1);
    }
    let normal = gaussian(1.0);
    assert_eq!(normal.epsilon_at(0.0), (f64::INFINITY, f64::INFINITY));
}

/// `Curve` with its associated types forgotten.
trait CurveOf {
    fn epsilon_at(&self, delta: f64) -> (f64, f64);
    fn delta_at(&self, epsilon: f64) -> (f64, f64);
}

impl<T: Curve> CurveOf for T {
    fn epsilon_at(&self, delta: f64) -> (f64, f64) {
        let e = self.epsilon(delta).expect("a curve");
        (e.lo(), e.hi())
    }
    fn delta_at(&self, epsilon: f64) -> (f64, f64) {
        let d = self.delta(epsilon).expect("a curve");
        (d.lo(), d.hi())
    }
}

#[test]
fn calibration_meets_the_budget_and_hardly_less() {
    for at in [1e-4, 0.1, 0.3, 1.0, 8.5, 40.0] {
        for within in [1e-12, 1e-5, 0.01] {
            let (e, d) = (epsilon(at), delta(within));
            let smaller = |x: &Positive| positive(x.nearest() * (1.0 - 1e-9));
            let g = Gaussian::calibrate(&e, &d, l2(2.5)).expect("reachable");
            assert!(g.delta_at(at).1 <= within);
            assert!(Gaussian::new(smaller(g.sigma()), l2(2.5)).expect("in range").delta_at(at).0 > within);
            let g = DiscreteGaussian::calibrate(&e, &d, l1(2.0)).expect("reachable");
            assert!(g.delta_at(at).1 <= within);
            let less = DiscreteGaussian::new(smaller(g.sigma()), l1(2.0)).expect("in range");
            assert!(less.delta_at(at).1 >= within * (1.0 - 1e-3), "epsilon {at}, delta {within}");
        }
    }
}

#[test]
fn half_widths_hold_and_are_not_idle() {
    let n = 50_000;
    let integer = |m: &dyn Additive<Number = i64>| {
        let mut drawn = vec![0; n];
        m.sample(&mut drawn).expect("entropy");
        drawn.iter().map(|z| z.unsigned_abs() as f64).collect::<Vec<f64>>()
    };
    let float = |m: &dyn Additive<Number = f64>| {
        let mut drawn = vec![0.0; n];
        m.sample(&mut drawn).expect("entropy");
        drawn.iter().map(|z| z.abs()).collect::<Vec<f64>>()
    };
    let check = |drawn: &[f64], width: f64, narrower: f64| {
        let beyond = |w: f64| Bounds::of(drawn.iter().filter(|z| **z > w).count() as u64, n as u64, ALPHA);
        assert!(beyond(width).lower <= 0.05, "holds");
        assert!(beyond(narrower).upper >= 0.05, "and a little less would not");
    };
    for scale in [0.3, 1.0, 20.0, 1000.0] {
        let m = laplace(scale);
        let width = m.half_width(0.95).expect("in (0, 1)");
        check(&float(&m), width, width * 0.96);
        let m = gaussian(scale);
        let width = m.half_width(0.95).expect("in (0, 1)");
        check(&float(&m), width, width * 0.96);
        let m = discrete_laplace(scale);
        let width = m.half_width(0.95).expect("in (0, 1)");
        check(&integer(&m), width, width * 0.96 - 1.0);
        let m = DiscreteGaussian::new(positive(scale), l1(1.0)).expect("in range");
        let width = m.half_width(0.95).expect("in (0, 1)");
        check(&integer(&m), width, width * 0.96 - 1.0);
        let m = Skellam::new(positive(scale), l1(1.0)).expect("in range");
        let width = m.half_width(0.95).expect("in (0, 1)");
        check(&integer(&m), width, width * 0.96 - 1.0);
    }
    let response = RandomizedResponse::new(epsilon(1.0), 4).expect("valid");
    let answers = response.release(&vec![2; n]).expect("entropy");
    let mut counts = [0; 4];
    answers.iter().for_each(|a| counts[*a as usize] += 1);
    let width = response.half_width(n as u64, 1.0 - 1e-12).expect("in (0, 1)");
    let estimates = response.estimate(&counts);
    assert!((estimates[2] - n as f64).abs() < width && estimates[0].abs() < width);
    assert!(width < 0.1 * n as f64);
}

// ---- the laws of the mechanisms that choose

fn holds(hits: &[u64], probabilities: &[f64]) {
    let n = hits.iter().sum();
    for (i, (&hits, &p)) in hits.iter().zip(probabilities).enumerate() {
        let bounds = Bounds::of(hits, n, ALPHA);
        assert!(bounds.lower <= p + 1e-12 && p <= bounds.upper + 1e-12, "{i}: {p} is not in {bounds:?}");
    }
}

/// P(i wins) by permute-and-flip, over all orders: those before i refuse, i accepts.
fn permute_and_flip(accept: &[f64]) -> Vec<f64> {
    fn walk(accept: &[f64], left: &mut Vec<usize>, reached: f64, wins: &mut [f64]) {
        let each = reached / left.len() as f64;
        for k in 0..left.len() {
            let i = left.remove(k);
            wins[i] += each * accept[i];
            if accept[i] < 1.0 {
                walk(accept, left, each * (1.0 - accept[i]), wins);
            }
            left.insert(k, i);
        }
    }
    let mut wins = vec![0.0; accept.len()];
    walk(accept, &mut (0..accept.len()).collect(), 1.0, &mut wins);
    wins
}

#[test]
fn noisy_max_has_the_law_of_permute_and_flip() {
    for (scores, sensitivity) in
        [([3.0, 1.0, 0.5, 3.0], 1.0), ([-7.0, -7.5, -6.25, -9.0], 0.25), ([0.0, 1.0, 2.0, 3.0], 2.5)]
    {
        let mechanism = noisy_max(1.5, sensitivity);
        let best = scores.iter().copied().fold(f64::MIN, f64::max);
        let accept: Vec<f64> = scores.iter().map(|s| (1.5 * (s - best) / (2.0 * sensitivity)).exp()).collect();
        let mut wins = [0; 4];
        (0..40_000).for_each(|_| wins[mechanism.release(&scores).expect("entropy")] += 1);
        holds(&wins, &permute_and_flip(&accept));
    }
}

#[test]
fn the_exponential_mechanism_has_its_law() {
    let mechanism = Exponential::new(epsilon(0.5), LInf::from_f64(1.0).expect("positive"));
    for candidates in [
        vec![(1, 0), (1, 1), (1, -3)],
        vec![(1 << 40, -100), (7, 0), (0, 50), (1 << 20, -40), (3, 1)],
        vec![(u64::MAX, i64::MIN), (1, i64::MAX)],
        vec![(5, i64::MIN), (3, i64::MIN)],
    ] {
        let best = candidates.iter().filter(|c| c.0 > 0).map(|c| c.1).max().expect("one at least");
        let mass = |&(w, s): &(u64, i64)| w as f64 * (0.25 * (s as f64 - best as f64)).exp();
        let masses: Vec<f64> = candidates.iter().map(|c| if c.0 == 0 { 0.0 } else { mass(c) }).collect();
        let total: f64 = masses.iter().sum();
        let mut chosen = vec![0; candidates.len()];
        (0..20_000).for_each(|_| chosen[mechanism.release(&candidates).expect("entropy")] += 1);
        holds(&chosen, &masses.iter().map(|m| m / total).collect::<Vec<_>>());
    }
}

#[test]
fn thousands_of_hopeless_candidates_do_not_underflow() {
    let mut scores = vec![-1e9; 5_000];
    scores[4_321] = 0.0;
    assert_eq!(noisy_max(1.0, 1.0).release(&scores), Ok(4_321));
    let mut candidates = vec![(1 << 50, -1_000_000); 5_000];
    candidates[1_234] = (1, 0);
    let choice = Exponential::new(epsilon(1.0), LInf::from_f64(1.0).expect("positive"));
    assert_eq!(choice.release(&candidates), Ok(1_234));
}

#[test]
fn randomized_response_has_its_law() {
    for (e, categories) in [(0.1, 2u32), (1.0, 3), (3.0, 10)] {
        let mechanism = RandomizedResponse::new(epsilon(e), categories).expect("valid");
        let truth = e.exp() / (e.exp() + f64::from(categories) - 1.0);
        let lie = 1.0 / (e.exp() + f64::from(categories) - 1.0);
        for told in [0, categories - 1] {
            let mut counts = vec![0; categories as usize];
            mechanism.release(&vec![told; 200_000]).expect("entropy").iter().for_each(|a| counts[*a as usize] += 1);
            let law: Vec<f64> = (0..categories).map(|k| if k == told { truth } else { lie }).collect();
            holds(&counts, &law);
        }
    }
    // Types that cannot hold every category are refused before anything is drawn.
    let mechanism = RandomizedResponse::new(epsilon(1.0), 300).expect("valid");
    assert!(mechanism.release_in_place(&mut [1u8, 2]).is_err());
    assert!(mechanism.release_in_place(&mut [1i64, -2]).is_err());
    assert!(mechanism.release_in_place(&mut [1i64, 299]).is_ok());
}

#[test]
fn sparse_vector_reaches_its_threshold_with_its_probability() {
    // One query; both noises discrete Laplace with scales 2^20/epsilon_1 and 2 2^20/epsilon_2 steps: nearly continuous.
    // For Laplace scales a != b: P(A - B > t) = (a^2 e^(-t/a) - b^2 e^(-t/b)) / (2 (a^2 - b^2)) for t >= 0.
    let ratio = 2f64.powf(2.0 / 3.0);
    let (first, second) = (1.0 / (1.0 + ratio), ratio / (1.0 + ratio));
    let (a, b) = (2.0 / second, 1.0 / first);
    let tail = |t: f64| (a * a * (-t / a).exp() - b * b * (-t / b).exp()) / (2.0 * (a * a - b * b));
    for below in [0.0, 2.0, 5.0] {
        let n = 40_000;
        let hits = (0..n)
            .filter(|_| {
                let unit = LInf::from_f64(3.0).expect("positive");
                let mut above = SparseVector::new(epsilon(1.0), 30.0, 1, unit).expect("valid");
                above.release(30.0 - 3.0 * below).expect("entropy")
            })
            .count() as u64;
        let bounds = Bounds::of(hits, n, ALPHA);
        assert!(
            bounds.lower <= tail(below) && tail(below) <= bounds.upper,
            "{below}: {} not in {bounds:?}",
            tail(below)
        );
    }
}

#[test]
fn sparse_vector_counts_its_hits() {
    let unit = || LInf::from_f64(1.0).expect("positive");
    let mut above = SparseVector::new(epsilon(1.0), 0.0, 2, unit()).expect("valid");
    for value in [-1e300, -1e4, 1e300, -1e300, 1e4] {
        assert_eq!(above.release(value), Ok(value > 0.0), "far from the threshold, clamped or not");
    }
    assert!(matches!(above.release(-1e300), Err(Error::Exhausted { .. })));
    assert_eq!(above.event(), Event::Pure { epsilon: epsilon(1.0) });
    assert!(!format!("{above:?}").contains("noise: -") && format!("{above:?}").contains("noisy_threshold: _"));
    assert!(SparseVector::new(epsilon(1.0), 0.0, 0, unit()).is_err());
    assert!(SparseVector::new(epsilon(1e-12), 0.0, 1000, unit()).is_err(), "noise beyond 2^50 steps");
}

// ---- without noise

#[test]
fn without_noise_everything_is_exact() {
    let guard = Noiseless::begin();
    assert_eq!(discrete_laplace(1e6).release(&[1, -2, i64::MAX]), Ok(vec![1, -2, i64::MAX]));
    assert_eq!(laplace(1e6).release(&[1e-9, 1.0, 1e300]), Ok(vec![0.0, 1.0, 1e300]));
    assert_eq!(noisy_max(1.0, 1.0).release(&[1.0, 3.0, 3.0]), Ok(1));
    let mut wide = [1 << 100];
    discrete_laplace(1e6).release_wide(&mut wide).expect("no entropy needed");
    assert_eq!(wide, [1 << 100]);
    assert_eq!(laplace(1.0).release(&[f64::NAN]), Err(Error::NotFinite));
    drop(guard);
    let noisy = discrete_laplace(1e6).release(&[0; 100]).expect("entropy");
    assert!(noisy.iter().any(|z| *z != 0));
}
