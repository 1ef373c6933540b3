//! Sealing to people: 1 to 1,024 recipients, and a sender who signs inside.
//!
//! ```text
//! header (8) || key agreement (1) || recipients (2) || stanza ... || Cobblestone(file key)
//! stanza     = recipient id (32) || encapsulated key || wrapped file key (48), ascending by id
//! payload    = data || sender id (32) || signature (64)      (anonymous messages: data alone)
//! signed     = SHA-512(everything before Cobblestone) || commitment || u64(len(context)) || context
//!              || u64(len(data)) || BLAKE3(data)
//! ```
//!
//! Everything before the chunked encryption is the beginning of its context. So a relay that changes or drops a stanza
//! changes every derived key; a co-recipient who knows the file key cannot put another body under the signature; and a
//! recipient who forwards what he got cannot make it out to someone else, since the signature covers the recipients.

use std::fmt;

use sha2::{Digest, Sha512};
use zeroize::Zeroize;

use crate::aead::Suite;
use crate::cobblestone::{self, Cobblestone, PREFIX, SALT};
use crate::envelope::{self, HEADER, Kind};
use crate::error::Error;
use crate::hpke::{self, Kem, Private, Public, WRAPPED};
use crate::identity::Identity;
use crate::key::Key;
use crate::peer::{Peer, PeerId, SIGNATURE};
use crate::peers::PeerSet;
use crate::random::{self, Draws};
use crate::round_key::RoundOffer;
use crate::secret::Secret;
use crate::threads::Threads;
use crate::time::UnixTime;
use crate::wire::Bytes;

/// The domain of a sealed message's signature.
const DOMAIN: &str = "veilsum.seal.v1";
/// Bytes that follow the data inside a signed message.
pub(crate) const TRAILER: usize = 32 + SIGNATURE;
/// Recipients of one message.
const MOST_RECIPIENTS: usize = 1024;

/// One to 1,024 recipients, each once, and how to seal to them.
#[derive(Clone)]
pub struct Recipients<'p> {
    /// Ascending by id.
    recipients: Vec<Recipient<'p>>,
    kem: Kem,
    suite: Suite,
}

/// A peer, or the round key that a peer offers.
#[derive(Clone)]
pub struct Recipient<'p> {
    id: [u8; 32],
    keys: RecipientKeys<'p>,
}

#[derive(Clone)]
enum RecipientKeys<'p> {
    Peer(&'p Peer),
    Round(&'p RoundOffer),
}

impl<'p> From<&'p Peer> for Recipient<'p> {
    fn from(peer: &'p Peer) -> Self {
        Self { id: *peer.id().as_bytes(), keys: RecipientKeys::Peer(peer) }
    }
}

impl<'p> From<&'p RoundOffer> for Recipient<'p> {
    fn from(offer: &'p RoundOffer) -> Self {
        Self { id: *offer.id(), keys: RecipientKeys::Round(offer) }
    }
}

impl<'p> Recipients<'p> {
    /// These recipients, by X-Wing and AES-256-GCM.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for none, or more than 1,024 of them, or the same one twice.
    pub fn new(recipients: impl IntoIterator<Item = impl Into<Recipient<'p>>>) -> Result<Self, Error> {
        let mut recipients: Vec<Recipient<'p>> = recipients.into_iter().map(Into::into).collect();
        if recipients.is_empty() || recipients.len() > MOST_RECIPIENTS {
            return Err(Error::out_of_range("the number of recipients", recipients.len(), "from 1 to 1,024"));
        }
        recipients.sort_by_key(|recipient| recipient.id);
        if recipients.windows(2).any(|pair| pair[0].id == pair[1].id) {
            return Err(Error::out_of_range("a recipient", "named twice", "named once"));
        }
        Ok(Self { recipients, kem: Kem::default(), suite: Suite::default() })
    }

    /// With another key agreement. Round keys have X-Wing alone.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for X25519 where a round key is among the recipients.
    pub fn by(mut self, kem: Kem) -> Result<Self, Error> {
        self.kem = kem;
        match self.recipients.iter().any(|recipient| recipient.public(kem).is_none()) {
            true => Err(Error::out_of_range("the key agreement", "X25519", "X-Wing for a round key")),
            false => Ok(self),
        }
    }

