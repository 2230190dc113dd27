//! What can go wrong with a call.

use std::error::Error;

use rustls::AlertDescription;
use tonic::{Code, Status};

use crate::transfer::TransferError;

/// A call that did not give an answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The coordinator does not accept this device, and trying again will not help.
    #[error("the coordinator refuses this device: {detail}")]
    Refused {
        /// What it says.
        detail: String,
    },
    /// The coordinator cannot be reached, or asks to come back later.
    #[error("the coordinator cannot be reached: {detail}")]
    Unreachable {
        /// What happened.
        detail: String,
    },
    /// The coordinator answers with an error.
    #[error("the coordinator answers {code:?}: {detail}")]
    Failed {
        /// The status code.
        code: Code,
        /// What it says.
        detail: String,
    },
    /// The coordinator says something that makes no sense here.
    #[error("the coordinator breaks the protocol: {0}")]
    Protocol(&'static str),
    /// What was transferred is not what was announced.
    #[error("the transfer went wrong: {0}")]
    Transfer(#[from] TransferError),
}

impl CallError {
    /// What a status means; `alert` is the TLS alert that ended the connection, if one did.
    pub(crate) fn new(status: &Status, alert: Option<AlertDescription>) -> Self {
        if let Some(alert) = alert.filter(|alert| refuses(*alert)) {
            return Self::Refused { detail: format!("its answer to this device's certificate is {alert:?}") };
        }
        let detail = detail(status);
        match status.code() {
            Code::Unauthenticated | Code::PermissionDenied => Self::Refused { detail },
            Code::Unavailable
            | Code::DeadlineExceeded
            | Code::Aborted
            | Code::Cancelled
            | Code::ResourceExhausted
            | Code::Unknown => Self::Unreachable { detail },
            code => Self::Failed { code, detail },
        }
    }
}

/// Alerts by which a TLS server turns down a client's certificate (RFC 8446, section 6.2).
fn refuses(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
            | AlertDescription::CertificateRequired
    )
}

/// The message with all of its causes: the outermost alone is often no more than "transport error".
fn detail(status: &Status) -> String {
    let mut text = status.message().to_owned();
    let mut source = status.source();
    while let Some(error) = source {
        let cause = error.to_string();
        if !text.contains(&cause) {
            text = if text.is_empty() { cause } else { format!("{text}: {cause}") };
        }
        source = error.source();
    }
    text
}
