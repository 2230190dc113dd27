//! How many connections there may be, how long they may say nothing, how slowly they may speak.

use std::time::Duration;

/// A least rate: this many bytes in every window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Bytes.
    pub min_bytes: u64,
    /// The window.
    pub window: Duration,
}

/// Bounds of the listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most connections at a time; those beyond are closed at once. 12,000.
    pub total: usize,
    /// Most connections from one address, or from one /64 network of IPv6. 1,024; raise it where many devices share
    /// one address.
    pub per_address: usize,
    /// Most connections of one device; the oldest makes way for a new one. 4.
    pub per_identity: usize,
    /// How long a TLS handshake may take. 10 s.
    pub handshake: Duration,
    /// How long after the handshake the first request may take to begin. 10 s.
    pub first_request: Duration,
    /// How long a connection without an identity may last: enough to enrol. 60 s.
    pub anonymous: Duration,
    /// How often a silent peer is asked whether it is there. 20 s.
    pub ping_interval: Duration,
    /// How long it may take to answer. 10 s.
    pub ping_timeout: Duration,
    /// How long a peer may take none of the bytes for it. 30 s.
    pub write_stall: Duration,
    /// The least rate of a connection with an unfinished request. 1 KiB in 10 s.
    pub rate: Rate,
    /// How long running requests may take to end once the listener stops. 10 s.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            total: 12_000,
            per_address: 1_024,
            per_identity: 4,
            handshake: Duration::from_secs(10),
            first_request: Duration::from_secs(10),
            anonymous: Duration::from_secs(60),
            ping_interval: Duration::from_secs(20),
            ping_timeout: Duration::from_secs(10),
            write_stall: Duration::from_secs(30),
            rate: Rate { min_bytes: 1_024, window: Duration::from_secs(10) },
            drain: Duration::from_secs(10),
        }
    }
}
