//! A client: TLS with or without a certificate, and HTTP/2.

use std::{
    error::Error,
    io,
    pin::Pin,
    sync::{Arc, atomic::Ordering::SeqCst},
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, Request};
use hyper::{
    body::Frame,
    client::conn::http2::{self, SendRequest},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use nibble_server::identity::Clock;
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion, crypto::ring, version::TLS13};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::mpsc,
    task::JoinHandle,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::body::Body;

use crate::house::{Device, House, read};

pub(crate) type Failure = Box<dyn Error + Send + Sync>;

/// An open connection. Dropping it closes it.
pub(crate) struct Client {
    pub(crate) requests: SendRequest<Body>,
    /// Moves the connection's bytes; a client whose task is aborted has died.
    pub(crate) task: JoinHandle<()>,
}

pub(crate) fn config(
    house: &House,
    device: Option<&Device>,
    version: &'static SupportedProtocolVersion,
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_slice(house.authority.ca_der())).unwrap();
    // A client's own clock does not refuse the server when a test lets a client's certificate end.
    let clock = Clock::new(|| crate::house::NOW);
    let builder = ClientConfig::builder_with_details(Arc::new(ring::default_provider()), Arc::new(clock))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match device {
        None => builder.with_no_client_auth(),
        Some(device) => builder
            .with_client_auth_cert(
                vec![device.issued.der.clone().into()],
                PrivateKeyDer::Pkcs8(device.key.serialize_der().into()),
            )
            .unwrap(),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config)
}

pub(crate) async fn secure<Io: AsyncRead + AsyncWrite + Unpin>(
    io: Io,
    house: &House,
    device: Option<&Device>,
) -> io::Result<TlsStream<Io>> {
    let name = ServerName::try_from("fl.example.org").unwrap();
    TlsConnector::from(config(house, device, &TLS13)).connect(name, io).await
}

/// HTTP/2 over a connection.
pub(crate) async fn converse<Io: AsyncRead + AsyncWrite + Unpin + Send + 'static>(io: Io) -> Client {
    let (requests, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(io)).await.unwrap();
    let task = tokio::spawn(async move {
        let _ = connection.await;
    });
    Client { requests, task }
}

/// Connects, with a device's certificate if there is one.
pub(crate) async fn connect(house: &House, device: Option<&Device>) -> Client {
    converse(secure(house.dial().await.io, house, device).await.unwrap()).await
}

impl Client {
    /// Asks for a path, and returns the answer's headers once its body has ended.
    pub(crate) async fn ask(&mut self, path: &str) -> Result<HeaderMap, Failure> {
        self.send(Request::post(format!("http://house{path}")).body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn send(&mut self, request: Request<Body>) -> Result<HeaderMap, Failure> {
        self.requests.ready().await?;
        let response = self.requests.send_request(request).await?;
        let headers = response.headers().clone();
        read(response.into_body()).await?;
        Ok(headers)
    }

    pub(crate) async fn who(&mut self) -> String {
        self.ask("/who").await.unwrap()["who"].to_str().unwrap().to_owned()
    }
}

/// A body that comes piece by piece.
pub(crate) struct Pieces(pub(crate) mpsc::Receiver<Bytes>);

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.0.poll_recv(cx).map(|piece| piece.map(|bytes| Ok(Frame::data(bytes))))
    }
}

impl House {
    pub(crate) fn at(&self, now_unix: u64) {
        self.clock.store(now_unix, SeqCst);
    }
}
