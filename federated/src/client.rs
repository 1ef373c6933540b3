//! A client, stage by stage. Each step consumes the state before it, so a stage cannot be answered twice.
//!
//! ```text
//! Enrolled --advertise--> Advertised --share--> Shared --upload--> Uploaded --confirm--> Confirmed --unmask--> (done)
//! ```
//!
//! A step that refuses its message hands the state back unchanged, beside the reason: garbage from the network does not
//! end a client, and nothing was sent.

mod answered;
#[cfg(test)]
mod liars;
mod party;
mod seat;
mod snapshot;

pub use party::Party;
#[cfg(test)]
pub(crate) use party::seed_of_graph;
pub(crate) use party::{graph_seed, rotation};
pub use seat::Seat;

use crate::Error;
use crate::encoding::Update;
use crate::keys::{self, End, RoundSecrets};
use crate::mask::{self, Mask};
use crate::message::{self, Advert, Delivery, Directory, Kind, OpenShare, SealedShares, Secret, SignedAdvert};
use crate::ring::{self, Lane};
use crate::round::Graph;
use crate::shamir;
use std::fmt;
use zeroize::Zeroizing;

/// A client in one stage of a round.
pub struct Client<Stage> {
    party: Party,
    stage: Stage,
}

impl<Stage> fmt::Debug for Client<Stage> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({})", self.party.number())
    }
}

/// Why a step was refused, and the state it was refused in.
pub struct Refusal<State> {
    /// What was wrong.
    pub error: Error,
    /// The client, as it was.
    pub state: State,
}

impl<State> fmt::Debug for Refusal<State> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Refusal({:?})", self.error)
    }
}

/// The next state and the message to send, or the refusal.
pub type Step<Next, Now> = Result<(Client<Next>, Vec<u8>), Box<Refusal<Client<Now>>>>;

/// Before the round.
pub struct Enrolled {
    secrets: RoundSecrets,
}

/// Keys and the seed's commitment are out.
pub struct Advertised {
    secrets: RoundSecrets,
}

/// Shares are out.
pub struct Shared {
    secrets: RoundSecrets,
    graph_seed: [u8; 32],
    /// Neighbours that advertised, in order.
    neighbors: Vec<(u32, Advert)>,
    own_shares: [Zeroizing<[u8; 32]>; 2],
}

/// The masked vector is out. From here on the client holds shares and no mask.
pub struct Uploaded {
    holding: Holding,
}

/// The survivor set is signed.
pub struct Confirmed {
    holding: Holding,
    included: Vec<bool>,
}

/// What a holder keeps for the end of the round.
struct Holding {
    /// Public name of the draw that this client answers for.
    lineage: [u8; 32],
    graph_seed: [u8; 32],
    present: Vec<bool>,
    shares: Vec<HeldShares>,
}

macro_rules! unprintable {
    ($($state:ident),*) => {$(
        /// Secrets do not print.
        impl fmt::Debug for $state {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(stringify!($state))
            }
        }
    )*};
}
unprintable!(Enrolled, Advertised, Shared, Uploaded, Confirmed);

/// Both shares that one neighbour (or the holder itself) dealt.
struct HeldShares {
    dealer: u32,
    shares: [Zeroizing<[u8; 32]>; 2],
}

impl<Now> Client<Now> {
    fn step<Next>(self, work: impl FnOnce(&Party, &Now) -> Result<(Next, Vec<u8>), Error>) -> Step<Next, Now> {
        match work(&self.party, &self.stage) {
            Ok((stage, bytes)) => Ok((Client { party: self.party, stage }, bytes)),
            Err(error) => Err(Box::new(Refusal { error, state: self })),
        }
    }

    /// Who this is.
    #[must_use]
    pub fn party(&self) -> &Party {
        &self.party
    }
}

impl Client<Enrolled> {
    /// Draws fresh keys and a fresh mask seed.
    ///
    /// # Errors
    /// [`Error::Entropy`].
    pub fn enrol(party: Party) -> Result<Self, Error> {
        Ok(Self { party, stage: Enrolled { secrets: RoundSecrets::draw()? } })
    }

    /// Publishes the round's keys.
    #[must_use]
    pub fn advertise(self) -> (Client<Advertised>, Vec<u8>) {
        let Self { party, stage } = self;
        let body = stage.secrets.advert(party.context(), party.number()).encode();
        let bytes = party.seal(Kind::Advertise, &body);
        (Client { party, stage: Advertised { secrets: stage.secrets } }, bytes)
    }
}

