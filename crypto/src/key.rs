//! A symmetric key: sealing and opening of whole messages.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::aead::{self, Suite};
use crate::cobblestone::{self, Cobblestone, PREFIX, SALT};
use crate::envelope::{self, HEADER, Kind};
use crate::error::Error;
use crate::kdf;
use crate::random;
use crate::secret::Secret;
use crate::threads::Threads;
use zeroize::Zeroize;

/// A 256-bit key that seals and opens messages and streams.
///
/// Every message is sealed under keys of its own, derived with a fresh salt: there is no nonce to choose and none to
/// repeat. `context` is required: it says what the message is and for whom (`b"round 7, client 12"`), is authenticated
/// and not stored, and must be given again to open.
///
/// A key does not clone, print, or compare in variable time, and is wiped when it is dropped.
///
/// ```
/// use veilsum_crypto::Key;
/// let key = Key::generate()?;
/// let sealed = key.seal(b"an update", b"round 7")?;
/// assert_eq!(key.open(&sealed, b"round 7")?, b"an update");
/// assert!(key.open(&sealed, b"round 8").is_err());
/// # Ok::<(), veilsum_crypto::Error>(())
/// ```
pub struct Key {
    secret: Secret<32>,
    suite: Suite,
    usage: Arc<Usage>,
}

impl Key {
    /// A fresh key.
    ///
    /// # Errors
    /// [`Error::Entropy`].
    pub fn generate() -> Result<Self, Error> {
        Self::generate_for(Suite::default())
    }

    /// A fresh key for `suite`. A key belongs to one suite and opens no other.
    ///
    /// # Errors
    /// [`Error::Entropy`].
    pub fn generate_for(suite: Suite) -> Result<Self, Error> {
        Ok(Self::from_secret(Secret::random()?, suite))
    }

    pub(crate) fn from_secret(secret: Secret<32>, suite: Suite) -> Self {
        Self::with_usage(secret, suite, Usage::default())
    }

    pub(crate) fn with_usage(secret: Secret<32>, suite: Suite, usage: Usage) -> Self {
        Self { secret, suite, usage: Arc::new(usage) }
    }

    /// The key's public name: a one-way function of its bytes.
    pub fn id(&self) -> KeyId {
        let mut id = [0; 16];
        kdf::expand(self.secret.expose(), &[b"veilsum.key-id.v1\0", &[self.suite.code()]], &mut id);
        KeyId(id)
    }

    /// The suite it seals with.
    pub fn suite(&self) -> Suite {
        self.suite
    }

    pub(crate) fn secret(&self) -> &Secret<32> {
        &self.secret
    }

    pub(crate) fn usage(&self) -> &Arc<Usage> {
        &self.usage
    }

    /// The length of `length` bytes sealed; `None` above 4 PiB.
    pub fn sealed_length(length: usize) -> Option<usize> {
        cobblestone::sealed_length(length)?.checked_add(HEADER)
    }

    /// The length of what a message of `length` bytes opens to; `None` if no message has that length.
    pub fn opened_length(length: usize) -> Option<usize> {
        cobblestone::opened_length(length.checked_sub(HEADER)?)
    }

    /// Seals `data` under `context`.
    ///
    /// # Errors
    /// [`Error::Entropy`]; [`Error::KeyExhausted`] after 2^32 messages or 2^50 bytes of this object.
    pub fn seal(&self, data: &[u8], context: &[u8]) -> Result<Vec<u8>, Error> {
        let length = Self::sealed_length(data.len()).ok_or(TOO_LONG)?;
        let mut sealed = vec![0; length];
        self.seal_into(data, &mut sealed, context, Threads::Auto)?;
        Ok(sealed)
    }

    /// Seals `data` into the beginning of `sealed` and returns how many bytes it took.
    ///
    /// # Errors
    /// As [`seal`](Self::seal); [`Error::OutOfRange`] if `sealed` is shorter than [`sealed_length`](Self::sealed_length).
    pub fn seal_into(&self, data: &[u8], sealed: &mut [u8], context: &[u8], threads: Threads) -> Result<usize, Error> {
        let length = Self::sealed_length(data.len()).ok_or(TOO_LONG)?;
        let sealed = sealed.get_mut(..length).ok_or_else(|| short_buffer(length))?;
        let header = envelope::header(Kind::Key, self.suite);
        let (start, rest) = sealed.split_first_chunk_mut::<HEADER>().expect("a sealed message holds a header");
        *start = header;
        self.seal_raw(data, rest, &[&header, context], threads)?;
        Ok(length)
    }

