//! What ends an agent.

use crate::{ClientError, identity::IdentityError, link::CallError, state::StateError};

/// Errors of a running client.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AgentError {
    /// A call failed. Only a refusal ends an agent; everything else is tried again.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The state on disk cannot be kept, so nothing can be promised any more.
    #[error(transparent)]
    State(#[from] StateError),
    /// The identity cannot be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The pending update does not fit what was kept with it.
    #[error("the pending update cannot be settled: {0}")]
    Settling(ClientError),
}

impl AgentError {
    /// Whether the coordinator does not accept this device: revoked, expired, unknown.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::Call(CallError::Refused { .. }) | Self::Identity(IdentityError::Call(CallError::Refused { .. }))
        )
    }

    /// Whether it may be gone at the next try.
    pub(super) fn is_passing(&self) -> bool {
        matches!(self, Self::Call(_)) && !self.is_refusal()
    }
}
