//! The ring Z_2^b: words, and the packed bytes that travel.
//!
//! A vector is a list of lanes, `u32` for b <= 32 and `u64` above. Sums wrap at the lane, which is a multiple of 2^b,
//! and are reduced where they are packed or read.

use crate::Error;

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

/// Reads `count` packed residues and hands each to `visit` with its index.
pub(crate) fn unpack(bytes: &[u8], bits: u32, count: usize, mut visit: impl FnMut(usize, u64)) -> Result<(), Error> {
    check_packed(bytes, bits, count)?;
    let keep = (1_u64 << bits) - 1;
    let (mut held, mut filled) = (0_u128, 0_u32);
    let mut chunks = bytes.chunks(8);
    for index in 0..count {
        if filled < bits {
            let chunk = chunks.next().unwrap_or_default();
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            held |= u128::from(u64::from_le_bytes(word)) << filled;
            filled += 64;
        }
        visit(index, held as u64 & keep);
        held >>= bits;
        filled -= bits;
    }
    Ok(())
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
            let mut again = Vec::new();
            unpack(&bytes, bits, words.len(), |_, w| again.push(w)).expect("a valid case");
            let reduced: Vec<u64> = words.iter().map(|w| w & ((1 << bits) - 1)).collect();
            prop_assert_eq!(again, reduced);
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
        assert!(unpack(&bytes[..4], 11, 3, |_, _| ()).is_err());
        assert!(unpack(&[&bytes[..], &[0]].concat(), 11, 3, |_, _| ()).is_err());
        let mut stray = bytes.clone();
        stray[4] |= 0x80;
        assert!(unpack(&stray, 11, 3, |_, _| ()).is_err());
    }
}