    /// Opens a message that was sealed under the same key and context.
    ///
    /// # Errors
    /// [`Error::Malformed`] for a header that is not ours; [`Error::Rejected`] otherwise.
    pub fn open(&self, sealed: &[u8], context: &[u8]) -> Result<Vec<u8>, Error> {
        envelope::parse(sealed, Kind::Key)?;
        let mut data = vec![0; Self::opened_length(sealed.len()).ok_or(Error::Rejected)?];
        self.open_into(sealed, &mut data, context, Threads::Auto)?;
        Ok(data)
    }

    /// Opens a message into the beginning of `data` and returns its length. On a refusal all of `data` is wiped.
    ///
    /// # Errors
    /// As [`open`](Self::open); [`Error::OutOfRange`] if `data` is shorter than [`opened_length`](Self::opened_length).
    pub fn open_into(&self, sealed: &[u8], data: &mut [u8], context: &[u8], threads: Threads) -> Result<usize, Error> {
        let opened = self.open_unwiped(sealed, data, context, threads);
        if opened.is_err() {
            data.fill(0);
        }
        opened
    }

    fn open_unwiped(&self, sealed: &[u8], data: &mut [u8], context: &[u8], threads: Threads) -> Result<usize, Error> {
        let (header, suite, rest) = envelope::parse(sealed, Kind::Key)?;
        if suite != self.suite {
            return Err(Error::Rejected);
        }
        let length = cobblestone::opened_length(rest.len()).ok_or(Error::Rejected)?;
        let data = data.get_mut(..length).ok_or_else(|| short_buffer(length))?;
        self.open_raw(rest, data, &[header, context], threads)?;
        Ok(length)
    }

    /// Seals what `buffer` holds in the same memory. A buffer without the capacity for
    /// [`sealed_length`](Self::sealed_length) is replaced, and the one it was is wiped.
    ///
    /// # Errors
    /// As [`seal`](Self::seal); the buffer is then as it was, or wiped and empty.
    pub fn seal_in_place(&self, buffer: &mut Vec<u8>, context: &[u8], threads: Threads) -> Result<(), Error> {
        let length = buffer.len();
        let total = Self::sealed_length(length).ok_or(TOO_LONG)?;
        let header = envelope::header(Kind::Key, self.suite);
        let parts = [&header[..], context];
        self.usage.charge(length as u64)?;
        let digest = aead::salt_digest(self.secret.expose(), buffer, threads)?;
        let salt = random::hedged_salt(self.secret.expose(), &parts, Some(&digest))?;
        let scheme = Cobblestone::derive(self.suite, self.secret.expose(), &salt, &parts);
        if buffer.capacity() < total {
            let mut larger = Vec::with_capacity(total);
            larger.extend_from_slice(buffer);
            std::mem::replace(buffer, larger).zeroize();
        }
        buffer.resize(total, 0);
        let sealed = scheme.seal_body_in_place(buffer, HEADER + PREFIX, length, threads);
        if sealed.is_err() {
            buffer.zeroize();
            return sealed;
        }
        buffer[..HEADER].copy_from_slice(&header);
        buffer[HEADER..HEADER + SALT].copy_from_slice(&salt);
        buffer[HEADER + SALT..HEADER + PREFIX].copy_from_slice(scheme.commitment());
        Ok(())
    }

    /// Opens the message that `buffer` holds in the same memory.
    ///
    /// # Errors
    /// As [`open`](Self::open); the buffer is then wiped and empty.
    pub fn open_in_place(&self, buffer: &mut Vec<u8>, context: &[u8], threads: Threads) -> Result<(), Error> {
        match self.open_in_place_unwiped(buffer, context, threads) {
            Ok(length) => {
                buffer[length..].zeroize();
                buffer.truncate(length);
                Ok(())
            }
            Err(error) => {
                buffer.zeroize();
                Err(error)
            }
        }
    }

    fn open_in_place_unwiped(&self, buffer: &mut [u8], context: &[u8], threads: Threads) -> Result<usize, Error> {
        let (header, suite, rest) = envelope::parse(buffer, Kind::Key)?;
        if suite != self.suite {
            return Err(Error::Rejected);
        }
        let (prefix, _) = rest.split_first_chunk::<PREFIX>().ok_or(Error::Rejected)?;
        let scheme = Cobblestone::check(suite, self.secret.expose(), prefix, &[header, context])?;
        scheme.open_body_in_place(buffer, HEADER + PREFIX, threads)
    }

