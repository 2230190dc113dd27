//! The connection to the coordinator: who is called, how it is reached, and what may go wrong with a call.
//!
//! [`Dial`] opens byte streams, so that tests put a simulated network in its place; TLS and HTTP/2 lie above it and are
//! the same everywhere. A link connects when it is first used, and again after every break.
//!
//! Absent on purpose: retries, which the agent decides on, and trust on first use: TLS trusts the one authority that
//! enrolment pinned, and plaintext stays on this machine.

mod address;
mod calls;
mod channel;
mod dial;
mod error;
mod meter;
mod shaped;
mod tls;
mod traffic;

pub use address::{Address, AddressError};
pub use calls::{Credentials, Link};
pub use dial::{BoxedStream, Dial, Stream, Tcp};
pub use error::CallError;
pub use meter::{Meter, Metered};
pub use shaped::{Shape, Shaped};

pub use crate::transfer::TransferError;

pub(crate) use calls::UNARY_TIMEOUT;
pub(crate) use channel::connect;
pub(crate) use tls::{Trust, client_config, provider, verifier_of};
pub(crate) use traffic::Traffic;
