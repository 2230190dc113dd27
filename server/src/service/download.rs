//! A model's frame in chunks, read as they are taken.

use std::{pin::Pin, sync::Arc};

use futures_util::{Stream, stream};
use nibble_proto::{CHUNK_BYTES, v1};
use nibble_seed::ClientId;
use prost::Message;
use tonic::Status;

use crate::{coordinator::Ledger, models::ModelFrame, store::Bytes};

/// Chunks of a frame.
pub(super) type Frames = Pin<Box<dyn Stream<Item = Result<v1::DownloadModelResponse, Status>> + Send>>;

/// The chunks of `frame` from `offset` on. A chunk is counted when it is handed over to be sent.
pub(super) fn frames(frame: ModelFrame, offset: u64, client: ClientId, ledger: Arc<Ledger>) -> Frames {
    let chunks = stream::try_unfold((frame, offset), move |(frame, offset)| {
        let ledger = Arc::clone(&ledger);
        async move {
            let data = frame
                .read(offset, CHUNK_BYTES)
                .map_err(|error| Status::internal(format!("the model cannot be read: {error}")))?;
            if data.is_empty() {
                return Ok(None);
            }
            let (len, crc32c) = (data.len() as u64, crc32c::crc32c(&data));
            let message = v1::DownloadModelResponse { chunk: Some(v1::Chunk { offset, data, crc32c }) };
            let message_down = message.encoded_len() as u64;
            ledger.add(Some(client), Bytes { payload_down: len, message_down, ..Bytes::default() });
            Ok(Some((message, (frame, offset + len))))
        }
    });
    Box::pin(chunks)
}
