//! A certificate authority, a TLS listener that it vouches for, and enrolment.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use futures_util::StreamExt;
use nibble_proto::v1::{
    self,
    enrolment_service_server::{EnrolmentService, EnrolmentServiceServer},
};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, date_time_ymd,
};
use rustls::{RootCertStore, ServerConfig, server::WebPkiClientVerifier};
use rustls_pki_types::{CertificateDer, CertificateSigningRequestDer, PrivateKeyDer};
use sha2::{Digest, Sha256};
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf},
    sync::mpsc,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{
    Request, Response, Status,
    transport::{Server, server::Connected},
};

use super::Coordinator;

/// The host that server certificates are for.
pub const HOST: &str = "coordinator.test";

/// The years from whose first day to whose first day a certificate is good.
#[derive(Clone, Copy)]
pub struct Years(pub i32, pub i32);

/// Long past and far away: good whenever the tests run.
pub const GOOD: Years = Years(2000, 2100);

pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "authority");
        Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap() }
    }

    pub fn der(&self) -> CertificateDer<'static> {
        self.issuer.as_ref().der().clone()
    }

    /// A token for this authority.
    pub fn token(&self) -> String {
        let hex: String = Sha256::digest(self.der()).iter().map(|byte| format!("{byte:02x}")).collect();
        format!("nibble1.secret.{hex}")
    }

    /// A certificate for the key of a signing request.
    pub fn certify(&self, csr_der: &[u8], Years(from, until): Years) -> CertificateDer<'static> {
        let mut request =
            CertificateSigningRequestParams::from_der(&CertificateSigningRequestDer::from(csr_der)).unwrap();
        request.params.distinguished_name.push(DnType::CommonName, "device-3");
        request.params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        (request.params.not_before, request.params.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(until, 1, 1));
        request.signed_by(&self.issuer).unwrap().der().clone()
    }

    /// Server certificate and authority, as presented, with the server's key.
    fn server_identity(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![HOST.to_owned()]).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (vec![certificate.der().clone(), self.der()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
    }

    /// TLS for a server that asks for client certificates, and takes none as well.
    pub fn server_config(&self) -> Arc<ServerConfig> {
        self.presenting(|chain| chain)
    }

    /// TLS for a server that presents another chain.
    pub fn presenting(
        &self,
        change: impl FnOnce(Vec<CertificateDer<'static>>) -> Vec<CertificateDer<'static>>,
    ) -> Arc<ServerConfig> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(self.der()).unwrap();
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
        let (chain, key) = self.server_identity();
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_client_cert_verifier(clients.allow_unauthenticated().build().unwrap())
            .with_single_cert(change(chain), key)
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec()];
        Arc::new(config)
    }
}

/// Answers enrolments and renewals.
pub struct Registry {
    pub authority: Authority,
    /// For how long the next certificates are good.
    pub years: Mutex<Years>,
    /// Changes each certificate, which a signing request asked for, before it is sent.
    pub tamper: fn(&mut v1::Certificate, &[u8]),
    /// Tokens and certificates' SHA-256 that were seen, in order.
    pub seen: Mutex<Vec<String>>,
}

impl Registry {
    pub fn new(authority: Authority) -> Arc<Self> {
        Arc::new(Self { authority, years: Mutex::new(GOOD), tamper: |_, _| (), seen: Mutex::default() })
    }

    /// Serves those connections, over TLS as configured.
    pub fn serve(
        self: &Arc<Self>,
        tls: Arc<ServerConfig>,
        connections: mpsc::UnboundedReceiver<io::Result<DuplexStream>>,
        coordinator: &Arc<Coordinator>,
    ) {
        let acceptor = TlsAcceptor::from(tls);
        let accepted = UnboundedReceiverStream::new(connections).filter_map(move |stream| {
            let acceptor = acceptor.clone();
            // A handshake that fails is the client's to notice.
            async move { acceptor.accept(stream.unwrap()).await.ok().map(|stream| Ok::<_, io::Error>(Accepted(stream))) }
        });
        let server = Server::builder()
            .add_service(EnrolmentServiceServer::from_arc(Arc::clone(self)))
            .add_service(coordinator.service());
        tokio::spawn(server.serve_with_incoming(Box::pin(accepted)));
    }

    fn answer(&self, csr_der: &[u8]) -> v1::Certificate {
        let der = self.authority.certify(csr_der, *self.years.lock().unwrap());
        let mut certificate = v1::Certificate {
            der: der.to_vec().into(),
            authority_der: self.authority.der().to_vec().into(),
            client: 3,
            name: "device-3".into(),
            not_after_unix: 0,
        };
        (self.tamper)(&mut certificate, csr_der);
        certificate
    }
}

/// SHA-256 of the certificate that a caller shows.
pub fn shown<T>(request: &Request<T>) -> Option<String> {
    request.extensions().get::<Shown>()?.0.clone()
}

#[derive(Clone)]
struct Shown(Option<String>);

struct Accepted(TlsStream<DuplexStream>);

impl Connected for Accepted {
    type ConnectInfo = Shown;

    fn connect_info(&self) -> Shown {
        let certificate = self.0.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        Shown(certificate.map(|der| Sha256::digest(der).iter().map(|byte| format!("{byte:02x}")).collect()))
    }
}

impl AsyncRead for Accepted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Accepted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[tonic::async_trait]
impl EnrolmentService for Registry {
    async fn enrol(&self, request: Request<v1::EnrolRequest>) -> Result<Response<v1::EnrolResponse>, Status> {
        assert_eq!(shown(&request), None);
        let request = request.into_inner();
        if request.token != self.authority.token() {
            return Err(Status::permission_denied("the token is unknown, used or expired"));
        }
        self.seen.lock().unwrap().push(request.token);
        Ok(Response::new(v1::EnrolResponse { certificate: Some(self.answer(&request.csr_der)) }))
    }

    async fn renew(&self, request: Request<v1::RenewRequest>) -> Result<Response<v1::RenewResponse>, Status> {
        self.seen.lock().unwrap().push(shown(&request).expect("a renewal shows a certificate"));
        Ok(Response::new(v1::RenewResponse { certificate: Some(self.answer(&request.into_inner().csr_der)) }))
    }
}
