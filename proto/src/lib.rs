//! The messages and services of `proto/nibble/v1`, generated and committed.
//!
//! `tests/generated.rs` generates them again, without protoc, and fails on a difference; `NIBBLE_REGENERATE=1 cargo test
//! -p nibble-proto` writes them. Generated types stop at the edges of server and client, where they are validated.
//!
//! Absent on purpose: anything written by hand but names, limits and crash points that both ends share.

pub mod crash;

#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic, rustdoc::all)]
mod generated {
    include!("generated/nibble.v1.rs");
}

/// Version 1 of the protocol.
pub mod v1 {
    pub use crate::generated::*;
}

/// The descriptors of all files, for gRPC reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!("generated/descriptors.bin");

/// Most bytes of data in one chunk of a transfer.
pub const CHUNK_BYTES: usize = 65_536;

/// Most bytes of any message: a layout of a thousand tensors goes down in one.
pub const MESSAGE_BYTES: usize = 256 * 1024;

/// Most bytes of a message to the coordinator: a chunk and what surrounds it.
pub const REQUEST_BYTES: usize = 96 * 1024;

/// The same from a peer that may be anybody: a token and a signing request.
pub const ENROLMENT_BYTES: usize = 16 * 1024;

/// Most bytes of an HTTP/2 frame that either side takes. A chunk is one frame: cut into frames of 16 KiB, the default, each
/// would end in a TLS record of its own that carries a few bytes.
pub const FRAME_BYTES: u32 = 128 * 1024;

/// The metadata key by which a client of an insecure coordinator says which client it is.
pub const INSECURE_CLIENT_KEY: &str = "nibble-client";

/// The bytes that a device signs to bind an update to itself: `nibble update v1\n`, the run's name and a line feed, the
/// round as 8 bytes little-endian, the payload's SHA-256.
#[must_use]
pub fn signed_bytes(run: &str, round: u64, payload_sha256: &[u8; 32]) -> Vec<u8> {
    [b"nibble update v1\n", run.as_bytes(), b"\n", &round.to_le_bytes(), payload_sha256].concat()
}
