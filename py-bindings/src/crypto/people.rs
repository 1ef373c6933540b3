//! Identities, peers, lists of peers, round keys and the replay guard.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyIterator};
use veilsum_crypto::{Kem, MessageId, Recipient, Recipients, Role, UnixTime};

use super::files::{PythonFile, RawReader, SealedWriter};
use super::memory::{View, handed_over};
use super::{Key, Whole, holds_secrets, protection, refused, refused_file, refused_io, suite, threads, time};
use crate::error::exception;

pub(crate) type SharedIdentity = Arc<veilsum_crypto::Identity>;

/// Who one is: an Ed25519 key to sign with, and an X-Wing and an X25519 key to be sealed to.
///
/// An identity does not pickle, copy, hash or print its bytes; :meth:`save` writes them encrypted. Give :attr:`peer`
/// to everyone.
///
/// Examples
/// --------
/// >>> import veilsum as vs
/// >>> alice, bob = vs.crypto.Identity.generate(), vs.crypto.Identity.generate()
/// >>> box = alice.seal_to([bob.peer], b"a share", context=b"round 7")
/// >>> data, sender = bob.open_from(vs.crypto.PeerSet([alice.peer]), box, context=b"round 7")
/// >>> data, sender == alice.peer
/// (b'a share', True)
#[pyclass(frozen, module = "veilsum.crypto")]
#[derive(Debug)]
pub(crate) struct Identity(SharedIdentity);

#[pymethods]
impl Identity {
    /// A fresh identity.
    #[staticmethod]
    fn generate() -> PyResult<Self> {
        veilsum_crypto::Identity::generate().map(|identity| Self(identity.into())).map_err(refused)
    }

    /// The public half.
    #[getter]
    fn peer(&self) -> Peer {
        Peer(self.0.peer().clone())
    }

