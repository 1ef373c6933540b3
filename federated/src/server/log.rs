//! The server's append-only log, from which a crashed server resumes.
//!
//! The server draws no randomness, so its state is a function of the messages it accepted and of where it ended its
//! stages. A record is `u32 length, u32 client (2^32 - 1 for the end of a stage), message, SHA-256 of the record's
//! fields and of the record before`. A record that was cut short by a crash is dropped, anything else that does not
//! verify is refused.

use super::Server;
use crate::Error;
use crate::round::{Roster, RoundConfig, RoundId};
use crate::wire::Reader;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::sync::Arc;

const END_OF_STAGE: u32 = u32::MAX;

/// Where a resumed server stands.
#[derive(Debug)]
pub struct Resumed {
    /// The server, as it was after the last whole record.
    pub server: Server,
    /// What the last finished stage sent, to be sent again.
    pub messages: BTreeMap<u32, Vec<u8>>,
    /// How many bytes of the log are whole records: cut the file there before appending.
    pub whole: usize,
}

/// What was appended since the log was last taken, and the digest of the last record.
#[derive(Default)]
pub(super) struct Log {
    pending: Vec<u8>,
    head: [u8; 32],
}

impl Server {
    /// Starts to keep a log. Call it before the first message.
    pub fn keep_log(&mut self) {
        self.log.get_or_insert_default();
    }

    /// Takes what was appended to the log since the last call. Write it durably before acting on it.
    pub fn take_log(&mut self) -> Vec<u8> {
        self.log.as_mut().map(|log| std::mem::take(&mut log.pending)).unwrap_or_default()
    }

    pub(super) fn log_message(&mut self, client: u32, bytes: &[u8]) {
        if let Some(log) = &mut self.log {
            log.append(client, bytes);
        }
    }

    fn log_head(&self) -> [u8; 32] {
        self.log.as_ref().map(|log| log.head).unwrap_or_default()
    }

    pub(super) fn log_finish(&mut self) {
        self.log_message(END_OF_STAGE, &[]);
    }

    /// Replays a log.
    ///
    /// # Errors
    /// [`Error::Malformed`] if the log is not one of this round, or was altered.
    pub fn resume(config: Arc<RoundConfig>, roster: Roster, id: &RoundId, log: &[u8]) -> Result<Resumed, Error> {
        let mut server = Self::new(config, roster, id)?;
        server.keep_log();
        let mut messages = BTreeMap::new();
        let mut whole = 0;
        while let Some((client, bytes, length)) = next(&log[whole..], &server.log_head())? {
            if client == END_OF_STAGE {
                messages = server.finish_stage()?;
            } else {
                server.receive(client, bytes)?;
            }
            whole += length;
        }
        server.take_log();
        Ok(Resumed { server, messages, whole })
    }
}

impl Log {
    fn append(&mut self, client: u32, bytes: &[u8]) {
        let (length, client) = ((bytes.len() as u32).to_be_bytes(), client.to_be_bytes());
        self.head = chained(&self.head, &length, &client, bytes);
        [&length[..], &client, bytes, &self.head[..]].iter().for_each(|part| self.pending.extend_from_slice(part));
    }
}

fn chained(head: &[u8; 32], length: &[u8], client: &[u8], bytes: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(head).chain_update(length).chain_update(client).chain_update(bytes).finalize().into()
}

type Record<'a> = (u32, &'a [u8], usize);

fn next<'a>(log: &'a [u8], head: &[u8; 32]) -> Result<Option<Record<'a>>, Error> {
    let mut reader = Reader::new("log", log);
    let Ok(length) = reader.array::<4>() else { return Ok(None) };
    let Ok(client) = reader.array::<4>() else { return Ok(None) };
    let Ok(bytes) = reader.take(u32::from_be_bytes(length) as usize) else { return Ok(None) };
    let Ok(stated) = reader.array::<32>() else { return Ok(None) };
    if chained(head, &length, &client, bytes) != stated {
        return Err(Error::Malformed {
            message: "log",
            why: "a record does not follow from the one before: it was altered",
        });
    }
    Ok(Some((u32::from_be_bytes(client), bytes, 8 + bytes.len() + 32)))
}
