//! The accept loop.

use std::{convert::Infallible, fmt, future::Future, io, pin::pin, sync::Arc, time::Duration};

use http::{Request, Response};
use rustls::ServerConfig;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};
use tonic::body::Body;
use tower::Service;

use super::{
    Accept, Limits, Meters,
    connection::{self, Ended, Fresh},
    places::Places,
};
use crate::{identity::Clock, peer::Directory};

/// How long to wait after a failure to accept, such as too many open files, before the next attempt.
const BACK_OFF: Duration = Duration::from_millis(100);

/// How peers prove who they are.
#[derive(Clone)]
pub enum Security {
    /// By TLS client certificates.
    Tls(Arc<ServerConfig>),
    /// Not: they say it in the header [`nibble_proto::INSECURE_CLIENT_KEY`], and only loopback addresses are served.
    Insecure,
}

/// What a listener needs to know.
#[derive(Clone)]
pub struct Listener {
    /// How peers prove who they are.
    pub security: Security,
    /// Who is behind a certificate; asked at every request.
    pub directory: Arc<dyn Directory>,
    /// The bounds.
    pub limits: Limits,
    /// The time of day, for the directory.
    pub clock: Clock,
    /// Where bytes are counted.
    pub meters: Meters,
}

/// How far the listener's end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    Serving,
    /// New connections and requests are refused, running requests go on.
    Draining,
    /// Everything ends.
    Over,
}

impl fmt::Debug for Security {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tls(_) => "Tls",
            Self::Insecure => "Insecure",
        })
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener")
            .field("security", &self.security)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// Serves `service` on connections from `accept` until `shutdown` ends; then running requests have [`Limits::drain`] to
/// end. Every request has a [`Peer`](crate::peer::Peer) among its extensions. No task outlives the call.
///
/// A handler's future is dropped where it waits if its connection or stream ends: what must happen wholly or not at all
/// belongs into a task of its own.
pub async fn serve<A, S>(mut accept: A, service: S, listener: Listener, shutdown: impl Future<Output = ()>)
where
    A: Accept,
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    let listener = Arc::new(listener);
    let places = Places::new(listener.limits.clone());
    let (stop, stopped) = watch::channel(Phase::Serving);
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            biased;
            () = shutdown.as_mut() => break,
            Some(ended) = connections.join_next() => {
                log_panic(ended);
                continue;
            }
            accepted = accept.accept() => accepted,
        };
        let (io, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) if is_of_one_connection(&error) => continue,
            Err(error) => {
                tracing::warn!(%error, "cannot accept connections; trying again");
                sleep(BACK_OFF).await;
                continue;
            }
        };
        if matches!(listener.security, Security::Insecure) && !address.ip().to_canonical().is_loopback() {
            tracing::warn!(%address, "refused: an insecure coordinator serves loopback addresses only");
            listener.meters.refuse();
            continue;
        }
        let place = match places.enter(address) {
            Ok(place) => place,
            Err(full) => {
                tracing::debug!(%address, %full, "refused");
                listener.meters.refuse();
                continue;
            }
        };
        let run =
            connection::run(Fresh { io, address, place }, Arc::clone(&listener), service.clone(), stopped.clone());
        connections.spawn(async move {
            match run.await {
                Ok(()) => tracing::debug!(%address, "closed"),
                Err(ended @ (Ended::Handshake(_) | Ended::Evicted)) => tracing::info!(%address, %ended, "closed"),
                Err(ended) => tracing::debug!(%address, %ended, "closed"),
            }
        });
    }
    drop(accept);
    stop.send_replace(Phase::Draining);
    let all = async {
        while let Some(ended) = connections.join_next().await {
            log_panic(ended);
        }
    };
    let mut all = pin!(all);
    if timeout(listener.limits.drain, all.as_mut()).await.is_err() {
        tracing::warn!(drain = ?listener.limits.drain, "requests still run after the drain time; they are dropped");
        stop.send_replace(Phase::Over);
        all.await;
    }
}

fn log_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a connection's task panicked");
    }
}

/// Whether a failed accept says nothing about the next.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}