    /// Seal bytes to 1 to 1,024 recipients, signed by this identity.
    ///
    /// Parameters
    /// ----------
    /// recipients : sequence of Peer or RoundOffer
    /// data : bytes-like
    /// context : bytes-like
    ///     What the message is; it must be given again to open.
    /// kem : {"x-wing", "x25519"}
    ///     X-Wing withstands quantum computers; X25519 alone is 1,088 bytes shorter for each recipient.
    /// suite : {"aes-256-gcm", "chacha20-poly1305"}
    #[pyo3(signature = (recipients, data, *, context, kem = "x-wing", suite = "aes-256-gcm"))]
    fn seal_to<'py>(
        &self,
        py: Python<'py>,
        recipients: &Bound<'py, PyAny>,
        data: View,
        context: View,
        kem: &str,
        suite: &str,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let targets = targets(recipients)?;
        let to = self::recipients(&targets, kem, suite)?;
        let sealed = py.detach(|| self.0.seal_to(&to, &data, &context)).map_err(refused)?;
        Ok(PyBytes::new(py, &sealed))
    }

    /// Open a message for this identity, from a listed sender whose dates include now.
    ///
    /// Parameters
    /// ----------
    /// peers : PeerSet
    ///     Who may send.
    /// box : bytes-like
    /// context : bytes-like
    /// now : float, optional
    ///     Seconds since 1970, for the list's dates; the system's time by default.
    ///
    /// Returns
    /// -------
    /// (bytes, Peer)
    ///     The data, and who signed them.
    ///
    /// Raises
    /// ------
    /// NoKey
    ///     If this identity is not among the recipients that the header names.
    /// Rejected
    ///     If the sender is not listed, and in every other case.
    #[pyo3(signature = (peers, box_, /, *, context, now = None), text_signature = "($self, peers, box, /, *, context, now=None)")]
    fn open_from<'py>(
        &self,
        py: Python<'py>,
        peers: &PeerSet,
        box_: View,
        context: View,
        now: Option<f64>,
    ) -> PyResult<(Bound<'py, PyBytes>, Peer)> {
        let now = time(now)?;
        let opened = py.detach(|| self.0.open_from(&peers.0, now, &box_, &context)).map_err(refused)?;
        Ok((handed_over(py, opened.data)?, Peer(opened.sender)))
    }

    /// As :meth:`open_from`, and the message's own id for a :class:`ReplayGuard`.
    #[pyo3(signature = (peers, box_, /, *, context, now = None), text_signature = "($self, peers, box, /, *, context, now=None)")]
    fn open_once<'py>(
        &self,
        py: Python<'py>,
        peers: &PeerSet,
        box_: View,
        context: View,
        now: Option<f64>,
    ) -> PyResult<(Bound<'py, PyBytes>, Peer, Bound<'py, PyBytes>)> {
        let now = time(now)?;
        let opened = py.detach(|| self.0.open_from(&peers.0, now, &box_, &context)).map_err(refused)?;
        let message = PyBytes::new(py, &opened.message.0);
        Ok((handed_over(py, opened.data)?, Peer(opened.sender), message))
    }

    /// Open a message that :func:`seal_anonymously` made: *anyone* may have written it.
    #[pyo3(signature = (box_, /, *, context), text_signature = "($self, box, /, *, context)")]
    fn open_anonymous<'py>(&self, py: Python<'py>, box_: View, context: View) -> PyResult<Bound<'py, PyBytes>> {
        let data = py.detach(|| self.0.open_anonymous(&box_, &context)).map_err(refused)?;
        handed_over(py, data)
    }

    /// A file-like object that seals what is written to it to the recipients, signed when it is closed.
    #[pyo3(signature = (recipients, fileobj, *, context, kem = "x-wing", suite = "aes-256-gcm", threads = None))]
    #[expect(clippy::too_many_arguments, reason = "keyword-only from Python")]
    fn writer(
        &self,
        py: Python<'_>,
        recipients: &Bound<'_, PyAny>,
        fileobj: Py<PyAny>,
        context: View,
        kem: &str,
        suite: &str,
        threads: Option<Whole>,
    ) -> PyResult<SealedWriter> {
        let threads = self::threads(threads)?;
        let targets = targets(recipients)?;
        let to = self::recipients(&targets, kem, suite)?;
        let (identity, sink) = (Arc::clone(&self.0), PythonFile::with(py, fileobj, "write")?);
        let writer = py
            .detach(|| veilsum_crypto::SealedWriter::start(identity, &to, sink, &context, threads))
            .map_err(refused_io)?;
        Ok(SealedWriter { state: Mutex::new(Some(writer)) })
    }

    /// An ``io.BufferedReader`` over the message to this identity that ``fileobj`` holds.
    ///
    /// **Who sent it is verified at its end**: until then, what was read may come from any co-recipient. At the end,
    /// ``reader.raw.sender`` is the sender; a sender who is not listed raises ``Rejected``.
    #[pyo3(signature = (peers, fileobj, *, context, now = None, threads = None))]
    fn reader<'py>(
        &self,
        py: Python<'py>,
        peers: &PeerSet,
        fileobj: Py<PyAny>,
        context: View,
        now: Option<f64>,
        threads: Option<Whole>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (threads, now) = (self::threads(threads)?, time(now)?);
        let source = PythonFile::with(py, fileobj, "read")?;
        let reader =
            py.detach(|| self.0.opening_reader(&peers.0, now, source, &context, threads)).map_err(refused_io)?;
        RawReader::of_identity(reader).buffered(py)
    }

    /// Write the identity to a file, encrypted under a passphrase (Argon2id) or under a key.
    #[pyo3(signature = (path, *, passphrase = None, key = None))]
    fn save(&self, py: Python<'_>, path: PathBuf, passphrase: Option<&str>, key: Option<&Key>) -> PyResult<()> {
        let by = protection(passphrase, key)?;
        py.detach(|| self.0.save(&path, &by)).map_err(|error| refused_file(&path, error))
    }

    /// Read an identity that :meth:`save` wrote.
    #[staticmethod]
    #[pyo3(signature = (path, *, passphrase = None, key = None))]
    fn load(py: Python<'_>, path: PathBuf, passphrase: Option<&str>, key: Option<&Key>) -> PyResult<Self> {
        let by = protection(passphrase, key)?;
        let identity = py.detach(|| veilsum_crypto::Identity::load(&path, &by));
        identity.map(|identity| Self(identity.into())).map_err(|error| refused_file(&path, error))
    }

    fn __reduce_ex__(&self, _protocol: i32) -> PyResult<()> {
        Err(holds_secrets("Identity"))
    }

    fn __hash__(&self) -> PyResult<isize> {
        Err(holds_secrets("Identity"))
    }

    fn __repr__(&self) -> String {
        format!("Identity(id='{}')", self.0.peer().id())
    }
}

