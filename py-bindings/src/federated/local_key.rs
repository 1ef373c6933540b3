//! The key under which snapshots are sealed when the caller gives none: 32 bytes in the user's state directory.

use crate::error;
use pyo3::PyResult;
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use veilsum_crypto::secret::Secret;
use veilsum_crypto::{Key, Suite, hazmat};

/// Opens the key, or makes it, readable by the user alone.
pub(super) fn open() -> PyResult<Key> {
    let folder = folder().ok_or_else(|| failed("no home directory is known; give snapshots a key of their own"))?;
    let path = folder.join("snapshot.key");
    let stored = match fs::read(&path) {
        Err(e) if e.kind() == ErrorKind::NotFound => make(&folder, &path)?,
        other => other.map_err(|e| failed(&format!("{}: {e}", path.display())))?,
    };
    let bytes: &[u8; 32] = stored.as_slice().try_into().map_err(|_| failed("the key file is not 32 bytes long"))?;
    Ok(hazmat::key_from_secret(Secret::copied_from(bytes), Suite::default()))
}

fn folder() -> Option<PathBuf> {
    let named = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    named("VEILSUM_STATE")
        .or_else(|| named("XDG_STATE_HOME").map(|state| state.join("veilsum")))
        .or_else(|| std::env::home_dir().map(|home| home.join(".local").join("state").join("veilsum")))
}

fn make(folder: &PathBuf, path: &PathBuf) -> PyResult<Vec<u8>> {
    let secret: Secret<32> = Secret::random().map_err(|_| failed("the operating system's random generator failed"))?;
    let written = fs::create_dir_all(folder).and_then(|()| {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(path)?;
        file.write_all(secret.expose())?;
        file.sync_all()
    });
    match written {
        Ok(()) => Ok(secret.expose().to_vec()),
        // Another process was first: its key counts.
        Err(e) if e.kind() == ErrorKind::AlreadyExists => {
            fs::read(path).map_err(|e| failed(&format!("{}: {e}", path.display())))
        }
        Err(e) => Err(failed(&format!("{}: {e}", path.display()))),
    }
}

fn failed(why: &str) -> pyo3::PyErr {
    error::exception("VeilsumError", format!("the snapshot key cannot be used: {why}"))
}
