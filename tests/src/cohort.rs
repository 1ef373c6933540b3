//! A cohort of clients and a server, driven stage by stage with bytes, so that a test can stand in between.

use std::collections::BTreeMap;
use std::sync::Arc;
use veilsum_crypto::Identity;
use veilsum_federated::client::{Party, Seat};
use veilsum_federated::round::Context;
use veilsum_federated::{Error, Roster, RoundConfig, RoundId, Server, Setup, Stage, Update};

/// Messages by client.
pub type Messages = BTreeMap<u32, Vec<u8>>;

/// Everyone in a round, and what a malicious server knows of it.
#[derive(Debug)]
pub struct Cohort {
    /// The parameters.
    pub config: Arc<RoundConfig>,
    /// Long-term identities, by client.
    pub identities: Vec<Arc<Identity>>,
    /// The roster.
    pub roster: Roster,
    /// The round's name.
    pub id: RoundId,
    /// The clients.
    pub seats: Vec<Seat>,
    /// The server.
    pub server: Server,
    /// Each client's update.
    pub updates: Vec<Vec<f64>>,
}

impl Cohort {
    /// A cohort for these parameters; client `i` has the update `(i + 1) / 64` in every coordinate.
    pub fn new(setup: Setup) -> Self {
        let config = Arc::new(setup.check().expect("a safe round"));
        let clients = config.shape().clients;
        let identities: Vec<_> = (0..clients).map(|_| Arc::new(Identity::generate().expect("entropy"))).collect();
        let id = RoundId {
            session: b"a session".to_vec(),
            beacon: config.needs_beacon().then_some([7; 32]),
            ..RoundId::default()
        };
        Self::with(config, identities, id)
    }

    /// A fresh round of the same people.
    pub fn again(&self, id: RoundId) -> Self {
        Self::with(self.config.clone(), self.identities.clone(), id)
    }

    fn with(config: Arc<RoundConfig>, identities: Vec<Arc<Identity>>, id: RoundId) -> Self {
        let roster = Roster::new(identities.iter().map(|i| i.peer().clone())).expect("distinct");
        let server = Server::new(config.clone(), roster.clone(), &id).expect("a round");
        let updates = (0..identities.len())
            .map(|i| vec![(i + 1) as f64 / 64.0 / identities.len() as f64; config.dimension()])
            .collect();
        let mut cohort = Self { config, identities, roster, id, seats: Vec::new(), server, updates };
        cohort.seats =
            (0..cohort.identities.len() as u32).map(|n| Seat::enrol(cohort.party(n)).expect("entropy")).collect();
        cohort
    }

    /// The fixed side of one client.
    pub fn party(&self, number: u32) -> Party {
        let identity = self.identities[number as usize].clone();
        Party::new(self.config.clone(), identity, self.roster.clone(), number, &self.id).expect("on the roster")
    }

    /// The round's context.
    pub fn context(&self) -> Context {
        Context::new(&self.config, &self.roster, &self.id).expect("a round")
    }

    /// One client's answer at a stage.
    pub fn answer(&mut self, stage: Stage, client: u32, message: &[u8]) -> Result<Vec<u8>, Error> {
        let seat = &mut self.seats[client as usize];
        match stage {
            Stage::Advertise => seat.advertise(),
            Stage::Share => seat.share(message),
            Stage::Upload => seat.upload(message, Update::Vector(&self.updates[client as usize]), 1, &[]),
            Stage::Confirm => seat.confirm(message),
            Stage::Unmask | Stage::Done => seat.unmask(message),
        }
    }

    /// Runs one honest stage: everyone in `messages` but the lost answers, and the server moves on.
    pub fn stage(&mut self, stage: Stage, messages: &Messages, lost: &[u32]) -> Result<Messages, Error> {
        for (&client, message) in messages.iter().filter(|(client, _)| !lost.contains(client)) {
            let bytes = self.answer(stage, client, message)?;
            self.server.receive(client, &bytes)?;
        }
        self.server.finish_stage()
    }

    /// What starts the first stage: an empty message to everyone.
    pub fn start(&self) -> Messages {
        (0..self.identities.len() as u32).map(|client| (client, Vec::new())).collect()
    }

    /// Runs honest stages up to (not including) `until`; returns the messages that its clients are to get.
    pub fn run_until(&mut self, until: Stage) -> Messages {
        let mut messages = self.start();
        for stage in [Stage::Advertise, Stage::Share, Stage::Upload, Stage::Confirm, Stage::Unmask] {
            if stage == until {
                break;
            }
            messages = self.stage(stage, &messages, &[]).expect("an honest stage");
        }
        messages
    }

    /// The exact sum, in grid steps, over a set of clients.
    pub fn expected(&self, counted: &[u32]) -> Vec<i64> {
        let steps = self.config.top() as f64 / self.config.clip();
        let mut sum = vec![0; self.config.dimension()];
        for &client in counted {
            let update = &self.updates[client as usize];
            sum.iter_mut().zip(update).for_each(|(s, x)| *s += (x * steps).round() as i64);
        }
        sum
    }
}

/// A message of the server with this kind and body.
pub fn from_server(kind: u8, context: &Context, body: &[u8]) -> Vec<u8> {
    [&[1, 1, kind][..], context.as_bytes(), &u32::MAX.to_be_bytes(), body].concat()
}

/// Bytes before every body.
pub const HEADER: usize = 39;
/// Bytes of a signature, after every client's body.
pub const SIGNATURE: usize = 64;

/// A bitmap over `clients` with these members.
pub fn bitmap(clients: usize, members: &[u32]) -> Vec<u8> {
    let mut bytes = vec![0; clients.div_ceil(8)];
    members.iter().for_each(|&m| bytes[m as usize / 8] |= 1 << (m % 8));
    bytes
}

/// A client's message, signed by `identity` over what the specification says.
pub fn signed(identity: &Identity, kind: u8, context: &Context, sender: u32, body: &[u8]) -> Vec<u8> {
    use sha2::{Digest, Sha256};
    let header = [&[1, 1, kind][..], context.as_bytes(), &sender.to_be_bytes()].concat();
    let signature = identity.sign("veilsum.federated.message.v1", &[&header[..], &Sha256::digest(body)].concat());
    [&header[..], body, &signature].concat()
}