impl Identity {
    /// For other areas of these bindings.
    #[allow(dead_code, reason = "secure aggregation signs with it")]
    pub(crate) fn shared(&self) -> &SharedIdentity {
        &self.0
    }
}

/// The public half of an identity. Peers compare and hash by value.
#[pyclass(frozen, eq, hash, module = "veilsum.crypto")]
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Peer(pub(crate) veilsum_crypto::Peer);

#[pymethods]
impl Peer {
    /// Read a peer from its line of text. That it is the *right* peer's is for you to establish: compare :attr:`id`.
    #[staticmethod]
    fn from_text(text: &str) -> PyResult<Self> {
        veilsum_crypto::Peer::from_text(text).map(Self).map_err(refused)
    }

    /// One line of text, ``veilsum-peer-`` and base64.
    fn to_text(&self) -> String {
        self.0.to_text()
    }

    /// The public name, 64 hexadecimal digits.
    #[getter]
    fn id(&self) -> String {
        self.0.id().to_string()
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, (String,))> {
        Ok((py.get_type::<Self>().getattr("from_text")?, (self.0.to_text(),)))
    }

    fn __repr__(&self) -> String {
        format!("Peer(id='{}')", self.0.id())
    }
}

/// A peer on a list: what it may do, and when.
///
/// Parameters
/// ----------
/// peer : Peer
/// roles : sequence of str
///     1 to 32 of ``a-z``, ``0-9`` and ``-`` each.
/// valid_from, valid_until : int, optional
///     Seconds since 1970; always by default.
#[pyclass(frozen, module = "veilsum.crypto")]
#[derive(Clone, Debug)]
pub(crate) struct Member(veilsum_crypto::Member);

#[pymethods]
impl Member {
    #[new]
    #[pyo3(
        signature = (peer, *, roles = Vec::new(), valid_from = Whole(0), valid_until = Whole(u64::MAX)),
        text_signature = "(peer, *, roles=(), valid_from=0, valid_until=18446744073709551615)"
    )]
    fn new(peer: &Peer, roles: Vec<String>, valid_from: Whole, valid_until: Whole) -> PyResult<Self> {
        if valid_until.0 <= valid_from.0 {
            let (from, until) = (valid_from.0, valid_until.0);
            let what = format!("valid_until is {until}: it must be later than valid_from, which is {from}");
            return Err(exception("ArgumentError", what));
        }
        let roles = roles.iter().map(|name| Role::new(name)).collect::<Result<_, _>>().map_err(refused)?;
        let (from, until) = (UnixTime(valid_from.0), UnixTime(valid_until.0));
        Ok(Self(veilsum_crypto::Member { peer: peer.0.clone(), roles, from, until }))
    }

    #[getter]
    fn peer(&self) -> Peer {
        Peer(self.0.peer.clone())
    }

    #[getter]
    fn roles(&self) -> Vec<String> {
        self.0.roles.iter().map(ToString::to_string).collect()
    }

    #[getter]
    fn valid_from(&self) -> u64 {
        self.0.from.0
    }

    #[getter]
    fn valid_until(&self) -> u64 {
        self.0.until.0
    }

    fn __repr__(&self) -> String {
        format!(
            "Member(Peer(id='{}'), roles={:?}, valid_from={}, valid_until={})",
            self.0.peer.id(),
            self.roles(),
            self.0.from.0,
            self.0.until.0
        )
    }
}

