//! Who a device is: its key, its certificate, and the one authority it trusts.
//!
//! The key is made here and never leaves; the coordinator signs its public half in exchange for a one-time token. The token
//! carries the authority's fingerprint, so that even the first connection trusts nobody else. In the state directory:
//! `key.pem` (private to its owner), `cert.pem`, `ca.pem`; while a key waits for its certificate, `key.new.pem`.
//!
//! Absent on purpose: trust on first use, system roots, and revocation lists; a coordinator knows whom it revoked.

mod device;
mod enrol;
mod error;
mod files;
mod pinned;
mod renew;
mod token;

pub use device::{Device, Validity};
pub use enrol::{Enrolled, enrol};
pub use error::IdentityError;
pub use token::{Token, TokenError};

pub(crate) use renew::renew;
