//! Bytes that are wiped when they are dropped and that nothing prints.
//!
//! A [`Secret`] lives in one heap allocation from its creation to its end, so that moving it copies a pointer and never
//! the bytes. It has no `Clone`, compares in constant time, and its `Debug` shows its length alone.

use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::Zeroize;

use crate::error::Error;

/// `N` secret bytes: never printed, compared in constant time, wiped on drop.
///
/// ```
/// let secret = veilsum_crypto::secret::Secret::<32>::random()?;
/// assert_eq!(format!("{secret:?}"), "Secret<32>");
/// # Ok::<(), veilsum_crypto::Error>(())
/// ```
pub struct Secret<const N: usize>(Box<[u8; N]>);

impl<const N: usize> Secret<N> {
    /// Fresh bytes from the operating system.
    ///
    /// # Errors
    /// [`Error::Entropy`] if it gives none.
    pub fn random() -> Result<Self, Error> {
        let mut secret = Self::zeroed();
        crate::random::fill(&mut secret.0[..])?;
        Ok(secret)
    }

    /// Bytes that `fill` writes where they will stay.
    pub fn filled_by(fill: impl FnOnce(&mut [u8; N])) -> Self {
        let mut secret = Self::zeroed();
        fill(&mut secret.0);
        scrub_stack();
        secret
    }

    /// A copy of `bytes`, whose other copy the caller must wipe.
    pub fn copied_from(bytes: &[u8; N]) -> Self {
        let mut secret = Self::zeroed();
        secret.0.copy_from_slice(bytes);
        secret
    }

    /// The bytes. Copy them nowhere.
    pub fn expose(&self) -> &[u8; N] {
        &self.0
    }

    fn zeroed() -> Self {
        Self(Box::new([0; N]))
    }
}

impl<const N: usize> fmt::Debug for Secret<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret<{N}>")
    }
}

impl<const N: usize> PartialEq for Secret<N> {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0[..]).into()
    }
}

impl<const N: usize> Eq for Secret<N> {}

impl<const N: usize> Drop for Secret<N> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// Overwrites the stack below the caller, where the primitives' frames may have left working copies of a key.
///
/// The primitives wipe what they own; what a compiler spilled while moving a key into them is nobody's. The depth
/// covers the deepest of them (ML-KEM's matrices).
#[inline(never)]
pub(crate) fn scrub_stack() {
    std::hint::black_box(&mut [0_u8; 64 * 1024]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_it_is_printed_and_equality_is_of_bytes() {
        let secret = Secret::filled_by(|bytes: &mut [u8; 4]| bytes.copy_from_slice(b"abcd"));
        assert_eq!(format!("{secret:?}{secret:#?}"), "Secret<4>Secret<4>");
        assert_eq!(secret, Secret::copied_from(b"abcd"));
        assert_ne!(secret, Secret::copied_from(b"abce"));
    }

    /// A frame of 32 KiB full of marks is still there after its function returned, and gone once the stack is scrubbed.
    #[cfg(target_os = "linux")]
    #[test]
    fn scrubbing_reaches_what_a_deep_call_left() {
        use std::io::{Read, Seek, SeekFrom};
        const MARK: u8 = 0xA7;

        #[inline(never)]
        fn leave_marks() -> u64 {
            let mut frame = [MARK; 32 * 1024];
            std::hint::black_box(&mut frame).as_ptr() as u64
        }
        let mut found = vec![0; 32 * 1024];
        let mut memory = std::fs::File::open("/proc/self/mem").expect("Linux");
        let mut marks_at = |place| {
            memory.seek(SeekFrom::Start(place)).and_then(|_| memory.read_exact(&mut found)).expect("our own stack");
            found.iter().filter(|byte| **byte == MARK).count()
        };
        let place = leave_marks();
        assert!(marks_at(place) > 24 * 1024, "what a call leaves is found");
        let place = leave_marks();
        scrub_stack();
        assert!(marks_at(place) < 1024, "and overwritten");
    }
}