/// Who may send: peers, or members with roles and dates.
///
/// Examples
/// --------
/// >>> import veilsum as vs
/// >>> coordinator, client = vs.crypto.Identity.generate(), vs.crypto.Identity.generate()
/// >>> listed = vs.crypto.PeerSet([vs.crypto.Member(client.peer, roles=["client"], valid_until=1_800_000_000)])
/// >>> signed = listed.sign(coordinator, number=3)
/// >>> vs.crypto.PeerSet.verify(signed, by=coordinator.peer, last=2)
/// PeerSet(1 peer, number=3)
#[pyclass(frozen, eq, module = "veilsum.crypto")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PeerSet(pub(crate) veilsum_crypto::PeerSet);

#[pymethods]
impl PeerSet {
    #[new]
    fn new(peers: &Bound<'_, PyAny>) -> PyResult<Self> {
        let member = |item: PyResult<Bound<'_, PyAny>>| -> PyResult<veilsum_crypto::Member> {
            let item = item?;
            if let Ok(peer) = item.cast::<Peer>() {
                return Ok(peer.get().0.clone().into());
            }
            match item.cast::<Member>() {
                Ok(member) => Ok(member.get().0.clone()),
                Err(_) => Err(PyTypeError::new_err("a PeerSet takes Peer and Member objects")),
            }
        };
        let members: Vec<_> = peers.try_iter()?.map(member).collect::<PyResult<_>>()?;
        Ok(Self(veilsum_crypto::PeerSet::of(members)))
    }

    /// The list as bytes, signed under a number that must grow with every list.
    #[pyo3(signature = (identity, *, number))]
    fn sign<'py>(&self, py: Python<'py>, identity: &Identity, number: Whole) -> PyResult<Bound<'py, PyBytes>> {
        let signed = self.0.sign(&identity.0, number.0).map_err(refused)?;
        Ok(PyBytes::new(py, &signed))
    }

    /// Accept a list that ``by`` signed.
    ///
    /// Parameters
    /// ----------
    /// signed : bytes-like
    /// by : Peer
    /// last : int, optional
    ///     The last :attr:`number` that was seen: an older list is refused. Keep it; without it, a list with members
    ///     who were struck off since passes.
    #[staticmethod]
    #[pyo3(signature = (signed, *, by, last = None))]
    fn verify(py: Python<'_>, signed: View, by: &Peer, last: Option<Whole>) -> PyResult<Self> {
        py.detach(|| veilsum_crypto::PeerSet::verify(&signed, &by.0, last.map(|last| last.0)))
            .map(Self)
            .map_err(refused)
    }

    /// Only the members with this role.
    fn with_role(&self, role: &str) -> PyResult<Self> {
        Ok(Self(self.0.with_role(&Role::new(role).map_err(refused)?)))
    }

    /// The number of a list that was verified.
    #[getter]
    fn number(&self) -> Option<u64> {
        self.0.number()
    }

    /// The members, in the order in which they were given; those of a signed list in the order of their ids.
    #[getter]
    fn members(&self) -> Vec<Member> {
        self.0.members().cloned().map(Member).collect()
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyIterator>> {
        let peers: Vec<Peer> = self.0.iter().cloned().map(Peer).collect();
        peers.into_pyobject(py)?.try_iter()
    }

    fn __len__(&self) -> usize {
        self.0.len()
    }

    fn __contains__(&self, peer: &Peer) -> bool {
        self.0.find(peer.0.id()) == Some(&peer.0)
    }

    fn __repr__(&self) -> String {
        let count = self.0.len();
        let peers = if count == 1 { "peer" } else { "peers" };
        match self.0.number() {
            Some(number) => format!("PeerSet({count} {peers}, number={number})"),
            None => format!("PeerSet({count} {peers})"),
        }
    }
}

