//! The server: collects one message a client and stage, and learns the sum.
//!
//! It is trusted with nothing but liveness. It keeps a status for each client, adds masked vectors up as they arrive,
//! discards what comes late, and names whoever sent a bad share.

mod log;
mod unmasking;

pub use log::Resumed;

use crate::Error;
use crate::client::{graph_seed, rotation};
use crate::encoding;
use crate::message::{self, Advert, Delivery, Directory, Kind, SealedShares, SignedAdvert};
use crate::ring;
use crate::round::{Context, Graph, Roster, RoundConfig, RoundId};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use veilsum_dp_core::accounting::Event;

/// The stages of a round, named after what clients send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Keys.
    Advertise,
    /// Shares of seeds.
    Share,
    /// Masked vectors.
    Upload,
    /// Signatures on the survivor set.
    Confirm,
    /// Opened shares.
    Unmask,
    /// The sum is known.
    Done,
}

impl Stage {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Advertise => "advertise",
            Self::Share => "share",
            Self::Upload => "upload",
            Self::Confirm => "confirm",
            Self::Unmask => "unmask",
            Self::Done => "done",
        }
    }
}

impl std::str::FromStr for Stage {
    type Err = Error;

    /// Reads the names of the stages in which a client can be lost.
    fn from_str(name: &str) -> Result<Self, Error> {
        [Self::Advertise, Self::Share, Self::Upload, Self::Confirm, Self::Unmask]
            .into_iter()
            .find(|stage| stage.name() == name)
            .ok_or_else(|| {
                let shown: String = name.chars().take(32).collect();
                Error::parameter("stage", format!("{shown:?}"), "advertise, share, upload, confirm or unmask")
            })
    }
}

/// What a finished round gives.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The sum of the survivors' updates (weighted if weights travelled), in the updates' units, noise included.
    pub sum: Vec<f64>,
    /// The sum in grid steps, before it was scaled (and rotated back, where there is noise).
    pub integers: Vec<i64>,
    /// Sums of the survivors' metrics, in the round's order.
    pub metrics: Vec<f64>,
    /// Sum of the survivors' weights; their number if weights did not travel.
    pub weight: u64,
    /// The clients in the sum, in order.
    pub survivors: Vec<u32>,
    /// What the round's noise did, charged for the survivors less the assumed corrupt; `None` without noise.
    pub event: Option<Event>,
}

impl Outcome {
    /// The (weighted) mean over the survivors.
    #[must_use]
    pub fn mean(&self) -> Vec<f64> {
        self.sum.iter().map(|x| x / self.weight as f64).collect()
    }
}

/// The server's side of one round.
pub struct Server {
    config: Arc<RoundConfig>,
    roster: Roster,
    context: Context,
    beacon: Option<[u8; 32]>,
    stage: Stage,
    graph: Option<Arc<Graph>>,
    adverts: Vec<Option<SignedAdvert>>,
    shares: Vec<Option<Vec<SealedShares>>>,
    present: Vec<bool>,
    sum: Lanes,
    included: Vec<bool>,
    confirmations: BTreeMap<u32, [u8; 64]>,
    opened: unmasking::Opened,
    /// Signature of what each client sent at this stage: a repeat is recognized, a different one refused.
    seen: Vec<Option<[u8; 64]>>,
    kept: Option<BTreeMap<u32, Vec<u64>>>,
    log: Option<log::Log>,
    outcome: Option<Outcome>,
}

/// The running sum of masked vectors.
enum Lanes {
    Narrow(Vec<u32>),
    Wide(Vec<u64>),
}

impl Lanes {
    fn zero(config: &RoundConfig) -> Self {
        if config.modulus_bits() <= 32 {
            Self::Narrow(vec![0; config.words()])
        } else {
            Self::Wide(vec![0; config.words()])
        }
    }

