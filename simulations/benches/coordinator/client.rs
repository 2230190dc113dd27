//! Clients that train nothing: every one downloads the model, and sends an update of zeros.

use std::{
    net::{Ipv4Addr, SocketAddr},
    process::Command,
    sync::Arc,
};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use futures_util::stream;
use hyper_util::rt::TokioIo;
use nibble_codec::{Encoder, Layout, PayloadId};
use nibble_proto::{
    CHUNK_BYTES, INSECURE_CLIENT_KEY,
    v1::{self, check_in_response::Instruction, coordinator_service_client::CoordinatorServiceClient as Stub},
};
use nibble_seed::{RoundId, Seed};
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, pem::PemObject};
use sha2::{Digest, Sha256};
use tokio::net::TcpSocket;
use tonic::{Request, transport::Channel};

use crate::server::Server;

pub(crate) struct Clients;

struct Device {
    channel: Channel,
    number: usize,
    key: Option<EcdsaKeyPair>,
}

/// The cnn of the FedAvg paper.
pub(crate) fn layout() -> Layout {
    let tensors = [
        ("conv1.weight", vec![32, 1, 5, 5]),
        ("conv1.bias", vec![32]),
        ("conv2.weight", vec![64, 32, 5, 5]),
        ("conv2.bias", vec![64]),
        ("fc1.weight", vec![512, 3136]),
        ("fc1.bias", vec![512]),
        ("fc2.weight", vec![10, 512]),
        ("fc2.bias", vec![10]),
    ];
    Layout::new(tensors).expect("the names differ")
}

impl Clients {
    /// Plays all rounds; gives the bytes that TCP carried, both ways, as the kernel counted them.
    pub(crate) async fn play(server: &Server, clients: usize, scheme: &str) -> Result<u64> {
        let mut devices = Vec::new();
        for number in 0..clients {
            devices.push(Device::new(server, number).await?);
        }
        let mut tasks = tokio::task::JoinSet::new();
        for device in devices {
            let scheme = scheme.to_owned();
            tasks.spawn(async move { device.take_part(&scheme).await });
        }
        let mut channels = Vec::new();
        while let Some(done) = tasks.join_next().await {
            channels.push(done??);
        }
        kernel_bytes(server)
    }
}

impl Device {
    async fn new(server: &Server, number: usize) -> Result<Self> {
        if !server.secure {
            let channel = connect(server, None).await?;
            return Ok(Self { channel, number, key: None });
        }
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
        let csr = rcgen::CertificateParams::new(Vec::new())?.serialize_request(&key)?;
        let mut enrolment =
            v1::enrolment_service_client::EnrolmentServiceClient::new(connect(server, Some(None)).await?);
        let request = v1::EnrolRequest { token: server.token(number)?, csr_der: csr.der().to_vec().into() };
        let certificate = enrolment.enrol(request).await?.into_inner().certificate.context("a certificate")?;
        let pkcs8 = key.serialize_der();
        let chain = vec![CertificateDer::from(certificate.der.to_vec())];
        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pkcs8.clone()));
        let channel = connect(server, Some(Some((chain, private)))).await?;
        let random = ring::rand::SystemRandom::new();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &pkcs8, &random);
        Ok(Self { channel, number, key: Some(key.map_err(|error| anyhow::anyhow!("{error}"))?) })
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if self.key.is_none() {
            request.metadata_mut().insert(INSECURE_CLIENT_KEY, self.number.into());
        }
        request
    }

    async fn take_part(self, scheme: &str) -> Result<Channel> {
        let mut stub = Stub::new(self.channel.clone()).max_decoding_message_size(nibble_proto::MESSAGE_BYTES);
        let mut encoder = Encoder::new(scheme.parse()?);
        let (mut zeros, mut payload) = (Vec::new(), Bytes::new());
        let mut pending = None;
        loop {
            let request =
                self.request(v1::CheckInRequest { pending: pending.clone(), hold_ms: 30_000, ..Default::default() });
            match stub.check_in(request).await?.into_inner().instruction {
                Some(Instruction::Assignment(assignment)) => {
                    let model = assignment.model.context("a model")?;
                    let request = self.request(v1::DownloadModelRequest {
                        sha256: model.sha256,
                        offset: 0,
                        ..Default::default()
                    });
                    let mut frame = stub.download_model(request).await?.into_inner();
                    let mut held = 0;
                    while let Some(part) = frame.message().await? {
                        let chunk = part.chunk.context("a chunk")?;
                        held += chunk.data.len() as u64;
                        if crc32c::crc32c(&chunk.data) != chunk.crc32c {
                            bail!("a chunk is damaged");
                        }
                    }
                    if held != model.frame_bytes {
                        bail!("{held} of {} bytes came", model.frame_bytes);
                    }
                    let shape = |tensor: &v1::Tensor| tensor.shape.iter().map(|&dim| dim as usize).collect();
                    let layout = Layout::new(assignment.layout.iter().map(|t| (t.name.clone(), shape(t))))?;
                    zeros.resize(layout.coordinates(), 0.0);
                    let id = PayloadId { round: RoundId(assignment.round), seed: Seed(assignment.rounding_seed) };
                    // Nobody holds the last round's payload any more.
                    let mut buffer = payload.try_into_mut().map(Vec::from).unwrap_or_default();
                    encoder.encode(&layout, &zeros, id, &mut buffer)?;
                    payload = buffer.into();
                    pending = Some(self.send(&mut stub, assignment.run, assignment.round, payload.clone()).await?);
                }
                Some(Instruction::Receipt(receipt)) => {
                    if receipt.outcome() != v1::Outcome::Accepted {
                        bail!("an update did not count: {}", receipt.detail);
                    }
                    pending = None;
                }
                Some(Instruction::Finished(_)) => return Ok(self.channel),
                Some(Instruction::Wait(wait)) => {
                    tokio::time::sleep(std::time::Duration::from_millis(wait.retry_after_ms.into())).await;
                }
                other => bail!("unexpected: {other:?}"),
            }
        }
    }

    async fn send(&self, stub: &mut Stub<Channel>, run: String, round: u64, payload: Bytes) -> Result<v1::UpdateRef> {
        let digest: [u8; 32] = Sha256::digest(&payload).into();
        let signature = match &self.key {
            None => Vec::new(),
            Some(key) => {
                let signed = nibble_proto::signed_bytes(&run, round, &digest);
                let signature = key.sign(&ring::rand::SystemRandom::new(), &signed);
                signature.map_err(|_| anyhow::anyhow!("cannot sign"))?.as_ref().to_vec()
            }
        };
        let update = v1::UpdateRef { run, round, payload_sha256: digest.to_vec().into() };
        let header = v1::UpdateHeader {
            update: Some(update.clone()),
            samples: 1,
            payload_bytes: payload.len() as u64,
            offset: 0,
            signature: signature.into(),
            train_loss: 0.0,
            start_loss: None,
            nmse: 0.0,
        };
        use v1::upload_update_request::Part;
        let chunks = (0..payload.len()).step_by(CHUNK_BYTES).map(move |at| {
            let data = payload.slice(at..payload.len().min(at + CHUNK_BYTES));
            let crc32c = crc32c::crc32c(&data);
            Part::Chunk(v1::Chunk { offset: at as u64, data, crc32c })
        });
        let parts = std::iter::once(Part::Header(header)).chain(chunks);
        let parts = stream::iter(parts.map(|part| v1::UploadUpdateRequest { part: Some(part) }));
        stub.upload_update(self.request(parts)).await?;
        Ok(update)
    }
}

