//! What can be wrong with keys, certificates, requests for them, tokens and signatures.

use std::{io, path::PathBuf};

/// Something about keys or certificates that cannot be accepted or done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// An authority would be written over another.
    #[error("{path} exists already; load that authority, or move its files away before a new one is made")]
    Exists {
        /// The file in the way.
        path: PathBuf,
    },
    /// A file that cannot be read.
    #[error("cannot read {path}: {source}; an authority is made of ca.pem, ca-key.pem, server.pem and server-key.pem")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file that cannot be written.
    #[error("cannot write {path}: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file that holds something else.
    #[error("{path} holds no {expected} in PEM; restore it from a backup, or make a new authority")]
    Content {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        expected: &'static str,
    },
    /// Files that do not belong together.
    #[error("{path} does not belong to the other files beside it: {reason}; restore all four from one backup")]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: &'static str,
    },
    /// A name that no certificate can carry.
    #[error("{found:?} is neither a DNS name nor an IP address; names look like `fl.example.org` or `192.0.2.7`")]
    ServerName {
        /// The name.
        found: String,
    },
    /// A device's name that no certificate can carry.
    #[error("a device's name of {found} characters; it takes 1 to {limit}, none of them a control character")]
    ClientName {
        /// Its length in characters.
        found: usize,
        /// The most.
        limit: usize,
    },
    /// A time or a span that no certificate can carry.
    #[error("a certificate cannot end at {found} seconds since 1970; it must end after now and before the year 9999")]
    Time {
        /// The end asked for.
        found: u64,
    },
    /// A signing request that is too long.
    #[error("the signing request has {found} bytes; it may have {limit}")]
    RequestTooLarge {
        /// Its bytes.
        found: usize,
        /// The most.
        limit: usize,
    },
    /// A signing request that is none.
    #[error("the signing request is not a PKCS #10 request in DER, whole and nothing after it")]
    RequestMalformed,
    /// A signing request for a key of another kind.
    #[error(
        "the signing request is for a key or signature of another kind ({found}); only ECDSA P-256 with SHA-256 is issued"
    )]
    RequestKey {
        /// The kind's object identifier.
        found: String,
    },
    /// A signing request that its key did not sign.
    #[error("the signing request is not signed by the key in it")]
    RequestSignature,
    /// A text that is no enrolment token.
    #[error(
        "not an enrolment token: {reason}; a token is `nibble1.`, 40 hexadecimal digits, a dot and 64 more, lowercase"
    )]
    Token {
        /// What is wrong.
        reason: &'static str,
    },
    /// An update that the device did not sign.
    #[error("the update's signature does not fit the device's key, the run, the round and the payload")]
    Signature,
    /// No randomness from the system.
    #[error("the system gave no random bytes")]
    Random,
    /// A certificate that could not be made.
    #[error("a certificate could not be made: {0}")]
    Certificate(#[from] rcgen::Error),
    /// A TLS configuration that cannot work.
    #[error("TLS cannot be set up with these certificates: {0}")]
    Tls(#[from] rustls::Error),
}
