//! Certified accounting without Python around it: a table of the usual cases, or one case by the lattice alone.

use std::time::Instant;
use veilsum_dp_core::accounting::{Event, PldAccountant, calibrate};
use veilsum_dp_core::privacy::{Positive, Rational};
use veilsum_dp_core::sensitivity::Neighbors;

const ROUNDS: usize = 20;

/// Prints the best of several runs, with the answer's relative width; or, given `DELTA ROUNDS RATE:SIGMA:STEPS...`, runs
/// that case by the lattice so many times, for others to time, and prints its ends.
pub(crate) fn run(mut arguments: impl Iterator<Item = String>) {
    if let (Some(delta), Some(rounds)) = (arguments.next(), arguments.next()) {
        let number = |text: &str| text.parse::<f64>().expect("a number");
        let events: Vec<_> = arguments
            .map(|part| {
                let fields: Vec<f64> = part.split(':').map(number).collect();
                (sampled(fields[0], fields[1]), fields[2] as u64)
            })
            .collect();
        let answer = || {
            let mut accountant = PldAccountant::new(Neighbors::AddRemove).by_lattice_alone();
            for (event, count) in &events {
                accountant.compose(event, *count).expect("a Poisson-sampled Gaussian");
            }
            accountant.epsilon(number(&delta)).expect("a delta in (0, 1)")
        };
        let found = (1..number(&rounds) as usize).fold(answer(), |_, _| answer());
        println!("{} {}", found.lo(), found.hi());
        return;
    }
    for (rate, sigma, steps, delta) in
        [(256.0 / 60_000.0, 1.1, 14_040, 1e-5), (0.0819, 2.0, 2_500, 1e-5), (1e-3, 0.8, 100_000, 1e-7)]
    {
        let name = format!("q {rate:.4}, sigma {sigma}, {steps} steps, delta {delta:e}");
        epsilon(&name, &[(sampled(rate, sigma), steps)], delta);
    }
    for delta in [1e-12, 1e-20, 1e-30] {
        epsilon(&format!("first case, delta {delta:e}"), &[(sampled(256.0 / 60_000.0, 1.1), 14_040)], delta);
    }
    epsilon("100 different, 100 steps each", &different(), 1e-6);
    for target in [1.0, 0.01] {
        let event = |sigma| Ok(sampled(256.0 / 60_000.0, sigma));
        let (sigma, seconds) =
            best(|| calibrate::sigma(event, target, 1e-5, 14_040, Neighbors::AddRemove).expect("in reach"));
        println!("accounting/calibrate epsilon {target}: sigma {sigma:.9}, {:.3} ms", 1e3 * seconds);
    }
}

/// 100 subsampled Gaussians, no two alike.
fn different() -> Vec<(Event, u64)> {
    let event = |i: u32| sampled(0.002 + 0.000_1 * f64::from(i), 0.8 + 0.012 * f64::from(i));
    (0..100).map(|i| (event(i), 100)).collect()
}

fn epsilon(name: &str, events: &[(Event, u64)], delta: f64) {
    let (found, seconds) = best(|| {
        let mut accountant = PldAccountant::new(Neighbors::AddRemove);
        for (event, count) in events {
            accountant.compose(event, *count).expect("a Poisson-sampled Gaussian");
        }
        accountant.epsilon(delta).expect("a delta in (0, 1)")
    });
    let width = (found.hi() - found.lo()) / found.hi();
    println!("accounting/{name}: {:.10}, width {width:.0e}, {:.3} ms", found.hi(), 1e3 * seconds);
}

fn sampled(rate: f64, sigma: f64) -> Event {
    Event::PoissonSampled {
        rate: Rational::from_f64(rate).expect("finite"),
        event: Box::new(Event::Gaussian { noise_multiplier: Positive::from_f64("sigma", sigma).expect("> 0") }),
    }
}

fn best<T>(mut work: impl FnMut() -> T) -> (T, f64) {
    let mut timed = || {
        let start = Instant::now();
        let found = work();
        (found, start.elapsed().as_secs_f64())
    };
    let first = timed();
    // Slow cases are run a few times only.
    let rounds = if first.1 > 0.2 { 2 } else { ROUNDS };
    (0..rounds).fold(first, |best, _| {
        let next = timed();
        if next.1 < best.1 { next } else { best }
    })
}
