//! Sharp tools: the protocol's parts on their own, for measurements and for other protocols.
//!
//! Nothing here checks who may see what. Shares of one secret must never meet at one party that should not know it, and
//! a mask key must serve one mask.

pub use crate::shamir::{Share, rebuild, split, weights};

use crate::mask::{Mask, Sign};
use zeroize::Zeroizing;

/// Adds the mask of each key to `sum`, modulo 2^32.
pub fn add_masks(sum: &mut [u32], keys: &[[u8; 32]]) {
    let masks: Vec<Mask> = keys.iter().map(|key| Mask { key: Zeroizing::new(*key), sign: Sign::Plus }).collect();
    crate::mask::apply(sum, &masks);
}
