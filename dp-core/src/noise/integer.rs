//! What the integer laws share: whole numbers drawn from a cover.

use super::cover::{Cover, Whole};
use super::source::Key;
use super::words::CHUNK;
use crate::Error;
use std::sync::Arc;

/// Samples under one release key: 2^13 chunk keys.
pub(crate) const SEGMENT: usize = CHUNK << 12;

/// Draws integers.
#[derive(Clone, Debug)]
pub(crate) struct Integers(Arc<Cover>);

impl Integers {
    pub(crate) fn new(cover: Arc<Cover>) -> Self {
        Self(cover)
    }

    /// The tables.
    #[cfg(feature = "testing")]
    pub(crate) fn cover(&self) -> Arc<Cover> {
        Arc::clone(&self.0)
    }

    pub(crate) fn fill(&self, out: &mut [i64]) -> Result<(), Error> {
        for segment in out.chunks_mut(SEGMENT) {
            self.fill_keyed(&Key::fresh()?, 0, segment);
        }
        Ok(())
    }

    pub(crate) fn sample(&self) -> Result<i64, Error> {
        let mut one = [0];
        self.fill(&mut one)?;
        Ok(one[0])
    }

    /// Samples `first ..` under a key.
    pub(crate) fn fill_keyed(&self, key: &Key, first: u64, out: &mut [i64]) {
        self.0.run(key, first, out, &Whole);
    }
}