/// Remembers the messages of the current rounds and refuses each the second time, in bounded memory.
///
/// Parameters
/// ----------
/// senders, messages : int
///     How many senders, and messages of each, are remembered. Beyond, new messages are refused.
#[pyclass(frozen, module = "veilsum.crypto")]
#[derive(Debug)]
pub(crate) struct ReplayGuard(Mutex<veilsum_crypto::ReplayGuard>);

#[pymethods]
impl ReplayGuard {
    #[new]
    #[pyo3(signature = (*, senders = Whole(10_000), messages = Whole(1_000)), text_signature = "(*, senders=10000, messages=1000)")]
    fn new(senders: Whole, messages: Whole) -> Self {
        let most = |count: Whole| usize::try_from(count.0).unwrap_or(usize::MAX);
        Self(Mutex::new(veilsum_crypto::ReplayGuard::new(most(senders), most(messages))))
    }

    /// Admit a message (its id is what ``open_once`` gives) the first time; ``Rejected`` afterwards.
    #[pyo3(signature = (sender, *, round, message))]
    fn admit(&self, sender: &Peer, round: Whole, message: View) -> PyResult<()> {
        let message: [u8; 32] = (*message).try_into().map_err(|_| {
            exception("ArgumentError", "the message id has not 32 bytes: take it from open_once".into())
        })?;
        let mut guard = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        guard.admit(sender.0.id(), round.0, MessageId(message)).map_err(refused)
    }

    /// Refuse earlier rounds from now on, and forget them.
    fn advance_to(&self, round: Whole) {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).advance_to(round.0);
    }
}

/// A key for one round, destroyed when the round closes. The others seal to its :attr:`offer`.
///
/// Forward secrecy is claimed from the moment at which every snapshot that held the key is destroyed too.
#[pyclass(frozen, module = "veilsum.crypto")]
#[derive(Debug)]
pub(crate) struct RoundKey(Mutex<Option<veilsum_crypto::RoundKey>>);

#[pymethods]
impl RoundKey {
    /// A fresh key, signed by ``owner``, to be refused from ``expires`` (seconds since 1970) on.
    #[staticmethod]
    #[pyo3(signature = (owner, *, round, expires))]
    fn generate(owner: &Identity, round: Whole, expires: Whole) -> PyResult<Self> {
        let key = veilsum_crypto::RoundKey::generate(&owner.0, round.0, UnixTime(expires.0)).map_err(refused)?;
        Ok(Self(Mutex::new(Some(key))))
    }

    /// The public half, as bytes to send.
    #[getter]
    fn offer<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        self.with(|key| Ok(PyBytes::new(py, &key.offer().to_bytes())))
    }

    /// Open a message for this round's key, as :meth:`Identity.open_from`.
    #[pyo3(signature = (peers, box_, /, *, context, now = None), text_signature = "($self, peers, box, /, *, context, now=None)")]
    fn open_from<'py>(
        &self,
        py: Python<'py>,
        peers: &PeerSet,
        box_: View,
        context: View,
        now: Option<f64>,
    ) -> PyResult<(Bound<'py, PyBytes>, Peer)> {
        let now = time(now)?;
        let opened = self.with(|key| key.open_from(&peers.0, now, &box_, &context).map_err(refused))?;
        Ok((handed_over(py, opened.data)?, Peer(opened.sender)))
    }

    /// Destroy the secret.
    fn close(&self) {
        if let Some(key) = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take() {
            key.close();
        }
    }

    fn __reduce_ex__(&self, _protocol: i32) -> PyResult<()> {
        Err(holds_secrets("RoundKey"))
    }

    fn __hash__(&self) -> PyResult<isize> {
        Err(holds_secrets("RoundKey"))
    }

    fn __repr__(&self) -> String {
        self.with(|key| Ok(format!("RoundKey(round={})", key.offer().round())))
            .unwrap_or_else(|_| "RoundKey(closed)".to_owned())
    }
}

