//! What travels: eight messages with one layout each. `docs/protocol.md` is the specification.
//!
//! Every list is in strictly increasing order of client number, every length is bounded by the round's parameters, and
//! nothing may follow the last field: a message has one encoding.

use crate::Error;
use crate::round::{Context, RoundConfig};
use crate::wire::{Reader, Writer};
use sha2::{Digest, Sha256};
use veilsum_crypto::Identity;
use veilsum_crypto::Peer;

/// The format's version.
pub(crate) const VERSION: u8 = 1;
/// X25519, HKDF-SHA-256, AES-256-CTR, Ed25519, Cobblestone-256. Not post-quantum.
pub(crate) const SUITE_X25519: u8 = 1;
/// Reserved: X-Wing in place of X25519, the rest the same. Refused until it is built.
pub(crate) const SUITE_XWING: u8 = 2;

/// The sender's number in messages of the server.
const SERVER: u32 = u32::MAX;
const HEADER: usize = 3 + 32 + 4;
const SIGNATURE: usize = 64;
const DOMAIN: &str = "veilsum.federated.message.v1";

/// The kinds of message, in the order of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    Advertise = 1,
    Share = 2,
    Upload = 3,
    Confirm = 4,
    Unmask = 5,
    Directory = 0x81,
    Delivery = 0x82,
    Survivors = 0x83,
    Quorum = 0x84,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Advertise => "advertise",
            Self::Share => "share",
            Self::Upload => "upload",
            Self::Confirm => "confirm",
            Self::Unmask => "unmask",
            Self::Directory => "directory",
            Self::Delivery => "delivery",
            Self::Survivors => "survivors",
            Self::Quorum => "quorum",
        }
    }
}

/// The 39 bytes before every body.
fn header(kind: Kind, context: &Context, sender: u32) -> [u8; HEADER] {
    let mut writer = Writer::default();
    writer.u8(VERSION).u8(SUITE_X25519).u8(kind as u8).bytes(context.as_bytes()).u32(sender);
    writer.done().try_into().expect("the header's fields have fixed lengths")
}

/// What a client signs: the header and the SHA-256 of the body.
fn signed_bytes(kind: Kind, context: &Context, sender: u32, body: &[u8]) -> Vec<u8> {
    [&header(kind, context, sender)[..], &Sha256::digest(body)].concat()
}

/// A client's message: header, body, signature.
pub(crate) fn seal(identity: &Identity, kind: Kind, context: &Context, sender: u32, body: &[u8]) -> Vec<u8> {
    let signature = identity.sign(DOMAIN, &signed_bytes(kind, context, sender, body));
    [&header(kind, context, sender)[..], body, &signature].concat()
}

/// Checks one client's signature over a body.
pub(crate) fn verify(
    peer: &Peer,
    kind: Kind,
    context: &Context,
    sender: u32,
    body: &[u8],
    signature: &[u8; SIGNATURE],
) -> Result<(), Error> {
    peer.verify(DOMAIN, &signed_bytes(kind, context, sender, body), signature).map_err(|_| Error::Refused {
        stage: kind.name(),
        why: format!("the signature of client {sender} does not verify for this round, stage and content"),
    })
}

fn open_header<'a>(kind: Kind, context: &Context, sender: u32, bytes: &'a [u8]) -> Result<&'a [u8], Error> {
    let mut reader = Reader::new(kind.name(), bytes);
    if reader.u8()? != VERSION {
        return Err(reader.malformed("it is of another format version"));
    }
    match reader.u8()? {
        SUITE_X25519 => {}
        SUITE_XWING => return Err(reader.malformed("suite 2 (X-Wing) is reserved and not built yet")),
        _ => return Err(reader.malformed("its suite is unknown")),
    }
    if reader.u8()? != kind as u8 {
        return Err(reader.malformed("it is of another kind"));
    }
    if reader.array()? != *context.as_bytes() {
        return Err(reader
            .malformed("it belongs to another round: session, number, roster, model, beacon or parameters differ"));
    }
    if reader.u32()? != sender {
        return Err(reader.malformed("it names another sender"));
    }
    Ok(reader.rest())
}

/// Opens a client's message: its body and its verified signature.
pub(crate) fn open<'a>(
    peer: &Peer,
    kind: Kind,
    context: &Context,
    sender: u32,
    bytes: &'a [u8],
) -> Result<(&'a [u8], [u8; SIGNATURE]), Error> {
    let rest = open_header(kind, context, sender, bytes)?;
    let at = rest.len().checked_sub(SIGNATURE);
    let (body, signature) =
        at.map(|at| rest.split_at(at)).ok_or(Error::Malformed { message: kind.name(), why: "it is cut short" })?;
    let signature = signature.try_into().expect("split off at 64 bytes");
    verify(peer, kind, context, sender, body, &signature)?;
    Ok((body, signature))
}