    /// Seals into exactly the scheme's bytes, `salt || commitment || chunks`.
    pub(crate) fn seal_raw(
        &self,
        data: &[u8],
        sealed: &mut [u8],
        context: &[&[u8]],
        threads: Threads,
    ) -> Result<(), Error> {
        self.usage.charge(data.len() as u64)?;
        let digest = aead::salt_digest(self.secret.expose(), data, threads)?;
        let salt = random::hedged_salt(self.secret.expose(), context, Some(&digest))?;
        self.seal_salted(&salt, data, sealed, context, threads)
    }

    pub(crate) fn seal_salted(
        &self,
        salt: &[u8; SALT],
        data: &[u8],
        sealed: &mut [u8],
        context: &[&[u8]],
        threads: Threads,
    ) -> Result<(), Error> {
        let scheme = Cobblestone::derive(self.suite, self.secret.expose(), salt, context);
        let (prefix, body) = sealed.split_first_chunk_mut::<PREFIX>().expect("callers give room for the prefix");
        prefix[..SALT].copy_from_slice(salt);
        prefix[SALT..].copy_from_slice(scheme.commitment());
        scheme.seal_body(data, &[], body, threads)
    }

    /// Opens exactly the scheme's bytes into exactly as much room as they need.
    pub(crate) fn open_raw(
        &self,
        sealed: &[u8],
        data: &mut [u8],
        context: &[&[u8]],
        threads: Threads,
    ) -> Result<(), Error> {
        let (prefix, body) = sealed.split_first_chunk::<PREFIX>().ok_or(Error::Rejected)?;
        Cobblestone::check(self.suite, self.secret.expose(), prefix, context)?.open_body(body, data, threads)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.id())
    }
}

const TOO_LONG: Error = Error::KeyExhausted { limit: "4 PiB in one message" };

fn short_buffer(length: usize) -> Error {
    Error::out_of_range(
        "the output buffer",
        "too short",
        if length == 0 { "of any length" } else { "as long as the result: ask for its length first" },
    )
}

/// The public name of a key: 16 bytes, printed as hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(pub(crate) [u8; 16]);

impl KeyId {
    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

/// What a key has sealed so far, counted before it seals.
#[derive(Debug, Default)]
pub(crate) struct Usage {
    messages: AtomicU64,
    bytes: AtomicU64,
}

impl Usage {
    /// Messages that one key seals.
    pub(crate) const MOST_MESSAGES: u64 = 1 << 32;
    /// Bytes that one key seals.
    pub(crate) const MOST_BYTES: u64 = 1 << 50;

    pub(crate) fn of(messages: u64, bytes: u64) -> Self {
        Self { messages: messages.into(), bytes: bytes.into() }
    }

    /// Messages and bytes so far.
    pub(crate) fn so_far(&self) -> (u64, u64) {
        (self.messages.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }

    /// Counts one message of `bytes`, or refuses and counts nothing.
    pub(crate) fn charge(&self, bytes: u64) -> Result<(), Error> {
        add_below(&self.messages, 1, Self::MOST_MESSAGES).ok_or(Error::KeyExhausted { limit: "2^32 messages" })?;
        self.charge_bytes(bytes)
    }

    /// Counts more bytes of a message that was charged when it began.
    pub(crate) fn charge_bytes(&self, bytes: u64) -> Result<(), Error> {
        add_below(&self.bytes, bytes, Self::MOST_BYTES).ok_or(Error::KeyExhausted { limit: "2^50 bytes" })
    }
}

fn add_below(count: &AtomicU64, more: u64, most: u64) -> Option<()> {
    count
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| now.checked_add(more).filter(|sum| *sum <= most))
        .ok()
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_stops_at_its_caps() {
        let mut key = Key::generate().expect("entropy");
        key.usage = Usage::of(Usage::MOST_MESSAGES - 1, 0).into();
        key.seal(b"the last", b"").expect("one is left");
        assert!(matches!(key.seal(b"", b""), Err(Error::KeyExhausted { limit: "2^32 messages" })));
        assert_eq!(key.usage.so_far().0, Usage::MOST_MESSAGES);
        key.usage = Usage::of(0, Usage::MOST_BYTES - 3).into();
        assert!(matches!(key.seal(b"four", b""), Err(Error::KeyExhausted { limit: "2^50 bytes" })));
        key.seal(b"xyz", b"").expect("three are left");
        key.usage = Usage::of(u64::MAX, u64::MAX).into();
        assert!(matches!(key.seal(b"", b""), Err(Error::KeyExhausted { .. })));
    }
}
