//! The authority's four PEM files: whole or absent after a crash, keys readable by their owner alone.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

use super::IdentityError;

pub(super) const CA: &str = "ca.pem";
pub(super) const CA_KEY: &str = "ca-key.pem";
pub(super) const SERVER: &str = "server.pem";
pub(super) const SERVER_KEY: &str = "server-key.pem";

/// Whether a file may take another's place.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Existing {
    Refuse,
    Replace,
}

/// Who may read a file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Readers {
    Owner,
    All,
}

/// Writes `dir/name` so that after a crash it is there whole or not at all.
pub(super) fn write(
    dir: &Path,
    name: &str,
    text: &str,
    readers: Readers,
    existing: Existing,
) -> Result<(), IdentityError> {
    let path = dir.join(name);
    let fail = |source| IdentityError::Write { path: path.clone(), source };
    // Temporary files are 0600 from their first byte on.
    let mut file = tempfile::NamedTempFile::new_in(dir).map_err(fail)?;
    file.write_all(text.as_bytes()).map_err(fail)?;
    #[cfg(unix)]
    if readers == Readers::All {
        use std::os::unix::fs::PermissionsExt as _;
        file.as_file().set_permissions(fs::Permissions::from_mode(0o644)).map_err(fail)?;
    }
    file.as_file().sync_all().map_err(fail)?;
    let placed = match existing {
        Existing::Refuse => file.persist_noclobber(&path),
        Existing::Replace => file.persist(&path),
    };
    placed.map_err(|error| match error.error.kind() {
        io::ErrorKind::AlreadyExists => IdentityError::Exists { path: path.clone() },
        _ => fail(error.error),
    })?;
    // The name is durable only once the directory is.
    fs::File::open(dir).and_then(|dir| dir.sync_all()).map_err(fail)
}

/// Reads `dir/name`, and returns its path for messages.
pub(super) fn read(dir: &Path, name: &str) -> Result<(PathBuf, Vec<u8>), IdentityError> {
    let path = dir.join(name);
    match fs::read(&path) {
        Ok(bytes) => Ok((path, bytes)),
        Err(source) => Err(IdentityError::Read { path, source }),
    }
}

/// The certificates in `dir/name`, of which there is at least one.
pub(super) fn certificates(dir: &Path, name: &str) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    let (path, bytes) = read(dir, name)?;
    match CertificateDer::pem_slice_iter(&bytes).collect::<Result<Vec<_>, _>>() {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(IdentityError::Content { path, expected: "certificate" }),
    }
}

/// The private key in `dir/name`.
pub(super) fn private_key(dir: &Path, name: &str) -> Result<PrivateKeyDer<'static>, IdentityError> {
    let (path, bytes) = read(dir, name)?;
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|_| IdentityError::Content { path, expected: "private key" })
}
