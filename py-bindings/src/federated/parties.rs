//! The client and the server of one round, bytes in and bytes out.

use super::config::RoundConfig;
use super::local_key;
use super::round::Round;
use super::{raised, whole};
use crate::crypto::{Identity, Key, Peer, PeerSet};
use crate::error;
use numpy::PyReadonlyArrayDyn;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use veilsum_crypto::hazmat;
use veilsum_crypto::secret::Secret;
use veilsum_federated::client::{Party, Seat};
use veilsum_federated::{Roster, RoundId, Server, Simulated, Unit, Update};
use zeroize::Zeroizing;

pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A `PeerSet`, or peers in the order of their numbers.
pub(super) fn roster(peers: &Bound<'_, PyAny>) -> PyResult<Roster> {
    let peers: Vec<veilsum_crypto::Peer> = match peers.cast::<PeerSet>() {
        Ok(set) => set.get().0.iter().cloned().collect(),
        Err(_) => peers.try_iter()?.map(|peer| Ok(peer?.cast::<Peer>()?.get().0.clone())).collect::<PyResult<_>>()?,
    };
    Roster::new(peers).map_err(raised)
}

fn round_id(session: Vec<u8>, number: u64, model: Vec<u8>, beacon: Option<Vec<u8>>) -> PyResult<RoundId> {
    let beacon = beacon
        .map(|beacon| {
            <[u8; 32]>::try_from(beacon)
                .map_err(|_| error::exception("ArgumentError", "beacon must be 32 bytes of public randomness".into()))
        })
        .transpose()?;
    Ok(RoundId { session, number, model, beacon })
}

/// The native half of `veilsum.federated.Client`.
#[pyclass(frozen, module = "veilsum._core")]
pub(crate) struct ClientCore {
    seat: Mutex<Seat>,
    origin: Origin,
}

/// What it takes to make the same party again.
struct Origin {
    config: RoundConfig,
    identity: Arc<veilsum_crypto::Identity>,
    peers: Vec<u8>,
    number: u32,
    id: RoundId,
}

impl Origin {
    fn party(&self, roster: Roster) -> PyResult<Party> {
        Party::new(self.config.0.clone(), self.identity.clone(), roster, self.number, &self.id).map_err(raised)
    }

    /// Everything but the seat; secrets included.
    fn write(&self, py: Python<'_>) -> PyResult<Zeroizing<Vec<u8>>> {
        let arguments = self.config.arguments(py)?;
        let config: String = py.import("json")?.call_method1("dumps", (arguments,))?.extract()?;
        let secret = hazmat::identity_to_secret(&self.identity);
        let fields: [&[u8]; 6] = [
            config.as_bytes(),
            &self.peers,
            &self.id.session,
            &self.id.model,
            self.id.beacon.as_ref().map_or(&[], |beacon| &beacon[..]),
            secret.expose(),
        ];
        let size = fields.iter().map(|field| field.len() + 8).sum::<usize>() + 16;
        let mut bytes = Zeroizing::new(Vec::with_capacity(size));
        bytes.extend_from_slice(&self.number.to_be_bytes());
        bytes.extend_from_slice(&self.id.number.to_be_bytes());
        for field in fields {
            bytes.extend_from_slice(&(field.len() as u64).to_be_bytes());
            bytes.extend_from_slice(field);
        }
        Ok(bytes)
    }

    fn read(py: Python<'_>, bytes: &[u8]) -> PyResult<(Self, Roster)> {
        let malformed = || error::exception("ProtocolError", "the snapshot is not one of a client".into());
        let (number, rest) = bytes.split_first_chunk::<4>().ok_or_else(malformed)?;
        let (round, mut rest) = rest.split_first_chunk::<8>().ok_or_else(malformed)?;
        let mut field = || {
            let (length, after) = rest.split_first_chunk::<8>().ok_or_else(malformed)?;
            let length = usize::try_from(u64::from_be_bytes(*length)).map_err(|_| malformed())?;
            let (field, after) = after.split_at_checked(length).ok_or_else(malformed)?;
            rest = after;
            Ok::<_, PyErr>(field)
        };
        let arguments = py.import("json")?.call_method1("loads", (field()?,))?;
        let config = RoundConfig::from_arguments(py, arguments.cast::<PyDict>()?)?;
        let peers = field()?.to_vec();
        let (session, model, beacon) = (field()?.to_vec(), field()?.to_vec(), field()?.to_vec());
        let secret: &[u8; 96] = field()?.try_into().map_err(|_| malformed())?;
        let identity = Arc::new(hazmat::identity_from_secret(&Secret::copied_from(secret)));
        let parsed = peers.chunks(PEER).map(veilsum_crypto::Peer::from_bytes).collect::<Result<Vec<_>, _>>();
        let roster = Roster::new(parsed.map_err(|_| malformed())?).map_err(raised)?;
        let id = round_id(session, u64::from_be_bytes(*round), model, Some(beacon).filter(|b| !b.is_empty()))?;
        Ok((Self { config, identity, peers, number: u32::from_be_bytes(*number), id }, roster))
    }
}