    /// With another suite for the body.
    pub fn with_suite(mut self, suite: Suite) -> Self {
        self.suite = suite;
        self
    }

    pub(crate) fn suite(&self) -> Suite {
        self.suite
    }

    /// The public bytes before the body, wrapping `file_key` for everyone.
    pub(crate) fn preamble(&self, kind: Kind, file_key: &Secret<32>) -> Result<Vec<u8>, Error> {
        let header = envelope::header(kind, self.suite);
        let mut public = Vec::with_capacity(FIXED + self.recipients.len() * stanza(self.kem));
        public.extend_from_slice(&header);
        public.push(self.kem.code());
        public.extend_from_slice(&(self.recipients.len() as u16).to_be_bytes());
        let mut draws = Draws::fresh()?;
        for recipient in &self.recipients {
            let info = wrap_info(&header, &recipient.id);
            let key = recipient.public(self.kem).expect("`by` refused what is not there");
            public.extend_from_slice(&recipient.id);
            hpke::wrap(file_key, &key, self.suite, &info, &mut draws, &mut public)?;
        }
        Ok(public)
    }
}

impl fmt::Debug for Recipients<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recipients").field("kem", &self.kem).field("count", &self.recipients.len()).finish()
    }
}

impl fmt::Debug for Recipient<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Recipient({})", PeerId(self.id))
    }
}

impl<'p> Recipient<'p> {
    fn public(&self, kem: Kem) -> Option<Public<'p>> {
        match (&self.keys, kem) {
            (RecipientKeys::Peer(peer), Kem::XWing) => Some(Public::XWing(peer.xwing())),
            (RecipientKeys::Peer(peer), Kem::X25519) => Some(Public::X25519(peer.x25519())),
            (RecipientKeys::Round(offer), Kem::XWing) => Some(Public::XWing(offer.xwing())),
            (RecipientKeys::Round(_), Kem::X25519) => None,
        }
    }
}

/// What was sealed, and who sealed it.
pub struct Opened {
    /// The data.
    pub data: Vec<u8>,
    /// The sender, whose signature covers the data, the context and the recipients.
    pub sender: Peer,
    /// The message's own name, for a [`ReplayGuard`](crate::ReplayGuard): no two messages share it.
    pub message: MessageId,
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened").field("sender", &self.sender).field("message", &self.message).finish_non_exhaustive()
    }
}

/// The name of one sealed message: its commitment, which the sender signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageId(pub [u8; 32]);

impl Identity {
    /// Seals `data` to `recipients`, signed by this identity. Nobody but they can read it, and each of them knows who
    /// sent it, to whom, and under which context.
    ///
    /// ```
    /// use veilsum_crypto::{Identity, PeerSet, Recipients, UnixTime};
    /// let (alice, bob) = (Identity::generate()?, Identity::generate()?);
    /// let sealed = alice.seal_to(&Recipients::new([bob.peer()])?, b"a share", b"round 7")?;
    ///
    /// let listed = PeerSet::new([alice.peer().clone()]);
    /// let now = UnixTime(1_790_000_000);
    /// let opened = bob.open_from(&listed, now, &sealed, b"round 7")?;
    /// assert_eq!((opened.data, &opened.sender), (b"a share".to_vec(), alice.peer()));
    /// # Ok::<(), veilsum_crypto::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Entropy`]; [`Error::KeyExhausted`] above 4 PiB.
    pub fn seal_to(&self, recipients: &Recipients<'_>, data: &[u8], context: &[u8]) -> Result<Vec<u8>, Error> {
        let digest = blake3::hash(data);
        let sealing = Sealing::begin(Kind::Signed, recipients, context, &digest)?;
        let trailer = trailer(self, &sealing.public, sealing.scheme.commitment(), context, data.len() as u64, &digest);
        sealing.finish(data, &trailer)
    }

