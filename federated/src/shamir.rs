//! Shamir's secret sharing of 32-byte seeds over GF(2^16) (Shamir 1979).
//!
//! A seed is sixteen field elements, shared with sixteen polynomials at once. Points are public and secrets are not:
//! secret elements are multiplied by public ones by shifts and masks whose sequence depends on the public element
//! alone, and the tables below are indexed by public elements only.

use crate::Error;
use std::sync::OnceLock;
use zeroize::{Zeroize, Zeroizing};

/// x^16 + x^12 + x^3 + x + 1, primitive, so that x generates the multiplicative group.
const REDUCTION: u16 = 0x100B;
const ORDER: usize = 65_535;

/// Sixteen secret field elements, little-endian in 32 bytes.
type Block = [u16; 16];

/// One share of a 32-byte seed: the value of its sixteen polynomials at a public point.
pub type Share = Zeroizing<[u8; 32]>;

/// Splits `seed` so that any `threshold` of the shares rebuild it and fewer say nothing.
///
/// `points` are distinct and non-zero, and `threshold` is between 1 and their number: that is the caller's duty.
///
/// # Errors
/// [`Error::Entropy`].
pub fn split(seed: &[u8; 32], threshold: usize, points: &[u16]) -> Result<Vec<Share>, Error> {
    let mut random = Zeroizing::new(vec![0_u8; 32 * (threshold - 1)]);
    getrandom::fill(&mut random)?;
    let mut coefficients: Vec<Block> = Vec::with_capacity(threshold);
    coefficients.extend(random.chunks_exact(32).map(block));
    coefficients.push(block(seed));
    let shares = points.iter().map(|&point| Zeroizing::new(bytes(&evaluate(&coefficients, point)))).collect();
    coefficients.zeroize();
    Ok(shares)
}

/// The Lagrange weights that turn values at `points` into the value at zero. All of it is public.
pub fn weights(points: &[u16]) -> Vec<u16> {
    let field = public_field();
    points
        .iter()
        .map(|&here| {
            let logs: usize = points
                .iter()
                .filter(|&&other| other != here)
                .map(|&other| field.log(other) + ORDER - field.log(here ^ other))
                .sum();
            field.exp[logs % ORDER]
        })
        .collect()
}

/// Rebuilds a seed from shares and the [`weights`] of their points, in the same order.
pub fn rebuild<'a>(shares: impl IntoIterator<Item = &'a [u8; 32]>, weights: &[u16]) -> Zeroizing<[u8; 32]> {
    let mut sum: Block = [0; 16];
    for (share, &weight) in shares.into_iter().zip(weights) {
        let term = times_public(block(share), weight);
        sum.iter_mut().zip(term).for_each(|(s, t)| *s ^= t);
    }
    let seed = Zeroizing::new(bytes(&sum));
    sum.zeroize();
    seed
}

/// Horner's rule; the constant term is last.
fn evaluate(coefficients: &[Block], point: u16) -> Block {
    coefficients.iter().fold([0; 16], |value, coefficient| {
        let mut next = times_public(value, point);
        next.iter_mut().zip(coefficient).for_each(|(n, c)| *n ^= c);
        next
    })
}

/// A secret block times a public element, by doubling: the sequence of steps depends on the public element alone.
#[inline]
fn times_public(mut secret: Block, mut public: u16) -> Block {
    let mut product = [0; 16];
    while public != 0 {
        if public & 1 == 1 {
            product.iter_mut().zip(&secret).for_each(|(p, s)| *p ^= s);
        }
        public >>= 1;
        secret.iter_mut().for_each(|s| *s = (*s << 1) ^ ((*s >> 15).wrapping_neg() & REDUCTION));
    }
    product
}

fn block(bytes: &[u8]) -> Block {
    let mut block = [0; 16];
    block.iter_mut().zip(bytes.chunks_exact(2)).for_each(|(b, two)| *b = u16::from_le_bytes([two[0], two[1]]));
    block
}

fn bytes(block: &Block) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.chunks_exact_mut(2).zip(block).for_each(|(two, b)| two.copy_from_slice(&b.to_le_bytes()));
    bytes
}

/// Logarithms and powers of x, for public elements.
struct PublicField {
    exp: Vec<u16>,
    log: Vec<u16>,
}

impl PublicField {
    fn log(&self, element: u16) -> usize {
        usize::from(self.log[usize::from(element)])
    }
}

fn public_field() -> &'static PublicField {
    static FIELD: OnceLock<PublicField> = OnceLock::new();
    FIELD.get_or_init(|| {
        let (mut exp, mut log) = (vec![0; ORDER], vec![0; ORDER + 1]);
        let mut power = 1_u16;
        for (exponent, slot) in exp.iter_mut().enumerate() {
            *slot = power;
            log[usize::from(power)] = exponent as u16;
            power = (power << 1) ^ ((power >> 15).wrapping_neg() & REDUCTION);
        }
        PublicField { exp, log }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn x_generates_the_whole_group() {
        let mut seen = public_field().exp.clone();
        seen.sort_unstable();
        assert!(seen.iter().copied().eq(1..=u16::MAX));
    }

    /// Schoolbook multiplication of polynomials over GF(2), then long division: shares no code with the above.
    fn slow_product(a: u16, b: u16) -> u16 {
        let mut wide = (0..16).filter(|i| b >> i & 1 == 1).fold(0_u32, |sum, i| sum ^ (u32::from(a) << i));
        for i in (16..31).rev() {
            if wide >> i & 1 == 1 {
                wide ^= 0x1100B << (i - 16);
            }
        }
        wide as u16
    }

    proptest! {
        #[test]
        fn products_agree_with_schoolbook(a: u16, b: u16) {
            prop_assert_eq!(times_public([a; 16], b)[0], slow_product(a, b));
        }

        #[test]
        fn any_threshold_of_shares_rebuilds_and_one_fewer_does_not(
            seed: [u8; 32], holders in 1_usize..40, cut in any::<prop::sample::Index>(), order in any::<u64>(),
        ) {
            let threshold = cut.index(holders) + 1;
            let points: Vec<u16> = (1..=holders as u16).map(|p| p.wrapping_mul(1_601)).collect();
            let shares = split(&seed, threshold, &points).expect("a valid case");
            let mut chosen: Vec<usize> = (0..holders).collect();
            chosen.sort_by_key(|&i| (i as u64 + 1).wrapping_mul(order | 1));
            let rebuilt = |chosen: &[usize]| {
                let points: Vec<u16> = chosen.iter().map(|&i| points[i]).collect();
                *rebuild(chosen.iter().map(|&i| &*shares[i]), &weights(&points))
            };
            prop_assert_eq!(rebuilt(&chosen[..threshold]), seed);
            prop_assert_eq!(rebuilt(&chosen), seed);
            if threshold > 1 {
                prop_assert_ne!(rebuilt(&chosen[..threshold - 1]), seed);
            }
        }
    }
}
