//! Releases without noise: for tests alone.
//!
//! Tests of sensitivity need the exact values that noise is added to. Nothing in this crate switches noise off unless
//! the feature `testing` is on *and* a [`Noiseless`] guard is alive on the calling thread. Ledgers refuse to record
//! anything meanwhile, and records of releases say NOT PRIVATE: both ask [`is_noiseless`].

/// Whether releases on this thread are without noise at the moment. Always false without the feature `testing`.
#[must_use]
pub fn is_noiseless() -> bool {
    #[cfg(feature = "testing")]
    return switch::DEPTH.get() > 0;
    #[cfg(not(feature = "testing"))]
    false
}

#[cfg(feature = "testing")]
pub use switch::Noiseless;

#[cfg(feature = "testing")]
mod switch {
    use std::cell::Cell;
    use std::marker::PhantomData;

    thread_local! {
        pub(super) static DEPTH: Cell<u32> = const { Cell::new(0) };
    }

    /// While one is alive, releases on this thread have NO NOISE and are NOT PRIVATE.
    ///
    /// ```
    /// use veilsum_dp_core::mechanism::noiseless::{Noiseless, is_noiseless};
    /// let guard = Noiseless::begin();
    /// assert!(is_noiseless());
    /// assert!(!std::thread::spawn(is_noiseless).join().unwrap());
    /// drop(guard);
    /// assert!(!is_noiseless());
    /// ```
    #[derive(Debug)]
    #[must_use = "noise is back as soon as the guard is dropped"]
    pub struct Noiseless(PhantomData<*const ()>);

    impl Noiseless {
        /// Switches noise off on this thread until the guard is dropped.
        pub fn begin() -> Self {
            DEPTH.set(DEPTH.get() + 1);
            Self(PhantomData)
        }
    }

    impl Drop for Noiseless {
        fn drop(&mut self) {
            DEPTH.set(DEPTH.get() - 1);
        }
    }
}
