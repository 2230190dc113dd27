//! A coordinator of one client that follows a script and remembers what it was told.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
};

use futures_util::{Stream, StreamExt};
use nibble_codec::{Coding, Encoder, Layout, Payload, PayloadId, Scheme};
use nibble_learning::TensorSpec;
use nibble_proto::{
    CHUNK_BYTES, INSECURE_CLIENT_KEY,
    v1::{
        self, check_in_response::Instruction, coordinator_service_server::CoordinatorService,
        coordinator_service_server::CoordinatorServiceServer, upload_update_request::Part,
    },
};
use nibble_seed::{Purpose, RoundId, Seed};
use sha2::{Digest, Sha256};
use tokio::{
    io::DuplexStream,
    net::TcpListener,
    sync::{Notify, mpsc},
};
use tokio_stream::wrappers::{TcpListenerStream, UnboundedReceiverStream};
use tonic::{Request, Response, Status, Streaming, transport::Server};

use super::{CLIENT, Toy, authority, trainer};

/// What the coordinator is to do.
#[derive(Clone)]
pub struct Script {
    pub run: String,
    pub scheme: String,
    pub architecture: String,
    pub tensors: Vec<TensorSpec>,
    /// What becomes of the update of each round.
    pub outcomes: Vec<v1::Outcome>,
    /// Rounds that start from the model of the round before them.
    pub same_model: Vec<u64>,
    /// Changes each assignment before it is sent.
    pub tamper: fn(&mut v1::Assignment),
    /// Changes each receipt before it is sent.
    pub forge: fn(&mut v1::Receipt),
    /// Serves another model than the one announced.
    pub swap_model: bool,
    /// Whether models go out as delta frames, too, and what is wrong with those.
    pub deltas: Deltas,
    /// Tells the outcome in the answer to the upload.
    pub receipt_on_upload: bool,
    /// Answers every check-in with this.
    pub refusal: Option<tonic::Code>,
    /// Holds the last check-in for ever instead of ending the run.
    pub hold: bool,
    /// How clients are told apart.
    pub insecure: bool,
}

/// Delta frames that a coordinator has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deltas {
    /// None.
    Never,
    /// Good ones.
    Good,
    /// Good ones, and the first model has to be fetched.
    Fetched,
    /// Good ones, but those of another round than was asked for.
    Others,
    /// Some that cannot be decoded.
    Torn,
    /// Some that are announced and then not there.
    Gone,
}

impl Script {
    pub fn new(scheme: &str, outcomes: &[v1::Outcome]) -> Self {
        Self {
            run: "levels".into(),
            scheme: scheme.into(),
            architecture: "toy".into(),
            tensors: trainer::tensors(),
            outcomes: outcomes.to_vec(),
            same_model: Vec::new(),
            tamper: |_| (),
            forge: |_| (),
            swap_model: false,
            deltas: Deltas::Never,
            receipt_on_upload: false,
            refusal: None,
            hold: false,
            insecure: true,
        }
    }

    pub fn layout(&self) -> Layout {
        trainer::layout_of(&self.tensors)
    }

    pub fn scheme(&self) -> Scheme {
        self.scheme.parse().unwrap()
    }

    /// The delta frame that leads to the model of a round from that of the round before it.
    fn delta(&self, round: u64) -> Vec<u8> {
        let seed = Seed(42).derive(Purpose::Broadcast, round, 0);
        let change: Vec<f32> = (0..self.layout().coordinates() as u64).map(|i| seed.unit_at(i) - 0.3).collect();
        let mut frame = Vec::new();
        let mut encoder = Encoder::new("int2".parse().unwrap());
        encoder.encode(&self.layout(), &change, PayloadId { round: RoundId(round), seed }, &mut frame).unwrap();
        frame
    }

