//! Randomness from the operating system, and salts that stay distinct when it fails to be random.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};

use rand_core::{TryCryptoRng, TryRng};
use zeroize::Zeroize;

use crate::error::Error;
use crate::kdf;

/// Fills `bytes` from the operating system.
pub(crate) fn fill(bytes: &mut [u8]) -> Result<(), Error> {
    getrandom::fill(bytes).map_err(|_| Error::Entropy)
}

/// A salt for one message under `key`: a pseudo-random function of the operating system's randomness, a counter, the
/// process id, the context and (for messages that are at hand whole) the payload's digest.
///
/// Two messages share a salt only if *all* of these agree. After a fork the process id differs. In a cloned virtual
/// machine whose randomness repeats, one-shot messages that differ still get different salts; streams, whose payload is
/// not known yet, do not, and no claim is made for them there.
pub(crate) fn hedged_salt(key: &[u8; 32], context: &[&[u8]], digest: Option<&[u8]>) -> Result<[u8; 24], Error> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    fresh_salt(key, COUNTER.fetch_add(1, Ordering::Relaxed), std::process::id(), context, digest)
}

fn fresh_salt(
    key: &[u8; 32],
    count: u64,
    process: u32,
    context: &[&[u8]],
    digest: Option<&[u8]>,
) -> Result<[u8; 24], Error> {
    let mut fresh = [0; 32];
    fill(&mut fresh)?;
    Ok(salt_from(key, &fresh, count.to_be_bytes(), process, context, digest))
}

fn salt_from(
    key: &[u8; 32],
    fresh: &[u8; 32],
    count: [u8; 8],
    process: u32,
    context: &[&[u8]],
    digest: Option<&[u8]>,
) -> [u8; 24] {
    let context_length = (context.iter().map(|part| part.len()).sum::<usize>() as u64).to_be_bytes();
    let process = process.to_be_bytes();
    let mut info: Vec<&[u8]> = vec![b"veilsum.salt.v1\0", fresh, &count, &process, &context_length];
    info.extend_from_slice(context);
    info.push(digest.unwrap_or_default());
    let mut salt = [0; 24];
    kdf::expand(key, &info, &mut salt);
    salt
}

/// A generator for interfaces that ask for one and cannot fail: BLAKE3's output stream under a fresh key.
pub(crate) struct Draws(blake3::OutputReader);

impl Draws {
    /// Keyed afresh from the operating system.
    pub(crate) fn fresh() -> Result<Self, Error> {
        let mut seed = [0; 32];
        fill(&mut seed)?;
        let mut hasher = blake3::Hasher::new_keyed(&seed);
        hasher.update(&std::process::id().to_be_bytes());
        let draws = Self(hasher.finalize_xof());
        hasher.zeroize();
        seed.zeroize();
        Ok(draws)
    }
}

impl Drop for Draws {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl TryRng for Draws {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.0.fill(&mut bytes);
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.0.fill(bytes);
        Ok(())
    }
}

impl TryCryptoRng for Draws {}

#[cfg(test)]
mod tests {
    use super::*;

    /// A key that two processes of one number use one after the other, as containers do: the operating system's
    /// randomness alone keeps their salts apart.
    #[test]
    fn salts_differ_where_everything_else_agrees() {
        let salt = || fresh_salt(&[1; 32], 0, 1, &[b"context"], None).expect("entropy");
        assert_ne!(salt(), salt());
    }

    /// Where the operating system repeats itself, any one of the other inputs keeps salts apart.
    #[test]
    fn every_input_of_the_salt_counts() {
        let salt = |key: u8, fresh: u8, count: u64, process: u32, context: &[&[u8]], digest: Option<&[u8]>| {
            salt_from(&[key; 32], &[fresh; 32], count.to_be_bytes(), process, context, digest)
        };
        let first = salt(1, 2, 3, 4, &[b"ab", b"c"], Some(b"digest"));
        assert_eq!(first, salt(1, 2, 3, 4, &[b"a", b"bc"], Some(b"digest")));
        let others = [
            salt(9, 2, 3, 4, &[b"abc"], Some(b"digest")),
            salt(1, 9, 3, 4, &[b"abc"], Some(b"digest")),
            salt(1, 2, 9, 4, &[b"abc"], Some(b"digest")),
            salt(1, 2, 3, 9, &[b"abc"], Some(b"digest")),
            salt(1, 2, 3, 4, &[b"abd"], Some(b"digest")),
            salt(1, 2, 3, 4, &[b"abc"], Some(b"digesu")),
            salt(1, 2, 3, 4, &[b"abc"], None),
            salt(1, 2, 3, 4, &[b"abcdig"], Some(b"est")),
        ];
        for (index, other) in others.iter().enumerate() {
            assert_ne!(&first, other, "{index}");
        }
    }
}
