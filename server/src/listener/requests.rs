//! What every request of a connection goes through: it is told who is at the other end, as of now.

use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use http::{HeaderMap, Request, Response};
use hyper::body::Incoming;
use nibble_proto::INSECURE_CLIENT_KEY;
use nibble_seed::ClientId;
use tonic::body::Body;
use tower::{Service, ServiceExt as _};

use super::{Listener, body::Paced, meters::Meter, places::Place, taken::Responses};
use crate::peer::{Fingerprint, Identity, Peer, Unavailable};

/// How a peer says who it is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Claim {
    /// By the certificate it proved to hold the key of.
    Certificate(Fingerprint),
    /// Not at all.
    Nothing,
    /// By a header of every request, on an insecure listener.
    Header,
}

/// What is known of a connection.
pub(super) struct Connection {
    pub(super) address: SocketAddr,
    pub(super) claim: Claim,
    pub(super) place: Place,
    pub(super) meter: Arc<Meter>,
    pub(super) listener: Arc<Listener>,
    /// Whether a request has begun.
    pub(super) asked: AtomicBool,
    /// Whether the last answer to who it is was someone.
    pub(super) known: AtomicBool,
    /// What is on its way to the peer.
    pub(super) responses: Responses,
}

impl Connection {
    /// Who the peer is now. The directory is asked every time, so that a revocation works at once.
    pub(super) fn identify(&self, headers: &HeaderMap) -> Result<Option<Identity>, Unavailable> {
        let identity = match &self.claim {
            Claim::Certificate(fingerprint) => {
                self.listener.directory.identify(fingerprint, self.listener.clock.now_unix())?
            }
            Claim::Nothing => None,
            Claim::Header => claimed(headers),
        };
        self.known.store(identity.is_some(), Relaxed);
        if let Some(Identity { client, .. }) = identity {
            self.place.belongs_to(client);
            self.meter.belongs_to(Some(client));
        }
        Ok(identity)
    }
}

/// The service of one connection.
pub(super) struct Requests<S> {
    pub(super) connection: Arc<Connection>,
    pub(super) service: S,
}

impl<S> hyper::service::Service<Request<Incoming>> for Requests<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        self.connection.asked.store(true, Relaxed);
        let identity = self.connection.identify(request.headers());
        let rate = self.connection.listener.limits.rate;
        let mut request = request.map(|body| Body::new(Paced::new(body, Arc::clone(&self.connection.meter), rate)));
        request.extensions_mut().insert(Peer { address: self.connection.address, identity });
        let (connection, answer) = (Arc::clone(&self.connection), self.service.clone().oneshot(request));
        Box::pin(async move { Ok(answer.await?.map(|body| connection.responses.watch(body))) })
    }
}

/// Who an insecure client says it is.
fn claimed(headers: &HeaderMap) -> Option<Identity> {
    let digits = headers.get(INSECURE_CLIENT_KEY)?.to_str().ok()?;
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let client = ClientId(digits.parse().ok()?);
    Some(Identity { client, name: format!("client-{client}").into(), certificate: None })
}
