//! Who may send: lists of peers with roles and dates, signed and numbered. This is the access control.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::error::Error;
use crate::identity::Identity;
use crate::peer::{PEER, Peer, PeerId, SIGNATURE};
use crate::time::UnixTime;
use crate::wire::Bytes;

const DOMAIN: &str = "veilsum.peer-set.v1";
const MAGIC: &[u8; 8] = b"VEIL\x01\x06\x00\x00";
const SHORT: &str = "the list of peers ends too soon";

/// What a peer may do: 1 to 32 of `a-z`, `0-9` and `-`. What a role means is the application's to say.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Role(String);

impl Role {
    /// A role of this name.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for other characters or lengths.
    pub fn new(name: &str) -> Result<Self, Error> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if name.is_empty() || name.len() > 32 || !name.bytes().all(allowed) {
            return Err(Error::out_of_range("a role", format!("{name:?}"), "1 to 32 of a-z, 0-9 and -"));
        }
        Ok(Self(name.to_owned()))
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A peer on a list: what it may do, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Who.
    pub peer: Peer,
    /// What it may do.
    pub roles: BTreeSet<Role>,
    /// From when on.
    pub from: UnixTime,
    /// Until when; not at this second any more.
    pub until: UnixTime,
}

impl From<Peer> for Member {
    /// Without roles, always.
    fn from(peer: Peer) -> Self {
        Self { peer, roles: BTreeSet::new(), from: UnixTime::BEGINNING, until: UnixTime::NEVER }
    }
}

/// The peers whose messages are accepted. A sender that is not in it is refused.
///
/// ```
/// use veilsum_crypto::{Identity, Member, PeerSet, Role, UnixTime};
/// let (coordinator, client) = (Identity::generate()?, Identity::generate()?);
/// let member = Member {
///     roles: [Role::new("client")?].into(),
///     until: UnixTime(1_800_000_000),
///     ..client.peer().clone().into()
/// };
/// let signed = PeerSet::of([member]).sign(&coordinator, 3)?;
///
/// let list = PeerSet::verify(&signed, coordinator.peer(), Some(2))?;
/// assert!(list.with_role(&Role::new("client")?).admitted(client.peer().id(), UnixTime(1_790_000_000)).is_some());
/// assert!(PeerSet::verify(&signed, coordinator.peer(), Some(4)).is_err()); // a newer one was seen
/// # Ok::<(), veilsum_crypto::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct PeerSet {
    number: Option<u64>,
    members: BTreeMap<PeerId, Member>,
    /// As they were given; a list that was verified is in the order of ids.
    order: Vec<PeerId>,
}

/// The order in which peers were given does not count.
impl PartialEq for PeerSet {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number && self.members == other.members
    }
}

impl Eq for PeerSet {}

impl PeerSet {
    /// The peers that were given, each once, without roles and always valid.
    pub fn new(peers: impl IntoIterator<Item = Peer>) -> Self {
        Self::of(peers.into_iter().map(Member::from))
    }

    /// The members that were given; of two entries for one peer, the later.
    pub fn of(members: impl IntoIterator<Item = Member>) -> Self {
        let (mut by_id, mut order) = (BTreeMap::new(), Vec::new());
        for member in members {
            let id = member.peer.id();
            if by_id.insert(id, member).is_none() {
                order.push(id);
            }
        }
        Self { number: None, members: by_id, order }
    }

    /// The peer of this name, if it may send at `now`.
    pub fn admitted(&self, id: PeerId, now: UnixTime) -> Option<&Peer> {
        self.members.get(&id).filter(|member| member.from <= now && now < member.until).map(|member| &member.peer)
    }

    /// The peer of this name, whatever the date.
    pub fn find(&self, id: PeerId) -> Option<&Peer> {
        self.members.get(&id).map(|member| &member.peer)
    }

    /// Only those with this role.
    pub fn with_role(&self, role: &Role) -> Self {
        let members = self.members().filter(|member| member.roles.contains(role)).cloned();
        Self { number: self.number, ..Self::of(members) }
    }

