//! Every law against its distribution function, as another library computes it.
//!
//! The statistic is the largest gap between the empirical distribution function of n draws and the stated one. By the
//! Dvoretzky-Kiefer-Wolfowitz inequality with Massart's constant (1990), which holds for every distribution, discrete
//! ones too, it exceeds sqrt(ln(2 / a) / (2 n)) with probability at most a. With a = 1e-11 for each of the fewer than
//! forty comparisons below, a run raises a false alarm with probability below 4e-10. No seed is fixed.

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand_distr::{Distribution, StandardNormal};
use statrs::distribution::{ContinuousCDF, Discrete, Laplace as LaplaceLaw, Normal, Poisson};
use veilsum_dp_core::noise::{DiscreteGaussian, DiscreteLaplace, Gaussian, Laplace, Skellam};
use veilsum_dp_core::privacy::Positive;

const DRAWS: usize = 400_000;
const FALSE_ALARM: f64 = 1e-11;

/// The gap that `n` draws exceed by chance with probability at most [`FALSE_ALARM`].
fn allowed(n: usize) -> f64 {
    ((2.0 / FALSE_ALARM).ln() / (2.0 * n as f64)).sqrt()
}

/// The largest gap to a continuous distribution function; a grid step moves that by at most `slack`.
fn gap(mut draws: Vec<f64>, cdf: impl Fn(f64) -> f64, slack: f64) -> f64 {
    draws.sort_by(f64::total_cmp);
    let n = draws.len() as f64;
    let at = |(i, x): (usize, &f64)| ((i + 1) as f64 / n - cdf(*x)).abs().max((cdf(*x) - i as f64 / n).abs());
    draws.iter().enumerate().map(at).fold(0.0, f64::max) - slack
}

/// The largest gap to a law on the integers, of which `mass(k)` is the weight up to a constant and `reach` leaves out
/// less than 1e-12 on either side.
fn whole_gap(mut draws: Vec<i64>, mass: impl Fn(i64) -> f64, reach: i64) -> f64 {
    draws.sort_unstable();
    let weights: Vec<f64> = (-reach..=reach).map(&mass).collect();
    let total: f64 = weights.iter().sum();
    let (mut below, mut seen, mut worst) = (0.0, 0, 0.0_f64);
    for (k, weight) in (-reach..=reach).zip(weights) {
        below += weight / total;
        seen += draws[seen..].iter().take_while(|&&draw| draw <= k).count();
        worst = worst.max((seen as f64 / draws.len() as f64 - below).abs());
    }
    worst
}

fn positive(text: &str) -> Positive {
    Positive::new("scale", text.parse().expect("a number")).expect("> 0")
}

fn whole(fill: impl FnOnce(&mut [i64])) -> Vec<i64> {
    let mut draws = vec![0; DRAWS];
    fill(&mut draws);
    draws
}

fn real(fill: impl FnOnce(&mut [f64])) -> Vec<f64> {
    let mut draws = vec![0.0; DRAWS];
    fill(&mut draws);
    draws
}

const SCALES: [&str; 5] = ["1/3", "1", "7/2", "12345/7", "1000003/3"];

#[test]
fn real_laws_have_their_distribution() {
    for text in SCALES {
        let scale = positive(text);
        let near = scale.nearest();
        let gaussian = real(|out| Gaussian::new(&scale).expect("in range").fill(out).expect("entropy"));
        let law = Normal::new(0.0, near).expect("valid");
        let found = gap(gaussian, |x| law.cdf(x), 1e-9);
        assert!(found < allowed(DRAWS), "Gaussian {text}: {found}");

        let laplace = real(|out| Laplace::new(&scale).expect("in range").fill(out).expect("entropy"));
        let law = LaplaceLaw::new(0.0, near).expect("valid");
        let found = gap(laplace, |x| law.cdf(x), 1e-9);
        assert!(found < allowed(DRAWS), "Laplace {text}: {found}");
    }
}

#[test]
fn integer_laws_have_their_distribution() {
    for text in &SCALES[..4] {
        let scale = positive(text);
        let near = scale.nearest();
        let reach = (40.0 * near).ceil() as i64 + 2;
        let gaussian = whole(|out| DiscreteGaussian::new(&scale).expect("in range").fill(out).expect("entropy"));
        let found = whole_gap(gaussian, |k| (-0.5 * (k as f64 / near).powi(2)).exp(), reach);
        assert!(found < allowed(DRAWS), "discrete Gaussian {text}: {found}");

        let laplace = whole(|out| DiscreteLaplace::new(&scale).expect("in range").fill(out).expect("entropy"));
        let found = whole_gap(laplace, |k| (-(k as f64).abs() / near).exp(), reach);
        assert!(found < allowed(DRAWS), "discrete Laplace {text}: {found}");
    }
}

