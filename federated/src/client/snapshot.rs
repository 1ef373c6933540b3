//! Sealed snapshots of a client between two stages.
//!
//! A snapshot holds the round's secrets and the last answer. Write it before the answer is sent: a client that is
//! restored from it gives the same bytes to the same request, and no other answer.

use super::answered::Lineage;
use super::seat::{Answer, Seat, Stage};
use super::{Advertised, Client, Confirmed, Enrolled, HeldShares, Holding, Party, Shared, Uploaded};
use crate::Error;
use crate::keys::{End, RoundSecrets};
use crate::message::Advert;
use crate::round::RoundConfig;
use crate::wire::{Reader, Writer};
use veilsum_crypto::Key;
use x25519_dalek::StaticSecret;
use zeroize::Zeroizing;

const VERSION: u8 = 1;

impl Seat {
    /// Seals the state under `key`, bound to the round and the client.
    ///
    /// # Errors
    /// [`Error::Entropy`].
    pub fn snapshot(&mut self, key: &Key) -> Result<Vec<u8>, Error> {
        let lineage = *self.copies.get_or_insert_with(|| Lineage(self.stage.lineage()));
        let answered = self.last.as_ref().map_or(0, |last| last.bytes.len());
        let mut writer = Writer::with_capacity(1024 + answered + self.stage.most_bytes());
        writer.u8(VERSION).bytes(&lineage.0);
        match &self.last {
            None => writer.u8(0),
            Some(last) => writer.u8(1).bytes(&last.request).opaque(&last.bytes),
        };
        self.stage.write(&mut writer);
        let plain = Zeroizing::new(writer.done());
        key.seal(&plain, &bound(self.context.as_bytes(), self.number)).map_err(|_| Error::Entropy)
    }

    /// Opens a snapshot for the same party of the same round.
    ///
    /// # Errors
    /// [`Error::Refused`] if it does not open: another key, round or client, or altered.
    pub fn restore(party: Party, key: &Key, snapshot: &[u8]) -> Result<Self, Error> {
        let (number, context) = (party.number(), *party.context());
        let refused =
            || Error::refused("restore", "the snapshot does not open: another key, round or client, or it was altered");
        let plain = key.open(snapshot, &bound(context.as_bytes(), number)).map_err(|_| refused())?;
        let plain = Zeroizing::new(plain);
        let mut reader = Reader::new("snapshot", &plain);
        if reader.u8()? != VERSION {
            return Err(reader.malformed("it is of another version"));
        }
        let copies = Some(Lineage(reader.array()?));
        let last = match reader.u8()? {
            0 => None,
            _ => Some(Answer { request: reader.array()?, bytes: reader.opaque(usize::MAX)?.to_vec() }),
        };
        let stage = Stage::read(&mut reader, party)?;
        reader.end()?;
        Ok(Self { stage, number, context, last, copies })
    }
}

fn bound(context: &[u8; 32], number: u32) -> Vec<u8> {
    [&b"veilsum.federated.snapshot.v1\0"[..], context, &number.to_be_bytes()].concat()
}

impl Stage {
    /// The public share key names the draw; later stages have forgotten it and are named by what they hold.
    fn lineage(&self) -> [u8; 32] {
        let name = |secrets: &RoundSecrets| End::of(0, &secrets.share).public;
        match self {
            Self::Enrolled(client) => name(&client.stage.secrets),
            Self::Advertised(client) => name(&client.stage.secrets),
            Self::Shared(client) => name(&client.stage.secrets),
            Self::Uploaded(client) => client.stage.holding.lineage,
            Self::Confirmed(client) => client.stage.holding.lineage,
            Self::Finished | Self::Moving => [0; 32],
        }
    }

    /// Room that [`write`](Self::write) takes at most, beside a kilobyte.
    fn most_bytes(&self) -> usize {
        let held = |holding: &Holding, bitmaps: usize| 68 * holding.shares.len() + bitmaps * holding.present.len() / 8;
        match self {
            Self::Shared(client) => 100 * client.stage.neighbors.len(),
            Self::Uploaded(client) => held(&client.stage.holding, 1),
            Self::Confirmed(client) => held(&client.stage.holding, 2),
            _ => 0,
        }
    }

