//! The ring Z_2^b: words, and the packed bytes that travel.
//!
//! A vector is a list of lanes, `u32` for b <= 32 and `u64` above. Sums wrap at the lane, which is a multiple of 2^b,
//! and are reduced where they are packed or read.

use crate::Error;
use rayon::prelude::*;

/// The widest ring: one bit less than a signed word, so that every residue has a signed reading in `i64`.
pub const MAX_BITS: u32 = 62;

/// A machine word that carries residues.
pub(crate) trait Lane: Copy + Default + Send + Sync + Eq + 'static {
    const BYTES: usize;
    /// Adds the little-endian words of `bytes`.
    fn add_words(lanes: &mut [Self], bytes: &[u8]);
    /// Takes them away.
    fn subtract_words(lanes: &mut [Self], bytes: &[u8]);
    fn plus(self, other: Self) -> Self;
    fn from_signed(value: i64) -> Self;
    fn to_u64(self) -> u64;
    fn from_u64(value: u64) -> Self;
}

macro_rules! lane {
    ($word:ty) => {
        impl Lane for $word {
            const BYTES: usize = size_of::<$word>();
            // Chunks of known size let the compiler use the widest registers there are.
            fn add_words(lanes: &mut [Self], bytes: &[u8]) {
                let words = bytes.as_chunks::<{ size_of::<$word>() }>().0;
                lanes
                    .iter_mut()
                    .zip(words)
                    .for_each(|(lane, word)| *lane = lane.wrapping_add(<$word>::from_le_bytes(*word)));
            }
            fn subtract_words(lanes: &mut [Self], bytes: &[u8]) {
                let words = bytes.as_chunks::<{ size_of::<$word>() }>().0;
                lanes
                    .iter_mut()
                    .zip(words)
                    .for_each(|(lane, word)| *lane = lane.wrapping_sub(<$word>::from_le_bytes(*word)));
            }
            #[inline(always)]
            fn plus(self, other: Self) -> Self {
                self.wrapping_add(other)
            }
            #[inline(always)]
            fn from_signed(value: i64) -> Self {
                value as $word
            }
            #[inline(always)]
            fn to_u64(self) -> u64 {
                u64::from(self)
            }
            #[inline(always)]
            fn from_u64(value: u64) -> Self {
                value as $word
            }
        }
    };
}
lane!(u32);
lane!(u64);

/// The number of bytes that `count` residues of `bits` bits take on the wire.
#[must_use]
pub fn packed_len(count: usize, bits: u32) -> usize {
    (count as u128 * u128::from(bits)).div_ceil(8) as usize
}

/// Packs residues, least significant bit first; the last byte is filled up with zero bits.
pub(crate) fn pack<L: Lane>(words: &[L], bits: u32) -> Vec<u8> {
    let keep = (1_u64 << bits) - 1;
    let mut bytes = Vec::with_capacity(packed_len(words.len(), bits) + 8);
    let (mut held, mut filled) = (0_u128, 0_u32);
    for word in words {
        held |= u128::from(word.to_u64() & keep) << filled;
        filled += bits;
        if filled >= 64 {
            bytes.extend_from_slice(&(held as u64).to_le_bytes());
            held >>= 64;
            filled -= 64;
        }
    }
    bytes.extend_from_slice(&held.to_le_bytes()[..filled.div_ceil(8) as usize]);
    bytes
}

/// Refuses packed vectors of another length, or with stray bits after the last residue: one vector has one encoding.
pub(crate) fn check_packed(bytes: &[u8], bits: u32, count: usize) -> Result<(), Error> {
    let malformed = |why| Err(Error::Malformed { message: "upload", why });
    if bytes.len() != packed_len(count, bits) {
        return malformed("the vector's length is not that of this round");
    }
    let stray = 8 * bytes.len() - (count as u128 * u128::from(bits)) as usize;
    match bytes.last() {
        Some(last) if stray > 0 && last >> (8 - stray) != 0 => malformed("the vector's unused bits are not zero"),
        _ => Ok(()),
    }
}

/// Reads `count` packed residues.
pub(crate) fn unpack(bytes: &[u8], bits: u32, count: usize) -> Result<Vec<u64>, Error> {
    check_packed(bytes, bits, count)?;
    let mut words = vec![0_u64; count];
    add_residues(&mut words, bytes, bits);
    Ok(words)
}

