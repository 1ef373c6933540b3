//! Mechanisms: any parameters and any input give a release on the grid or an error, never a panic.

use veilsum_dp_core::mechanism::{
    Additive, DiscreteGaussian, DiscreteLaplace, Exponential, Gaussian, Laplace, Mechanism, RandomizedResponse,
    ReportNoisyMax, Skellam, SparseVector,
};
use veilsum_dp_core::privacy::{Epsilon, Positive};
use veilsum_dp_core::sensitivity::{L1, L2, LInf};

/// A kind, two parameters, then the input in words of 8 bytes.
pub fn mechanism(data: &[u8]) {
    let Some((&kind, data)) = data.split_first() else { return };
    let words: Vec<u64> =
        data.chunks_exact(8).filter_map(|word| word.try_into().ok()).map(u64::from_le_bytes).take(64).collect();
    let [first, second, input @ ..] = &words[..] else { return };
    let (first, second) = (f64::from_bits(*first), f64::from_bits(*second));
    let Ok(parameter) = Positive::from_f64("parameter", first) else { return };
    let floats: Vec<f64> = input.iter().map(|&word| f64::from_bits(word)).collect();
    let integers: Vec<i64> = input.iter().map(|&word| word as i64).collect();
    let (l1, l2) = (L1::from_f64(second), L2::from_f64(second));
    match (kind % 9, l1, l2, LInf::from_f64(second), Epsilon::from_decimal(first)) {
        (0, Ok(l1), ..) => on_grid(Laplace::new(parameter, l1), &floats),
        (1, _, Ok(l2), ..) => on_grid(Gaussian::new(parameter, l2), &floats),
        (2, Ok(l1), ..) => whole(DiscreteLaplace::new(parameter, l1), &integers),
        (3, Ok(l1), ..) => whole(DiscreteGaussian::new(parameter, l1), &integers),
        (4, _, Ok(l2), ..) => whole(Skellam::new(parameter, l2), &integers),
        (5, .., Ok(epsilon)) => {
            let categories = (second.to_bits() % 64) as u32;
            let Ok(response) = RandomizedResponse::new(epsilon, categories) else { return };
            let answers: Vec<u32> = input.iter().map(|word| (*word % 64) as u32).collect();
            match response.release(&answers) {
                Ok(released) => assert!(released.iter().all(|&answer| answer < categories)),
                Err(_) => assert!(answers.iter().any(|&answer| answer >= categories)),
            }
        }
        (6, .., Ok(linf), Ok(epsilon)) => match ReportNoisyMax::new(epsilon, linf).release(&floats) {
            Ok(winner) => assert!(winner < floats.len()),
            Err(_) => assert!(floats.is_empty() || floats.iter().any(|x| !x.is_finite())),
        },
        (7, .., Ok(linf), Ok(epsilon)) => {
            let candidates: Vec<(u64, i64)> = input.chunks_exact(2).map(|pair| (pair[0], pair[1] as i64)).collect();
            match Exponential::new(epsilon, linf).release(&candidates) {
                Ok(chosen) => assert!(candidates[chosen].0 > 0),
                Err(_) => assert!(candidates.iter().all(|(weight, _)| *weight == 0)),
            }
        }
        (8, .., Ok(linf), Ok(epsilon)) => {
            let hits = (second.to_bits() % 8) as u32;
            let threshold = floats.first().copied().unwrap_or(0.0);
            let Ok(mut above) = SparseVector::new(epsilon, threshold, hits, linf) else { return };
            let answers = floats.iter().filter_map(|&x| above.release(x).ok());
            assert!(answers.filter(|hit| *hit).count() as u32 <= hits);
        }
        _ => {}
    }
}

fn on_grid<M, E>(mechanism: Result<M, E>, input: &[f64])
where
    M: Mechanism<Input = [f64], Output = Vec<f64>> + Additive<Number = f64>,
{
    let Ok(mechanism) = mechanism else { return };
    let _ = mechanism.half_width(0.95).map(|width| assert!(width > 0.0 && width.is_finite()));
    match mechanism.release(input) {
        Ok(released) => {
            assert_eq!(released.len(), input.len());
            for y in released {
                let steps = y / mechanism.grid();
                assert!(y.is_finite() && (steps.is_infinite() || steps.fract() == 0.0));
            }
        }
        Err(_) => assert!(input.iter().any(|x| !x.is_finite())),
    }
}

fn whole<M, E>(mechanism: Result<M, E>, input: &[i64])
where
    M: Mechanism<Input = [i64], Output = Vec<i64>> + Additive<Number = i64>,
{
    let Ok(mechanism) = mechanism else { return };
    let released = mechanism.release(input).map_or(0, |released| released.len());
    assert_eq!(released, input.len());
}
