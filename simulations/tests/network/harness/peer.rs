//! A client that the test plays, on the generated stubs: it says what the test wants, when it wants, over any connection.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{Stream, stream};
use nibble_codec::{Encoder, Layout, Payload, PayloadId};
use nibble_proto::{
    CHUNK_BYTES, INSECURE_CLIENT_KEY,
    v1::{
        Allowance, Assignment, CheckInRequest, Chunk, DeclineRequest, DownloadModelRequest, GetUploadRequest, Receipt,
        UpdateHeader, UpdateRef, UploadUpdateRequest, check_in_response::Instruction,
        coordinator_service_client::CoordinatorServiceClient, upload_update_request::Part, upload_update_response,
    },
};
use nibble_seed::{RoundId, Seed};
use sha2::{Digest, Sha256};
use tonic::{
    Request, Status,
    transport::{Channel, Endpoint},
};

use super::PATIENCE;

/// The time between two attempts at a coordinator that may be down.
const PAUSE: Duration = Duration::from_millis(20);
/// How long a check-in is held.
const HOLD: Duration = Duration::from_secs(5);

/// One client, on one connection.
#[derive(Clone)]
pub(crate) struct Peer {
    pub(crate) client: u64,
    /// Name of the model that it says it has.
    pub(crate) held: Bytes,
    /// What it says it may spend.
    pub(crate) allowance: Option<Allowance>,
    channel: Channel,
}

/// An update that a peer may send.
#[derive(Clone, Debug)]
pub(crate) struct Update {
    pub(crate) name: UpdateRef,
    pub(crate) samples: u64,
    pub(crate) payload: Bytes,
}

/// A runtime for peers.
pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("threads to run on")
}

/// A connection, made when it is first used and again when it breaks.
pub(crate) fn connection(address: &str) -> Channel {
    Endpoint::from_shared(format!("http://{address}")).expect("an address").connect_lazy()
}

/// The layout that an assignment names.
pub(crate) fn layout_of(assignment: &Assignment) -> Layout {
    let shape = |shape: &[u64]| shape.iter().map(|&dim| dim as usize).collect::<Vec<_>>();
    let tensors = assignment.layout.iter().map(|tensor| (tensor.name.clone(), shape(&tensor.shape)));
    Layout::new(tensors).expect("a good layout")
}

impl Update {
    /// `vector` under the scheme of the assignment.
    pub(crate) fn encode(assignment: &Assignment, vector: &[f32], samples: u64) -> Self {
        let mut payload = Vec::new();
        let id = PayloadId { round: RoundId(assignment.round), seed: Seed(assignment.rounding_seed) };
        let mut encoder = Encoder::new(assignment.scheme.parse().expect("a scheme"));
        encoder.encode(&layout_of(assignment), vector, id, &mut payload).expect("it can be encoded");
        Self::of(assignment, payload, samples)
    }

    /// Any bytes.
    pub(crate) fn of(assignment: &Assignment, payload: Vec<u8>, samples: u64) -> Self {
        let payload_sha256 = Sha256::digest(&payload).to_vec().into();
        let name = UpdateRef { run: assignment.run.clone(), round: assignment.round, payload_sha256 };
        Self { name, samples, payload: payload.into() }
    }

    pub(crate) fn header(&self, offset: u64) -> UploadUpdateRequest {
        let (update, payload_bytes) = (Some(self.name.clone()), self.payload.len() as u64);
        let header = UpdateHeader { update, samples: self.samples, payload_bytes, offset, ..UpdateHeader::default() };
        UploadUpdateRequest { part: Some(Part::Header(header)) }
    }

    pub(crate) fn chunk(&self, start: usize, end: usize) -> UploadUpdateRequest {
        let data = self.payload.slice(start..end);
        let chunk = Chunk { offset: start as u64, crc32c: crc32c::crc32c(&data), data };
        UploadUpdateRequest { part: Some(Part::Chunk(chunk)) }
    }

    /// The header and the chunks from `offset` on.
    pub(crate) fn parts(&self, offset: u64) -> impl Stream<Item = UploadUpdateRequest> + use<> {
        let bytes = self.payload.len();
        let chunks = (offset as usize..bytes).step_by(CHUNK_BYTES);
        let chunks = chunks.map(|start| self.chunk(start, bytes.min(start + CHUNK_BYTES)));
        stream::iter(std::iter::once(self.header(offset)).chain(chunks).collect::<Vec<_>>())
    }
}

impl Peer {
    /// A client with a connection of its own.
    pub(crate) fn new(address: &str, client: u64) -> Self {
        Self::on(connection(address), client)
    }