/// Residues that one thread adds at a time: a multiple of eight, so that their bits begin and end with a byte.
const TILE: usize = 16 * 1024;

/// Adds as many packed residues as `sum` has lanes, on all threads of the current pool.
pub(crate) fn add_packed<L: Lane>(sum: &mut [L], bytes: &[u8], bits: u32) -> Result<(), Error> {
    check_packed(bytes, bits, sum.len())?;
    let parts = sum.par_chunks_mut(TILE).zip(bytes.par_chunks(TILE / 8 * bits as usize));
    parts.for_each(|(lanes, bytes)| add_residues(lanes, bytes, bits));
    Ok(())
}

fn add_residues<L: Lane>(lanes: &mut [L], bytes: &[u8], bits: u32) {
    let (keep, width) = ((1_u64 << bits) - 1, bits as usize);
    // A residue lies within the eight bytes from its first bit's on, if it has no more than 57 bits.
    let within = if width <= 57 && bytes.len() >= 8 { (8 * (bytes.len() - 8) + 7) / width + 1 } else { 0 };
    let (most, rest) = lanes.split_at_mut(within.min(lanes.len()));
    for (i, lane) in most.iter_mut().enumerate() {
        let at = i * width;
        let mut window = [0; 8];
        window.copy_from_slice(&bytes[at / 8..at / 8 + 8]);
        *lane = lane.plus(L::from_u64(u64::from_le_bytes(window) >> (at % 8) & keep));
    }
    for (i, lane) in (most.len()..).zip(rest) {
        let at = i * width;
        let end = bytes.len().min(at / 8 + 16);
        let mut window = [0; 16];
        window[..end - at / 8].copy_from_slice(&bytes[at / 8..end]);
        *lane = lane.plus(L::from_u64((u128::from_le_bytes(window) >> (at % 8)) as u64 & keep));
    }
}

/// The signed reading of a residue: the representative in [-2^(b-1), 2^(b-1)).
pub(crate) fn signed(word: u64, bits: u32) -> i64 {
    let shift = 64 - bits;
    ((word << shift) as i64) >> shift
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_packed_reads_back(bits in 2..=MAX_BITS, words in prop::collection::vec(any::<u64>(), 0..70)) {
            let bytes = pack(&words, bits);
            prop_assert_eq!(bytes.len(), packed_len(words.len(), bits));
            let again = unpack(&bytes, bits, words.len()).expect("a valid case");
            let reduced: Vec<u64> = words.iter().map(|w| w & ((1 << bits) - 1)).collect();
            prop_assert_eq!(again, reduced);
        }

        #[test]
        fn tiles_add_up(bits in 2..=MAX_BITS, extra in 0..100_usize, word in any::<u64>()) {
            let words: Vec<u64> = (0..(TILE + extra) as u64).map(|i| word.wrapping_mul(i | 1).rotate_left(i as u32)).collect();
            let (mut narrow, mut wide) = (vec![7_u32; words.len()], vec![7_u64; words.len()]);
            let bytes = pack(&words, bits);
            add_packed(&mut narrow, &bytes, bits).expect("a valid case");
            add_packed(&mut wide, &bytes, bits).expect("a valid case");
            for (i, word) in words.iter().map(|w| w & ((1 << bits) - 1)).enumerate() {
                prop_assert_eq!((narrow[i], wide[i]), ((word as u32).wrapping_add(7), word + 7));
            }
        }

        #[test]
        fn the_signed_reading_is_the_nearest_to_zero(bits in 2..=MAX_BITS, value in any::<i64>()) {
            let half = 1_i64 << (bits - 1);
            let value = value.rem_euclid(2 * half) - half;
            prop_assert_eq!(signed(value as u64, bits), value);
        }
    }

    #[test]
    fn a_vector_of_another_length_or_with_stray_bits_is_refused() {
        let bytes = pack(&[1_u32, 2, 3], 11);
        assert!(unpack(&bytes[..4], 11, 3).is_err());
        assert!(unpack(&[&bytes[..], &[0]].concat(), 11, 3).is_err());
        let mut stray = bytes.clone();
        stray[4] |= 0x80;
        assert!(unpack(&stray, 11, 3).is_err());
    }
}
