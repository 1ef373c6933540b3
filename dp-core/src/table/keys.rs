//! Unknown keys: which of them may be named at all.
//!
//! A key is kept with a probability that depends on how many people have it. The optimal such rule for one key a person
//! is the truncated geometric one (Desfontaines, Voss, Gipson and Mandayam 2022, "Differentially private partition
//! selection", theorem 1): the largest probabilities p(0) = 0, p(1), ... that satisfy, for neighbours n and n + 1,
//!
//! ```text
//! p(n+1) <= e^eps p(n) + delta        and        1 - p(n) <= e^eps (1 - p(n+1)) + delta
//! ```
//!
//! A person in up to k keys gets (epsilon / k, delta / k) in each, by basic composition. The table below holds these
//! probabilities as whole multiples of 2^-128, each rounded down after e^eps was; the two inequalities bound p(n+1) from
//! above, so they hold for the very numbers that the coin is tossed with. That coin is the only predicate there is.

use crate::Error;
use crate::noise::exact::Exact;
use crate::privacy::{Delta, Epsilon, Positive, Rational};
use num_bigint::BigUint;
use num_traits::{One, ToPrimitive, Zero};

/// The probabilities of keeping a key, by its number of people.
#[derive(Clone, Debug)]
pub(super) struct Selection {
    /// Over 2^128; a key of more people is kept.
    keep: Vec<u128>,
}

/// Bits after the point of e^epsilon - 1.
const POINT: u32 = 192;
/// Beyond this nothing is gained, and numbers stay small.
const LARGEST_EPSILON: u32 = 40;
/// Longest table: a smaller epsilon with a smaller delta would keep no key below this many people anyway.
const LONGEST: usize = 1 << 20;

impl Selection {
    /// `keys`: how many keys' numbers of people one person can change by one.
    pub(super) fn new(epsilon: &Epsilon, delta: &Delta, keys: u64) -> Result<Self, Error> {
        let keys = Positive::new("keys", Rational::from(keys))?;
        let growth = expm1_below(&(epsilon.rational() / &keys));
        let whole = BigUint::one() << 128;
        let delta = floor(&(delta.rational() / &keys), 128);
        if delta.is_zero() {
            return Err(Error::out_of_range("delta", &keys, "at least 2^-128 for each key of a person"));
        }
        let (mut keep, mut p) = (vec![], BigUint::zero());
        while p < whole {
            keep.push(p.to_u128().unwrap_or(u128::MAX));
            if keep.len() > LONGEST {
                return Err(Error::out_of_range(
                    "epsilon",
                    epsilon,
                    "large enough for unknown keys to appear below a million people; or give the keys, if they are public",
                ));
            }
            let first = &p + ((&p * &growth) >> POINT) + &delta;
            let sure = &p + &delta;
            let second = if sure >= whole {
                whole.clone()
            } else {
                // 1 - (1 - p - delta) / e^epsilon, the quotient rounded up.
                let divisor = (BigUint::one() << POINT) + &growth;
                &whole - (((&whole - sure) << POINT) + &divisor - 1u32) / divisor
            };
            p = first.min(second).min(whole.clone());
        }
        Ok(Self { keep })
    }

    /// Tosses the coin for a key that this many people have.
    pub(super) fn keeps(&self, people: u64, exact: &mut Exact) -> bool {
        let coin = u128::from(exact.word()) << 64 | u128::from(exact.word());
        usize::try_from(people).ok().and_then(|n| self.keep.get(n)).is_none_or(|p| coin < *p)
    }
}

/// A number not above x 2^bits, and less than one below it.
fn floor(x: &Rational, bits: u32) -> BigUint {
    (x.numerator().magnitude() << bits) / x.denominator().magnitude()
}

/// A number not above (e^x - 1) 2^POINT: the terms of the exponential series are positive, and each is rounded down.
fn expm1_below(x: &Rational) -> BigUint {
    let x = floor(x, POINT).min(BigUint::from(LARGEST_EPSILON) << POINT);
    let (mut term, mut sum) = (x.clone(), BigUint::zero());
    for k in 2_u32.. {
        if term.is_zero() {
            break;
        }
        sum += &term;
        term = ((term * &x) >> POINT) / k;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selection(epsilon: &str, delta: &str, keys: u64) -> Selection {
        let (epsilon, delta) = (epsilon.parse().expect("number"), delta.parse().expect("number"));
        Selection::new(&Epsilon::new(epsilon).expect("valid"), &Delta::new(delta).expect("valid"), keys).expect("fits")
    }

    /// The exact probability with n people.
    fn p(selection: &Selection, n: usize) -> f64 {
        selection.keep.get(n).map_or(1.0, |p| *p as f64 / 2f64.powi(128))
    }

    #[test]
    fn nobody_is_never_named_and_one_person_with_probability_delta() {
        let s = selection("1", "1e-6", 1);
        assert_eq!(s.keep[0], 0);
        assert!((p(&s, 1) - 1e-6).abs() < 1e-20);
    }

    /// Theorem 1 in closed form, up to the crossover: p(n) = delta (e^(n eps) - 1) / (e^eps - 1).
    #[test]
    fn the_table_is_the_published_optimum() {
        for (eps, delta) in [(1.0_f64, 1e-5_f64), (0.1, 1e-8), (3.0, 1e-12)] {
            let s = selection(&eps.to_string(), &format!("{delta:e}"), 1);
            for n in 0..s.keep.len() {
                let expected = delta * (n as f64 * eps).exp_m1() / eps.exp_m1();
                if expected < 0.4 {
                    assert!((p(&s, n) - expected).abs() <= 1e-9 * expected, "{eps} {delta} {n}");
                }
            }
        }
    }

    /// Both inequalities at every n, in exact arithmetic, with e^epsilon rounded *up* by a rational that is surely
    /// larger: what holds with room to spare holds.
    #[test]
    fn every_pair_of_neighbours_satisfies_the_definition() {
        for (eps, delta, keys) in [("1", "1e-5", 1), ("1/2", "1e-9", 3), ("7", "1e-30", 2), ("40", "1e-3", 1)] {
            let s = selection(eps, delta, keys);
            let keys = Positive::new("keys", Rational::from(keys)).expect("positive");
            let per_key = |text: &str| &text.parse::<Rational>().expect("number") / &keys;
            let growth = (BigUint::one() << POINT) + expm1_below(&per_key(eps)) + (BigUint::one() << 16);
            let delta = floor(&per_key(delta), 128) + 1u32;
            let whole: BigUint = BigUint::one() << 128;
            let at = |n: usize| s.keep.get(n).map_or(whole.clone(), |p| BigUint::from(*p));
            for n in 0..=s.keep.len() {
                let (low, high) = (at(n), at(n + 1));
                assert!(low <= high);
                assert!(&high << POINT <= &low * &growth + (&delta << POINT), "keep, {n}");
                assert!((&whole - &low) << POINT <= (&whole - &high) * &growth + (&delta << POINT), "drop, {n}");
            }
        }
    }
}