    /// The global model of a round.
    pub fn model(&self, round: u64) -> Vec<f32> {
        if self.deltas != Deltas::Never {
            let mut model = Toy::boxed().init(Seed(42));
            let follow =
                |round| Payload::parse(&self.delta(round), &self.layout()).unwrap().add_to(&mut model).unwrap();
            (1..=round).for_each(follow);
            return model;
        }
        let round = if self.same_model.contains(&round) { round - 1 } else { round };
        let seed = Seed(42).derive(Purpose::Init, round, 0);
        (0..self.layout().coordinates() as u64).map(|i| seed.unit_at(i)).collect()
    }

    pub fn rounding(&self, round: u64) -> Seed {
        Seed(42).derive(Purpose::Rounding, round, CLIENT.0)
    }

    pub fn order(&self, round: u64) -> Seed {
        Seed(42).derive(Purpose::BatchOrder, round, CLIENT.0)
    }
}

/// What happened.
#[derive(Default)]
pub struct Log {
    /// Offsets at which downloads began.
    pub downloads: Vec<u64>,
    /// How many rounds the delta frames that were asked for lead on; 0 for a whole model.
    pub steps: Vec<u64>,
    /// Offsets at which uploads began.
    pub uploads: Vec<u64>,
    pub declined: Vec<(u64, String)>,
    /// The payload and header of each round that arrived.
    pub arrived: BTreeMap<u64, (Vec<u8>, v1::UpdateHeader)>,
    pub check_ins: usize,
    /// The certificate that each check-in showed.
    pub shown: Vec<Option<String>>,
    parts: BTreeMap<(u64, Vec<u8>), Vec<u8>>,
}

/// The coordinator.
pub struct Coordinator {
    script: Script,
    log: Mutex<Log>,
    /// Told when a check-in is held.
    pub held: Notify,
}

impl Coordinator {
    pub fn new(script: Script) -> Arc<Self> {
        Arc::new(Self { script, log: Mutex::default(), held: Notify::new() })
    }

    /// Serves those connections.
    pub fn serve(self: &Arc<Self>, connections: mpsc::UnboundedReceiver<std::io::Result<DuplexStream>>) {
        let server = Server::builder().add_service(self.service());
        tokio::spawn(server.serve_with_incoming(UnboundedReceiverStream::new(connections)));
    }

    /// Serves a port of this machine until the runtime ends. Gives the address.
    pub async fn listen(self: &Arc<Self>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let server = Server::builder().add_service(self.service());
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        address
    }

    /// Its service, to be served otherwise.
    pub fn service(self: &Arc<Self>) -> CoordinatorServiceServer<Self> {
        CoordinatorServiceServer::from_arc(Arc::clone(self))
    }

