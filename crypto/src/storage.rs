//! Keys at rest: sealed under a passphrase or under another key, in files that only their owner may read.
//!
//! ```text
//! header (8) || content (1) || protection (1) || fields || Cobblestone(key-encryption key)
//! content      1 key, 2 identity, 3 keyring
//! protection   1 passphrase: fields = memory in KiB (4) || passes (4) || salt (16); Argon2id, one lane
//!              2 key: fields = key id (16)
//! ```

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;

use argon2::{Algorithm, Argon2, Block, Params, Version};
use zeroize::{Zeroize, Zeroizing};

use crate::aead::Suite;
use crate::cobblestone;
use crate::envelope::{self, Kind};
use crate::error::Error;
use crate::identity::{Identity, Seeds};
use crate::kdf;
use crate::key::{Key, KeyId};
use crate::random;
use crate::secret::{Secret, scrub_stack};
use crate::threads::Threads;
use crate::wire::Bytes;

/// What protects a stored key.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Protection<'k> {
    /// A passphrase, by Argon2id (RFC 9106) with 64 MiB and three passes. It is the weakest link: choose it long.
    Passphrase(Passphrase<'k>),
    /// A key-encryption key that the caller keeps.
    Key(&'k Key),
}

/// Words that only their owner knows. Not printed; not empty.
#[derive(Clone, Copy)]
pub struct Passphrase<'k>(&'k [u8]);

impl<'k> Passphrase<'k> {
    /// These words.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for none at all.
    pub fn new(words: &'k str) -> Result<Self, Error> {
        if words.is_empty() {
            return Err(Error::out_of_range("the passphrase", "empty", "words that are hard to guess"));
        }
        Ok(Self(words.as_bytes()))
    }
}

impl std::fmt::Debug for Passphrase<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Passphrase")
    }
}

impl<'k> Protection<'k> {
    /// Protection by these words.
    ///
    /// # Errors
    /// As [`Passphrase::new`].
    pub fn passphrase(words: &'k str) -> Result<Self, Error> {
        Passphrase::new(words).map(Self::Passphrase)
    }
}

/// What a stored message holds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    Key = 1,
    Identity = 2,
    Keyring = 3,
}

/// Argon2id's cost when sealing (RFC 9106's second recommendation) and its bounds when opening.
const MEMORY_KIB: u32 = 64 * 1024;
const PASSES: u32 = 3;
const MOST_MEMORY_KIB: u32 = 256 * 1024;
const MOST_PASSES: u32 = 10;

const SHORT: &str = "the stored key ends too soon";

/// Seals `secret` for storage.
pub(crate) fn protect(content: Content, secret: &[u8], by: &Protection<'_>) -> Result<Vec<u8>, Error> {
    let mut public = envelope::header(Kind::Stored, Suite::default()).to_vec();
    public.push(content as u8);
    let kek = match by {
        Protection::Passphrase(words) => {
            let mut salt = [0; 16];
            random::fill(&mut salt)?;
            public.push(1);
            public.extend_from_slice(&MEMORY_KIB.to_be_bytes());
            public.extend_from_slice(&PASSES.to_be_bytes());
            public.extend_from_slice(&salt);
            stretch(*words, MEMORY_KIB, PASSES, &salt)?
        }
        Protection::Key(key) => {
            public.push(2);
            public.extend_from_slice(key.id().as_bytes());
            storage_key(key)
        }
    };
    let start = public.len();
    let length =
        cobblestone::sealed_length(secret.len()).ok_or(Error::KeyExhausted { limit: "4 PiB in one message" })?;
    let mut stored = public.clone();
    stored.resize(start + length, 0);
    kek.seal_raw(secret, &mut stored[start..], &[&public], Threads::ONE)?;
    Ok(stored)
}

/// Opens what [`protect`] gave.
pub(crate) fn unprotect(content: Content, stored: &[u8], by: &Protection<'_>) -> Result<Zeroizing<Vec<u8>>, Error> {
    let (_, suite, rest) = envelope::parse(stored, Kind::Stored)?;
    let mut rest = Bytes::new(rest, SHORT);
    if rest.u8()? != content as u8 {
        return Err(Error::malformed(
            "the file holds something else: a key, an identity and a keyring are loaded as such",
        ));
    }
    let kek = match (rest.u8()?, by) {
        (1, Protection::Passphrase(words)) => {
            let (memory, passes, salt) = (rest.u32()?, rest.u32()?, rest.array::<16>()?);
            if suite != Suite::default() || memory > MOST_MEMORY_KIB || passes > MOST_PASSES {
                return Err(Error::malformed("the stored key asks for more work than this version does"));
            }
            stretch(*words, memory, passes, salt)?
        }
        (2, Protection::Key(key)) => {
            let id = KeyId(*rest.array()?);
            if id != key.id() {
                return Err(Error::NoKey { what: format!("the file is sealed under key {id}, and another was given") });
            }
            storage_key(key)
        }
        (1, _) => return Err(Error::NoKey { what: "the file is sealed under a passphrase".into() }),
        (2, _) => return Err(Error::NoKey { what: "the file is sealed under a key".into() }),
        _ => return Err(Error::malformed("the stored key is protected in a way that this version does not know")),
    };
    let sealed = rest.rest();
    let public = &stored[..stored.len() - sealed.len()];
    let mut secret = Zeroizing::new(vec![0; cobblestone::opened_length(sealed.len()).ok_or(Error::Rejected)?]);
    kek.open_raw(sealed, &mut secret, &[public], Threads::ONE)?;
    Ok(secret)
}