    /// Opens a message for this identity from one of `peers` that is valid at `now`.
    ///
    /// # Errors
    /// [`Error::Malformed`] for a header that is not ours; [`Error::NoKey`] if this identity is not among the
    /// recipients that the header names; [`Error::Rejected`] otherwise, senders that are not listed included.
    pub fn open_from(&self, peers: &PeerSet, now: UnixTime, sealed: &[u8], context: &[u8]) -> Result<Opened, Error> {
        open_signed(&self.into(), peers, now, sealed, context)
    }

    /// Opens a message that nobody signed: *anyone* may have written it. See [`seal_anonymously`].
    ///
    /// # Errors
    /// As [`open_from`](Self::open_from).
    pub fn open_anonymous(&self, sealed: &[u8], context: &[u8]) -> Result<Vec<u8>, Error> {
        let (preamble, body) = Preamble::parse(sealed, Kind::Anonymous)?;
        let key = preamble.file_key(&self.into())?;
        let (data, _) = open_body(&preamble, &key, body, context)?;
        Ok(data)
    }
}

/// Seals `data` to `recipients` with no sender. Those who open it learn nothing about who wrote it.
///
/// # Errors
/// As [`Identity::seal_to`].
pub fn seal_anonymously(recipients: &Recipients<'_>, data: &[u8], context: &[u8]) -> Result<Vec<u8>, Error> {
    Sealing::begin(Kind::Anonymous, recipients, context, &blake3::hash(data))?.finish(data, &[])
}

/// A one-shot message whose keys are derived.
struct Sealing {
    public: Vec<u8>,
    salt: [u8; SALT],
    scheme: Cobblestone,
}

impl Sealing {
    fn begin(kind: Kind, recipients: &Recipients<'_>, context: &[u8], digest: &blake3::Hash) -> Result<Self, Error> {
        let key = Secret::random()?;
        let public = recipients.preamble(kind, &key)?;
        let parts = [&public[..], context];
        let salt = random::hedged_salt(key.expose(), &parts, Some(digest.as_bytes()))?;
        let scheme = Cobblestone::derive(recipients.suite, key.expose(), &salt, &parts);
        Ok(Self { public, salt, scheme })
    }

    fn finish(self, data: &[u8], trailer: &[u8]) -> Result<Vec<u8>, Error> {
        let length = data.len().checked_add(trailer.len()).and_then(cobblestone::sealed_length);
        let length = length.ok_or(Error::KeyExhausted { limit: "4 PiB in one message" })?;
        let mut message = self.public;
        let start = message.len();
        message.resize(start + length, 0);
        let (prefix, body) = message[start..].split_at_mut(PREFIX);
        prefix[..SALT].copy_from_slice(&self.salt);
        prefix[SALT..].copy_from_slice(self.scheme.commitment());
        self.scheme.seal_body(data, trailer, body, Threads::Auto)?;
        Ok(message)
    }
}

/// Bytes before the stanzas.
pub(crate) const FIXED: usize = HEADER + 1 + 2;

/// The public bytes before the chunked encryption, as received.
pub(crate) struct Preamble<'b> {
    pub(crate) bytes: &'b [u8],
    header: &'b [u8; HEADER],
    pub(crate) suite: Suite,
    kem: Kem,
    stanzas: &'b [u8],
}

impl<'b> Preamble<'b> {
    /// Splits a message into its preamble and the chunked encryption after it.
    pub(crate) fn parse(message: &'b [u8], kind: Kind) -> Result<(Self, &'b [u8]), Error> {
        let (suite, kem, stanzas) = Self::parse_fixed(message, kind)?;
        let (bytes, body) = message
            .split_at_checked(FIXED + stanzas)
            .ok_or(Error::malformed("the message ends within its list of recipients"))?;
        let header = bytes.first_chunk().expect("parsed above");
        let preamble = Self { bytes, header, suite, kem, stanzas: &bytes[FIXED..] };
        let ids: Vec<&[u8]> = preamble.each().map(|(id, _)| id).collect();
        if !ids.is_sorted_by(|a, b| a < b) {
            return Err(Error::malformed("the recipients are not in ascending order, each once"));
        }
        Ok((preamble, body))
    }