    fn add_packed(&mut self, bytes: &[u8], bits: u32) -> Result<(), Error> {
        match self {
            Self::Narrow(sum) => ring::add_packed(sum, bytes, bits),
            Self::Wide(sum) => ring::add_packed(sum, bytes, bits),
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Server({} clients, {})", self.config.shape().clients, self.stage.name())
    }
}

impl Server {
    /// A server at the start of a round.
    ///
    /// # Errors
    /// [`Error::Parameter`] if the roster is of another size, or the round needs a beacon and has none.
    pub fn new(config: Arc<RoundConfig>, roster: Roster, id: &RoundId) -> Result<Self, Error> {
        let context = Context::new(&config, &roster, id)?;
        let clients = roster.len();
        Ok(Self {
            sum: Lanes::zero(&config),
            config,
            roster,
            context,
            beacon: id.beacon,
            stage: Stage::Advertise,
            graph: None,
            adverts: vec![None; clients],
            shares: vec![None; clients],
            present: vec![false; clients],
            included: vec![false; clients],
            confirmations: BTreeMap::new(),
            opened: unmasking::Opened::default(),
            seen: vec![None; clients],
            kept: None,
            log: None,
            outcome: None,
        })
    }

    /// Keeps every masked vector as it arrives, to show what a server sees. Call it before uploads.
    pub fn keep_masked(&mut self) {
        self.kept = Some(BTreeMap::new());
    }

    /// The masked vectors that arrived, as residues, if they were kept.
    #[must_use]
    pub fn masked(&self) -> Option<&BTreeMap<u32, Vec<u64>>> {
        self.kept.as_ref()
    }

    /// The stage whose messages are being received.
    #[must_use]
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// Takes one client's message of the current stage. A repeat of the same bytes changes nothing.
    ///
    /// # Errors
    /// Refuses malformed, forged, replayed, late and second messages; none of them changes anything.
    pub fn receive(&mut self, client: u32, bytes: &[u8]) -> Result<(), Error> {
        let stage = self.stage;
        let (kind, expected) = match stage {
            Stage::Advertise => (Kind::Advertise, true),
            Stage::Share => (Kind::Share, self.was(client, &self.adverts)),
            Stage::Upload => (Kind::Upload, self.present.get(client as usize) == Some(&true)),
            Stage::Confirm => (Kind::Confirm, self.included.get(client as usize) == Some(&true)),
            Stage::Unmask => (Kind::Unmask, self.confirmations.contains_key(&client)),
            Stage::Done => {
                return Err(Error::refused("done", "the round is over: late messages are discarded"));
            }
        };
        let Some(peer) = self.roster.peer(client) else {
            return Err(Error::refused(stage.name(), format!("client {client} is not on the roster")));
        };
        if !expected {
            return Err(Error::refused(
                stage.name(),
                format!("client {client} was lost at an earlier stage; what it sends now is discarded"),
            ));
        }
        let (body, signature) = message::open(peer, kind, &self.context, client, bytes)?;
        match self.seen[client as usize] {
            Some(before) if before == signature => return Ok(()),
            Some(_) => {
                return Err(Error::refused(
                    stage.name(),
                    format!("client {client} already sent another {} message", kind.name()),
                ));
            }
            None => {}
        }
        match stage {
            Stage::Advertise => {
                self.adverts[client as usize] = Some(SignedAdvert { client, advert: Advert::decode(body)?, signature });
            }
            Stage::Share => self.receive_shares(client, body)?,
            Stage::Upload => {
                self.sum.add_packed(body, self.config.modulus_bits())?;
                if let Some(kept) = &mut self.kept {
                    kept.insert(client, ring::unpack(body, self.config.modulus_bits(), self.config.words())?);
                }
                self.included[client as usize] = true;
            }
            Stage::Confirm => {
                if body != message::transcript(&self.context, &self.present, &self.included) {
                    return Err(Error::refused("confirm", format!("client {client} confirmed another survivor set")));
                }
                self.confirmations.insert(client, signature);
            }
            Stage::Unmask => self.receive_opened(client, body)?,
            Stage::Done => {}
        }
        self.seen[client as usize] = Some(signature);
        self.log_message(client, bytes);
        Ok(())
    }

    fn was<T>(&self, client: u32, list: &[Option<T>]) -> bool {
        list.get(client as usize).is_some_and(Option::is_some)
    }

