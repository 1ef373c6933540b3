//! Who a client is in a round: its identity, its number, and what it agreed to.

use crate::Error;
use crate::encoding::{self, Rotation, Update};
use crate::message::{self, Kind};
use crate::round::{Context, Graph, Roster, RoundConfig, RoundId};
use sha2::{Digest, Sha256};
use std::fmt;
use std::sync::Arc;
use veilsum_crypto::{Identity, Peer};
use zeroize::Zeroizing;

/// One participant's fixed side of a round.
pub struct Party {
    config: Arc<RoundConfig>,
    identity: Arc<Identity>,
    roster: Roster,
    number: u32,
    context: Context,
    beacon: Option<[u8; 32]>,
}

impl fmt::Debug for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Party({})", self.number)
    }
}

impl Party {
    /// Client `number` of the roster, with the identity that is enrolled there.
    ///
    /// # Errors
    /// [`Error::Parameter`] if the roster is of another size, has another identity at this place, or the round needs a
    /// beacon and has none.
    pub fn new(
        config: Arc<RoundConfig>,
        identity: Arc<Identity>,
        roster: Roster,
        number: u32,
        id: &RoundId,
    ) -> Result<Self, Error> {
        let context = Context::new(&config, &roster, id)?;
        if roster.peer(number) != Some(identity.peer()) {
            return Err(Error::parameter("client_id", number, "the place of this identity on the roster"));
        }
        Ok(Self { config, identity, roster, number, context, beacon: id.beacon })
    }

    /// The round's parameters.
    #[must_use]
    pub fn config(&self) -> &Arc<RoundConfig> {
        &self.config
    }

    /// The client's number: its place on the roster.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.number
    }

    /// The digest that binds the round.
    #[must_use]
    pub fn context(&self) -> &Context {
        &self.context
    }

    pub(crate) fn seal(&self, kind: Kind, body: &[u8]) -> Vec<u8> {
        message::seal(&self.identity, kind, &self.context, self.number, body)
    }

    pub(crate) fn peer(&self, client: u32) -> Result<&Peer, Error> {
        self.roster.peer(client).ok_or_else(|| Error::parameter("client", client, "on the roster"))
    }

    /// The round's graph. With a beacon the server has no say in it; with a semi-honest server its seed is taken.
    pub(crate) fn graph(&self, server_seed: &[u8; 32]) -> Result<Arc<Graph>, Error> {
        let seed = graph_seed(&self.config, &self.context, self.beacon.as_ref(), server_seed)?;
        Ok(self.roster.graph(self.config.shape(), &seed))
    }

    /// What this client masks: its update as integers, and its share of the noise.
    pub(crate) fn encoded(
        &self,
        update: Update<'_>,
        weight: u32,
        metrics: &[f64],
    ) -> Result<Zeroizing<Vec<i64>>, Error> {
        let rotation = rotation(&self.config, &self.context);
        let encoded = encoding::encode(&self.config, rotation.as_ref(), update, weight, metrics)?;
        let mut values = Zeroizing::new(encoded);
        if let Some(plan) = self.config.noise() {
            plan.add_share(&mut values)?;
        }
        Ok(values)
    }

    pub(crate) fn decoded(&self, sum: &[i64]) -> Vec<f64> {
        encoding::decode(&self.config, rotation(&self.config, &self.context).as_ref(), sum).sum
    }

    /// A set of clients must hold this one and be no smaller than the losses that the round allows for.
    pub(crate) fn check_enough(&self, stage: &'static str, members: &[bool]) -> Result<(), Error> {
        if !members[self.number as usize] {
            return Err(Error::refused(stage, "the server's list leaves this client out"));
        }
        let (count, least) = (members.iter().filter(|m| **m).count(), self.config.shape().least_survivors());
        if count < least as usize {
            return Err(Error::refused(
                stage,
                format!("{count} clients are left, and this round ends with no fewer than {least}"),
            ));
        }
        Ok(())
    }
}

/// The seed of the graph: from the beacon if there is one; for complete graphs nothing is drawn.
pub(crate) fn graph_seed(
    config: &RoundConfig,
    context: &Context,
    beacon: Option<&[u8; 32]>,
    server_seed: &[u8; 32],
) -> Result<[u8; 32], Error> {
    let own_seed = config.shape().is_complete() || beacon.is_some();
    if own_seed && *server_seed != [0; 32] {
        return Err(Error::refused("share", "the server sent a seed for a graph that is not its to draw"));
    }
    Ok(match beacon {
        Some(beacon) => seed_of_graph(&[beacon]),
        None => seed_of_graph(&[context.as_bytes(), server_seed]),
    })
}

/// From the beacon and nothing else: what is in the context, such as the model, a server may still choose once it knows
/// the beacon. With a semi-honest server the seed is the server's.
pub(crate) fn seed_of_graph(parts: &[&[u8; 32]]) -> [u8; 32] {
    let hash = Sha256::new().chain_update(b"veilsum.federated.graph-seed.v1\0");
    parts.iter().fold(hash, |hash, part| hash.chain_update(part)).finalize().into()
}

/// The rotation of a round with noise; its seed is public and fixed by the round.
pub(crate) fn rotation(config: &RoundConfig, context: &Context) -> Option<Rotation> {
    config.noise()?;
    let hash = Sha256::new().chain_update(b"veilsum.federated.rotation.v1\0").chain_update(context.as_bytes());
    Some(Rotation::drawn(&hash.finalize().into(), config.dimension()))
}