    /// Reads the fixed part, and with it how many bytes of stanzas follow.
    pub(crate) fn parse_fixed(message: &[u8], kind: Kind) -> Result<(Suite, Kem, usize), Error> {
        let (_, suite, rest) = envelope::parse(message, kind)?;
        let mut rest = Bytes::new(rest, "the message ends within its header");
        let kem = Kem::from_code(rest.u8()?)?;
        let recipients = usize::from(rest.u16()?);
        if recipients == 0 || recipients > MOST_RECIPIENTS {
            return Err(Error::malformed("the header names no recipient or more than 1,024"));
        }
        Ok((suite, kem, recipients * stanza(kem)))
    }

    fn each(&self) -> impl Iterator<Item = (&'b [u8], &'b [u8])> {
        self.stanzas.chunks_exact(stanza(self.kem)).map(|stanza| stanza.split_at(32))
    }

    /// The file key, from the stanza that names `opener`.
    pub(crate) fn file_key(&self, opener: &Opener<'_>) -> Result<Key, Error> {
        let (_, wrapped) = self.each().find(|(id, _)| *id == opener.id).ok_or_else(|| Error::NoKey {
            what: format!("{} is not among the recipients that the header names", PeerId(opener.id)),
        })?;
        let private = match (self.kem, opener.x25519) {
            (Kem::XWing, _) => Private::XWing(opener.xwing),
            (Kem::X25519, Some(secret)) => Private::X25519(secret),
            (Kem::X25519, None) => return Err(Error::Rejected),
        };
        let info = wrap_info(self.header, &opener.id);
        Ok(Key::from_secret(hpke::unwrap(wrapped, &private, self.suite, &info)?, self.suite))
    }
}

fn stanza(kem: Kem) -> usize {
    32 + kem.encapsulated() + WRAPPED
}

/// HPKE's info: `"veilsum.wrap.v1" || 0x00 || header (8) || recipient id (32)`.
fn wrap_info(header: &[u8; HEADER], recipient: &[u8; 32]) -> Vec<u8> {
    [&b"veilsum.wrap.v1\0"[..], header, recipient].concat()
}

/// Who opens: an identity or a round key.
pub(crate) struct Opener<'k> {
    pub(crate) id: [u8; 32],
    pub(crate) xwing: &'k Secret<32>,
    pub(crate) x25519: Option<&'k Secret<32>>,
}

impl<'k> From<&'k Identity> for Opener<'k> {
    fn from(identity: &'k Identity) -> Self {
        let seeds = identity.seeds();
        Self { id: *identity.peer().id().as_bytes(), xwing: &seeds.xwing, x25519: Some(&seeds.x25519) }
    }
}

fn open_body(preamble: &Preamble<'_>, key: &Key, body: &[u8], context: &[u8]) -> Result<(Vec<u8>, [u8; 32]), Error> {
    let (prefix, chunks) = body.split_first_chunk::<PREFIX>().ok_or(Error::Rejected)?;
    let scheme = Cobblestone::check(preamble.suite, key.secret().expose(), prefix, &[preamble.bytes, context])?;
    let mut data = vec![0; cobblestone::opened_length(body.len()).ok_or(Error::Rejected)?];
    scheme.open_body(chunks, &mut data, Threads::Auto)?;
    Ok((data, *scheme.commitment()))
}

pub(crate) fn open_signed(
    opener: &Opener<'_>,
    peers: &PeerSet,
    now: UnixTime,
    sealed: &[u8],
    context: &[u8],
) -> Result<Opened, Error> {
    let (preamble, body) = Preamble::parse(sealed, Kind::Signed)?;
    let key = preamble.file_key(opener)?;
    let (mut data, commitment) = open_body(&preamble, &key, body, context)?;
    let checked = data.split_last_chunk::<TRAILER>().ok_or(Error::Rejected).and_then(|(data, trailer)| {
        let digest = blake3::hash(data);
        sender(trailer, peers, now, preamble.bytes, &commitment, context, data.len() as u64, &digest)
    });
    match checked {
        Ok(sender) => {
            data.truncate(data.len() - TRAILER);
            Ok(Opened { data, sender, message: MessageId(commitment) })
        }
        Err(error) => {
            data.zeroize();
            Err(error)
        }
    }
}