/// Bytes of a peer.
const PEER: usize = 1345;
const SNAPSHOT: &[u8] = b"veilsum.federated.client-snapshot.v1";

#[pymethods]
impl ClientCore {
    #[new]
    #[expect(clippy::too_many_arguments, reason = "private: the public face is keyword-only")]
    fn new(
        config: &RoundConfig,
        identity: &Identity,
        roster: &Bound<'_, PyAny>,
        client_id: &Bound<'_, PyAny>,
        session: Vec<u8>,
        round: u64,
        model: Vec<u8>,
        beacon: Option<Vec<u8>>,
    ) -> PyResult<Self> {
        let roster = self::roster(roster)?;
        let peers = (0..).map_while(|client| roster.peer(client)).flat_map(veilsum_crypto::Peer::to_bytes).collect();
        let (identity, number) = (identity.shared().clone(), whole("client_id", client_id)?);
        let id = round_id(session, round, model, beacon)?;
        let origin = Origin { config: config.clone(), identity, peers, number, id };
        Ok(Self { seat: Mutex::new(Seat::enrol(origin.party(roster)?).map_err(raised)?), origin })
    }

    #[getter]
    fn client_id(&self) -> u32 {
        self.origin.number
    }

    #[getter]
    fn config(&self) -> RoundConfig {
        self.origin.config.clone()
    }

    #[getter]
    fn state(&self) -> &'static str {
        locked(&self.seat).state()
    }

    fn advertise<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let bytes = locked(&self.seat).advertise().map_err(raised)?;
        Ok(PyBytes::new(py, &bytes))
    }

    fn share<'py>(&self, py: Python<'py>, message: Vec<u8>) -> PyResult<Bound<'py, PyBytes>> {
        let bytes = py.detach(|| locked(&self.seat).share(&message)).map_err(raised)?;
        Ok(PyBytes::new(py, &bytes))
    }

    fn upload<'py>(
        &self,
        py: Python<'py>,
        message: Vec<u8>,
        update: PyReadonlyArrayDyn<'_, f64>,
        weight: u32,
        metrics: Vec<f64>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        // Copied while nothing else runs: what is checked is what is masked, whatever happens to the array meanwhile.
        let (values, shape) = {
            let view = update.as_array();
            (view.iter().copied().collect::<Vec<f64>>(), view.shape().to_vec())
        };
        let dimension = self.origin.config.0.dimension();
        let update = match self.origin.config.0.unit() {
            Unit::Client if shape.len() == 1 => Update::Vector(&values),
            Unit::Record { .. } if shape.len() == 2 && shape[1] == dimension => Update::Records(&values),
            _ => {
                let why = format!(
                    "the update must be one vector of {dimension} numbers, or with unit=\"record\" a two-dimensional array of rows \
                     of {dimension}"
                );
                return Err(error::exception("ArgumentError", why));
            }
        };
        let bytes = py.detach(|| locked(&self.seat).upload(&message, update, weight, &metrics)).map_err(raised)?;
        Ok(PyBytes::new(py, &bytes))
    }

    fn confirm<'py>(&self, py: Python<'py>, message: Vec<u8>) -> PyResult<Bound<'py, PyBytes>> {
        let bytes = py.detach(|| locked(&self.seat).confirm(&message)).map_err(raised)?;
        Ok(PyBytes::new(py, &bytes))
    }

    fn unmask<'py>(&self, py: Python<'py>, message: Vec<u8>) -> PyResult<Bound<'py, PyBytes>> {
        let bytes = py.detach(|| locked(&self.seat).unmask(&message)).map_err(raised)?;
        Ok(PyBytes::new(py, &bytes))
    }

    fn snapshot<'py>(&self, py: Python<'py>, key: Option<&Key>) -> PyResult<Bound<'py, PyBytes>> {
        let own;
        let key = match key {
            Some(key) => &key.0,
            None => {
                own = local_key::open()?;
                &own
            }
        };
        let seat = locked(&self.seat).snapshot(key).map_err(raised)?;
        let origin = self.origin.write(py)?;
        let mut plain = Zeroizing::new(Vec::with_capacity(8 + origin.len() + seat.len()));
        plain.extend_from_slice(&(origin.len() as u64).to_be_bytes());
        plain.extend_from_slice(&origin);
        plain.extend_from_slice(&seat);
        let sealed = key.seal(&plain, SNAPSHOT).map_err(|_| raised(veilsum_federated::Error::Entropy))?;
        Ok(PyBytes::new(py, &sealed))
    }

    #[staticmethod]
    fn restore(py: Python<'_>, snapshot: Vec<u8>, key: Option<&Key>) -> PyResult<Self> {
        let own;
        let key = match key {
            Some(key) => &key.0,
            None => {
                own = local_key::open()?;
                &own
            }
        };
        let refused = || {
            error::exception(
                "ProtocolError",
                "the snapshot does not open: it was altered, or sealed under another key".into(),
            )
        };
        let plain = key.open(&snapshot, SNAPSHOT).map(Zeroizing::new).map_err(|_| refused())?;
        let (length, rest) = plain.split_first_chunk::<8>().ok_or_else(refused)?;
        let (origin, seat) = rest.split_at_checked(u64::from_be_bytes(*length) as usize).ok_or_else(refused)?;
        let (origin, roster) = Origin::read(py, origin)?;
        let seat = Seat::restore(origin.party(roster)?, key, seat).map_err(raised)?;
        Ok(Self { seat: Mutex::new(seat), origin })
    }
}

