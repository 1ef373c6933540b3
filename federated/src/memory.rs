//! A whole round in one process: every client and the server, with real keys, messages and masks.

use crate::Error;
use crate::client::{Party, Seat};
use crate::encoding::Update;
use crate::round::{Roster, RoundConfig, RoundId};
use crate::server::{Outcome, Server, Stage};
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use veilsum_crypto::Identity;

/// What a simulated round gave, and what it cost.
#[derive(Clone, Debug)]
pub struct Simulated {
    /// The server's outcome.
    pub outcome: Outcome,
    /// The masked words that the server received, by client, if they were asked for.
    pub masked: BTreeMap<u32, Vec<u64>>,
    /// Bytes that each client sent.
    pub bytes_up: Vec<u64>,
    /// Bytes that each client received.
    pub bytes_down: Vec<u64>,
    /// Time that each client worked.
    pub client_time: Vec<Duration>,
    /// Time that the server worked.
    pub server_time: Duration,
}

/// Runs one round. `updates`, `weights` and `metrics` are by client; a client in `dropouts` is gone before it sends the message of
/// that stage. Identities are drawn fresh. `tick` is told how many clients have just answered, and stops the round by
/// saying true.
///
/// # Errors
/// Whatever stops the round: see [`Error`].
pub fn simulate(
    config: &Arc<RoundConfig>,
    updates: &[Update<'_>],
    weights: Option<&[u32]>,
    metrics: Option<&[Vec<f64>]>,
    dropouts: &BTreeMap<u32, Stage>,
    keep_masked: bool,
    tick: &mut dyn FnMut(usize) -> bool,
) -> Result<Simulated, Error> {
    let clients = config.shape().clients as usize;
    let one_each = |what, count: usize| {
        if count == clients {
            Ok(())
        } else {
            Err(Error::parameter(what, count, format!("one for each of the {clients} clients")))
        }
    };
    one_each("the number of updates", updates.len())?;
    one_each("the number of weights", weights.map_or(clients, <[u32]>::len))?;
    one_each("the number of lists of metrics", metrics.map_or(clients, <[Vec<f64>]>::len))?;
    if let Some((&client, _)) = dropouts.iter().find(|(client, _)| **client as usize >= clients) {
        return Err(Error::parameter("dropouts", client, "numbers of clients in the round"));
    }
    let identities: Vec<Arc<Identity>> = (0..clients)
        .into_par_iter()
        .map(|_| Identity::generate().map(Arc::new).map_err(|_| Error::Entropy))
        .collect::<Result<_, _>>()?;
    let roster = Roster::new(identities.iter().map(|identity| identity.peer().clone()))?;
    let mut session = vec![0; 32];
    getrandom::fill(&mut session)?;
    let mut id = RoundId { session, ..RoundId::default() };
    if config.needs_beacon() {
        // Between clients of one process there is nobody to prove anything to; see `coin` for others.
        let mut beacon = [0; 32];
        getrandom::fill(&mut beacon)?;
        id.beacon = Some(beacon);
    }
    let mut server = Server::new(config.clone(), roster.clone(), &id)?;
    if keep_masked {
        server.keep_masked();
    }
    let mut run = Run {
        seats: identities
            .into_iter()
            .enumerate()
            .map(|(number, identity)| {
                Seat::enrol(Party::new(config.clone(), identity, roster.clone(), number as u32, &id)?)
            })
            .collect::<Result<_, _>>()?,
        dropouts,
        server,
        up: vec![0; clients],
        down: vec![0; clients],
        client_time: vec![Duration::ZERO; clients],
        server_time: Duration::ZERO,
        tick,
    };
    let everyone = (0..clients as u32).map(|client| (client, Vec::new())).collect();
    let directories = run.stage(Stage::Advertise, everyone, |seat, _| seat.advertise())?;
    let deliveries = run.stage(Stage::Share, directories, |seat, message| seat.share(message))?;
    let survivors = run.stage(Stage::Upload, deliveries, |seat, message| {
        let client = seat.number() as usize;
        let metrics = metrics.map_or(&[][..], |metrics| &metrics[client]);
        seat.upload(message, updates[client], weights.map_or(1, |weights| weights[client]), metrics)
    })?;
    let quorums = run.stage(Stage::Confirm, survivors, |seat, message| seat.confirm(message))?;
    run.stage(Stage::Unmask, quorums, |seat, message| seat.unmask(message))?;
    Ok(Simulated {
        outcome: run.server.result()?.clone(),
        masked: run.server.masked().cloned().unwrap_or_default(),
        bytes_up: run.up,
        bytes_down: run.down,
        client_time: run.client_time,
        server_time: run.server_time,
    })
}

struct Run<'a> {
    seats: Vec<Seat>,
    dropouts: &'a BTreeMap<u32, Stage>,
    server: Server,
    up: Vec<u64>,
    down: Vec<u64>,
    client_time: Vec<Duration>,
    server_time: Duration,
    tick: &'a mut dyn FnMut(usize) -> bool,
}

struct Answered {
    client: u32,
    received: usize,
    bytes: Result<Vec<u8>, Error>,
    time: Duration,
}

/// Clients whose messages are in memory at once: enough for every thread, and little of a large model.
const BATCH: usize = 16;

impl Run<'_> {
    /// One stage: every client that is still there answers its message, the server receives and moves on.
    fn stage(
        &mut self,
        stage: Stage,
        messages: BTreeMap<u32, Vec<u8>>,
        answer: impl Fn(&mut Seat, &[u8]) -> Result<Vec<u8>, Error> + Sync,
    ) -> Result<BTreeMap<u32, Vec<u8>>, Error> {
        let mut waiting: Vec<(&mut Seat, &Vec<u8>)> = self
            .seats
            .iter_mut()
            .filter_map(|seat| messages.get(&seat.number()).map(|message| (seat, message)))
            .filter(|(seat, _)| self.dropouts.get(&seat.number()).is_none_or(|gone| *gone > stage))
            .collect();
        for batch in waiting.chunks_mut(BATCH) {
            if (self.tick)(batch.len()) {
                return Err(Error::aborted(stage.name(), "it was interrupted"));
            }
            let answers: Vec<Answered> = batch
                .par_iter_mut()
                .map(|(seat, message)| {
                    let begin = Instant::now();
                    let bytes = answer(seat, message);
                    Answered { client: seat.number(), received: message.len(), bytes, time: begin.elapsed() }
                })
                .collect();
            for Answered { client, received, bytes, time } in answers {
                let (at, bytes) = (client as usize, bytes?);
                self.client_time[at] += time;
                self.down[at] += received as u64;
                self.up[at] += bytes.len() as u64;
                let begin = Instant::now();
                self.server.receive(client, &bytes)?;
                self.server_time += begin.elapsed();
            }
        }
        let begin = Instant::now();
        let next = self.server.finish_stage()?;
        self.server_time += begin.elapsed();
        Ok(next)
    }
}
