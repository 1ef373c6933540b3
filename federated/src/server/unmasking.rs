//! Opened shares, rebuilt seeds, and the masks they take away.

use super::Server;
use crate::Error;
use crate::keys::{self, End};
use crate::mask::{self, Mask};
use crate::message::{self, Secret};
use crate::ring;
use crate::shamir;
use rayon::prelude::*;
use std::collections::BTreeMap;
use x25519_dalek::StaticSecret;

/// For each dealer, the shares of its one opened secret: (holder, share).
#[derive(Default)]
pub(super) struct Opened(Vec<Vec<(u32, [u8; 32])>>);

impl Server {
    /// Checks every share against its dealer's commitment: a bad one is named, and none of its sender's is used.
    pub(super) fn receive_opened(&mut self, holder: u32, body: &[u8]) -> Result<(), Error> {
        let shares = message::decode_unmask(body, &self.config)?;
        for open in &shares {
            let dealer = open.dealer;
            let expected = if self.included[dealer as usize] { Secret::Seed } else { Secret::MaskKey };
            if !self.present[dealer as usize] || open.secret != expected {
                return Err(Error::refused(
                    "unmask",
                    format!("client {holder} opened a share of client {dealer} that nobody may ask for"),
                ));
            }
            let commitment = self.shares[dealer as usize]
                .as_ref()
                // In order of holder, as messages list them.
                .and_then(|entries| Some(&entries[entries.binary_search_by_key(&holder, |entry| entry.other).ok()?]))
                .map(|entry| entry.commitments[open.secret as usize]);
            let given = keys::share_commitment(&self.context, dealer, holder, open.secret, &open.share);
            if commitment != Some(given) {
                return Err(Error::refused(
                    "unmask",
                    format!("client {holder} sent a share of client {dealer}'s secret that is not the one dealt to it"),
                ));
            }
        }
        self.opened.0.resize(self.roster.len(), Vec::new());
        for open in shares {
            self.opened.0[open.dealer as usize].push((holder, open.share));
        }
        Ok(())
    }

    /// Takes the masks away from the sum.
    pub(super) fn unmasked_sum(&mut self) -> Result<Vec<i64>, Error> {
        self.opened.0.resize(self.roster.len(), Vec::new());
        let dealers: Vec<u32> = (0..).zip(&self.present).filter(|(_, p)| **p).map(|(dealer, _)| dealer).collect();
        let points: Vec<Vec<u16>> = dealers.iter().map(|&dealer| self.points(dealer)).collect::<Result<_, _>>()?;
        // On a complete graph the same holders have answered for everyone.
        let mut weights: BTreeMap<&[u16], Vec<u16>> = points.iter().map(|points| (&points[..], Vec::new())).collect();
        weights.par_iter_mut().for_each(|(points, weights)| *weights = shamir::weights(points));
        let per_dealer: Result<Vec<Vec<Mask>>, Error> = dealers
            .par_iter()
            .zip(&points)
            .map(|(&dealer, points)| self.masks_left_by(dealer, &weights[&points[..]]))
            .collect();
        let masks: Vec<Mask> = per_dealer?.into_iter().flatten().collect();
        let bits = self.config.modulus_bits();
        Ok(match &mut self.sum {
            super::Lanes::Narrow(sum) => {
                mask::apply(sum, &masks);
                sum.iter().map(|&word| ring::signed(u64::from(word), bits)).collect()
            }
            super::Lanes::Wide(sum) => {
                mask::apply(sum, &masks);
                sum.iter().map(|&word| ring::signed(word, bits)).collect()
            }
        })
    }

    /// The masks that one client left in the sum: its own if its vector is in it, those shared with survivors if not.
    fn masks_left_by(&self, dealer: u32, weights: &[u16]) -> Result<Vec<Mask>, Error> {
        let advert = &self.adverts[dealer as usize].as_ref().expect("only clients that advertised shared").advert;
        let shares = &self.opened.0[dealer as usize][..weights.len()];
        let secret = shamir::rebuild(shares.iter().map(|(_, share)| share), weights);
        let inconsistent = || {
            Error::aborted(
                "unmask",
                format!(
                    "client {dealer} dealt shares that do not rebuild what it advertised; start a round without it"
                ),
            )
        };
        if self.included[dealer as usize] {
            if keys::seed_commitment(&self.context, dealer, &secret) != advert.seed_commitment {
                return Err(inconsistent());
            }
            let own = keys::self_mask(&self.context, dealer, &secret);
            return Ok(vec![Mask { sign: own.sign.reversed(), ..own }]);
        }
        let key = StaticSecret::from(*secret);
        let end = End::of(dealer, &key);
        if end.public != advert.mask_key {
            return Err(inconsistent());
        }
        let near = self.near(dealer);
        near.into_par_iter()
            .filter(|&peer| self.included[peer as usize])
            .map(|peer| {
                let peer_key = &self.adverts[peer as usize].as_ref().expect("survivors advertised").advert.mask_key;
                // As the lost client would have applied it, so that it cancels what the survivor applied.
                end.pair_mask(&self.context, peer, peer_key)
            })
            .collect()
    }

    /// The points of the first shares that came of a dealer's secret, as many as rebuild it.
    fn points(&self, dealer: u32) -> Result<Vec<u16>, Error> {
        let graph = self.graph.as_ref().expect("a graph was drawn before anyone shared");
        let threshold = self.config.shape().threshold as usize;
        let shares = &self.opened.0[dealer as usize];
        if shares.len() < threshold {
            return Err(Error::aborted(
                "unmask",
                format!(
                    "{} shares of client {dealer}'s secret arrived and {threshold} are needed; wait for more, or start a fresh round",
                    shares.len()
                ),
            ));
        }
        Ok(shares[..threshold].iter().map(|(holder, _)| graph.point(dealer, *holder)).collect())
    }
}