    pub fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap()
    }

    /// The round that is open: the first without an update or a refusal.
    fn open(&self) -> u64 {
        let log = self.log();
        let over = |round: &u64| log.arrived.contains_key(round) || log.declined.iter().any(|(r, _)| r == round);
        (0..).find(|round| !over(round)).unwrap()
    }

    fn frame(&self, sha256: &[u8]) -> Option<Vec<u8>> {
        let round = (0..self.script.outcomes.len() as u64).find(|&round| self.name(round) == sha256)?;
        let model = self.script.model(if self.script.swap_model { round + 100 } else { round });
        let mut frame = Vec::new();
        let id = PayloadId { round: RoundId(round), seed: Seed(0) };
        let scheme = Coding::Fp32.into();
        Encoder::new(scheme).encode(&self.script.layout(), &model, id, &mut frame).unwrap();
        Some(frame)
    }

    fn name(&self, round: u64) -> Vec<u8> {
        let bytes: Vec<u8> = self.script.model(round).iter().flat_map(|value| value.to_le_bytes()).collect();
        Sha256::digest(bytes).to_vec()
    }

    /// The delta frames that lead from one model to another.
    fn deltas(&self, base: &[u8], to: &[u8]) -> Option<Vec<Vec<u8>>> {
        let rounds = 0..self.script.outcomes.len() as u64;
        let round_of = |name: &[u8]| rounds.clone().rev().find(|&round| self.name(round) == name);
        Some((round_of(base)? + 1..=round_of(to)?).map(|round| self.script.delta(round)).collect())
    }

    /// The shorter way of a client that has the model `held`.
    fn path(&self, held: &[u8], round: u64) -> Option<v1::DeltaPath> {
        let first = self.name(0);
        let base = if self.deltas(held, &self.name(round)).is_some() { held } else { &first };
        let fetched = base != held && self.script.deltas == Deltas::Fetched;
        let frames = (self.script.deltas != Deltas::Never).then(|| self.deltas(base, &self.name(round)))??;
        Some(v1::DeltaPath {
            base_sha256: base.to_vec().into(),
            initial_seed: (base == first && !fetched).then_some(42),
            frame_bytes: frames.iter().map(|frame| frame.len() as u64).collect(),
            anchor_frames: frames.len() as u32,
            base_bytes: if fetched { Coding::Fp32.payload_bytes(&self.script.layout()) } else { 0 },
        })
    }

    fn assignment(&self, round: u64, held: &[u8]) -> v1::Assignment {
        let layout = self.script.layout();
        let tensor = |tensor: &TensorSpec| v1::Tensor {
            name: tensor.name.clone(),
            shape: tensor.shape.iter().map(|&dim| dim as u64).collect(),
        };
        let mut assignment = v1::Assignment {
            run: self.script.run.clone(),
            round,
            rounding_seed: self.script.rounding(round).0,
            order_seed: self.script.order(round).0,
            model: Some(v1::ModelRef {
                sha256: self.name(round).into(),
                frame_bytes: Coding::Fp32.payload_bytes(&layout),
            }),
            layout: self.script.tensors.iter().map(tensor).collect(),
            architecture: self.script.architecture.clone(),
            scheme: self.script.scheme.clone(),
            training: Some(v1::LocalTraining { epochs: 1, batch: 2, lr: 0.1, ..Default::default() }),
            max_payload_bytes: 1 << 20,
            deadline_ms: 0,
            path: self.path(held, round),
            control: None,
            personal: None,
        };
        (self.script.tamper)(&mut assignment);
        assignment
    }

    fn receipt(&self, update: v1::UpdateRef) -> v1::Receipt {
        let known = update.run == self.script.run && self.log().arrived.contains_key(&update.round);
        let outcome = if known { self.script.outcomes[update.round as usize] } else { v1::Outcome::Rejected };
        let mut receipt =
            v1::Receipt { update: Some(update), outcome: outcome.into(), reason: 0, detail: String::new() };
        (self.script.forge)(&mut receipt);
        receipt
    }
}

#[tonic::async_trait]
impl CoordinatorService for Coordinator {
    async fn check_in(&self, request: Request<v1::CheckInRequest>) -> Result<Response<v1::CheckInResponse>, Status> {
        let client = request.metadata().get(INSECURE_CLIENT_KEY).map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(client, self.script.insecure.then(|| CLIENT.0.to_string()));
        self.log().check_ins += 1;
        let shown = authority::shown(&request);
        self.log().shown.push(shown);
        if let Some(code) = self.script.refusal {
            return Err(Status::new(code, "no"));
        }
        let round = self.open();
        let over = round >= self.script.outcomes.len() as u64;
        if self.script.hold && over && request.get_ref().pending.is_none() {
            self.held.notify_one();
            std::future::pending::<()>().await;
        }
        let request = request.into_inner();
        let instruction = match request.pending {
            Some(update) if update.run == self.script.run && update.round == round => {
                Instruction::SendPending(v1::SendPending {})
            }
            Some(update) => Instruction::Receipt(self.receipt(update)),
            None if !over => Instruction::Assignment(self.assignment(round, &request.held_sha256)),
            None => Instruction::Finished(v1::Finished { run: self.script.run.clone() }),
        };
        Ok(Response::new(v1::CheckInResponse { instruction: Some(instruction), budget: None }))
    }

    type DownloadModelStream = Pin<Box<dyn Stream<Item = Result<v1::DownloadModelResponse, Status>> + Send>>;