impl Client<Advertised> {
    /// Checks the neighbours' adverts and deals shares of the seed and of the mask key to them.
    ///
    /// # Errors
    /// Refuses malformed messages, forged or foreign adverts, an advert of its own that it did not make, repeated keys,
    /// keys of low order, and too few neighbours to rebuild anything.
    pub fn share(self, directory: &[u8]) -> Step<Shared, Advertised> {
        self.step(|party, now| {
            let body = message::open_from_server(Kind::Directory, party.context(), directory)?;
            let directory = Directory::decode(body, party.config())?;
            let graph = party.graph(&directory.graph_seed)?;
            let neighbors = checked_neighbors(party, &graph, &now.secrets, directory.adverts)?;
            let (entries, own_shares) = deal(party, &graph, &now.secrets, &neighbors)?;
            let bytes = party.seal(Kind::Share, &message::encode_share(&entries));
            let secrets = now.secrets.copied();
            Ok((Shared { secrets, graph_seed: directory.graph_seed, neighbors, own_shares }, bytes))
        })
    }
}

fn checked_neighbors(
    party: &Party,
    graph: &Graph,
    secrets: &RoundSecrets,
    adverts: Vec<SignedAdvert>,
) -> Result<Vec<(u32, Advert)>, Error> {
    let refused = |why: String| Err(Error::refused("share", why));
    let (me, mine) = (party.number(), secrets.advert(party.context(), party.number()));
    let expected = graph.neighbors(me);
    let mut neighbors: Vec<(u32, Advert)> = Vec::with_capacity(adverts.len());
    let mut keys = vec![mine.mask_key, mine.share_key];
    let mut saw_me = false;
    for signed in adverts {
        let client = signed.client;
        if client == me {
            if signed.advert != mine {
                return refused("the directory lists keys under this client's number that are not its own".into());
            }
            saw_me = true;
            continue;
        }
        if expected.binary_search(&client).is_err() {
            return refused(format!(
                "the directory lists client {client}, which is not a neighbour in this round's graph"
            ));
        }
        let body = signed.advert.encode();
        message::verify(party.peer(client)?, Kind::Advertise, party.context(), client, &body, &signed.signature)?;
        keys.extend([signed.advert.mask_key, signed.advert.share_key]);
        neighbors.push((client, signed.advert));
    }
    if !saw_me {
        return refused("the directory leaves this client out".into());
    }
    let many = keys.len();
    keys.sort_unstable();
    keys.dedup();
    if keys.len() != many {
        return refused("two public keys in the directory are the same: someone passes off another's keys".into());
    }
    let holders = neighbors.len() + 1;
    if holders < party.config().shape().threshold as usize {
        return refused(format!(
            "{holders} holders of shares are fewer than the threshold of {}",
            party.config().shape().threshold
        ));
    }
    Ok(neighbors)
}

type Dealt = (Vec<SealedShares>, [Zeroizing<[u8; 32]>; 2]);

fn deal(party: &Party, graph: &Graph, secrets: &RoundSecrets, neighbors: &[(u32, Advert)]) -> Result<Dealt, Error> {
    let (me, context) = (party.number(), party.context());
    let end = End::of(me, &secrets.share);
    let mut holders: Vec<(u32, Option<&Advert>)> = neighbors.iter().map(|(n, advert)| (*n, Some(advert))).collect();
    holders.push((me, None));
    holders.sort_unstable_by_key(|holder| holder.0);
    let points: Vec<u16> = holders.iter().map(|&(holder, _)| graph.point(me, holder)).collect();
    let threshold = party.config().shape().threshold as usize;
    let seeds = shamir::split(&secrets.seed, threshold, &points)?;
    let mask_keys = shamir::split(secrets.mask.as_bytes(), threshold, &points)?;
    let mut own = None;
    let mut entries = Vec::with_capacity(holders.len());
    for (((holder, advert), seed), mask_key) in holders.into_iter().zip(seeds).zip(mask_keys) {
        let commitments = [(Secret::Seed, &seed), (Secret::MaskKey, &mask_key)]
            .map(|(secret, share)| keys::share_commitment(context, me, holder, secret, share));
        let sealed = match advert {
            None => Vec::new(),
            Some(advert) => {
                let key = end.share_key(context, holder, &advert.share_key)?;
                let mut both = Zeroizing::new([0; message::SHARES]);
                both[..32].copy_from_slice(&*seed);
                both[32..].copy_from_slice(&*mask_key);
                key.seal(&*both, &keys::share_context(context, me, holder, &commitments)).map_err(|_| Error::Entropy)?
            }
        };
        if advert.is_none() {
            own = Some([seed, mask_key]);
        }
        entries.push(SealedShares { other: holder, commitments, sealed });
    }
    Ok((entries, own.expect("the client is one of the holders")))
}