    fn receive_shares(&mut self, client: u32, body: &[u8]) -> Result<(), Error> {
        let entries = message::decode_share(body, &self.config)?;
        let expected = self.holders(client);
        if !entries.iter().map(|entry| entry.other).eq(expected) {
            return Err(Error::refused(
                "share",
                format!("client {client} did not deal to exactly its neighbours and itself"),
            ));
        }
        self.shares[client as usize] = Some(entries);
        Ok(())
    }

    /// The holders of a dealer's shares: its neighbours that advertised, and itself, in order.
    fn holders(&self, dealer: u32) -> Vec<u32> {
        let mut holders = self.near(dealer);
        holders.retain(|&holder| self.was(holder, &self.adverts));
        let at = holders.partition_point(|&holder| holder < dealer);
        holders.insert(at, dealer);
        holders
    }

    fn near(&self, client: u32) -> Vec<u32> {
        self.graph.as_ref().map(|graph| graph.neighbors(client)).unwrap_or_default()
    }

    /// Ends the current stage: whoever has not sent is lost. Returns what to send to whom.
    ///
    /// # Errors
    /// [`Error::Aborted`] if too few clients are left to finish, or a seed cannot be rebuilt.
    pub fn finish_stage(&mut self) -> Result<BTreeMap<u32, Vec<u8>>, Error> {
        let messages = match self.stage {
            Stage::Advertise => self.directories()?,
            Stage::Share => self.deliveries()?,
            Stage::Upload => self.survivors()?,
            Stage::Confirm => self.quorums()?,
            Stage::Unmask => {
                self.unmask()?;
                BTreeMap::new()
            }
            Stage::Done => {
                return Err(Error::OutOfOrder { called: "finish_stage", state: "done", way_out: "ask for the result" });
            }
        };
        self.log_finish();
        self.seen.fill(None);
        self.stage = match self.stage {
            Stage::Advertise => Stage::Share,
            Stage::Share => Stage::Upload,
            Stage::Upload => Stage::Confirm,
            Stage::Confirm => Stage::Unmask,
            Stage::Unmask | Stage::Done => Stage::Done,
        };
        Ok(messages)
    }

    fn enough(&self, count: usize) -> Result<(), Error> {
        let least = self.config.shape().least_survivors();
        if count < least as usize {
            return Err(Error::aborted(
                self.stage.name(),
                format!(
                    "{count} clients are left, and this round ends with no fewer than {least}; start a fresh round"
                ),
            ));
        }
        Ok(())
    }

    fn directories(&mut self) -> Result<BTreeMap<u32, Vec<u8>>, Error> {
        let adverts: Vec<&SignedAdvert> = self.adverts.iter().flatten().collect();
        self.enough(adverts.len())?;
        let shape = self.config.shape();
        let server_seed = if shape.is_complete() || self.beacon.is_some() {
            [0; 32]
        } else {
            // Semi-honest: every client's fresh keys enter, so the seed is as random as one client's keys.
            let mut hash = Sha256::new().chain_update(b"veilsum.federated.server-seed.v1\0");
            adverts.iter().for_each(|signed| hash.update(signed.advert.encode()));
            hash.finalize().into()
        };
        let seed = graph_seed(&self.config, &self.context, self.beacon.as_ref(), &server_seed)?;
        let graph = self.roster.graph(shape, &seed);
        let messages = adverts
            .iter()
            .map(|signed| {
                let me = signed.client;
                let near = graph.neighbors(me);
                let listed: Vec<&SignedAdvert> = adverts
                    .iter()
                    .filter(|other| other.client == me || near.binary_search(&other.client).is_ok())
                    .copied()
                    .collect();
                let body = Directory::encode(&server_seed, &listed);
                (me, message::from_server(Kind::Directory, &self.context, &body))
            })
            .collect();
        self.graph = Some(graph);
        Ok(messages)
    }