/// The bytes that end a signed message.
pub(crate) fn trailer(
    identity: &Identity,
    public: &[u8],
    commitment: &[u8; 32],
    context: &[u8],
    length: u64,
    digest: &blake3::Hash,
) -> [u8; TRAILER] {
    let mut trailer = [0; TRAILER];
    trailer[..32].copy_from_slice(identity.peer().id().as_bytes());
    trailer[32..].copy_from_slice(&identity.sign(DOMAIN, &signed(public, commitment, context, length, digest)));
    trailer
}

/// Who signed: a listed peer, valid now, whose signature covers all of this.
#[expect(clippy::too_many_arguments, reason = "each is covered by the signature or decides who may sign")]
pub(crate) fn sender(
    trailer: &[u8; TRAILER],
    peers: &PeerSet,
    now: UnixTime,
    public: &[u8],
    commitment: &[u8; 32],
    context: &[u8],
    length: u64,
    digest: &blake3::Hash,
) -> Result<Peer, Error> {
    let (id, signature) = trailer.split_first_chunk::<32>().expect("96 bytes hold an id");
    let peer = peers.admitted(PeerId(*id), now).ok_or(Error::Rejected)?;
    let signature = signature.try_into().expect("64 bytes are left");
    peer.verify(DOMAIN, &signed(public, commitment, context, length, digest), signature)?;
    Ok(peer.clone())
}

