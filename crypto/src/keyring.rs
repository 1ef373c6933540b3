//! Keys by purpose, with states, budgets and rotation.

use std::fmt;
use std::io;
use std::path::Path;

use zeroize::Zeroizing;

use crate::aead::Suite;
use crate::cobblestone;
use crate::envelope::{self, HEADER, Kind};
use crate::error::Error;
use crate::key::{Key, KeyId, Usage};
use crate::secret::Secret;
use crate::storage::{self, Content, Protection};
use crate::threads::Threads;
use crate::wire::Bytes;

/// Keys that one ring may hold, destroyed ones included.
const MOST_KEYS: usize = 4096;
/// Bytes before the chunked encryption: the header and the key's id.
const PUBLIC: usize = HEADER + 16;

/// What a key is for: 1 to 64 printable ASCII characters without spaces. A key of one purpose opens nothing of another.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Purpose(String);

impl Purpose {
    /// A purpose of this name.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for other characters or lengths.
    pub fn new(name: &str) -> Result<Self, Error> {
        if name.is_empty() || name.len() > 64 || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Error::out_of_range("a purpose", format!("{name:?}"), "1 to 64 printable characters"));
        }
        Ok(Self(name.to_owned()))
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a key of a ring may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Opens, and waits to become primary: send it to everyone before it seals.
    Pending,
    /// Seals and opens. One key a purpose.
    Primary,
    /// Opens what it sealed as primary.
    DecryptOnly,
    /// Does nothing until it is enabled again.
    Disabled,
    /// Its bytes are gone; its id remains.
    Destroyed,
}

impl State {
    fn code(self) -> u8 {
        match self {
            Self::Pending => 1,
            Self::Primary => 2,
            Self::DecryptOnly => 3,
            Self::Disabled => 4,
            Self::Destroyed => 5,
        }
    }

    fn from_code(code: u8) -> Result<Self, Error> {
        [Self::Pending, Self::Primary, Self::DecryptOnly, Self::Disabled, Self::Destroyed]
            .into_iter()
            .find(|state| state.code() == code)
            .ok_or(Error::malformed("a key of the ring is in a state that this version does not know"))
    }
}

/// Keys by purpose. Messages name their key's id, and keys are found by it, never by trial.
///
/// Each key seals 2^32 messages or 2^50 bytes, whichever comes first, and then refuses: [`rotate`](Self::rotate). The
/// counts are part of what is [saved](Self::save): save after sealing, or a restart forgets them.
///
/// ```
/// use veilsum_crypto::{Keyring, Purpose};
/// let mut ring = Keyring::new();
/// let updates = Purpose::new("updates")?;
/// ring.generate(&updates)?;
/// let sealed = ring.seal(&updates, b"an update", b"round 7")?;
/// ring.rotate(&updates)?;
/// assert_eq!(ring.open(&sealed, b"round 7")?, b"an update"); // by the key that it names
/// # Ok::<(), veilsum_crypto::Error>(())
/// ```
#[derive(Default)]
pub struct Keyring {
    entries: Vec<Entry>,
}

struct Entry {
    id: KeyId,
    purpose: Purpose,
    state: State,
    /// `None` once destroyed.
    key: Option<Key>,
}

/// What is public about a key of a ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFacts {
    /// Its name.
    pub id: KeyId,
    /// What it is for.
    pub purpose: Purpose,
    /// What it may do.
    pub state: State,
    /// Messages it has sealed.
    pub messages: u64,
    /// Bytes it has sealed.
    pub bytes: u64,
}

impl Keyring {
    /// A ring without keys.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a fresh key for `purpose`: its first key is primary at once, later ones are pending.
    ///
    /// # Errors
    /// [`Error::Entropy`]; [`Error::OutOfRange`] for more than 4,096 keys.
    pub fn generate(&mut self, purpose: &Purpose) -> Result<KeyId, Error> {
        if self.entries.len() >= MOST_KEYS {
            return Err(Error::out_of_range("the number of keys in the ring", self.entries.len(), "below 4,096"));
        }
        let key = Key::generate()?;
        let id = key.id();
        let state = if self.primary(purpose).is_some() { State::Pending } else { State::Primary };
        self.entries.push(Entry { id, purpose: purpose.clone(), state, key: Some(key) });
        Ok(id)
    }

