//! The files of an identity. Each is whole or not there, and key and certificate change together.
//!
//! A new key is durable as `key.new.pem` before its certificate is asked for; the certificate then replaces the old one,
//! and last the key does. Whoever loads in between finds the certificate's key under its other name.

use std::{
    fs,
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
};

use nibble_proto::crash;
use pem::{EncodeConfig, LineEnding, Pem};
use rcgen::KeyPair;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer, pem::PemObject};

use super::{Device, IdentityError};

const KEY: &str = "key.pem";
const NEW_KEY: &str = "key.new.pem";
const CERTIFICATE: &str = "cert.pem";
const AUTHORITY: &str = "ca.pem";

/// Who may read a file.
#[derive(Clone, Copy)]
enum Readers {
    Owner,
    Everyone,
}

/// Whether a device has been enrolled here.
pub(super) fn exist(dir: &Path) -> bool {
    dir.join(CERTIFICATE).exists()
}

/// The identity in `dir`.
pub(super) fn load(dir: &Path) -> Result<Device, IdentityError> {
    if !exist(dir) {
        return Err(IdentityError::NotEnrolled { dir: dir.into() });
    }
    let authority = certificate(&dir.join(AUTHORITY))?;
    let certificate = certificate(&dir.join(CERTIFICATE))?;
    let with = |name: &str| {
        let path = dir.join(name);
        let key = PrivatePkcs8KeyDer::from_pem_slice(&read(&path)?)
            .map_err(|error| IdentityError::File { path, problem: format!("holds no PKCS #8 key: {error}") })?;
        Device::new(key, certificate.clone(), authority.clone())
    };
    match with(KEY) {
        Err(error) => with(NEW_KEY).map_err(|_| error),
        device => device,
    }
}

/// The key that waits for its certificate; a new one if none does.
pub(super) fn pending_key(dir: &Path) -> Result<KeyPair, IdentityError> {
    let path = dir.join(NEW_KEY);
    if let Some(key) = fs::read_to_string(&path).ok().and_then(|pem| KeyPair::from_pem(&pem).ok()) {
        return Ok(key);
    }
    let key = KeyPair::generate().map_err(|error| IdentityError::Crypto(error.to_string()))?;
    write(&path, &key.serialize_pem(), Readers::Owner)?;
    crash::point("key-made");
    Ok(key)
}

/// Keeps the certificate of the pending key.
pub(super) fn keep(dir: &Path, certificate: &[u8], authority: &[u8]) -> Result<(), IdentityError> {
    write(&dir.join(AUTHORITY), &to_pem(authority), Readers::Everyone)?;
    write(&dir.join(CERTIFICATE), &to_pem(certificate), Readers::Everyone)?;
    crash::point("certificate-kept");
    let (from, to) = (dir.join(NEW_KEY), dir.join(KEY));
    fs::rename(&from, &to).map_err(IdentityError::io("rename to", &to))?;
    sync(dir)
}

fn certificate(path: &Path) -> Result<CertificateDer<'static>, IdentityError> {
    CertificateDer::from_pem_slice(&read(path)?)
        .map_err(|error| IdentityError::File { path: path.into(), problem: format!("holds no certificate: {error}") })
}

fn read(path: &Path) -> Result<Vec<u8>, IdentityError> {
    fs::read(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => IdentityError::File { path: path.into(), problem: "is missing".into() },
        _ => IdentityError::io("read", path)(error),
    })
}

/// Replaces a file by `text`; durable on return.
fn write(path: &Path, text: &str, readers: Readers) -> Result<(), IdentityError> {
    let dir = path.parent().map_or_else(PathBuf::new, Path::to_path_buf);
    let failed = |action| IdentityError::io(action, path);
    let mut file = tempfile::NamedTempFile::new_in(&dir).map_err(failed("create"))?;
    file.write_all(text.as_bytes()).map_err(failed("write"))?;
    // Temporary files are private to their owner.
    #[cfg(unix)]
    if let Readers::Everyone = readers {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        file.as_file().set_permissions(mode).map_err(failed("open up"))?;
    }
    file.as_file().sync_all().map_err(failed("sync"))?;
    file.persist(path).map_err(|error| failed("replace")(error.error))?;
    sync(&dir)
}

fn sync(dir: &Path) -> Result<(), IdentityError> {
    fs::File::open(dir).and_then(|dir| dir.sync_all()).map_err(IdentityError::io("sync", dir))
}

fn to_pem(der: &[u8]) -> String {
    let config = EncodeConfig::new().set_line_ending(LineEnding::LF);
    pem::encode_config(&Pem::new("CERTIFICATE", der), config)
}