#[test]
fn skellam_is_the_difference_of_two_poissons() {
    for text in ["1/3", "1", "7/2", "400"] {
        let variance = positive(text);
        let each = Poisson::new(variance.nearest() / 2.0).expect("valid");
        let reach = (15.0 * variance.nearest().sqrt()).ceil() as i64 + 20;
        let most = (variance.nearest() / 2.0) as u64 + 2 * reach as u64;
        let poisson: Vec<f64> = (0..=most).map(|k| each.pmf(k)).collect();
        let mass = |k: i64| poisson.iter().zip(&poisson[k.unsigned_abs() as usize..]).map(|(a, b)| a * b).sum();
        let draws = whole(|out| Skellam::new(&variance).expect("in range").fill(out).expect("entropy"));
        let found = whole_gap(draws, mass, reach);
        assert!(found < allowed(DRAWS), "Skellam {text}: {found}");
    }
}

#[test]
fn gaussian_noise_agrees_with_another_sampler() {
    // Two samples: each strays from the law by `allowed` at most.
    let mut rng = StdRng::from_rng(&mut rand::rng());
    let mut theirs: Vec<f64> = (0..DRAWS).map(|_| StandardNormal.sample(&mut rng)).collect();
    theirs.sort_by(f64::total_cmp);
    let ours = real(|out| Gaussian::new(&Positive::one()).expect("in range").fill(out).expect("entropy"));
    let rank = |x: f64| theirs.partition_point(|t| *t <= x) as f64 / DRAWS as f64;
    let found = gap(ours, rank, 1e-9);
    assert!(found < 2.0 * allowed(DRAWS), "{found}");
}

#[test]
fn the_tests_above_can_fail() {
    // A scale that is 3 % too large, a law that is rounded twice as coarsely, and a missing negative zero.
    let wide = real(|out| Gaussian::new(&positive("103/100")).expect("in range").fill(out).expect("entropy"));
    let law = Normal::new(0.0, 1.0).expect("valid");
    assert!(gap(wide, |x| law.cdf(x), 1e-9) > allowed(DRAWS));
    let coarse = whole(|out| DiscreteGaussian::new(&positive("7/2")).expect("in range").fill(out).expect("entropy"));
    let coarse = coarse.into_iter().map(|k| k / 2 * 2).collect();
    assert!(whole_gap(coarse, |k| (-0.5 * (k as f64 / 3.5).powi(2)).exp(), 150) > allowed(DRAWS));
    let halved = whole(|out| DiscreteLaplace::new(&Positive::one()).expect("in range").fill(out).expect("entropy"));
    let halved = halved.into_iter().enumerate().map(|(i, k)| if k == 0 && i % 20 == 0 { 1 } else { k }).collect();
    assert!(whole_gap(halved, |k| (-(k as f64).abs()).exp(), 50) > allowed(DRAWS));
}

/// Renyi divergence of order `a` between a Skellam law and its shift, summed over what f64 holds.
fn skellam_divergence(variance: f64, shift: usize, a: f64) -> f64 {
    let each = Poisson::new(variance / 2.0).expect("valid");
    let reach = (12.0 * variance.sqrt()) as usize + 30 + shift;
    let poisson: Vec<f64> = (0..3 * reach as u64).map(|k| each.pmf(k)).collect();
    let mass = |k: usize| poisson.iter().zip(&poisson[k..]).map(|(a, b)| a * b).sum::<f64>();
    let half: Vec<f64> = (0..=reach + shift).map(mass).collect();
    let (reach, shift) = (reach as i64, shift as i64);
    let ln = |k: i64| half[k.unsigned_abs() as usize].ln();
    let terms = (-reach + shift..=reach).map(|k| (a * ln(k) + (1.0 - a) * ln(k - shift)).exp());
    terms.filter(|t| t.is_finite()).sum::<f64>().ln() / (a - 1.0)
}

#[test]
fn the_renyi_bound_of_skellam_noise_is_one() {
    use veilsum_dp_core::accounting::{Event, RdpAccountant};
    use veilsum_dp_core::sensitivity::Neighbors;
    for (variance, shift) in [(4.0, 1), (20.0, 1), (20.0, 3), (50.0, 2), (200.0, 5), (1000.0, 10)] {
        let event = Event::Skellam {
            variance: Positive::from_f64("variance", variance).expect("> 0"),
            l1: shift as u64,
            squared_l2: (shift * shift) as u64,
        };
        let mut accountant = RdpAccountant::new(Neighbors::AddRemove);
        accountant.compose(&event, 1).expect("accountable");
        for order in [1.5, 2.0, 2.5, 3.0, 5.0, 8.0] {
            let truth = skellam_divergence(variance, shift, order);
            let bound = accountant.divergence(order).expect("an order");
            assert!(bound >= truth * (1.0 - 1e-9), "v {variance}, shift {shift}, order {order}: {bound} below {truth}");
            assert!(bound <= 3.0 * truth, "v {variance}, shift {shift}, order {order}: {bound} far above {truth}");
        }
    }
}