    /// Makes the purpose's oldest pending key primary, or a fresh one if none is pending. The primary that was opens
    /// from now on and seals no more.
    ///
    /// # Errors
    /// As [`generate`](Self::generate).
    pub fn rotate(&mut self, purpose: &Purpose) -> Result<KeyId, Error> {
        let pending = self.entries.iter().find(|entry| entry.purpose == *purpose && entry.state == State::Pending);
        let id = match pending {
            Some(entry) => entry.id,
            None => self.generate(purpose)?,
        };
        for entry in self.entries.iter_mut().filter(|entry| entry.purpose == *purpose) {
            if entry.id == id {
                entry.state = State::Primary;
            } else if entry.state == State::Primary {
                entry.state = State::DecryptOnly;
            }
        }
        Ok(id)
    }

    /// Takes a key out of use until it is [enabled](Self::enable).
    ///
    /// # Errors
    /// [`Error::NoKey`] for an id that is not in the ring or destroyed.
    pub fn disable(&mut self, id: KeyId) -> Result<(), Error> {
        self.living(id)?.state = State::Disabled;
        Ok(())
    }

    /// Lets a disabled key open again. It seals no more.
    ///
    /// # Errors
    /// [`Error::NoKey`] for an id that is not in the ring or destroyed.
    pub fn enable(&mut self, id: KeyId) -> Result<(), Error> {
        let entry = self.living(id)?;
        if entry.state == State::Disabled {
            entry.state = State::DecryptOnly;
        }
        Ok(())
    }

    /// Wipes a key for good. Nothing that it sealed can be opened with this ring again.
    ///
    /// # Errors
    /// [`Error::NoKey`] for an id that is not in the ring or destroyed.
    pub fn destroy(&mut self, id: KeyId) -> Result<(), Error> {
        let entry = self.living(id)?;
        (entry.state, entry.key) = (State::Destroyed, None);
        Ok(())
    }

    /// What is public about every key, in the order they came.
    pub fn keys(&self) -> impl Iterator<Item = KeyFacts> {
        self.entries.iter().map(|entry| {
            let (messages, bytes) = entry.key.as_ref().map_or((0, 0), |key| key.usage().so_far());
            KeyFacts { id: entry.id, purpose: entry.purpose.clone(), state: entry.state, messages, bytes }
        })
    }

    /// Seals `data` with the purpose's primary key.
    ///
    /// # Errors
    /// [`Error::NoKey`] if the purpose has no primary key; [`Error::KeyExhausted`]; [`Error::Entropy`].
    pub fn seal(&self, purpose: &Purpose, data: &[u8], context: &[u8]) -> Result<Vec<u8>, Error> {
        let no_key = || Error::NoKey { what: format!("the ring has no primary key for {purpose}: generate one") };
        let entry = self.primary(purpose).ok_or_else(no_key)?;
        let key = entry.key.as_ref().ok_or_else(no_key)?;
        let mut sealed = envelope::header(Kind::Keyring, key.suite()).to_vec();
        sealed.extend_from_slice(entry.id.as_bytes());
        let public: [u8; PUBLIC] = sealed[..].try_into().expect("a header and an id");
        let length =
            cobblestone::sealed_length(data.len()).ok_or(Error::KeyExhausted { limit: "4 PiB in one message" })?;
        sealed.resize(PUBLIC + length, 0);
        let parts = [&public[..], &[purpose.0.len() as u8], purpose.0.as_bytes(), context];
        key.seal_raw(data, &mut sealed[PUBLIC..], &parts, Threads::Auto)?;
        Ok(sealed)
    }

    /// Opens a message by the key that its header names.
    ///
    /// # Errors
    /// [`Error::Malformed`]; [`Error::NoKey`] if that key is not in the ring, disabled or destroyed;
    /// [`Error::Rejected`] otherwise.
    pub fn open(&self, sealed: &[u8], context: &[u8]) -> Result<Vec<u8>, Error> {
        let (_, suite, rest) = envelope::parse(sealed, Kind::Keyring)?;
        let mut rest = Bytes::new(rest, "the message ends within its key's id");
        let id = KeyId(*rest.array()?);
        let entry = self.entries.iter().find(|entry| entry.id == id).ok_or_else(|| not_in_ring(id))?;
        let key = match (entry.state, &entry.key) {
            (State::Disabled | State::Destroyed, _) | (_, None) => {
                return Err(Error::NoKey { what: format!("key {id} is disabled or destroyed") });
            }
            (_, Some(key)) => key,
        };
        if key.suite() != suite {
            return Err(Error::Rejected);
        }
        let body = rest.rest();
        let purpose = entry.purpose.0.as_bytes();
        let mut data = vec![0; cobblestone::opened_length(body.len()).ok_or(Error::Rejected)?];
        let parts = [&sealed[..PUBLIC], &[purpose.len() as u8], purpose, context];
        key.open_raw(body, &mut data, &parts, Threads::Auto)?;
        Ok(data)
    }