    fn deliveries(&mut self) -> Result<BTreeMap<u32, Vec<u8>>, Error> {
        self.present = self.shares.iter().map(Option::is_some).collect();
        self.enough(self.present.iter().filter(|p| **p).count())?;
        let mut boxes: Vec<Vec<SealedShares>> = vec![Vec::new(); self.roster.len()];
        for (dealer, entries) in self.shares.iter_mut().enumerate() {
            for entry in entries.iter_mut().flatten().filter(|entry| entry.other != dealer as u32) {
                // The sealed bytes are handed on; the commitments stay, to check what holders open.
                let sealed = std::mem::take(&mut entry.sealed);
                let commitments = entry.commitments;
                boxes[entry.other as usize].push(SealedShares { other: dealer as u32, commitments, sealed });
            }
        }
        let present = &self.present;
        Ok(boxes
            .into_iter()
            .enumerate()
            .filter(|(client, _)| present[*client])
            .map(|(client, boxes)| {
                let body = Delivery::encode(present, &boxes.iter().collect::<Vec<_>>());
                (client as u32, message::from_server(Kind::Delivery, &self.context, &body))
            })
            .collect())
    }

    fn survivors(&mut self) -> Result<BTreeMap<u32, Vec<u8>>, Error> {
        self.enough(self.included.iter().filter(|i| **i).count())?;
        let body = message::encode_survivors(&self.included);
        let bytes = message::from_server(Kind::Survivors, &self.context, &body);
        Ok(self.survivor_numbers().into_iter().map(|client| (client, bytes.clone())).collect())
    }

    fn quorums(&mut self) -> Result<BTreeMap<u32, Vec<u8>>, Error> {
        let shape = self.config.shape();
        let confirmed = self.confirmations.len();
        if confirmed < shape.quorum as usize {
            return Err(Error::aborted(
                "confirm",
                format!("{confirmed} clients confirmed, and {} must; start a fresh round", shape.quorum),
            ));
        }
        let confirmed: Vec<bool> = (0..shape.clients).map(|client| self.confirmations.contains_key(&client)).collect();
        if self.graph.as_ref().is_some_and(|graph| graph.has_thin_window(&confirmed)) {
            return Err(Error::aborted(
                "confirm",
                "the clients that confirmed are too thin somewhere on the graph; start a fresh round",
            ));
        }
        let everyone: Vec<(u32, [u8; 64])> = self.confirmations.iter().map(|(&c, &s)| (c, s)).collect();
        // On a complete graph a client counts to the quorum, and more would only cost it time; on a sparse one it looks at
        // every stretch of the ring.
        let enough = if shape.is_complete() { &everyone[..shape.quorum as usize] } else { &everyone[..] };
        let same = (shape.malicious_server || shape.is_complete())
            .then(|| message::from_server(Kind::Quorum, &self.context, &message::encode_quorum(enough)));
        Ok(everyone
            .iter()
            .map(|&(client, _)| {
                let bytes = same.clone().unwrap_or_else(|| {
                    let near = self.near(client);
                    let listed: Vec<_> = everyone
                        .iter()
                        .filter(|(signer, _)| *signer == client || near.binary_search(signer).is_ok())
                        .copied()
                        .collect();
                    message::from_server(Kind::Quorum, &self.context, &message::encode_quorum(&listed))
                });
                (client, bytes)
            })
            .collect())
    }

    fn survivor_numbers(&self) -> Vec<u32> {
        (0..).zip(&self.included).filter(|(_, included)| **included).map(|(client, _)| client).collect()
    }

    fn unmask(&mut self) -> Result<(), Error> {
        let integers = self.unmasked_sum()?;
        let survivors = self.survivor_numbers();
        let event = match self.config.noise() {
            None => None,
            Some(plan) => Some(plan.event(survivors.len() as u32, self.config.shape().corrupt)?),
        };
        let rotation = rotation(&self.config, &self.context);
        let encoding::Decoded { sum, metrics, weight } = encoding::decode(&self.config, rotation.as_ref(), &integers);
        let weight = weight.unwrap_or(survivors.len() as u64);
        self.outcome = Some(Outcome { sum, integers, metrics, weight, survivors, event });
        Ok(())
    }

    /// The outcome, once the last stage is finished.
    ///
    /// # Errors
    /// [`Error::OutOfOrder`] before.
    pub fn result(&self) -> Result<&Outcome, Error> {
        self.outcome.as_ref().ok_or(Error::OutOfOrder {
            called: "result",
            state: self.stage.name(),
            way_out: "finish the remaining stages first",
        })
    }
}