    /// A client on a connection that others may share.
    pub(crate) fn on(channel: Channel, client: u64) -> Self {
        Self { client, held: Bytes::new(), allowance: None, channel }
    }

    fn stub(&self) -> CoordinatorServiceClient<Channel> {
        CoordinatorServiceClient::new(self.channel.clone())
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert(INSECURE_CLIENT_KEY, self.client.into());
        request
    }

    pub(crate) async fn check_in(&self, pending: Option<&UpdateRef>, hold: Duration) -> Result<Instruction, Status> {
        let (pending, hold_ms) = (pending.cloned(), hold.as_millis() as u32);
        let request = CheckInRequest { pending, hold_ms, held_sha256: self.held.clone(), allowance: self.allowance };
        let answer = self.stub().check_in(self.request(request)).await?.into_inner();
        Ok(answer.instruction.expect("an answer holds an instruction"))
    }

    /// Bytes of the update that the coordinator has.
    pub(crate) async fn offset(&self, update: &Update) -> Result<u64, Status> {
        let request = GetUploadRequest { update: Some(update.name.clone()) };
        Ok(self.stub().get_upload(self.request(request)).await?.into_inner().offset)
    }

    /// Sends these parts of an upload.
    pub(crate) async fn upload(
        &self,
        parts: impl Stream<Item = UploadUpdateRequest> + Send + 'static,
    ) -> Result<upload_update_response::Result, Status> {
        let answer = self.stub().upload_update(self.request(parts)).await?.into_inner();
        Ok(answer.result.expect("an answer holds a result"))
    }

    /// Sends what the coordinator does not have of an update.
    pub(crate) async fn send(&self, update: &Update) -> Result<upload_update_response::Result, Status> {
        let offset = self.offset(update).await?;
        self.upload(update.parts(offset)).await
    }

    pub(crate) async fn decline(&self, assignment: &Assignment, reason: &str) -> Result<(), Status> {
        let (run, round, reason) = (assignment.run.clone(), assignment.round, reason.to_owned());
        self.stub().decline(self.request(DeclineRequest { run, round, reason })).await.map(drop)
    }

    /// The frame of a global model, or, from a `base` on, the delta frames that lead to it.
    pub(crate) async fn frames(&self, sha256: &[u8], base: &[u8]) -> Result<Vec<u8>, Status> {
        let [sha256, base_sha256] = [sha256, base].map(|name| name.to_vec().into());
        let request = self.request(DownloadModelRequest { sha256, offset: 0, base_sha256 });
        let mut parts = self.stub().download_model(request).await?.into_inner();
        let mut frames = Vec::new();
        while let Some(part) = parts.message().await? {
            frames.extend_from_slice(&part.chunk.expect("a part holds a chunk").data);
        }
        Ok(frames)
    }

    /// The parameters of a global model.
    pub(crate) async fn model(&self, sha256: &[u8], layout: &Layout) -> Result<Vec<f32>, Status> {
        let frame = self.frames(sha256, &[]).await?;
        let mut parameters = vec![0.0; layout.coordinates()];
        let payload = Payload::parse(&frame, layout).expect("a good frame");
        payload.decode(&mut parameters).expect("a good frame");
        Ok(parameters)
    }

    /// The next instruction other than to wait, however often the coordinator goes down before it gives one.
    pub(crate) async fn instruction(&self, pending: Option<&UpdateRef>) -> Instruction {
        let until = Instant::now() + PATIENCE;
        loop {
            let answer = self.check_in(pending, HOLD).await;
            match answer {
                Ok(Instruction::Wait(wait)) => {
                    let pause = Duration::from_millis(wait.retry_after_ms.into());
                    tokio::time::sleep(pause.min(HOLD)).await;
                }
                Ok(instruction) => return instruction,
                Err(_) if Instant::now() < until => tokio::time::sleep(PAUSE).await,
                Err(status) => panic!("client {} cannot check in: {status}", self.client),
            }
            assert!(Instant::now() < until, "client {} is told nothing but to wait, or nothing at all", self.client);
        }
    }

    /// The next assignment.
    pub(crate) async fn assigned(&self) -> Assignment {
        match self.instruction(None).await {
            Instruction::Assignment(assignment) => assignment,
            other => panic!("client {} is assigned nothing, but {other:?}", self.client),
        }
    }

    /// What became of an update that was sent.
    pub(crate) async fn receipt(&self, update: &Update) -> Receipt {
        match self.instruction(Some(&update.name)).await {
            Instruction::Receipt(receipt) => {
                assert_eq!(receipt.update.as_ref(), Some(&update.name), "a receipt for another update");
                receipt
            }
            other => panic!("client {} gets no receipt, but {other:?}", self.client),
        }
    }
}
