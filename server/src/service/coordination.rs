//! `CoordinatorService`: who calls, what they say, and what it costs in bytes.

use std::time::Duration;

use nibble_proto::v1::{self, coordinator_service_server::CoordinatorService};
use nibble_seed::{ClientId, RoundId};
use prost::Message;
use tonic::{Request, Response, Status, Streaming};

use super::{
    Services, convert,
    download::{Chunks, chunks},
    identity,
};
use crate::{
    coordinator::{Asks, Command, Stopped},
    spool::Place,
    store::{Allowance, Bytes},
};

/// Longest time that a call is held, whatever the client asks for: shorter than what networks forget idle connections
/// after.
const LONGEST_HOLD: Duration = Duration::from_secs(50);
/// Bytes of a reason that are kept.
const REASON_BYTES: usize = 200;

impl From<Stopped> for Status {
    fn from(stopped: Stopped) -> Self {
        Self::unavailable(stopped.to_string())
    }
}

#[tonic::async_trait]
impl CoordinatorService for Services {
    async fn check_in(&self, request: Request<v1::CheckInRequest>) -> Result<Response<v1::CheckInResponse>, Status> {
        let identity = identity(&request)?;
        let (client, budget) = (identity.client, self.budgets.of(&identity.name));
        let message = request.into_inner();
        let message_up = message.encoded_len();
        let hold = Duration::from_millis(message.hold_ms.into()).min(LONGEST_HOLD);
        let pending = message.pending.clone().map(|update| convert::update_ref(Some(update))).transpose()?;
        let held = Some(&message.held_sha256).filter(|name| !name.is_empty());
        let held = held.map(|name| convert::sha256("held_sha256", name)).transpose()?;
        let v1::Allowance { up, down, up_in_run, down_in_run, renews_in_s } = message.allowance.unwrap_or_default();
        let renews_in = renews_in_s.map(|seconds| Duration::from_secs(seconds.into()));
        let allowance = Allowance { up, down, up_in_run, down_in_run, renews_in };
        let asks = Asks { pending, held, allowance, budget, hold };
        let asked = self.coordinator.ask(|reply| Command::CheckIn { client, asks, reply });
        let answer = convert::answer(asked.await?, &budget);
        self.count(client, message_up, answer.encoded_len());
        Ok(Response::new(answer))
    }

    type DownloadModelStream = Chunks;

    async fn download_model(&self, request: Request<v1::DownloadModelRequest>) -> Result<Response<Chunks>, Status> {
        let client = identity(&request)?.client;
        let message = request.into_inner();
        self.count(client, message.encoded_len(), 0);
        let name = convert::sha256("sha256", &message.sha256)?;
        let frames = match message.base_sha256.is_empty() {
            true => self.models.frame(&name),
            false => self.models.deltas(&convert::sha256("base_sha256", &message.base_sha256)?, &name),
        };
        let frames = frames.ok_or_else(|| {
            Status::not_found("no such model or way to it, or no longer: check in again to learn which one is current")
        })?;
        if message.offset > frames.len_bytes() {
            let (found, len) = (message.offset, frames.len_bytes());
            return Err(Status::out_of_range(format!("offset: {found}, but the frames end at byte {len}")));
        }
        Ok(Response::new(chunks(frames, message.offset, client, self.ledger.clone())))
    }

    async fn get_upload(
        &self,
        request: Request<v1::GetUploadRequest>,
    ) -> Result<Response<v1::GetUploadResponse>, Status> {
        let client = identity(&request)?.client;
        let message = request.into_inner();
        let up = message.encoded_len();
        let update = convert::update_ref(message.update)?;
        let bytes = self.plan.max_payload_bytes;
        let known = update.run == self.plan.name;
        let place = Place { round: update.round, client, digest: update.digest, bytes };
        let answer = v1::GetUploadResponse { offset: if known { self.spool.received(&place) } else { 0 } };
        self.count(client, up, answer.encoded_len());
        Ok(Response::new(answer))
    }

    async fn upload_update(
        &self,
        request: Request<Streaming<v1::UploadUpdateRequest>>,
    ) -> Result<Response<v1::UploadUpdateResponse>, Status> {
        let identity = identity(&request)?;
        let client = identity.client;
        let answer = self.receive(identity, request.into_inner()).await?;
        self.count(client, 0, answer.encoded_len());
        Ok(Response::new(answer))
    }

    async fn decline(&self, request: Request<v1::DeclineRequest>) -> Result<Response<v1::DeclineResponse>, Status> {
        let client = identity(&request)?.client;
        let message = request.into_inner();
        let up = message.encoded_len();
        let (run, round) = (convert::run_name(message.run)?, RoundId(message.round));
        let mut reason = message.reason;
        reason.truncate(reason.floor_char_boundary(REASON_BYTES));
        self.coordinator.ask(|reply| Command::Declined { client, run, round, reason, reply }).await?;
        self.count(client, up, 0);
        Ok(Response::new(v1::DeclineResponse {}))
    }
}

impl Services {
    /// Counts the bytes of messages.
    pub(super) fn count(&self, client: ClientId, up: usize, down: usize) {
        let bytes = Bytes { message_up: up as u64, message_down: down as u64, ..Bytes::default() };
        self.ledger.add(Some(client), bytes);
    }
}