impl RoundKey {
    fn with<T>(&self, use_it: impl FnOnce(&veilsum_crypto::RoundKey) -> PyResult<T>) -> PyResult<T> {
        match &*self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner) {
            Some(key) => use_it(key),
            None => Err(exception("NoKey", "the round is closed, and its key destroyed".into())),
        }
    }
}

/// The public half of a round's key, checked.
#[pyclass(frozen, module = "veilsum.crypto")]
#[derive(Clone, Debug)]
pub(crate) struct RoundOffer(veilsum_crypto::RoundOffer);

#[pymethods]
impl RoundOffer {
    /// Accept the offer that ``owner`` signed for ``round`` and that has not expired.
    #[staticmethod]
    #[pyo3(signature = (offer, *, owner, round, now = None))]
    fn verify(offer: View, owner: &Peer, round: Whole, now: Option<f64>) -> PyResult<Self> {
        veilsum_crypto::RoundOffer::verify(&offer, &owner.0, round.0, time(now)?).map(Self).map_err(refused)
    }

    #[getter]
    fn round(&self) -> u64 {
        self.0.round()
    }

    #[getter]
    fn expires(&self) -> u64 {
        self.0.expires().0
    }

    fn __repr__(&self) -> String {
        format!("RoundOffer(round={}, expires={})", self.0.round(), self.0.expires().0)
    }
}

/// Seal bytes to recipients with no sender: those who open it learn nothing about who wrote it.
#[pyfunction]
#[pyo3(signature = (recipients, data, *, context, kem = "x-wing", suite = "aes-256-gcm"))]
pub(crate) fn seal_anonymously<'py>(
    py: Python<'py>,
    recipients: &Bound<'py, PyAny>,
    data: View,
    context: View,
    kem: &str,
    suite: &str,
) -> PyResult<Bound<'py, PyBytes>> {
    let targets = targets(recipients)?;
    let to = self::recipients(&targets, kem, suite)?;
    let sealed = py.detach(|| veilsum_crypto::seal_anonymously(&to, &data, &context)).map_err(refused)?;
    Ok(PyBytes::new(py, &sealed))
}

enum Target {
    Peer(veilsum_crypto::Peer),
    Round(veilsum_crypto::RoundOffer),
}

fn targets(recipients: &Bound<'_, PyAny>) -> PyResult<Vec<Target>> {
    let target = |item: PyResult<Bound<'_, PyAny>>| {
        let item = item?;
        if let Ok(peer) = item.cast::<Peer>() {
            return Ok(Target::Peer(peer.get().0.clone()));
        }
        match item.cast::<RoundOffer>() {
            Ok(offer) => Ok(Target::Round(offer.get().0.clone())),
            Err(_) => Err(PyTypeError::new_err("recipients are Peer or RoundOffer objects")),
        }
    };
    recipients.try_iter()?.map(target).collect()
}

fn recipients<'t>(targets: &'t [Target], kem: &str, suite: &str) -> PyResult<Recipients<'t>> {
    let kem = match kem {
        "x-wing" => Kem::XWing,
        "x25519" => Kem::X25519,
        _ => return Err(exception("ArgumentError", format!("kem is {kem:?}: it must be \"x-wing\" or \"x25519\""))),
    };
    let recipients = targets.iter().map(|target| match target {
        Target::Peer(peer) => Recipient::from(peer),
        Target::Round(offer) => Recipient::from(offer),
    });
    let recipients = Recipients::new(recipients).and_then(|recipients| recipients.by(kem)).map_err(refused)?;
    Ok(recipients.with_suite(self::suite(suite)?))
}