fn signed(public: &[u8], commitment: &[u8; 32], context: &[u8], length: u64, digest: &blake3::Hash) -> Vec<u8> {
    [
        &Sha512::digest(public)[..],
        commitment,
        &(context.len() as u64).to_be_bytes(),
        context,
        &length.to_be_bytes(),
        digest.as_bytes(),
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime(1_790_000_000);

    /// Bob and Carol both know the file key of Alice's message. Bob keeps Alice's recipients and signature and puts
    /// another body under them, as large and as well sealed as hers.
    #[test]
    fn a_co_recipient_cannot_swap_the_body() {
        let [alice, bob, carol] = std::array::from_fn(|_| Identity::generate().expect("entropy"));
        let listed = PeerSet::new([alice.peer().clone(), bob.peer().clone()]);
        let both = Recipients::new([bob.peer(), carol.peer()]).expect("two");
        let sealed = alice.seal_to(&both, b"pay 10", b"context").expect("sealed");

        let (preamble, body) = Preamble::parse(&sealed, Kind::Signed).expect("ours");
        let key = preamble.file_key(&(&bob).into()).expect("his too");
        let (payload, commitment) = open_body(&preamble, &key, body, b"context").expect("his too");
        let trailer = &payload[6..];
        let salt = body.first_chunk::<SALT>().expect("a salt");
        let reseal = |data: &[u8], trailer: &[u8], salt: &[u8; SALT]| {
            let public = preamble.bytes.to_vec();
            let scheme = Cobblestone::derive(preamble.suite, key.secret().expose(), salt, &[&public, b"context"]);
            Sealing { public, salt: *salt, scheme }.finish(data, trailer).expect("sealed")
        };
        let opened = |message: &[u8]| carol.open_from(&listed, NOW, message, b"context").map(|opened| opened.data);

        assert_eq!(opened(&reseal(b"pay 10", trailer, salt)).as_deref(), Ok(&b"pay 10"[..]), "the reseal itself works");
        assert_eq!(opened(&reseal(b"pay 99", trailer, salt)), Err(Error::Rejected), "another body");
        assert_eq!(opened(&reseal(b"pay 10", trailer, &[7; SALT])), Err(Error::Rejected), "another salt");
        // Under his own name it is his message, and says so.
        let digest = blake3::hash(b"pay 99");
        let own = super::trailer(&bob, preamble.bytes, &commitment, b"context", 6, &digest);
        let as_bob = carol.open_from(&listed, NOW, &reseal(b"pay 99", &own, salt), b"context").expect("from Bob");
        assert_eq!(&as_bob.sender, bob.peer());
        // With Alice's name over his signature it is nobody's.
        let mut mixed = own;
        mixed[..32].copy_from_slice(alice.peer().id().as_bytes());
        assert_eq!(opened(&reseal(b"pay 99", &mixed, salt)), Err(Error::Rejected));
    }

    /// Bob knows the file key of Alice's message to him, wraps it for Carol, and passes Alice's payload on under a preamble
    /// that names Carol: with the chunks as they are, and sealed again.
    #[test]
    fn a_recipient_cannot_make_a_message_out_to_someone_else() {
        let [alice, bob, carol] = std::array::from_fn(|_| Identity::generate().expect("entropy"));
        let listed = PeerSet::new([alice.peer().clone(), bob.peer().clone()]);
        let sealed =
            alice.seal_to(&Recipients::new([bob.peer()]).expect("one"), b"I owe you 10", b"context").expect("sealed");
        let (preamble, body) = Preamble::parse(&sealed, Kind::Signed).expect("ours");
        let key = preamble.file_key(&(&bob).into()).expect("his");
        let (payload, _) = open_body(&preamble, &key, body, b"context").expect("his");
        let to_carol = Recipients::new([carol.peer()]).expect("one");
        let public = to_carol.preamble(Kind::Signed, key.secret()).expect("wrapped");

        let opened = |message: &[u8]| carol.open_from(&listed, NOW, message, b"context").map(|opened| opened.data);
        assert_eq!(opened(&[&public[..], body].concat()), Err(Error::Rejected), "the same chunks");
        let salt = *body.first_chunk::<SALT>().expect("a salt");
        let scheme = Cobblestone::derive(preamble.suite, key.secret().expose(), &salt, &[&public, b"context"]);
        let resealed = Sealing { public: public.clone(), salt, scheme };
        let message = resealed.finish(&payload[..12], &payload[12..]).expect("sealed");
        let (preamble, body) = Preamble::parse(&message, Kind::Signed).expect("well formed");
        let key = preamble.file_key(&(&carol).into()).expect("Carol's too");
        assert_eq!(open_body(&preamble, &key, body, b"context").map(|(payload, _)| payload), Ok(payload), "it opens");
        assert_eq!(opened(&message), Err(Error::Rejected), "but Alice did not sign it for Carol");
    }

    /// One message has one form: its recipients ascend, each once. A public fact, so the refusal says so.
    #[test]
    fn recipients_out_of_order_or_twice_are_malformed() {
        let [alice, bob, carol] = std::array::from_fn(|_| Identity::generate().expect("entropy"));
        let listed = PeerSet::new([alice.peer().clone()]);
        let both = Recipients::new([bob.peer(), carol.peer()]).expect("two");
        let sealed = alice.seal_to(&both, b"data", b"").expect("sealed");
        let (fixed, rest) = sealed.split_at(FIXED);
        let (first, rest) = rest.split_at(stanza(Kem::XWing));
        let (second, body) = rest.split_at(stanza(Kem::XWing));
        for stanzas in [[second, first], [first, first], [second, second]] {
            let message = [fixed, stanzas[0], stanzas[1], body].concat();
            let refused = bob.open_from(&listed, NOW, &message, b"").expect_err("not what was sealed");
            assert!(matches!(refused, Error::Malformed { .. }), "{refused}");
        }
    }

    /// An X25519 share of zero would let anyone compute that half of the agreement; it is refused.
    #[test]
    fn low_order_shares_are_refused() {
        let [alice, bob] = std::array::from_fn(|_| Identity::generate().expect("entropy"));
        let listed = PeerSet::new([alice.peer().clone()]);
        for kem in [Kem::XWing, Kem::X25519] {
            let to_bob = Recipients::new([bob.peer()]).expect("one").by(kem).expect("both");
            let mut sealed = alice.seal_to(&to_bob, b"data", b"").expect("sealed");
            let end = FIXED + 32 + kem.encapsulated();
            sealed[end - 32..end].fill(0);
            assert_eq!(bob.open_from(&listed, NOW, &sealed, b"").map(drop), Err(Error::Rejected));
            let (preamble, _) = Preamble::parse(&sealed, Kind::Signed).expect("ours");
            assert_eq!(preamble.file_key(&(&bob).into()).map(drop), Err(Error::Rejected));
        }
    }
}