type Identity = Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>;

/// Connects; with `Some`, over TLS, with a certificate if there is one.
async fn connect(server: &Server, tls: Option<Identity>) -> Result<Channel> {
    let tls = tls.map(|identity| trusting(&server.authority_pem()?, identity)).transpose()?;
    dial(server.address.parse()?, Ipv4Addr::LOCALHOST, tls).await
}

/// Connects a device from one of this machine's own addresses.
pub(crate) async fn connect_from(
    address: &str,
    authority_pem: &[u8],
    from: Ipv4Addr,
    device: (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>),
) -> Result<Channel> {
    dial(address.parse()?, from, Some(trusting(authority_pem, Some(device))?)).await
}

fn trusting(authority_pem: &[u8], identity: Identity) -> Result<tokio_rustls::TlsConnector> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority_pem)?)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots);
    let mut config = match identity {
        None => config.with_no_client_auth(),
        Some((chain, key)) => config.with_client_auth_cert(chain, key)?,
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(tokio_rustls::TlsConnector::from(Arc::new(config)))
}

async fn dial(address: SocketAddr, from: Ipv4Addr, tls: Option<tokio_rustls::TlsConnector>) -> Result<Channel> {
    let connector = tower::service_fn(move |_: http::Uri| {
        let tls = tls.clone();
        async move {
            let socket = TcpSocket::new_v4()?;
            socket.bind(SocketAddr::from((from, 0)))?;
            let stream = socket.connect(address).await?;
            stream.set_nodelay(true)?;
            let io: Box<dyn Io> = match tls {
                None => Box::new(stream),
                Some(tls) => {
                    Box::new(tls.connect(ServerName::try_from("127.0.0.1").expect("an address"), stream).await?)
                }
            };
            Ok::<_, std::io::Error>(TokioIo::new(io))
        }
    });
    let endpoint = tonic::transport::Endpoint::from_static("http://coordinator");
    let endpoint = endpoint.max_frame_size(nibble_proto::FRAME_BYTES);
    let endpoint = endpoint.initial_stream_window_size(1 << 20).initial_connection_window_size(2 << 20);
    Ok(endpoint.connect_with_connector(connector).await?)
}

trait Io: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin {}
impl<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin> Io for T {}

/// Bytes that the kernel delivered on all open connections of the coordinator, both ways.
fn kernel_bytes(server: &Server) -> Result<u64> {
    let output = Command::new("ss").args(["-tinpH", "state", "established"]).output().context("ss, of iproute2")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let owner = format!("pid={},", server.process());
    let mut lines = text.lines();
    let mut total = 0;
    while let (Some(socket), Some(info)) = (lines.next(), lines.next()) {
        if !socket.contains(&owner) {
            continue;
        }
        for field in info.split_whitespace() {
            let count = field.strip_prefix("bytes_received:").or_else(|| field.strip_prefix("bytes_acked:"));
            total += count.and_then(|count| count.parse::<u64>().ok()).unwrap_or(0);
        }
    }
    Ok(total)
}
