//! A first certificate, in exchange for a token.

use std::{path::Path, sync::Arc};

use nibble_proto::{
    MESSAGE_BYTES,
    v1::{Certificate, EnrolRequest, enrolment_service_client::EnrolmentServiceClient},
};
use nibble_seed::ClientId;
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer, UnixTime};

use super::{
    Device, IdentityError, Token, files,
    pinned::{PinnedAuthority, sha256},
};
use crate::link::{Address, CallError, Dial, Traffic, Trust, UNARY_TIMEOUT, client_config, connect};

/// What the coordinator made of a device.
#[derive(Debug)]
pub struct Enrolled {
    /// Its number in its runs.
    pub client: ClientId,
    /// Its name.
    pub name: String,
    /// Its identity, which was kept.
    pub device: Device,
}

/// Makes a key, has it certified in exchange for `token`, and keeps the identity in `dir`, which exists. A key that an
/// interrupted enrolment left is used again, so that a coordinator can answer the same request once more.
///
/// # Errors
/// If the coordinator cannot be reached, is not the one that made the token, or refuses it; or if files cannot be written.
pub async fn enrol(
    address: &Address,
    token: &Token,
    dir: &Path,
    dial: Arc<dyn Dial>,
    now: UnixTime,
) -> Result<Enrolled, IdentityError> {
    let verifier = Trust::Verifier(Arc::new(PinnedAuthority::new(token.fingerprint())));
    let tls = client_config(verifier, None).map_err(crypto)?;
    let key = files::pending_key(dir)?;
    let traffic = Arc::<Traffic>::default();
    let channel = connect(address, Some(tls), dial, Arc::clone(&traffic));
    let mut service = EnrolmentServiceClient::new(channel).max_decoding_message_size(MESSAGE_BYTES);
    let request = EnrolRequest { token: token.text().into(), csr_der: request_of(&key)?.into() };
    let answer = tokio::time::timeout(UNARY_TIMEOUT, service.enrol(request)).await;
    let answer = answer.map_err(|_| CallError::Unreachable { detail: "no answer".into() })?;
    let answer = answer.map_err(|status| CallError::new(&status, None))?.into_inner();
    let certificate = answer.certificate.ok_or_else(|| IdentityError::answer("it holds no certificate"))?;
    if sha256(&certificate.authority_der) != token.fingerprint() {
        return Err(IdentityError::answer("its authority is not the one that the token names"));
    }
    let device = accept(dir, &key, &certificate, now)?;
    Ok(Enrolled { client: ClientId(certificate.client), name: certificate.name, device })
}

/// The signing request of a key.
pub(super) fn request_of(key: &KeyPair) -> Result<Vec<u8>, IdentityError> {
    let mut params = CertificateParams::default();
    // The coordinator knows the device's name, and decides what the certificate says.
    params.distinguished_name = DistinguishedName::new();
    Ok(params.serialize_request(key).map_err(crypto)?.der().to_vec())
}

/// Keeps a certificate that is of the pending key and was signed by its authority.
pub(super) fn accept(
    dir: &Path,
    key: &KeyPair,
    certificate: &Certificate,
    now: UnixTime,
) -> Result<Device, IdentityError> {
    let der = CertificateDer::from(certificate.der.to_vec());
    let authority = CertificateDer::from(certificate.authority_der.to_vec());
    let device = Device::new(PrivatePkcs8KeyDer::from(key.serialize_der()), der, authority)
        .map_err(|error| IdentityError::answer(error.to_string()))?;
    device
        .check_issuer(now)
        .map_err(|error| IdentityError::answer(format!("its authority did not sign the certificate: {error}")))?;
    files::keep(dir, &certificate.der, &certificate.authority_der)?;
    Ok(device)
}

pub(super) fn crypto(error: impl std::fmt::Display) -> IdentityError {
    IdentityError::Crypto(error.to_string())
}
