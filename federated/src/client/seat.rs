//! A client whose stage is known at run time: for callers that cannot hold types, such as Python, and for restarts.

use super::answered;
use super::{Advertised, Client, Confirmed, Enrolled, Party, Refusal, Shared, Uploaded};
use crate::Error;
use crate::encoding::Update;
use crate::round::Context;
use sha2::{Digest, Sha256};
use std::fmt;
use zeroize::Zeroizing;

/// A client in whatever stage it is. The same request is answered with the same bytes; another one at an answered
/// stage is refused.
pub struct Seat {
    pub(super) stage: Stage,
    pub(super) number: u32,
    pub(super) context: Context,
    /// The last request and what it was answered with.
    pub(super) last: Option<Answer>,
    /// Set once a snapshot exists: from then on answers are recorded, so that no copy answers the same stage again.
    pub(super) copies: Option<answered::Lineage>,
}

pub(super) enum Stage {
    Enrolled(Client<Enrolled>),
    Advertised(Client<Advertised>),
    Shared(Client<Shared>),
    Uploaded(Client<Uploaded>),
    Confirmed(Client<Confirmed>),
    Finished,
    /// In the middle of a step; never seen from outside.
    Moving,
}

#[derive(Clone)]
pub(super) struct Answer {
    pub(super) request: [u8; 32],
    pub(super) bytes: Vec<u8>,
}

impl fmt::Debug for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({}, {})", self.number, self.state())
    }
}

impl Seat {
    /// A client at the start of a round.
    ///
    /// # Errors
    /// [`Error::Entropy`].
    pub fn enrol(party: Party) -> Result<Self, Error> {
        let (number, context) = (party.number(), *party.context());
        Ok(Self { stage: Stage::Enrolled(Client::enrol(party)?), number, context, last: None, copies: None })
    }

    /// The client's number.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.number
    }

    /// The last stage that was answered, in the words of the protocol.
    #[must_use]
    pub fn state(&self) -> &'static str {
        match self.stage {
            Stage::Enrolled(_) => "enrolled",
            Stage::Advertised(_) => "advertised",
            Stage::Shared(_) => "shared",
            Stage::Uploaded(_) => "uploaded",
            Stage::Confirmed(_) => "confirmed",
            Stage::Finished | Stage::Moving => "finished",
        }
    }

    /// Publishes the round's keys.
    ///
    /// # Errors
    /// [`Error::OutOfOrder`] at a later stage.
    pub fn advertise(&mut self) -> Result<Vec<u8>, Error> {
        self.answer("advertise", &[], |stage| match stage {
            Stage::Enrolled(client) => {
                let (next, bytes) = client.advertise();
                (Stage::Advertised(next), Some(Ok(bytes)))
            }
            other => (other, None),
        })
    }

    /// See [`Client::share`].
    ///
    /// # Errors
    /// As there, and [`Error::OutOfOrder`].
    pub fn share(&mut self, directory: &[u8]) -> Result<Vec<u8>, Error> {
        self.answer("share", &[directory], |stage| match stage {
            Stage::Advertised(client) => moved(client.share(directory), Stage::Shared, Stage::Advertised),
            other => (other, None),
        })
    }

    /// See [`Client::upload`].
    ///
    /// # Errors
    /// As there, and [`Error::OutOfOrder`]: another update is never masked with the same masks.
    pub fn upload(
        &mut self,
        delivery: &[u8],
        update: Update<'_>,
        weight: u32,
        metrics: &[f64],
    ) -> Result<Vec<u8>, Error> {
        let (Update::Vector(values) | Update::Records(values)) = update;
        let request = [delivery, &digest_of(values), &weight.to_be_bytes(), &digest_of(metrics)];
        self.answer("upload", &request, |stage| match stage {
            Stage::Shared(client) => {
                moved(client.upload(delivery, update, weight, metrics), Stage::Uploaded, Stage::Shared)
            }
            other => (other, None),
        })
    }

    /// See [`Client::confirm`].
    ///
    /// # Errors
    /// As there, and [`Error::OutOfOrder`]: a client confirms one survivor set.
    pub fn confirm(&mut self, survivors: &[u8]) -> Result<Vec<u8>, Error> {
        self.answer("confirm", &[survivors], |stage| match stage {
            Stage::Uploaded(client) => moved(client.confirm(survivors), Stage::Confirmed, Stage::Uploaded),
            other => (other, None),
        })
    }

    /// See [`Client::unmask`].
    ///
    /// # Errors
    /// As there, and [`Error::OutOfOrder`].
    pub fn unmask(&mut self, quorum: &[u8]) -> Result<Vec<u8>, Error> {
        self.answer("unmask", &[quorum], |stage| match stage {
            Stage::Confirmed(client) => match client.unmask(quorum) {
                Ok(bytes) => (Stage::Finished, Some(Ok(bytes))),
                Err(refusal) => (Stage::Confirmed(refusal.state), Some(Err(refusal.error))),
            },
            other => (other, None),
        })
    }

    fn answer(
        &mut self,
        called: &'static str,
        request: &[&[u8]],
        step: impl FnOnce(Stage) -> (Stage, Option<Result<Vec<u8>, Error>>),
    ) -> Result<Vec<u8>, Error> {
        let mut hash = Sha256::new().chain_update(called);
        for part in request {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let request: [u8; 32] = hash.finalize().into();
        if let Some(last) = self.last.as_ref().filter(|last| last.request == request) {
            return Ok(last.bytes.clone());
        }
        let state = self.state();
        if let Some(lineage) = &self.copies {
            lineage.check(called)?;
        }
        let (stage, result) = step(std::mem::replace(&mut self.stage, Stage::Moving));
        self.stage = stage;
        let bytes = result.unwrap_or(Err(Error::OutOfOrder {
            called,
            state,
            way_out: "stages go advertise, share, upload, confirm, unmask, each once",
        }))?;
        if let Some(lineage) = &self.copies {
            lineage.record(called)?;
        }
        self.last = Some(Answer { request, bytes: bytes.clone() });
        Ok(bytes)
    }
}

/// BLAKE3 of the numbers' bytes, a few thousand at a time. It never leaves the client; over a large update it is several
/// times as fast as SHA-256.
fn digest_of(values: &[f64]) -> [u8; 32] {
    let mut bytes = Zeroizing::new([[0; 8]; 8192]);
    let mut hash = blake3::Hasher::new();
    for part in values.chunks(bytes.len()) {
        bytes.iter_mut().zip(part).for_each(|(eight, x)| *eight = x.to_le_bytes());
        hash.update(bytes[..part.len()].as_flattened());
    }
    hash.finalize().into()
}

fn moved<Next, Now>(
    step: super::Step<Next, Now>,
    next: fn(Client<Next>) -> Stage,
    now: fn(Client<Now>) -> Stage,
) -> (Stage, Option<Result<Vec<u8>, Error>>) {
    match step {
        Ok((client, bytes)) => (next(client), Some(Ok(bytes))),
        Err(refusal) => {
            let Refusal { error, state } = *refusal;
            (now(state), Some(Err(error)))
        }
    }
}
