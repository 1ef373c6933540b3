//! Sharp tools: the protocol's parts on their own, for measurements and for other protocols.
//!
//! Nothing here checks who may see what. Shares of one secret must never meet at one party that should not know it, and
//! a mask key must serve one mask.

pub use crate::shamir::{Share, rebuild, split, weights};

use crate::Error;
use crate::client::Party;
use crate::encoding::Update;
use crate::mask::{Mask, Sign};
use zeroize::Zeroizing;

/// Adds the mask of each key to `sum`, modulo 2^32.
pub fn add_masks(sum: &mut [u32], keys: &[[u8; 32]]) {
    let masks: Vec<Mask> = keys.iter().map(|key| Mask { key: Zeroizing::new(*key), sign: Sign::Plus }).collect();
    crate::mask::apply(sum, &masks);
}

/// What a client masks in [`upload`](crate::client::Client::upload): its update as integers, and its share of the noise,
/// fresh. For audits of what the sum gives away.
///
/// # Errors
/// As `upload`, of updates.
pub fn encoded(party: &Party, update: Update<'_>) -> Result<Zeroizing<Vec<i64>>, Error> {
    let metrics = party.config().metrics();
    party.encoded(update, 1, &vec![0.0; metrics.len()])
}

/// A sum of encoded updates in the updates' units, as a server reads it.
#[must_use]
pub fn decoded(party: &Party, sum: &[i64]) -> Vec<f64> {
    party.decoded(sum)
}
