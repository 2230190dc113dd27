//! What is taken from a device's signing request (PKCS #10, RFC 2986): its public key, once the request proves that the
//! device holds it.
//!
//! Absent on purpose: the subject, attributes and extensions asked for; the authority alone decides those.

use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use x509_parser::{
    certification_request::X509CertificationRequest,
    oid_registry::{OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_SIG_ECDSA_WITH_SHA256},
    prelude::FromDer,
};

use super::IdentityError;

/// Most bytes of a request. One for P-256 has 200 to 400.
const REQUEST_BYTES: usize = 4096;

/// Bytes of an uncompressed P-256 point.
const POINT_BYTES: usize = 65;

/// A device's key: an uncompressed P-256 point that lies on the curve.
pub(super) struct DeviceKey(pub(super) Vec<u8>);

impl rcgen::PublicKeyData for DeviceKey {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

/// The key that a request in DER is for, if it is P-256 and signed the request.
pub(super) fn device_key(csr_der: &[u8]) -> Result<DeviceKey, IdentityError> {
    if csr_der.len() > REQUEST_BYTES {
        return Err(IdentityError::RequestTooLarge { found: csr_der.len(), limit: REQUEST_BYTES });
    }
    let Ok(([], request)) = X509CertificationRequest::from_der(csr_der) else {
        return Err(IdentityError::RequestMalformed);
    };
    let info = &request.certification_request_info;
    let key = &info.subject_pki;
    let kind = |found: String| IdentityError::RequestKey { found };
    if key.algorithm.algorithm != OID_KEY_TYPE_EC_PUBLIC_KEY {
        return Err(kind(key.algorithm.algorithm.to_id_string()));
    }
    let curve = key.algorithm.parameters.as_ref().and_then(|curve| curve.as_oid().ok());
    if curve.as_ref() != Some(&OID_EC_P256) {
        return Err(kind(curve.map_or_else(|| "no named curve".into(), |curve| curve.to_id_string())));
    }
    if request.signature_algorithm.algorithm != OID_SIG_ECDSA_WITH_SHA256 {
        return Err(kind(request.signature_algorithm.algorithm.to_id_string()));
    }
    let point = &*key.subject_public_key.data;
    if point.len() != POINT_BYTES || key.subject_public_key.unused_bits != 0 {
        return Err(kind("a compressed or broken point".into()));
    }
    if request.signature_value.unused_bits != 0 {
        return Err(IdentityError::RequestSignature);
    }
    // Also refuses a point that is not on the curve.
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point)
        .verify(info.raw, &request.signature_value.data)
        .map_err(|_| IdentityError::RequestSignature)?;
    Ok(DeviceKey(point.to_vec()))
}
