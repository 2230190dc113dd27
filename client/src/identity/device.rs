//! A device's key and certificate in memory.

use std::{fmt, path::Path, sync::Arc};

use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair},
};
use rustls::{RootCertStore, server::WebPkiClientVerifier, sign::CertifiedKey};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime};
use x509_parser::{parse_x509_certificate, prelude::X509Certificate};

use super::{IdentityError, files};
use crate::link::provider;

/// A device: key, certificate, and the authority that signed it.
pub struct Device {
    key: PrivatePkcs8KeyDer<'static>,
    signer: EcdsaKeyPair,
    certificate: CertificateDer<'static>,
    authority: CertificateDer<'static>,
    name: String,
    validity: Validity,
}

/// From when to when a certificate is good, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// The first second.
    pub from: u64,
    /// The last second.
    pub until: u64,
}

impl Validity {
    /// Whether less than a third of it is left.
    #[must_use]
    pub fn is_nearly_over(self, now: UnixTime) -> bool {
        let left = self.until.saturating_sub(now.as_secs());
        left < self.until.saturating_sub(self.from) / 3
    }
}

impl Device {
    /// The device whose identity lies in `dir`.
    ///
    /// # Errors
    /// If there is none, or its files do not belong together.
    pub fn load(dir: &Path) -> Result<Self, IdentityError> {
        files::load(dir)
    }

    /// Puts a device together; the certificate must be of this key.
    pub(super) fn new(
        key: PrivatePkcs8KeyDer<'static>,
        certificate: CertificateDer<'static>,
        authority: CertificateDer<'static>,
    ) -> Result<Self, IdentityError> {
        let crypto = |problem: String| IdentityError::Crypto(problem);
        let chain = vec![certificate.clone()];
        CertifiedKey::from_der(chain, PrivateKeyDer::Pkcs8(key.clone_key()), &provider())
            .map_err(|error| crypto(format!("key and certificate do not belong together: {error}")))?;
        let algorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
        let signer = EcdsaKeyPair::from_pkcs8(algorithm, key.secret_pkcs8_der(), &SystemRandom::new())
            .map_err(|error| crypto(format!("the key is not of ECDSA P-256: {error}")))?;
        let (name, validity) = {
            let (_, parsed) = parse_x509_certificate(&certificate).map_err(|error| crypto(error.to_string()))?;
            (name_of(&parsed), validity_of(&parsed))
        };
        Ok(Self { key, signer, certificate, authority, name, validity })
    }

    /// That the certificate is one for clients, and that the authority signed it.
    pub(super) fn check_issuer(&self, now: UnixTime) -> Result<(), rustls::Error> {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.clone())?;
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
            .build()
            .map_err(|error| rustls::Error::General(error.to_string()))?;
        verifier.verify_client_cert(&self.certificate, &[], now).map(|_| ())
    }

    /// The name in the certificate.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// When the certificate is good.
    #[must_use]
    pub fn validity(&self) -> Validity {
        self.validity
    }

    pub(crate) fn authority(&self) -> CertificateDer<'static> {
        self.authority.clone()
    }

    pub(crate) fn tls_identity(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        (vec![self.certificate.clone()], PrivateKeyDer::Pkcs8(self.key.clone_key()))
    }

    /// Binds an update to this device.
    pub(crate) fn sign(&self, run: &str, round: u64, payload_sha256: &[u8; 32]) -> Result<Vec<u8>, IdentityError> {
        let message = nibble_proto::signed_bytes(run, round, payload_sha256);
        let signature = self.signer.sign(&SystemRandom::new(), &message);
        signature.map(|signature| signature.as_ref().to_vec()).map_err(|error| IdentityError::Crypto(error.to_string()))
    }
}

fn name_of(certificate: &X509Certificate<'_>) -> String {
    let common = certificate.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
    common.map_or_else(|| certificate.subject().to_string(), str::to_owned)
}

fn validity_of(certificate: &X509Certificate<'_>) -> Validity {
    let seconds = |time: x509_parser::time::ASN1Time| u64::try_from(time.timestamp()).unwrap_or(0);
    let validity = certificate.validity();
    Validity { from: seconds(validity.not_before), until: seconds(validity.not_after) }
}

/// Without the key.
impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Device").field("name", &self.name).field("validity", &self.validity).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_certificate_is_renewed_in_its_last_third() {
        let validity = Validity { from: 1000, until: 1300 };
        let nearly_over = |now| validity.is_nearly_over(UnixTime::since_unix_epoch(Duration::from_secs(now)));
        assert!(!nearly_over(0));
        assert!(!nearly_over(1200));
        assert!(nearly_over(1201));
        assert!(nearly_over(2000));
    }
}
