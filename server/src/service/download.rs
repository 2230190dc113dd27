//! Frames in chunks, read as they are taken.

use std::{pin::Pin, sync::Arc};

use futures_util::{Stream, stream};
use nibble_proto::{CHUNK_BYTES, v1};
use nibble_seed::ClientId;
use prost::Message;
use tonic::Status;

use crate::{coordinator::Ledger, models::Frames, store::Bytes};

/// Chunks of frames.
pub(super) type Chunks = Pin<Box<dyn Stream<Item = Result<v1::DownloadModelResponse, Status>> + Send>>;

/// The chunks of `frames` from `offset` on. A chunk is counted when it is handed over to be sent.
pub(super) fn chunks(frames: Frames, offset: u64, client: ClientId, ledger: Arc<Ledger>) -> Chunks {
    let chunks = stream::try_unfold((frames, offset), move |(frames, offset)| {
        let ledger = Arc::clone(&ledger);
        async move {
            let data = frames
                .read(offset, CHUNK_BYTES)
                .map_err(|error| Status::internal(format!("the model cannot be read: {error}")))?;
            if data.is_empty() {
                return Ok(None);
            }
            let (len, crc32c) = (data.len() as u64, crc32c::crc32c(&data));
            let message = v1::DownloadModelResponse { chunk: Some(v1::Chunk { offset, data, crc32c }) };
            let message_down = message.encoded_len() as u64;
            ledger.add(Some(client), Bytes { payload_down: len, message_down, ..Bytes::default() });
            Ok(Some((message, (frames, offset + len))))
        }
    });
    Box::pin(chunks)
}
