//! What ends a command early, and with which exit code.

use std::{io, path::PathBuf};

use nibble_client::{
    agent::AgentError,
    config::ConfigError,
    data::LocalDataError,
    identity::{IdentityError, TokenError},
    link::{AddressError, CallError},
    state::StateError,
};

/// Errors of commands.
#[derive(Debug, thiserror::Error)]
pub(super) enum CliError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Data(#[from] LocalDataError),
    #[error("--server: {0}")]
    Address(#[from] AddressError),
    #[error("--token: {0}")]
    Token(#[from] TokenError),
    #[error("{problem}\n  help: {mend}")]
    Usage { problem: String, mend: String },
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    Agent(#[from] AgentError),
    #[error("cannot {action} {}: {error}", path.display())]
    Io { action: &'static str, path: PathBuf, error: io::Error },
}

impl CliError {
    /// Ties an I/O error to what was tried.
    pub(super) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |error| Self::Io { action, path, error }
    }

    /// 3 for a refusal, 2 for what the user can mend in the command or the configuration, 1 for the rest.
    pub(super) fn exit_code(&self) -> u8 {
        match self {
            Self::Identity(IdentityError::Call(CallError::Refused { .. })) => 3,
            Self::Agent(error) if error.is_refusal() => 3,
            Self::Config(_) | Self::Data(_) | Self::Address(_) | Self::Token(_) | Self::Usage { .. } => 2,
            Self::Identity(IdentityError::NotEnrolled { .. } | IdentityError::Enrolled { .. }) => 2,
            _ => 1,
        }
    }
}