    /// Every member, in the order in which they were given; those of a signed list are in the order of their ids.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.order.iter().filter_map(|id| self.members.get(id))
    }

    /// Every peer, in the same order.
    pub fn iter(&self) -> impl Iterator<Item = &Peer> {
        self.members().map(|member| &member.peer)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The number of a list that was verified.
    pub fn number(&self) -> Option<u64> {
        self.number
    }

    /// The list as bytes, signed under `number`. Each list needs a greater number than the one before.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for a member with more than 255 roles.
    pub fn sign(&self, by: &Identity, number: u64) -> Result<Vec<u8>, Error> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&number.to_be_bytes());
        bytes.extend_from_slice(&(self.members.len() as u32).to_be_bytes());
        for member in self.members.values() {
            bytes.extend_from_slice(&member.peer.to_bytes());
            bytes.extend_from_slice(&member.from.0.to_be_bytes());
            bytes.extend_from_slice(&member.until.0.to_be_bytes());
            let roles = u8::try_from(member.roles.len())
                .map_err(|_| Error::out_of_range("a member's number of roles", member.roles.len(), "at most 255"))?;
            bytes.push(roles);
            for role in &member.roles {
                bytes.push(role.0.len() as u8);
                bytes.extend_from_slice(role.0.as_bytes());
            }
        }
        let signature = by.sign(DOMAIN, &bytes);
        bytes.extend_from_slice(&signature);
        Ok(bytes)
    }

    /// Accepts a list that `by` signed, unless its number is below `last`, the last one that was seen. Keep the
    /// [`number`](Self::number): **without it an old list, with members who were struck off since, passes**.
    ///
    /// # Errors
    /// [`Error::Malformed`] for bytes that are no list; [`Error::Rejected`] for one that `by` did not sign or that is
    /// older than `last`.
    pub fn verify(signed: &[u8], by: &Peer, last: Option<u64>) -> Result<Self, Error> {
        let (bytes, signature) = signed.split_last_chunk::<SIGNATURE>().ok_or(Error::malformed(SHORT))?;
        if !bytes.starts_with(MAGIC) {
            return Err(Error::malformed("this is no list of peers of format version 1"));
        }
        by.verify(DOMAIN, bytes, signature)?;
        let list = Self::parse(bytes)?;
        if list.number < last {
            return Err(Error::Rejected);
        }
        Ok(list)
    }

    fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let mut left = Bytes::new(bytes, SHORT);
        left.take(MAGIC.len())?;
        let number = left.u64()?;
        let count = left.u32()?;
        let mut members = BTreeMap::new();
        for _ in 0..count {
            let member = parse_member(&mut left)?;
            let id = member.peer.id();
            if members.last_key_value().is_some_and(|(last, _)| *last >= id) {
                return Err(Error::malformed("the list's peers are not in ascending order, each once"));
            }
            members.insert(id, member);
        }
        left.end("the list of peers goes on after its end")?;
        let order = members.keys().copied().collect();
        Ok(Self { number: Some(number), members, order })
    }
}

fn parse_member(left: &mut Bytes<'_>) -> Result<Member, Error> {
    let peer = Peer::from_bytes(left.take(PEER)?)?;
    let (from, until) = (UnixTime(left.u64()?), UnixTime(left.u64()?));
    let mut roles = BTreeSet::new();
    for _ in 0..left.u8()? {
        let length = left.u8()?;
        let name = std::str::from_utf8(left.take(length.into())?).map_err(|_| Error::malformed(ROLES))?;
        let role = Role::new(name).map_err(|_| Error::malformed(ROLES))?;
        if roles.last().is_some_and(|last| *last >= role) {
            return Err(Error::malformed(ROLES));
        }
        roles.insert(role);
    }
    Ok(Member { peer, roles, from, until })
}

const ROLES: &str = "a member's roles are not names in ascending order, each once";