fn storage_key(key: &Key) -> Key {
    let secret = Secret::filled_by(|bytes| kdf::expand(key.secret().expose(), &[b"veilsum.storage.v1\0"], bytes));
    Key::from_secret(secret, Suite::default())
}

fn stretch(words: Passphrase<'_>, memory: u32, passes: u32, salt: &[u8; 16]) -> Result<Key, Error> {
    let parameters = Params::new(memory, passes, 1, Some(32))
        .map_err(|_| Error::malformed("the stored key's Argon2 parameters are out of range"))?;
    let mut blocks = vec![Block::default(); parameters.block_count()];
    let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, parameters);
    let mut stretched = Ok(());
    let secret = Secret::<32>::filled_by(|bytes| {
        stretched = argon.hash_password_into_with_memory(words.0, salt, bytes, &mut blocks);
    });
    blocks.zeroize();
    scrub_stack();
    stretched.map_err(|_| Error::malformed("the stored key's Argon2 parameters are out of range"))?;
    Ok(Key::from_secret(secret, Suite::default()))
}

/// Replaces the file at `path` at once or not at all; only its owner may read it.
pub(crate) fn write_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?.to_owned();
    let mut tag = [0; 8];
    random::fill(&mut tag)?;
    name.push(format!(".{:016x}.new", u64::from_be_bytes(tag)));
    let beside = path.with_file_name(name);
    let written = create_private(&beside)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written
}

fn create_private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// A stored key is small: a file that is not is not read whole.
pub(crate) fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    const MOST: u64 = 16 << 20;
    let mut bytes = Vec::new();
    if File::open(path)?.take(MOST + 1).read_to_end(&mut bytes)? as u64 > MOST {
        return Err(Error::malformed("the file is larger than any stored key").into());
    }
    Ok(bytes)
}

impl Key {
    /// The key as bytes that only `by` opens.
    ///
    /// # Errors
    /// [`Error::Entropy`].
    pub fn to_stored(&self, by: &Protection<'_>) -> Result<Vec<u8>, Error> {
        let mut secret = Zeroizing::new(vec![self.suite().code()]);
        secret.reserve_exact(32);
        secret.extend_from_slice(self.secret().expose());
        protect(Content::Key, &secret, by)
    }

    /// The key from what [`to_stored`](Self::to_stored) gave.
    ///
    /// # Errors
    /// [`Error::Malformed`], [`Error::NoKey`], [`Error::Rejected`] (a wrong passphrase).
    pub fn from_stored(stored: &[u8], by: &Protection<'_>) -> Result<Self, Error> {
        let secret = unprotect(Content::Key, stored, by)?;
        let mut bytes = Bytes::new(&secret, SHORT);
        let suite = Suite::from_code(bytes.u8()?)?;
        let key = Self::from_secret(Secret::copied_from(bytes.array()?), suite);
        bytes.end("the stored key goes on after its end")?;
        Ok(key)
    }

    /// Writes the key to a file that only its owner may read, whole or not at all.
    ///
    /// # Errors
    /// The file system's, or [`Error`] inside an [`io::Error`].
    pub fn save(&self, path: impl AsRef<Path>, by: &Protection<'_>) -> io::Result<()> {
        write_file(path.as_ref(), &self.to_stored(by)?)
    }

    /// Reads a key that [`save`](Self::save) wrote.
    ///
    /// # Errors
    /// The file system's, or [`Error`] inside an [`io::Error`].
    pub fn load(path: impl AsRef<Path>, by: &Protection<'_>) -> io::Result<Self> {
        Ok(Self::from_stored(&read_file(path.as_ref())?, by)?)
    }
}

impl Identity {
    /// The identity as bytes that only `by` opens.
    ///
    /// # Errors
    /// [`Error::Entropy`].
    pub fn to_stored(&self, by: &Protection<'_>) -> Result<Vec<u8>, Error> {
        let seeds = self.seeds();
        let mut secret = Zeroizing::new(Vec::with_capacity(96));
        for seed in [&seeds.signing, &seeds.xwing, &seeds.x25519] {
            secret.extend_from_slice(seed.expose());
        }
        protect(Content::Identity, &secret, by)
    }

    /// The identity from what [`to_stored`](Self::to_stored) gave.
    ///
    /// # Errors
    /// [`Error::Malformed`], [`Error::NoKey`], [`Error::Rejected`] (a wrong passphrase).
    pub fn from_stored(stored: &[u8], by: &Protection<'_>) -> Result<Self, Error> {
        let secret = unprotect(Content::Identity, stored, by)?;
        let mut bytes = Bytes::new(&secret, SHORT);
        let seeds = Seeds {
            signing: Secret::copied_from(bytes.array()?),
            xwing: Secret::copied_from(bytes.array()?),
            x25519: Secret::copied_from(bytes.array()?),
        };
        bytes.end("the stored identity goes on after its end")?;
        Ok(Self::from_seeds(seeds))
    }

    /// Writes the identity to a file that only its owner may read, whole or not at all.
    ///
    /// # Errors
    /// The file system's, or [`Error`] inside an [`io::Error`].
    pub fn save(&self, path: impl AsRef<Path>, by: &Protection<'_>) -> io::Result<()> {
        write_file(path.as_ref(), &self.to_stored(by)?)
    }

    /// Reads an identity that [`save`](Self::save) wrote.
    ///
    /// # Errors
    /// The file system's, or [`Error`] inside an [`io::Error`].
    pub fn load(path: impl AsRef<Path>, by: &Protection<'_>) -> io::Result<Self> {
        Ok(Self::from_stored(&read_file(path.as_ref())?, by)?)
    }
}
