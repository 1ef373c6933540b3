//! Keys of one round: agreement, derivation, commitments. One label a key, everything bound to the round's context.

use crate::Error;
use crate::mask::{Mask, Sign};
use crate::message::{self, Advert};
use crate::round::Context;
use hkdf::Hkdf;
use sha2::{Digest, Sha256};
use veilsum_crypto::secret::Secret;
use veilsum_crypto::{Key, hazmat};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

/// What a client draws for one round. Two key pairs, since rebuilding a dropped client's mask key must not open the
/// shares that were sent to it.
pub(crate) struct RoundSecrets {
    pub(crate) mask: StaticSecret,
    pub(crate) share: StaticSecret,
    pub(crate) seed: Zeroizing<[u8; 32]>,
}

impl RoundSecrets {
    pub(crate) fn draw() -> Result<Self, Error> {
        Ok(Self { mask: StaticSecret::from(*fresh()?), share: StaticSecret::from(*fresh()?), seed: fresh()? })
    }

    /// The same secrets for the client's next state; the last one is wiped when it is dropped.
    pub(crate) fn copied(&self) -> Self {
        Self { mask: self.mask.clone(), share: self.share.clone(), seed: self.seed.clone() }
    }

    pub(crate) fn advert(&self, context: &Context, client: u32) -> Advert {
        Advert {
            mask_key: PublicKey::from(&self.mask).to_bytes(),
            share_key: PublicKey::from(&self.share).to_bytes(),
            seed_commitment: seed_commitment(context, client, &self.seed),
        }
    }
}

fn fresh() -> Result<Zeroizing<[u8; 32]>, Error> {
    let mut bytes = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *bytes)?;
    Ok(bytes)
}

fn expand(secret: &[u8], context: &Context, label: &[u8], info: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut key = Zeroizing::new([0; 32]);
    Hkdf::<Sha256>::new(Some(context.as_bytes()), secret)
        .expand_multi_info(&[label, info], &mut *key)
        .expect("32 bytes are one block of SHA-256");
    key
}

/// X25519, refusing keys of low order.
fn agree(secret: &StaticSecret, peer: u32, key: &[u8; 32]) -> Result<Secret<32>, Error> {
    hazmat::x25519(secret.as_bytes(), key)
        .ok_or_else(|| Error::refused("advertise", format!("client {peer} advertised a public key of low order")))
}

/// One end of a pair: a client's number and its key pair of one purpose.
pub(crate) struct End<'a> {
    pub(crate) client: u32,
    pub(crate) secret: &'a StaticSecret,
    pub(crate) public: [u8; 32],
}

impl<'a> End<'a> {
    pub(crate) fn of(client: u32, secret: &'a StaticSecret) -> Self {
        Self { client, secret, public: PublicKey::from(secret).to_bytes() }
    }

    /// The key that both ends derive, bound to the round, their numbers and their public keys, the lower number first.
    fn key_with(
        &self,
        context: &Context,
        label: &[u8],
        peer: u32,
        key: &[u8; 32],
    ) -> Result<Zeroizing<[u8; 32]>, Error> {
        let shared = agree(self.secret, peer, key)?;
        let (me, peer) = ((self.client, &self.public), (peer, key));
        let (low, high) = if me.0 < peer.0 { (me, peer) } else { (peer, me) };
        let info = [&low.0.to_be_bytes()[..], &high.0.to_be_bytes(), low.1, high.1].concat();
        Ok(expand(shared.expose(), context, label, &info))
    }

    /// The mask that this client shares with `peer`, as this client applies it.
    pub(crate) fn pair_mask(&self, context: &Context, peer: u32, key: &[u8; 32]) -> Result<Mask, Error> {
        let key = self.key_with(context, b"veilsum.federated.pair-mask.v1\0", peer, key)?;
        Ok(Mask { key, sign: Sign::of(self.client, peer) })
    }

    /// The key under which the two clients seal shares to each other.
    pub(crate) fn share_key(&self, context: &Context, peer: u32, key: &[u8; 32]) -> Result<Key, Error> {
        let key = self.key_with(context, b"veilsum.federated.share-key.v1\0", peer, key)?;
        Ok(hazmat::key_from_secret(Secret::copied_from(&key), veilsum_crypto::Suite::default()))
    }
}

/// The mask that `client` adds alone.
pub(crate) fn self_mask(context: &Context, client: u32, seed: &[u8; 32]) -> Mask {
    let key = expand(seed, context, b"veilsum.federated.self-mask.v1\0", &client.to_be_bytes());
    Mask { key, sign: Sign::Plus }
}

/// What a sealed pair of shares is bound to: round, stage, sender, receiver, and the dealer's commitments to it.
pub(crate) fn share_context(context: &Context, dealer: u32, holder: u32, commitments: &[[u8; 32]; 2]) -> Vec<u8> {
    let label: &[u8] = b"veilsum.federated.shares.v1\0";
    [label, context.as_bytes(), &dealer.to_be_bytes(), &holder.to_be_bytes(), &commitments[0], &commitments[1]].concat()
}

/// The promise of a client's mask seed, checked when the seed is rebuilt.
pub(crate) fn seed_commitment(context: &Context, client: u32, seed: &[u8; 32]) -> [u8; 32] {
    commitment(b"veilsum.federated.seed-commitment.v1\0", context, &client.to_be_bytes(), seed)
}

/// The dealer's promise of one share. A share is uniform on 32 bytes, so its hash hides it.
pub(crate) fn share_commitment(
    context: &Context,
    dealer: u32,
    holder: u32,
    secret: message::Secret,
    share: &[u8; 32],
) -> [u8; 32] {
    let of_what = [&dealer.to_be_bytes()[..], &holder.to_be_bytes(), &[secret as u8]].concat();
    commitment(b"veilsum.federated.share-commitment.v1\0", context, &of_what, share)
}

fn commitment(label: &[u8], context: &Context, of_what: &[u8], secret: &[u8; 32]) -> [u8; 32] {
    let hash = Sha256::new().chain_update(label).chain_update(context.as_bytes());
    hash.chain_update(of_what).chain_update(secret).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_low_order_make_neither_masks_nor_boxes() {
        let (context, secrets) = (Context::from_bytes([3; 32]), RoundSecrets::draw().expect("entropy"));
        let mut minus_one = [0xFF; 32];
        (minus_one[0], minus_one[31]) = (0xEC, 0x7F);
        let one = std::array::from_fn(|i| u8::from(i == 0));
        for key in [[0; 32], one, minus_one] {
            let mask = End::of(0, &secrets.mask).pair_mask(&context, 5, &key).err();
            let sealing = End::of(0, &secrets.share).share_key(&context, 5, &key).err();
            for refused in [mask, sealing] {
                let why = refused.map(|error| error.to_string()).unwrap_or_default();
                assert!(why.contains("client 5 advertised a public key of low order"), "{why}");
            }
        }
    }
}
