//! A peer's end: TLS with whatever certificate, then gRPC stubs.

use std::{
    error::Error as _,
    future::poll_fn,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use hyper::body::{Body as _, Frame};
use hyper_util::rt::TokioIo;
use nibble_proto::v1::{
    self, UploadUpdateRequest, check_in_response::Instruction, coordinator_service_client::CoordinatorServiceClient,
    enrolment_service_client::EnrolmentServiceClient, upload_update_response,
};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion, crypto::ring, version::TLS13};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::{
    Code, Response, Status,
    body::Body,
    transport::{Channel, Endpoint},
};
use tower::ServiceExt as _;

use crate::house::{Device, House};

/// What came of something sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Got {
    /// An answer in which nothing is refused.
    Answer,
    Status(Code),
    Stored,
    Receipt(v1::Outcome, v1::Reason),
    SendPending,
    /// No answer while the test waited.
    Held,
    /// The connection, or the stream, ended without an answer.
    Closed,
}

/// An open connection.
#[derive(Clone)]
pub(crate) struct Line {
    pub(crate) coordinator: CoordinatorServiceClient<Channel>,
    pub(crate) enrolment: EnrolmentServiceClient<Channel>,
    channel: Channel,
}

/// A message of which nothing comes but how long it will be.
struct Announced(Option<Bytes>);

impl hyper::body::Body for Announced {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.0.take().map_or(Poll::Pending, |bytes| Poll::Ready(Some(Ok(Frame::data(bytes)))))
    }
}

/// TLS as an honest client has it, showing a certificate or none.
pub(crate) fn tls(house: &House, shown: Option<(&[u8], PrivateKeyDer<'static>)>) -> Arc<ClientConfig> {
    let builder = builder(house, &TLS13);
    let config = match shown {
        None => builder.with_no_client_auth(),
        Some((der, key)) => builder.with_client_auth_cert(vec![der.to_vec().into()], key).unwrap(),
    };
    with_alpn(config)
}

pub(crate) fn builder(
    house: &House,
    version: &'static SupportedProtocolVersion,
) -> rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_slice(house.authority.ca_der())).unwrap();
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
}

pub(crate) fn with_alpn(mut config: ClientConfig) -> Arc<ClientConfig> {
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config)
}

/// A TLS connection.
pub(crate) async fn secure(address: SocketAddr, tls: Arc<ClientConfig>) -> io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    TlsConnector::from(tls).connect(name, stream).await
}

/// gRPC over a TLS connection.
pub(crate) async fn dial(address: SocketAddr, tls: Arc<ClientConfig>) -> Result<Line, tonic::transport::Error> {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    let connector = tower::service_fn(move |_| {
        let tls = Arc::clone(&tls);
        async move { secure(address, tls).await.map(TokioIo::new) }
    });
    let channel = endpoint.connect_with_connector(connector).await?;
    Ok(Line {
        coordinator: CoordinatorServiceClient::new(channel.clone()),
        enrolment: EnrolmentServiceClient::new(channel.clone()),
        channel,
    })
}

impl Device {
    pub(crate) fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(self.key.serialize_der().into())
    }

    /// Connects as this device.
    pub(crate) async fn connect(&self, house: &House) -> Line {
        dial(house.address, tls(house, Some((&self.der, self.private_key())))).await.unwrap()
    }
}

impl House {
    /// A connection without a certificate.
    pub(crate) async fn connect_nobody(&self) -> Line {
        dial(self.address, tls(self, None)).await.unwrap()
    }
}

impl Line {
    pub(crate) async fn check_in(&self, request: v1::CheckInRequest) -> Result<Instruction, Status> {
        Ok(self.coordinator.clone().check_in(request).await?.into_inner().instruction.unwrap())
    }

    /// The assignment of a member that has sent nothing.
    pub(crate) async fn assignment(&self) -> v1::Assignment {
        match self.check_in(v1::CheckInRequest::default()).await.unwrap() {
            Instruction::Assignment(assignment) => assignment,
            other => panic!("an assignment is due, not {other:?}"),
        }
    }

    /// What becomes of an update, by its receipt or otherwise.
    pub(crate) async fn ask_about(&self, update: v1::UpdateRef) -> Got {
        of_instruction(
            self.check_in(v1::CheckInRequest { pending: Some(update), hold_ms: 0, ..Default::default() }).await,
        )
    }

    /// How many bytes of an update have arrived.
    pub(crate) async fn received(&self, update: v1::UpdateRef) -> u64 {
        let asked = self.coordinator.clone().get_upload(v1::GetUploadRequest { update: Some(update) }).await;
        asked.unwrap().into_inner().offset
    }

    /// Announces a message of so many bytes to `path`, and sends none of them. The status, or none while the coordinator
    /// waits for the rest.
    pub(crate) async fn announce(&self, path: &str, bytes: u32) -> Option<Code> {
        let prefix = [&[0][..], &bytes.to_be_bytes()].concat();
        let request = http::Request::post(format!("http://house{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(Body::new(Announced(Some(prefix.into()))))
            .unwrap();
        let answer = async {
            let response = self.channel.clone().oneshot(request).await.unwrap();
            if let Some(status) = Status::from_header_map(response.headers()) {
                return status.code();
            }
            let mut body = response.into_body();
            loop {
                let frame = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await.unwrap().unwrap();
                if let Some(trailers) = frame.trailers_ref() {
                    return Status::from_header_map(trailers).unwrap().code();
                }
            }
        };
        timeout(Duration::from_millis(500), answer).await.ok()
    }

    pub(crate) async fn upload(&self, parts: Vec<UploadUpdateRequest>) -> Got {
        let sent = self.coordinator.clone().upload_update(tokio_stream::iter(parts)).await;
        of_upload(sent)
    }
}

pub(crate) fn of_upload(sent: Result<Response<v1::UploadUpdateResponse>, Status>) -> Got {
    match sent.map(|response| response.into_inner().result.unwrap()) {
        Ok(upload_update_response::Result::Stored(_)) => Got::Stored,
        Ok(upload_update_response::Result::Receipt(receipt)) => of_receipt(&receipt),
        Err(status) => of_status(&status),
    }
}

pub(crate) fn of_instruction(asked: Result<Instruction, Status>) -> Got {
    match asked {
        Ok(Instruction::Receipt(receipt)) => of_receipt(&receipt),
        Ok(Instruction::SendPending(_)) => Got::SendPending,
        Ok(_) => Got::Answer,
        Err(status) => of_status(&status),
    }
}

fn of_receipt(receipt: &v1::Receipt) -> Got {
    Got::Receipt(receipt.outcome(), receipt.reason())
}

/// A status that the coordinator sent has no cause on this side; one that the connection's end made has.
pub(crate) fn of_status(status: &Status) -> Got {
    match status.source() {
        Some(_) => Got::Closed,
        None => Got::Status(status.code()),
    }
}

/// Any answer is as good as another.
pub(crate) fn of_answer<T>(answer: Result<T, Status>) -> Got {
    answer.map_or_else(|status| of_status(&status), |_| Got::Answer)
}