impl Client<Shared> {
    /// Opens the shares that were dealt to it, and uploads the update under its masks.
    ///
    /// `weight` is 1 unless weights travel in this round; `metrics` are the values of the round's
    /// [metrics](crate::RoundConfig::metrics), in order.
    ///
    /// # Errors
    /// Refuses updates that are not finite or not of the round's shape (before anything is masked), a delivery that
    /// leaves out this client or too many others, and shares that do not open or do not match their commitments.
    pub fn upload(self, delivery: &[u8], update: Update<'_>, weight: u32, metrics: &[f64]) -> Step<Uploaded, Shared> {
        self.step(|party, now| {
            let config = party.config();
            let values = party.encoded(update, weight, metrics)?;
            let body = message::open_from_server(Kind::Delivery, party.context(), delivery)?;
            let delivery = Delivery::decode(body, config)?;
            let holding = open_delivery(party, now, delivery)?;
            let masks = masks_of(party, now, &holding.present)?;
            let bits = config.modulus_bits();
            let packed =
                if bits <= 32 { masked::<u32>(&values, &masks, bits) } else { masked::<u64>(&values, &masks, bits) };
            Ok((Uploaded { holding }, party.seal(Kind::Upload, &packed)))
        })
    }
}

fn masked<L: Lane>(values: &[i64], masks: &[Mask], bits: u32) -> Vec<u8> {
    let mut words: Vec<L> = values.iter().map(|&v| L::from_signed(v)).collect();
    mask::apply(&mut words, masks);
    ring::pack(&words, bits)
}

fn open_delivery(party: &Party, now: &Shared, delivery: Delivery) -> Result<Holding, Error> {
    let refused = |why: String| Err(Error::refused("upload", why));
    let (me, context) = (party.number(), party.context());
    party.check_enough("upload", &delivery.present)?;
    let mut opened: Vec<HeldShares> =
        vec![HeldShares { dealer: me, shares: [now.own_shares[0].clone(), now.own_shares[1].clone()] }];
    let end = End::of(me, &now.secrets.share);
    let mut boxes = delivery.shares.iter();
    for (dealer, advert) in now.neighbors.iter().filter(|(n, _)| delivery.present[*n as usize]) {
        let Some(entry) = boxes.next().filter(|entry| entry.other == *dealer) else {
            return refused(format!("client {dealer} is said to have shared, and its shares were not delivered"));
        };
        let key = end.share_key(context, *dealer, &advert.share_key)?;
        let bound = keys::share_context(context, *dealer, me, &entry.commitments);
        let Ok(both) = key.open(&entry.sealed, &bound).map(Zeroizing::new) else {
            return refused(format!(
                "the shares from client {dealer} do not open: they were altered, or dealt for another round"
            ));
        };
        let Ok(both) = <&[u8; message::SHARES]>::try_from(&both[..]) else {
            return refused(format!("client {dealer} dealt shares of another length"));
        };
        let halves = [&both[..32], &both[32..]].map(|half| {
            let mut share = Zeroizing::new([0; 32]);
            share.copy_from_slice(half);
            share
        });
        for (secret, share) in [Secret::Seed, Secret::MaskKey].into_iter().zip(&halves) {
            if keys::share_commitment(context, *dealer, me, secret, share) != entry.commitments[secret as usize] {
                return refused(format!("client {dealer} dealt a share that is not the one it committed to"));
            }
        }
        opened.push(HeldShares { dealer: *dealer, shares: halves });
    }
    if boxes.next().is_some() {
        return refused(
            "shares were delivered from a client that is not a neighbour or is said not to have shared".into(),
        );
    }
    let unknown = |n: &u32| !now.neighbors.iter().any(|(known, _)| known == n);
    if let Some(late) =
        party.graph(&now.graph_seed)?.neighbors(me).iter().find(|n| delivery.present[**n as usize] && unknown(n))
    {
        return refused(format!("client {late} is said to have shared and was not in the directory"));
    }
    if opened.len() < party.config().shape().threshold as usize {
        return refused(format!("only {} holders of shares are left, fewer than the threshold", opened.len()));
    }
    opened.sort_unstable_by_key(|held| held.dealer);
    Ok(Holding { lineage: end.public, graph_seed: now.graph_seed, present: delivery.present, shares: opened })
}

