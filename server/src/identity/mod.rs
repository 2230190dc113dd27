//! Keys and certificates: the authority that issues them, enrolment tokens, signatures of updates, TLS.
//!
//! Absent on purpose: the store of what was issued or revoked, gRPC, and any clock; times are passed in.

mod authority;
mod clock;
mod error;
mod files;
mod request;
mod signature;
mod tls;
mod token;

pub use authority::{Authority, Issued};
pub use clock::Clock;
pub use error::IdentityError;
pub use signature::verify;
pub use tls::server_config;
pub use token::Token;

use sha2::{Digest, Sha256};

/// SHA-256.
fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// Lowercase hexadecimal.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