    /// The ring as bytes that only `by` opens.
    ///
    /// # Errors
    /// [`Error::Entropy`].
    pub fn to_stored(&self, by: &Protection<'_>) -> Result<Vec<u8>, Error> {
        // Room for the longest entries, so that no growth leaves keys behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(2 + self.entries.len() * (3 + 64 + 48)));
        bytes.extend_from_slice(&(self.entries.len() as u16).to_be_bytes());
        for entry in &self.entries {
            bytes.extend_from_slice(&[entry.state.code(), entry.purpose.0.len() as u8]);
            bytes.extend_from_slice(entry.purpose.0.as_bytes());
            match &entry.key {
                None => bytes.extend_from_slice(entry.id.as_bytes()),
                Some(key) => {
                    let (messages, sealed) = key.usage().so_far();
                    bytes.push(key.suite().code());
                    bytes.extend_from_slice(key.secret().expose());
                    bytes.extend_from_slice(&messages.to_be_bytes());
                    bytes.extend_from_slice(&sealed.to_be_bytes());
                }
            }
        }
        storage::protect(Content::Keyring, &bytes, by)
    }

    /// The ring from what [`to_stored`](Self::to_stored) gave.
    ///
    /// # Errors
    /// [`Error::Malformed`], [`Error::NoKey`], [`Error::Rejected`] (a wrong passphrase).
    pub fn from_stored(stored: &[u8], by: &Protection<'_>) -> Result<Self, Error> {
        Self::parse(&storage::unprotect(Content::Keyring, stored, by)?)
    }

    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let mut left = Bytes::new(bytes, "the keyring ends too soon");
        let mut ring = Self::default();
        for _ in 0..left.u16()? {
            let state = State::from_code(left.u8()?)?;
            let length = left.u8()?;
            let invalid = Error::malformed("a key of the ring has no valid purpose");
            let name = std::str::from_utf8(left.take(length.into())?).map_err(|_| invalid.clone())?;
            let purpose = Purpose::new(name).map_err(|_| invalid)?;
            let (id, key) = if state == State::Destroyed {
                (KeyId(*left.array()?), None)
            } else {
                let suite = Suite::from_code(left.u8()?)?;
                let secret = Secret::copied_from(left.array()?);
                let key = Key::with_usage(secret, suite, Usage::of(left.u64()?, left.u64()?));
                (key.id(), Some(key))
            };
            let twice = ring.entries.iter().any(|entry| entry.id == id);
            if twice || (state == State::Primary && ring.primary(&purpose).is_some()) {
                return Err(Error::malformed("the keyring has a key twice, or two primary keys for a purpose"));
            }
            ring.entries.push(Entry { id, purpose, state, key });
        }
        left.end("the keyring goes on after its end")?;
        Ok(ring)
    }

    /// Writes the ring to a file that only its owner may read, whole or not at all.
    ///
    /// # Errors
    /// The file system's, or [`Error`] inside an [`io::Error`].
    pub fn save(&self, path: impl AsRef<Path>, by: &Protection<'_>) -> io::Result<()> {
        storage::write_file(path.as_ref(), &self.to_stored(by)?)
    }

    /// Reads a ring that [`save`](Self::save) wrote.
    ///
    /// # Errors
    /// The file system's, or [`Error`] inside an [`io::Error`].
    pub fn load(path: impl AsRef<Path>, by: &Protection<'_>) -> io::Result<Self> {
        Ok(Self::from_stored(&storage::read_file(path.as_ref())?, by)?)
    }

    fn primary(&self, purpose: &Purpose) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.purpose == *purpose && entry.state == State::Primary)
    }

    fn living(&mut self, id: KeyId) -> Result<&mut Entry, Error> {
        self.entries
            .iter_mut()
            .find(|entry| entry.id == id && entry.state != State::Destroyed)
            .ok_or_else(|| not_in_ring(id))
    }
}

fn not_in_ring(id: KeyId) -> Error {
    Error::NoKey { what: format!("key {id} is not in the ring") }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys()).finish()
    }
}
