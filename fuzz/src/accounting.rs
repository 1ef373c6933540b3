//! Accountants: any events and any question give an ordered enclosure or an error, never a panic and never NaN.

use veilsum_dp_core::accounting::{Enclosure, Event, PldAccountant, RdpAccountant, ZcdpAccountant};
use veilsum_dp_core::privacy::{Delta, Epsilon, Positive, Rational};
use veilsum_dp_core::sensitivity::Neighbors;

/// The relation, the question, then events of three bytes and a float each.
pub fn accounting(data: &[u8]) {
    let Some([relation, question @ ..]) = data.get(..9) else { return };
    let neighbors = [Neighbors::AddRemove, Neighbors::ReplaceOne, Neighbors::ZeroOut][usize::from(*relation % 3)];
    let Ok(question) = question.try_into().map(f64::from_le_bytes) else { return };
    let (mut pld, mut rdp, mut zcdp) =
        (PldAccountant::new(neighbors), RdpAccountant::new(neighbors), ZcdpAccountant::new(neighbors));
    for word in data[9..].chunks_exact(11).take(3) {
        let Some((event, count)) = event(word) else { continue };
        let _ = (pld.compose(&event, count), rdp.compose(&event, count), zcdp.compose(&event, count));
    }
    let all = [
        (pld.epsilon(question), pld.delta(question)),
        (rdp.epsilon(question), rdp.delta(question)),
        (zcdp.epsilon(question), zcdp.delta(question)),
    ];
    for (epsilon, delta) in all {
        if let Ok(found) = epsilon {
            ordered(found, f64::INFINITY);
        }
        if let Ok(found) = delta {
            ordered(found, 1.0);
        }
    }
}

fn ordered(found: Enclosure, most: f64) {
    assert!(0.0 <= found.lo() && found.lo() <= found.hi(), "{found:?}");
    assert!(found.hi() <= most || found.hi() == f64::INFINITY, "{found:?}");
}

/// A kind, a small parameter, a count, and a number.
fn event(word: &[u8]) -> Option<(Event, u64)> {
    let (&[kind, small, count], number) = word.split_first_chunk::<3>()?;
    let number = f64::from_le_bytes(number.try_into().ok()?);
    let (scale, whole) = (Positive::from_f64("scale", number).ok(), u64::from(small % 8) + 1);
    let rate = Rational::new(i128::from(small) + 1, 256)?;
    let event = match kind % 8 {
        0 => Event::Gaussian { noise_multiplier: scale? },
        1 => Event::Laplace { noise_multiplier: scale? },
        // Laws that are listed outcome by outcome: of a size that a fuzzer can wait for.
        2 => Event::DiscreteGaussian { sigma: scale.filter(|_| number < 1e4)?, sensitivity: whole },
        3 => Event::DiscreteLaplace { scale: scale?, sensitivity: whole },
        4 => Event::Skellam { variance: scale.filter(|_| number < 1e5)?, l1: whole, squared_l2: whole },
        5 => Event::RandomizedResponse { epsilon: Epsilon::from_decimal(number).ok()?, categories: u32::from(small) },
        6 => Event::Pure { epsilon: Epsilon::from_decimal(number).ok()? },
        _ => Event::Approximate { epsilon: rate.clone(), delta: Delta::from_decimal(number).ok()? },
    };
    let event = match kind / 8 % 3 {
        0 => event,
        1 => Event::PoissonSampled { rate, event: Box::new(event) },
        _ => Event::SampledWithoutReplacement { population: 256, size: u64::from(small) + 1, event: Box::new(event) },
    };
    // Counts from one to astronomical.
    Some((event, 1_u64.checked_shl(u32::from(count) % 64)? | u64::from(count / 64)))
}
