//! A model's frame on its way down.

use nibble_proto::v1::DownloadModelRequest;

use super::{TransferError, chunk::append};
use crate::link::{CallError, Link};

/// The frame of one model, as far as it has come.
pub(crate) struct Download {
    sha256: [u8; 32],
    frame: Vec<u8>,
    frame_bytes: usize,
}

impl Download {
    /// Nothing yet of the frame of the model of that name. The caller knows that a frame is to have `frame_bytes`.
    pub(crate) fn new(sha256: [u8; 32], frame_bytes: usize) -> Self {
        Self { sha256, frame: Vec::with_capacity(frame_bytes), frame_bytes }
    }

    /// Whether this is the frame of that model.
    pub(crate) fn is_of(&self, sha256: &[u8; 32]) -> bool {
        self.sha256 == *sha256
    }

    /// Bytes that have come.
    pub(crate) fn len(&self) -> usize {
        self.frame.len()
    }

    /// Fetches what is missing. What had come before an error is kept.
    pub(crate) async fn resume(&mut self, link: &Link) -> Result<(), CallError> {
        if self.frame.len() == self.frame_bytes {
            return Ok(());
        }
        let offset = self.frame.len() as u64;
        let request = link.request(DownloadModelRequest { sha256: self.sha256.to_vec().into(), offset });
        let mut coordinator = link.coordinator();
        let mut parts = link.unless_stalled(coordinator.download_model(request)).await?.into_inner();
        while let Some(part) = link.unless_stalled(parts.message()).await? {
            let chunk = part.chunk.ok_or(TransferError::Missing)?;
            append(&chunk, &mut self.frame, self.frame_bytes)?;
        }
        match self.frame.len() {
            found if found == self.frame_bytes => Ok(()),
            found => Err(TransferError::Short { expected: self.frame_bytes as u64, found: found as u64 }.into()),
        }
    }

    /// The whole frame.
    pub(crate) fn into_frame(self) -> Vec<u8> {
        self.frame
    }
}