/// The native half of `veilsum.federated.Server`.
#[pyclass(frozen, module = "veilsum._core")]
pub(crate) struct ServerCore(Mutex<Running>);

struct Running {
    server: Server,
    config: Arc<veilsum_federated::RoundConfig>,
    up: Vec<u64>,
    down: Vec<u64>,
    time: Duration,
}

#[pymethods]
impl ServerCore {
    /// A server, and what the last finished stage of its log sent: `(server, messages, whole bytes of the log)`.
    #[staticmethod]
    #[expect(clippy::too_many_arguments, reason = "private: the public face is keyword-only")]
    fn open<'py>(
        py: Python<'py>,
        config: &RoundConfig,
        roster: &Bound<'_, PyAny>,
        session: Vec<u8>,
        round: u64,
        model: Vec<u8>,
        beacon: Option<Vec<u8>>,
        log: Option<Vec<u8>>,
        keep_masked: bool,
    ) -> PyResult<(Self, Bound<'py, PyDict>, usize)> {
        let (roster, id) = (self::roster(roster)?, round_id(session, round, model, beacon)?);
        let clients = roster.len();
        let config = config.0.clone();
        let resumed = py.detach(|| match log {
            None => Server::new(config.clone(), roster, &id).map(|server| (server, Default::default(), 0)),
            Some(log) => Server::resume(config.clone(), roster, &id, &log).map(|r| (r.server, r.messages, r.whole)),
        });
        let (mut server, messages, whole) = resumed.map_err(raised)?;
        if keep_masked {
            server.keep_masked();
        }
        let zero = vec![0; clients];
        let running = Running { server, config, up: zero.clone(), down: zero, time: Duration::ZERO };
        let sent = PyDict::new(py);
        for (client, bytes) in &messages {
            sent.set_item(client, PyBytes::new(py, bytes))?;
        }
        Ok((Self(Mutex::new(running)), sent, whole))
    }

    #[getter]
    fn stage(&self) -> &'static str {
        locked(&self.0).server.stage().name()
    }

    fn receive(&self, py: Python<'_>, client: u32, message: Vec<u8>) -> PyResult<()> {
        py.detach(|| {
            let (mut running, begin) = (locked(&self.0), Instant::now());
            let received = running.server.receive(client, &message);
            running.time += begin.elapsed();
            if received.is_ok() {
                running.up[client as usize] += message.len() as u64;
            }
            received
        })
        .map_err(raised)
    }

    fn finish_stage<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let messages = py
            .detach(|| {
                let (mut running, begin) = (locked(&self.0), Instant::now());
                let messages = running.server.finish_stage();
                running.time += begin.elapsed();
                messages.inspect(|messages| {
                    messages.iter().for_each(|(client, bytes)| running.down[*client as usize] += bytes.len() as u64);
                })
            })
            .map_err(raised)?;
        let sent = PyDict::new(py);
        for (client, bytes) in &messages {
            sent.set_item(client, PyBytes::new(py, bytes))?;
        }
        Ok(sent)
    }

    fn result(&self) -> PyResult<Round> {
        let running = locked(&self.0);
        let simulated = Simulated {
            outcome: running.server.result().map_err(raised)?.clone(),
            masked: running.server.masked().cloned().unwrap_or_default(),
            bytes_up: running.up.clone(),
            bytes_down: running.down.clone(),
            client_time: Vec::new(),
            server_time: running.time,
        };
        Ok(Round { config: running.config.clone(), simulated })
    }

    fn take_log<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &locked(&self.0).server.take_log())
    }
}
