//! Who is at the other end of a connection. The listener finds it out, the services read it from the request.

use std::{fmt, net::SocketAddr, sync::Arc};

use nibble_seed::ClientId;

/// SHA-256 of a certificate in DER: how the store knows it.
pub type Fingerprint = [u8; 32];

/// A device that proved to hold the key of a certificate we issued, which was neither expired nor revoked then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The device's number.
    pub client: ClientId,
    /// Its name.
    pub name: Arc<str>,
    /// The certificate; `None` on an insecure coordinator, where clients say who they are.
    pub certificate: Option<CertificateFacts>,
}

/// What the store knows of a certificate.
#[derive(Clone, PartialEq, Eq)]
pub struct CertificateFacts {
    /// Its fingerprint.
    pub fingerprint: Fingerprint,
    /// The device's public key: an uncompressed P-256 point, as `ring` takes it.
    pub public_key: Arc<[u8]>,
    /// When it ends, in seconds since 1970.
    pub not_after_unix: u64,
}

impl fmt::Debug for CertificateFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex: String = self.fingerprint[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        f.debug_struct("CertificateFacts")
            .field("fingerprint", &hex)
            .field("not_after_unix", &self.not_after_unix)
            .finish()
    }
}

/// The other end of a connection, as an extension of every request that comes over it.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its address.
    pub address: SocketAddr,
    /// Who it is; `None` for one that came without a certificate, which may do no more than enrol.
    pub identity: Result<Option<Identity>, Unavailable>,
}

/// It cannot be said now who somebody is; the directory has logged why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("certificates cannot be looked up now")]
pub struct Unavailable;

/// Knows certificates. Asked at every handshake and every call, so that a revocation works at once.
pub trait Directory: Send + Sync {
    /// The identity behind a certificate; `None` if it is unknown, expired at `now_unix`, or revoked.
    ///
    /// # Errors
    /// If it cannot be looked up: a device is then neither let in nor turned away for good.
    fn identify(&self, fingerprint: &Fingerprint, now_unix: u64) -> Result<Option<Identity>, Unavailable>;
}
