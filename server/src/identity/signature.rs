//! The signature that binds an update to its device: ECDSA P-256 with SHA-256, DER, over [`nibble_proto::signed_bytes`].

use nibble_seed::RoundId;
use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};

use super::IdentityError;

/// Checks that the holder of `public_key` (an uncompressed point) signed this payload for this round of this run.
///
/// # Errors
/// [`IdentityError::Signature`] if it did not, whatever the reason.
pub fn verify(
    public_key: &[u8],
    run: &str,
    round: RoundId,
    payload_sha256: &[u8; 32],
    signature_der: &[u8],
) -> Result<(), IdentityError> {
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, public_key)
        .verify(&nibble_proto::signed_bytes(run, round.0, payload_sha256), signature_der)
        .map_err(|_| IdentityError::Signature)
}