/// A message of the server. It is not signed: no promise of this protocol rests on the server's word.
pub(crate) fn from_server(kind: Kind, context: &Context, body: &[u8]) -> Vec<u8> {
    [&header(kind, context, SERVER)[..], body].concat()
}

pub(crate) fn open_from_server<'a>(kind: Kind, context: &Context, bytes: &'a [u8]) -> Result<&'a [u8], Error> {
    open_header(kind, context, SERVER, bytes)
}

/// Refuses lists that are not strictly increasing.
fn increasing(reader: &Reader<'_>, numbers: impl IntoIterator<Item = u32>, clients: u32) -> Result<(), Error> {
    let mut least = 0;
    for number in numbers {
        if number < least {
            return Err(reader.malformed("client numbers repeat or are out of order"));
        }
        if number >= clients {
            return Err(reader.malformed("a client number is not on the roster"));
        }
        least = number + 1;
    }
    Ok(())
}

/// A client's keys for the round, and the promise of its mask seed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Advert {
    pub(crate) mask_key: [u8; 32],
    pub(crate) share_key: [u8; 32],
    pub(crate) seed_commitment: [u8; 32],
}

impl Advert {
    pub(crate) fn encode(&self) -> Vec<u8> {
        [self.mask_key, self.share_key, self.seed_commitment].concat()
    }

    pub(crate) fn decode(body: &[u8]) -> Result<Self, Error> {
        let mut reader = Reader::new("advertise", body);
        let advert = Self { mask_key: reader.array()?, share_key: reader.array()?, seed_commitment: reader.array()? };
        reader.end()?;
        Ok(advert)
    }
}

/// An advert as relayed: with the signature that its author made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SignedAdvert {
    pub(crate) client: u32,
    pub(crate) advert: Advert,
    pub(crate) signature: [u8; SIGNATURE],
}

/// Who advertised what, among those whom a client needs to know.
pub(crate) struct Directory {
    /// Seed of the graph when the server draws it (semi-honest); zeros otherwise.
    pub(crate) graph_seed: [u8; 32],
    pub(crate) adverts: Vec<SignedAdvert>,
}

impl Directory {
    pub(crate) fn encode(graph_seed: &[u8; 32], adverts: &[&SignedAdvert]) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.bytes(graph_seed).u32(adverts.len() as u32);
        for signed in adverts {
            writer.u32(signed.client).bytes(&signed.advert.encode()).bytes(&signed.signature);
        }
        writer.done()
    }

    pub(crate) fn decode(body: &[u8], config: &RoundConfig) -> Result<Self, Error> {
        let mut reader = Reader::new("directory", body);
        let graph_seed = reader.array()?;
        let adverts = reader.list(config.shape().neighbors as usize + 1, |reader| {
            Ok(SignedAdvert {
                client: reader.u32()?,
                advert: Advert {
                    mask_key: reader.array()?,
                    share_key: reader.array()?,
                    seed_commitment: reader.array()?,
                },
                signature: reader.array()?,
            })
        })?;
        increasing(&reader, adverts.iter().map(|a| a.client), config.shape().clients)?;
        reader.end()?;
        Ok(Self { graph_seed, adverts })
    }
}

/// The two kinds of share that a holder keeps of each neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Secret {
    /// Of the seed of a client's own mask: opened if the client's vector is in the sum.
    Seed = 0,
    /// Of the private key of its pairwise masks: opened if it is not.
    MaskKey = 1,
}

/// Commitments to, and the sealing of, the pair of shares of one holder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SealedShares {
    /// The holder on the way up, the dealer on the way down.
    pub(crate) other: u32,
    /// To the share of the seed and to the share of the mask key.
    pub(crate) commitments: [[u8; 32]; 2],
    /// Empty for the dealer's own.
    pub(crate) sealed: Vec<u8>,
}

/// Both shares of one holder, sealed.
pub(crate) const SHARES: usize = 64;

fn write_shares(writer: &mut Writer, list: &[&SealedShares]) {
    writer.u32(list.len() as u32);
    for entry in list {
        writer.u32(entry.other).bytes(&entry.commitments[0]).bytes(&entry.commitments[1]).opaque(&entry.sealed);
    }
}

