//! An update on its way up.

use bytes::Bytes;
use nibble_proto::{
    CHUNK_BYTES,
    v1::{UpdateHeader, UpdateRef, UploadUpdateRequest, upload_update_request::Part, upload_update_response},
};
use tonic::Code;

use super::{TransferError, chunk::cut};
use crate::link::{CallError, Link};

/// An update that is to be sent, and how far it has come.
pub(crate) struct Upload {
    /// What is said of it; `offset` is set for each attempt.
    pub(crate) header: UpdateHeader,
    /// What is sent.
    pub(crate) payload: Bytes,
    /// Whether a part of it may have been sent before: the coordinator is then asked how much it has.
    pub(crate) begun: bool,
}

impl Upload {
    /// Bytes that the coordinator had at the last attempt.
    pub(crate) fn offset(&self) -> u64 {
        self.header.offset
    }

    /// Sends what the coordinator does not have.
    pub(crate) async fn resume(&mut self, link: &Link) -> Result<upload_update_response::Result, CallError> {
        match self.attempt(link).await {
            // Another attempt of ours, which we had given up, got further in the meantime.
            Err(CallError::Failed { code: Code::FailedPrecondition, .. }) => self.attempt(link).await,
            result => result,
        }
    }

    async fn attempt(&mut self, link: &Link) -> Result<upload_update_response::Result, CallError> {
        let update = self.header.update.clone().unwrap_or_default();
        if self.begun {
            self.header.offset = self.ask(link, update).await?;
        }
        self.begun = true;
        let header = UploadUpdateRequest { part: Some(Part::Header(self.header.clone())) };
        let request = link.request(tokio_stream::iter(parts(header, self.payload.clone(), self.header.offset)));
        let mut coordinator = link.coordinator();
        let response = link.unless_stalled(coordinator.upload_update(request)).await?.into_inner();
        response.result.ok_or(CallError::Protocol("an answer to an upload holds no result"))
    }

    async fn ask(&self, link: &Link, update: UpdateRef) -> Result<u64, CallError> {
        let (found, expected) = (link.upload_offset(update).await?, self.payload.len() as u64);
        if found > expected {
            return Err(TransferError::Beyond { expected, found }.into());
        }
        Ok(found)
    }
}

/// The header, then chunks; each is cut when the connection has room for it.
fn parts(header: UploadUpdateRequest, payload: Bytes, offset: u64) -> impl Iterator<Item = UploadUpdateRequest> {
    let chunks = (offset as usize..payload.len()).step_by(CHUNK_BYTES);
    let chunk = move |offset| UploadUpdateRequest { part: Some(Part::Chunk(cut(&payload, offset))) };
    std::iter::once(header).chain(chunks.map(chunk))
}