fn masks_of(party: &Party, now: &Shared, present: &[bool]) -> Result<Vec<Mask>, Error> {
    let (me, context) = (party.number(), party.context());
    let end = End::of(me, &now.secrets.mask);
    let mut masks = vec![keys::self_mask(context, me, &now.secrets.seed)];
    for (peer, advert) in now.neighbors.iter().filter(|(n, _)| present[*n as usize]) {
        masks.push(end.pair_mask(context, *peer, &advert.mask_key)?);
    }
    Ok(masks)
}

impl Client<Uploaded> {
    /// Checks the survivor set against this client's own minima, and signs it.
    ///
    /// # Errors
    /// Refuses a set that is too small, not made of clients that shared, without this client, or too thin somewhere on
    /// the graph.
    pub fn confirm(self, survivors: &[u8]) -> Step<Confirmed, Uploaded> {
        let Self { party, stage } = self;
        match checked_survivors(&party, &stage.holding, survivors) {
            Ok(included) => {
                let digest = message::transcript(party.context(), &stage.holding.present, &included);
                let bytes = party.seal(Kind::Confirm, &digest);
                Ok((Client { party, stage: Confirmed { holding: stage.holding, included } }, bytes))
            }
            Err(error) => Err(Box::new(Refusal { error, state: Self { party, stage } })),
        }
    }
}

fn checked_survivors(party: &Party, holding: &Holding, survivors: &[u8]) -> Result<Vec<bool>, Error> {
    let refused = |why: &str| Err(Error::refused("confirm", why));
    let body = message::open_from_server(Kind::Survivors, party.context(), survivors)?;
    let included = message::decode_survivors(body, party.config())?;
    if included.iter().zip(&holding.present).any(|(&in_sum, &shared)| in_sum && !shared) {
        return refused("the survivor set has a client that did not share");
    }
    party.check_enough("confirm", &included)?;
    if party.graph(&holding.graph_seed)?.has_thin_window(&included) {
        return refused("the survivors are too thin somewhere on the graph: a cut could single out a group");
    }
    Ok(included)
}

impl Client<Confirmed> {
    /// Opens shares, once enough clients have signed the same survivor set: of the seed of each neighbour that is in the
    /// sum, of the mask key of each that is not.
    ///
    /// # Errors
    /// Refuses signatures that are forged, stale, on another set, too few, or too thin somewhere on the graph.
    pub fn unmask(self, quorum: &[u8]) -> Result<Vec<u8>, Box<Refusal<Self>>> {
        match opened(&self.party, &self.stage, quorum) {
            Ok(bytes) => Ok(bytes),
            Err(error) => Err(Box::new(Refusal { error, state: self })),
        }
    }
}

fn opened(party: &Party, now: &Confirmed, quorum: &[u8]) -> Result<Vec<u8>, Error> {
    let (context, shape) = (party.context(), party.config().shape());
    let body = message::open_from_server(Kind::Quorum, context, quorum)?;
    let signatures = message::decode_quorum(body, party.config())?;
    let graph = party.graph(&now.holding.graph_seed)?;
    let near = graph.neighbors(party.number());
    let digest = message::transcript(context, &now.holding.present, &now.included);
    for (signer, signature) in &signatures {
        if !now.included[*signer as usize] {
            return Err(Error::refused("unmask", format!("client {signer} signed and is not a survivor")));
        }
        if !shape.malicious_server && *signer != party.number() && near.binary_search(signer).is_err() {
            return Err(Error::refused("unmask", format!("client {signer} signed and is not a neighbour")));
        }
        message::verify(party.peer(*signer)?, Kind::Confirm, context, *signer, &digest, signature)?;
    }
    if signatures.len() < shape.quorum as usize {
        return Err(Error::refused(
            "unmask",
            format!("{} clients confirmed the survivor set, and {} must", signatures.len(), shape.quorum),
        ));
    }
    let mut signed = vec![false; now.included.len()];
    signatures.iter().for_each(|(signer, _)| signed[*signer as usize] = true);
    if graph.has_thin_window(&signed) {
        return Err(Error::refused(
            "unmask",
            "the clients that confirmed the survivor set are too thin somewhere on the graph: those between could have been \
             told another story, and cut a group off",
        ));
    }
    let shares: Vec<OpenShare> = now
        .holding
        .shares
        .iter()
        .map(|held| {
            let secret = if now.included[held.dealer as usize] { Secret::Seed } else { Secret::MaskKey };
            OpenShare { dealer: held.dealer, secret, share: *held.shares[secret as usize] }
        })
        .collect();
    Ok(party.seal(Kind::Unmask, &message::encode_unmask(&shares)))
}