fn read_shares(reader: &mut Reader<'_>, config: &RoundConfig) -> Result<Vec<SealedShares>, Error> {
    let most = veilsum_crypto::Key::sealed_length(SHARES).expect("64 bytes can be sealed");
    let list = reader.list(config.shape().neighbors as usize + 1, |reader| {
        Ok(SealedShares {
            other: reader.u32()?,
            commitments: [reader.array()?, reader.array()?],
            sealed: reader.opaque(most)?.to_vec(),
        })
    })?;
    increasing(reader, list.iter().map(|e| e.other), config.shape().clients)?;
    Ok(list)
}

/// The body of a client's share message: an entry for every holder, itself included.
pub(crate) fn encode_share(list: &[SealedShares]) -> Vec<u8> {
    let mut writer = Writer::default();
    write_shares(&mut writer, &list.iter().collect::<Vec<_>>());
    writer.done()
}

pub(crate) fn decode_share(body: &[u8], config: &RoundConfig) -> Result<Vec<SealedShares>, Error> {
    let mut reader = Reader::new("share", body);
    let list = read_shares(&mut reader, config)?;
    reader.end()?;
    Ok(list)
}

/// Who shared, and the shares for one holder.
pub(crate) struct Delivery {
    pub(crate) present: Vec<bool>,
    pub(crate) shares: Vec<SealedShares>,
}

impl Delivery {
    pub(crate) fn encode(present: &[bool], shares: &[&SealedShares]) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.bitmap(present);
        write_shares(&mut writer, shares);
        writer.done()
    }

    pub(crate) fn decode(body: &[u8], config: &RoundConfig) -> Result<Self, Error> {
        let mut reader = Reader::new("delivery", body);
        let present = reader.bitmap(config.shape().clients as usize)?;
        let shares = read_shares(&mut reader, config)?;
        reader.end()?;
        Ok(Self { present, shares })
    }
}

/// Whose vectors are in the sum.
pub(crate) fn encode_survivors(included: &[bool]) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.bitmap(included);
    writer.done()
}

pub(crate) fn decode_survivors(body: &[u8], config: &RoundConfig) -> Result<Vec<bool>, Error> {
    let mut reader = Reader::new("survivors", body);
    let included = reader.bitmap(config.shape().clients as usize)?;
    reader.end()?;
    Ok(included)
}

/// What a client confirms: who shared and who is in the sum, as it was told.
pub(crate) fn transcript(context: &Context, present: &[bool], included: &[bool]) -> [u8; 32] {
    let mut writer = Writer::default();
    writer.bytes(b"veilsum.federated.transcript.v1\0").bytes(context.as_bytes()).bitmap(present).bitmap(included);
    Sha256::digest(writer.done()).into()
}

/// Confirmations, for a client to count.
pub(crate) fn encode_quorum(signatures: &[(u32, [u8; SIGNATURE])]) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.u32(signatures.len() as u32);
    for (client, signature) in signatures {
        writer.u32(*client).bytes(signature);
    }
    writer.done()
}

pub(crate) fn decode_quorum(body: &[u8], config: &RoundConfig) -> Result<Vec<(u32, [u8; SIGNATURE])>, Error> {
    let mut reader = Reader::new("quorum", body);
    let clients = config.shape().clients;
    let list = reader.list(clients as usize, |reader| Ok((reader.u32()?, reader.array()?)))?;
    increasing(&reader, list.iter().map(|s| s.0), clients)?;
    reader.end()?;
    Ok(list)
}

/// One opened share.
pub(crate) struct OpenShare {
    pub(crate) dealer: u32,
    pub(crate) secret: Secret,
    pub(crate) share: [u8; 32],
}

pub(crate) fn encode_unmask(shares: &[OpenShare]) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.u32(shares.len() as u32);
    for open in shares {
        writer.u32(open.dealer).u8(open.secret as u8).bytes(&open.share);
    }
    writer.done()
}

pub(crate) fn decode_unmask(body: &[u8], config: &RoundConfig) -> Result<Vec<OpenShare>, Error> {
    let mut reader = Reader::new("unmask", body);
    let list = reader.list(config.shape().neighbors as usize + 1, |reader| {
        let dealer = reader.u32()?;
        let secret = match reader.u8()? {
            0 => Secret::Seed,
            1 => Secret::MaskKey,
            _ => return Err(reader.malformed("a share is of an unknown kind")),
        };
        Ok(OpenShare { dealer, secret, share: reader.array()? })
    })?;
    increasing(&reader, list.iter().map(|s| s.dealer), config.shape().clients)?;
    reader.end()?;
    Ok(list)
}
