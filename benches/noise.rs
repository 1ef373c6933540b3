//! Samples a second of every law, beside rand_distr, one JSON object a line; moments are checked.

use rand::{Rng, SeedableRng};
use rand_distr::{Distribution, StandardNormal};
use std::time::Instant;
use veilsum_dp_core::noise::{DiscreteGaussian, DiscreteLaplace, Gaussian, Laplace, Skellam};
use veilsum_dp_core::privacy::{Positive, Rational};

const N: usize = 1_000_000;
const ROUNDS: usize = 15;

/// Runs the group; `seconds` is not promised, about ten in all.
pub(crate) fn run() {
    let scales: [(&str, Positive); 4] =
        [("1", 1), ("100", 100), ("1000", 1000), ("2^30", 1 << 30)].map(|(name, s)| (name, whole(s)));
    let mut integers = vec![0i64; N];
    let mut floats = vec![0.0; N];
    let x: Vec<f64> = (0..N).map(|i| i as f64 * 0.37 - 1e5).collect();

    let mut rng = rand::rngs::StdRng::from_rng(&mut rand::rng());
    report(
        "rand_distr StandardNormal over StdRng",
        "1",
        1.0,
        &mut floats,
        |v| *v,
        |out| {
            out.iter_mut().for_each(|v| *v = StandardNormal.sample(&mut rng));
        },
    );
    report(
        "StdRng words alone",
        "",
        f64::NAN,
        &mut integers,
        |v| *v as f64,
        |out| {
            out.iter_mut().for_each(|v| *v = rng.next_u64() as i64);
        },
    );
    for (name, scale) in &scales {
        let s = scale.nearest();
        let law = DiscreteGaussian::new(scale).expect("in range");
        let fill = |out: &mut [i64]| law.fill(out).expect("entropy");
        report("DiscreteGaussian", name, s * s, &mut integers, |v| *v as f64, fill);
        let law = DiscreteLaplace::new(scale).expect("in range");
        let variance = if s > 1e6 { 2.0 * s * s } else { 1.0 / (2.0 * (0.5 / s).sinh().powi(2)) };
        report("DiscreteLaplace", name, variance, &mut integers, |v| *v as f64, |out| law.fill(out).expect("entropy"));
        let variance = Positive::new("variance", scale.rational() * scale.rational()).expect("positive");
        if let Ok(law) = Skellam::new(&variance) {
            report("Skellam", name, s * s, &mut integers, |v| *v as f64, |out| law.fill(out).expect("entropy"));
        }
        let law = Gaussian::new(scale).expect("in range");
        report("Gaussian", name, s * s, &mut floats, |v| *v, |out| law.fill(out).expect("entropy"));
        let add = |out: &mut [f64]| law.add(&x, out).expect("entropy");
        report("Gaussian release", name, f64::NAN, &mut floats, |v| *v, add);
        let law = Laplace::new(scale).expect("in range");
        report("Laplace", name, 2.0 * s * s, &mut floats, |v| *v, |out| law.fill(out).expect("entropy"));
        let add = |out: &mut [f64]| law.add(&x, out).expect("entropy");
        report("Laplace release", name, f64::NAN, &mut floats, |v| *v, add);
    }
    let law = DiscreteGaussian::new(&scales[2].1).expect("in range");
    let both = |out: &mut [i64]| {
        let (a, b) = out.split_at_mut(N / 2);
        std::thread::scope(|scope| {
            scope.spawn(|| law.fill(a).expect("entropy"));
            law.fill(b).expect("entropy");
        });
    };
    report("DiscreteGaussian, two threads", "1000", 1e6, &mut integers, |v| *v as f64, both);
    set_up();
}

fn whole(n: u64) -> Positive {
    Positive::new("scale", Rational::from(n)).expect("positive")
}

/// The fastest of some rounds, and the moments of the last one, which must be right within six standard errors or so.
fn report<T>(
    law: &str,
    scale: &str,
    variance: f64,
    out: &mut [T],
    value: impl Fn(&T) -> f64,
    mut fill: impl FnMut(&mut [T]),
) {
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        fill(out);
        best = best.min(start.elapsed().as_secs_f64());
    }
    let n = out.len() as f64;
    let mean = out.iter().map(&value).sum::<f64>() / n;
    let second = out.iter().map(|v| value(v).powi(2)).sum::<f64>() / n;
    if !variance.is_nan() {
        assert!(mean.abs() < 6.0 * (variance / n).sqrt(), "{law} {scale}: mean {mean}");
        // Kurtosis is at most 6 + 1/variance for all of these, so the second moment has relative deviation sqrt(5/n).
        let slack = 6.0 * ((5.0 + 1.0 / variance) / n).sqrt();
        assert!(
            (second / variance - 1.0).abs() < slack + 1e-6,
            "{law} {scale}: second moment {second}, not {variance}"
        );
    }
    let rate = n / best / 1e6;
    println!(
        r#"{{"law": "{law}", "scale": "{scale}", "million_per_second": {rate:.1}, "mean": {mean:e}, "second_moment": {second:e}}}"#
    );
}

/// Tables: the first time and again.
fn set_up() {
    for (name, build) in [
        ("DiscreteGaussian", (|s| drop(DiscreteGaussian::new(s))) as fn(&Positive)),
        ("DiscreteLaplace", |s| drop(DiscreteLaplace::new(s))),
        ("Skellam", |s| drop(Skellam::new(s))),
        ("Gaussian", |s| drop(Gaussian::new(s))),
        ("Laplace", |s| drop(Laplace::new(s))),
    ] {
        for scale in [33, 12_345, (1 << 30) + 1] {
            let scale = whole(scale);
            let time = |f: &dyn Fn()| {
                let start = Instant::now();
                f();
                start.elapsed().as_secs_f64() * 1e3
            };
            let (first, again) = (time(&|| build(&scale)), time(&|| build(&scale)));
            println!(r#"{{"set_up": "{name}", "scale": "{scale}", "first_ms": {first:.3}, "again_ms": {again:.4}}}"#);
        }
    }
}