    fn write(&self, writer: &mut Writer) {
        match self {
            Self::Enrolled(client) => write_secrets(writer.u8(0), &client.stage.secrets),
            Self::Advertised(client) => write_secrets(writer.u8(1), &client.stage.secrets),
            Self::Shared(client) => {
                let now = &client.stage;
                write_secrets(writer.u8(2), &now.secrets);
                writer.bytes(&now.graph_seed).bytes(&*now.own_shares[0]).bytes(&*now.own_shares[1]);
                writer.u32(now.neighbors.len() as u32);
                now.neighbors.iter().for_each(|(number, advert)| {
                    writer.u32(*number).bytes(&advert.encode());
                });
            }
            Self::Uploaded(client) => write_holding(writer.u8(3), &client.stage.holding),
            Self::Confirmed(client) => {
                write_holding(writer.u8(4), &client.stage.holding);
                writer.bitmap(&client.stage.included);
            }
            Self::Finished | Self::Moving => {
                writer.u8(5);
            }
        }
    }

    fn read(reader: &mut Reader<'_>, party: Party) -> Result<Self, Error> {
        let config = party.config().clone();
        Ok(match reader.u8()? {
            0 => Self::Enrolled(Client { stage: Enrolled { secrets: read_secrets(reader)? }, party }),
            1 => Self::Advertised(Client { stage: Advertised { secrets: read_secrets(reader)? }, party }),
            2 => {
                let secrets = read_secrets(reader)?;
                let graph_seed = reader.array()?;
                let own_shares = [read_share(reader)?, read_share(reader)?];
                let neighbors = reader.list(config.shape().neighbors as usize, |reader| {
                    Ok((reader.u32()?, Advert::decode(reader.take(96)?)?))
                })?;
                Self::Shared(Client { stage: Shared { secrets, graph_seed, neighbors, own_shares }, party })
            }
            3 => Self::Uploaded(Client { stage: Uploaded { holding: read_holding(reader, &config)? }, party }),
            4 => {
                let holding = read_holding(reader, &config)?;
                let included = reader.bitmap(config.shape().clients as usize)?;
                Self::Confirmed(Client { stage: Confirmed { holding, included }, party })
            }
            5 => Self::Finished,
            _ => return Err(reader.malformed("its stage is unknown")),
        })
    }
}

fn write_secrets(writer: &mut Writer, secrets: &RoundSecrets) {
    writer.bytes(secrets.mask.as_bytes()).bytes(secrets.share.as_bytes()).bytes(&*secrets.seed);
}

fn read_secrets(reader: &mut Reader<'_>) -> Result<RoundSecrets, Error> {
    Ok(RoundSecrets {
        mask: StaticSecret::from(*read_share(reader)?),
        share: StaticSecret::from(*read_share(reader)?),
        seed: read_share(reader)?,
    })
}

fn read_share(reader: &mut Reader<'_>) -> Result<Zeroizing<[u8; 32]>, Error> {
    reader.array().map(Zeroizing::new)
}

fn write_holding(writer: &mut Writer, holding: &Holding) {
    writer.bytes(&holding.lineage).bytes(&holding.graph_seed).bitmap(&holding.present);
    writer.u32(holding.shares.len() as u32);
    for held in &holding.shares {
        writer.u32(held.dealer).bytes(&*held.shares[0]).bytes(&*held.shares[1]);
    }
}

fn read_holding(reader: &mut Reader<'_>, config: &RoundConfig) -> Result<Holding, Error> {
    Ok(Holding {
        lineage: reader.array()?,
        graph_seed: reader.array()?,
        present: reader.bitmap(config.shape().clients as usize)?,
        shares: reader.list(config.shape().neighbors as usize + 1, |reader| {
            Ok(HeldShares { dealer: reader.u32()?, shares: [read_share(reader)?, read_share(reader)?] })
        })?,
    })
}
