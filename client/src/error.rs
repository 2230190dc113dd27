//! Why a client could not take part in a round.

use nibble_codec::{DecodeError, EncodeError, LayoutError};
use nibble_learning::LearningError;

/// Errors of a client's round.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The model's tensors make no layout.
    #[error("the model's tensors cannot be laid out: {0}")]
    Layout(#[from] LayoutError),
    /// Local training failed.
    #[error("local training failed: {0}")]
    Training(#[from] LearningError),
    /// The update could not be encoded.
    #[error("the update could not be encoded: {0}")]
    Encoding(#[from] EncodeError),
    /// The client's own payload, or its residual, does not fit the layout.
    #[error("the update does not fit the model: {0}")]
    Settling(#[from] DecodeError),
}