    async fn download_model(
        &self,
        request: Request<v1::DownloadModelRequest>,
    ) -> Result<Response<Self::DownloadModelStream>, Status> {
        let request = request.into_inner();
        self.log().downloads.push(request.offset);
        let deltas = match request.base_sha256.is_empty() {
            true => Vec::new(),
            false => self.deltas(&request.base_sha256, &request.sha256).unwrap(),
        };
        self.log().steps.push(deltas.len() as u64);
        let frame = match self.script.deltas {
            _ if deltas.is_empty() => self.frame(&request.sha256),
            Deltas::Never | Deltas::Gone => None,
            Deltas::Good | Deltas::Fetched => Some(deltas.concat()),
            Deltas::Others => Some(vec![self.script.delta(1000); deltas.len()].concat()),
            Deltas::Torn => Some(vec![7; deltas.concat().len()]),
        };
        let frame = frame.ok_or_else(|| Status::not_found("no such model"))?;
        let chunks: Vec<_> = (request.offset as usize..frame.len())
            .step_by(CHUNK_BYTES)
            .map(|start| {
                let data = frame[start..frame.len().min(start + CHUNK_BYTES)].to_vec();
                let chunk = v1::Chunk { offset: start as u64, crc32c: crc32c::crc32c(&data), data: data.into() };
                Ok(v1::DownloadModelResponse { chunk: Some(chunk) })
            })
            .collect();
        Ok(Response::new(Box::pin(tokio_stream::iter(chunks))))
    }

    async fn get_upload(
        &self,
        request: Request<v1::GetUploadRequest>,
    ) -> Result<Response<v1::GetUploadResponse>, Status> {
        let update = request.into_inner().update.unwrap();
        let offset = self.log().parts.entry((update.round, update.payload_sha256.to_vec())).or_default().len() as u64;
        Ok(Response::new(v1::GetUploadResponse { offset }))
    }

    async fn upload_update(
        &self,
        request: Request<Streaming<v1::UploadUpdateRequest>>,
    ) -> Result<Response<v1::UploadUpdateResponse>, Status> {
        let mut parts = request.into_inner();
        let Some(Part::Header(header)) = parts.next().await.and_then(|part| part.ok()?.part) else {
            return Err(Status::invalid_argument("no header"));
        };
        let update = header.update.clone().unwrap();
        let key = (update.round, update.payload_sha256.to_vec());
        self.log().uploads.push(header.offset);
        while let Some(part) = parts.next().await {
            let Some(Part::Chunk(chunk)) = part?.part else { return Err(Status::invalid_argument("no chunk")) };
            let mut log = self.log();
            let held = log.parts.entry(key.clone()).or_default();
            if chunk.offset != held.len() as u64 {
                return Err(Status::failed_precondition("not the next chunk"));
            }
            assert!(chunk.data.len() <= CHUNK_BYTES && crc32c::crc32c(&chunk.data) == chunk.crc32c);
            held.extend_from_slice(&chunk.data);
        }
        let payload = self.log().parts[&key].clone();
        if payload.len() as u64 != header.payload_bytes {
            return Err(Status::unavailable("cut short"));
        }
        assert_eq!(Sha256::digest(&payload).to_vec(), update.payload_sha256);
        self.log().arrived.insert(update.round, (payload, header));
        let result = match self.script.receipt_on_upload {
            true => v1::upload_update_response::Result::Receipt(self.receipt(update)),
            false => v1::upload_update_response::Result::Stored(v1::Stored {}),
        };
        Ok(Response::new(v1::UploadUpdateResponse { result: Some(result) }))
    }

    async fn decline(&self, request: Request<v1::DeclineRequest>) -> Result<Response<v1::DeclineResponse>, Status> {
        let request = request.into_inner();
        assert_eq!(request.run, self.script.run);
        self.log().declined.push((request.round, request.reason));
        Ok(Response::new(v1::DeclineResponse {}))
    }
}
