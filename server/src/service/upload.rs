//! An update, from its header to its receipt.

use nibble_codec::Frame;
use nibble_proto::{
    CHUNK_BYTES,
    v1::{self, upload_update_request::Part, upload_update_response::Result as Answer},
};
use prost::Message;
use tonic::{Status, Streaming};
use tracing::debug;

use super::{Services, convert};
use crate::{
    coordinator::{Admission, Command, Sent},
    identity,
    peer::Identity,
    round::Outcome,
    spool::{Place, SpoolError, Upload},
    store::{Bytes, Metrics},
};

impl Services {
    /// Takes an update. It answers once the update is durable and reported, or was decided on before.
    pub(super) async fn receive(
        &self,
        identity: Identity,
        mut parts: Streaming<v1::UploadUpdateRequest>,
    ) -> Result<v1::UploadUpdateResponse, Status> {
        let client = identity.client;
        let first = parts.message().await?.ok_or_else(|| Status::invalid_argument("an upload begins with a header"))?;
        self.count(client, first.encoded_len(), 0);
        let Some(Part::Header(header)) = first.part else {
            return Err(Status::invalid_argument("an upload begins with a header"));
        };
        let offset = header.offset;
        let sent = self.check_header(&identity, header)?;
        let update = sent.update();
        let answer = match self.coordinator.ask(|reply| Command::Admit { client, update, reply }).await? {
            Admission::Decided(outcome) => receipt(&sent, &outcome),
            Admission::Stored => stored(),
            Admission::Send { scheme, rounding } => {
                let upload = self.spool.resume(sent.place).map_err(status)?;
                if upload.received() != offset {
                    let at = upload.received();
                    return Err(Status::failed_precondition(format!("offset: {offset}, but byte {at} is next")));
                }
                let upload = self.take_chunks(client, upload, &mut parts).await?;
                return self.finish(sent, (scheme, rounding), upload).await;
            }
        };
        Ok(answer)
    }

    /// Checks everything about an update that can be known before its payload.
    fn check_header(&self, identity: &Identity, header: v1::UpdateHeader) -> Result<Sent, Status> {
        let update = convert::update_ref(header.update)?;
        let most = self.plan.max_payload_bytes;
        if header.payload_bytes == 0 || header.payload_bytes > most {
            let found = header.payload_bytes;
            return Err(Status::invalid_argument(format!(
                "payload_bytes: {found}, but a payload has 1 to {most} bytes"
            )));
        }
        if header.samples > u64::from(u32::MAX) {
            let found = header.samples;
            return Err(Status::invalid_argument(format!("samples: {found} is above 2^32 - 1")));
        }
        if let Some(certificate) = &identity.certificate {
            let (run, round, digest) = (&update.run, update.round, &update.digest);
            identity::verify(&certificate.public_key, run, round, digest, &header.signature)
                .map_err(|error| Status::permission_denied(format!("signature: {error}")))?;
        }
        let metrics = Metrics {
            train_loss: convert::metric("train_loss", header.train_loss)?,
            start_loss: header.start_loss.map(|loss| convert::metric("start_loss", loss)).transpose()?,
            nmse: convert::metric("nmse", header.nmse)?,
        };
        let place =
            Place { round: update.round, client: identity.client, digest: update.digest, bytes: header.payload_bytes };
        Ok(Sent { place, run: update.run, samples: header.samples, metrics })
    }

    async fn take_chunks(
        &self,
        client: nibble_seed::ClientId,
        mut upload: Upload,
        parts: &mut Streaming<v1::UploadUpdateRequest>,
    ) -> Result<Upload, Status> {
        while let Some(message) = parts.message().await? {
            let message_up = message.encoded_len() as u64;
            let Some(Part::Chunk(v1::Chunk { offset, data, crc32c })) = message.part else {
                return Err(Status::invalid_argument("after the header of an upload only chunks follow"));
            };
            if data.is_empty() || data.len() > CHUNK_BYTES {
                let found = data.len();
                return Err(Status::invalid_argument(format!("chunk: {found} bytes, but it has 1 to {CHUNK_BYTES}")));
            }
            if crc32c::crc32c(&data) != crc32c {
                return Err(Status::data_loss(format!(
                    "chunk at byte {offset}: its checksum does not fit; send it again"
                )));
            }
            upload.write(offset, &data).map_err(status)?;
            let payload_up = data.len() as u64;
            self.ledger.add(Some(client), Bytes { payload_up, message_up, ..Bytes::default() });
        }
        Ok(upload)
    }

    /// Checks the payload, makes it durable, and tells the coordinator.
    async fn finish(
        &self,
        sent: Sent,
        (scheme, rounding): (nibble_codec::Scheme, nibble_seed::Seed),
        upload: Upload,
    ) -> Result<v1::UploadUpdateResponse, Status> {
        if upload.received() < sent.place.bytes {
            let (found, expected) = (upload.received(), sent.place.bytes);
            let problem = format!("{found} of {expected} bytes came; go on from byte {found}");
            return Err(Status::failed_precondition(problem));
        }
        let round = sent.place.round;
        let expected = move |frame: &Frame<'_>| {
            let header = frame.header();
            let differs = |what: &str, found: String, expected: String| {
                Err(format!("the payload's {what} is {found}, but {expected} was asked for"))
            };
            if header.round != round {
                return differs("round", header.round.to_string(), round.to_string());
            }
            if header.seed != rounding {
                return differs("seed", format!("{:#x}", header.seed.0), format!("{:#x}", rounding.0));
            }
            if header.coding != scheme.coding {
                return differs("coding", header.coding.to_string(), scheme.coding.to_string());
            }
            Ok(())
        };
        let plan = self.plan.clone();
        let client = sent.client();
        let finished = self.disk.run(move || upload.finish(&plan.layout, expected)).await?;
        let problem = match finished {
            Ok(()) => None,
            Err(error @ (SpoolError::Payload(_) | SpoolError::Unexpected(_))) => Some(error.to_string()),
            Err(error) => return Err(status(error)),
        };
        debug!(%round, %client, bytes = sent.place.bytes, problem, "an upload is whole");
        let told = sent.clone();
        let outcome = match problem {
            None => self.coordinator.ask(|reply| Command::Arrived { sent: told, reply }).await?,
            Some(problem) => self.coordinator.ask(|reply| Command::Refused { sent: told, problem, reply }).await?,
        };
        Ok(outcome.map_or_else(stored, |outcome| receipt(&sent, &outcome)))
    }
}

fn stored() -> v1::UploadUpdateResponse {
    v1::UploadUpdateResponse { result: Some(Answer::Stored(v1::Stored {})) }
}

fn receipt(sent: &Sent, outcome: &Outcome) -> v1::UploadUpdateResponse {
    v1::UploadUpdateResponse { result: Some(Answer::Receipt(convert::receipt(&sent.update(), outcome))) }
}

/// The one mapping of the spool's errors.
#[expect(clippy::needless_pass_by_value, reason = "it is what map_err gives")]
fn status(error: SpoolError) -> Status {
    let text = error.to_string();
    match error {
        SpoolError::Io { .. } => {
            tracing::error!(%error, "an upload cannot be kept");
            Status::unavailable("the coordinator cannot keep uploads now; try again later")
        }
        SpoolError::TakenOver | SpoolError::Over => Status::aborted(text),
        SpoolError::Offset { .. } => Status::failed_precondition(text),
        SpoolError::TooLong { .. } => Status::invalid_argument(text),
        SpoolError::Digest => Status::data_loss(text),
        SpoolError::Unexpected(_) | SpoolError::Payload(_) => Status::invalid_argument(text),
    }
}
