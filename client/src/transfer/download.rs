//! Frames on their way down.

use nibble_proto::v1::DownloadModelRequest;

use super::{TransferError, chunk::append};
use crate::link::{CallError, Link};

/// Frames that lead to a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// SHA-256 of the model's parameters.
    pub(crate) model: [u8; 32],
    /// The model that delta frames start from; without one, it is the model's own frame.
    pub(crate) base: Option<[u8; 32]>,
    /// Bytes of each frame. Their sum was found to be reasonable.
    pub(crate) frame_bytes: Vec<usize>,
}

impl Wanted {
    /// The model's own frame.
    pub(crate) fn keyframe(model: [u8; 32], frame_bytes: usize) -> Self {
        Self { model, base: None, frame_bytes: vec![frame_bytes] }
    }
}

/// Frames, as far as they have come.
pub(crate) struct Download {
    wanted: Wanted,
    frames: Vec<u8>,
    total: usize,
}

impl Download {
    /// Nothing yet.
    pub(crate) fn new(wanted: Wanted) -> Self {
        let total = wanted.frame_bytes.iter().sum();
        Self { wanted, frames: Vec::with_capacity(total), total }
    }

    /// Whether these are those frames.
    pub(crate) fn is_of(&self, wanted: &Wanted) -> bool {
        self.wanted == *wanted
    }

    /// Bytes that have come.
    pub(crate) fn len(&self) -> usize {
        self.frames.len()
    }

    /// Fetches what is missing. What had come before an error is kept.
    pub(crate) async fn resume(&mut self, link: &Link) -> Result<(), CallError> {
        if self.frames.len() == self.total {
            return Ok(());
        }
        let request = link.request(DownloadModelRequest {
            sha256: self.wanted.model.to_vec().into(),
            offset: self.frames.len() as u64,
            base_sha256: self.wanted.base.map(|base| base.to_vec().into()).unwrap_or_default(),
        });
        let mut coordinator = link.coordinator();
        let mut parts = link.unless_stalled(coordinator.download_model(request)).await?.into_inner();
        while let Some(part) = link.unless_stalled(parts.message()).await? {
            let chunk = part.chunk.ok_or(TransferError::Missing)?;
            append(&chunk, &mut self.frames, self.total)?;
        }
        match self.frames.len() {
            found if found == self.total => Ok(()),
            found => Err(TransferError::Short { expected: self.total as u64, found: found as u64 }.into()),
        }
    }

    /// All of them.
    pub(crate) fn into_frames(self) -> Vec<u8> {
        self.frames
    }
}
