//! One connection, from its first byte to its last.

use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use http::{HeaderMap, Request, Response};
use hyper::server::conn::http2;
use hyper_util::rt::{TokioIo, TokioTimer};
use sha2::{Digest, Sha256};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::watch,
    time::{Instant, interval_at, sleep_until, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tonic::body::Body;
use tower::Service;

use super::{
    Limits, Listener, Security,
    meters::Meter,
    places::Place,
    requests::{Claim, Connection, Requests},
    serve::Phase,
    socket::Socket,
    streams::Streams,
    taken::Responses,
};

/// What a peer may have under way on one connection.
struct Room {
    /// Requests at a time.
    streams: u32,
    /// Bytes of a request that may wait unread.
    stream_window: u32,
    /// The same for all requests of the connection.
    connection_window: u32,
}

/// A device: LANs stay fast, and nothing is allocated ahead.
const DEVICE: Room = Room { streams: 8, stream_window: 256 * 1024, connection_window: 1024 * 1024 };
/// A peer that may be anybody, and enrols or asks how the coordinator is.
const ANONYMOUS: Room = Room { streams: 2, stream_window: 16 * 1024, connection_window: 64 * 1024 };
/// Most bytes of a request's headers.
const HEADERS: u32 = 16 * 1024;
/// Most bytes of a response that may wait for the peer to read.
const SEND_BUFFER: usize = 128 * 1024;

type Http<Io, S> = http2::Connection<TokioIo<Io>, Requests<S>, Streams>;

/// Why a connection ended before its peer wanted.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    #[error("no TLS handshake within {limit:?}")]
    HandshakeDeadline { limit: Duration },
    #[error("TLS handshake: {0}")]
    Handshake(std::io::Error),
    #[error("no request within {limit:?}")]
    RequestDeadline { limit: Duration },
    #[error("a peer without an identity has {limit:?}")]
    Anonymous { limit: Duration },
    #[error("next to nothing of a response was taken for {limit:?}")]
    Stalled { limit: Duration },
    #[error("its device has newer connections")]
    Evicted,
    #[error("the coordinator stops")]
    Stopped,
    #[error("HTTP/2: {0}")]
    Http(hyper::Error),
}

/// A connection just accepted.
pub(super) struct Fresh<Io> {
    pub(super) io: Io,
    pub(super) address: SocketAddr,
    pub(super) place: Place,
}

/// Serves a connection until its peer closes it or something else ends it.
pub(super) async fn run<Io, S>(
    fresh: Fresh<Io>,
    listener: Arc<Listener>,
    service: S,
    stop: watch::Receiver<Phase>,
) -> Result<(), Ended>
where
    Io: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    let Fresh { io, address, place } = fresh;
    let meter = listener.meters.open();
    let io = Socket::new(io, Arc::clone(&meter), listener.limits.write_stall);
    let connection = |claim, meter: Arc<Meter>| {
        let listener = Arc::clone(&listener);
        let (asked, known) = (AtomicBool::new(false), AtomicBool::new(false));
        Arc::new(Connection { address, claim, place, meter, listener, asked, known, responses: Responses::default() })
    };
    match &listener.security {
        Security::Insecure => http2(io, connection(Claim::Header, meter), service, stop).await,
        Security::Tls(config) => {
            let acceptor = TlsAcceptor::from(Arc::clone(config));
            let io = Box::pin(handshake(io, acceptor, listener.limits.handshake, stop.clone())).await?;
            let certificate = io.get_ref().1.peer_certificates().and_then(<[_]>::first);
            let claim = match certificate {
                Some(der) => Claim::Certificate(Sha256::digest(der).into()),
                None => Claim::Nothing,
            };
            let connection = connection(claim, meter);
            if connection.identify(&HeaderMap::new()) == Ok(None) {
                connection.meter.belongs_to(None);
                if certificate.is_some() {
                    tracing::info!(%address, "certificate unknown, expired or revoked; served without an identity");
                }
            }
            http2(io, connection, service, stop).await
        }
    }
}

async fn handshake<Io: AsyncRead + AsyncWrite + Unpin>(
    io: Io,
    acceptor: TlsAcceptor,
    limit: Duration,
    mut stop: watch::Receiver<Phase>,
) -> Result<TlsStream<Io>, Ended> {
    tokio::select! {
        done = timeout(limit, acceptor.accept(io)) => {
            done.map_err(|_| Ended::HandshakeDeadline { limit })?.map_err(Ended::Handshake)
        }
        _ = stop.wait_for(|phase| *phase >= Phase::Draining) => Err(Ended::Stopped),
    }
}

async fn http2<Io, S>(
    io: Io,
    connection: Arc<Connection>,
    service: S,
    stop: watch::Receiver<Phase>,
) -> Result<(), Ended>
where
    Io: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    let streams = Streams::default();
    let requests = Requests { connection: Arc::clone(&connection), service };
    let may_be_anybody = !matches!(connection.claim, Claim::Header) && !connection.known.load(Relaxed);
    let builder = builder(&streams, if may_be_anybody { &ANONYMOUS } else { &DEVICE }, &connection.listener.limits);
    // Boxed, or the task would keep room for every place that it is moved through: 11 KB instead of 3 KB.
    let http = Box::pin(builder.serve_connection(TokioIo::new(io), requests));
    let ended = drive(http, &connection, &streams, stop).await;
    streams.end().await;
    ended
}

/// Runs a connection until it or its time is over.
async fn drive<Io, S>(
    mut http: Pin<Box<Http<Io, S>>>,
    connection: &Connection,
    streams: &Streams,
    mut stop: watch::Receiver<Phase>,
) -> Result<(), Ended>
where
    Io: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    let Limits { first_request, anonymous, write_stall, rate, .. } = connection.listener.limits;
    let (asked, known) = (|| connection.asked.load(Relaxed), || connection.known.load(Relaxed));
    let began = Instant::now();
    let mut deadline = pin!(sleep_until(began + first_request));
    let (mut look, mut sent) = (interval_at(began + write_stall, write_stall), 0);
    let least = rate.min_bytes as f64 * write_stall.as_secs_f64() / rate.window.as_secs_f64();
    let (mut phase, mut watched) = (Phase::Serving, true);
    loop {
        tokio::select! {
            biased;
            ended = http.as_mut() => return ended.map_err(Ended::Http),
            never = streams.reap() => match never {},
            () = connection.place.evicted() => return Err(Ended::Evicted),
            now = look.tick() => {
                let before = std::mem::replace(&mut sent, connection.meter.sent());
                let is_slow = ((sent - before) as f64) < least;
                if is_slow && connection.responses.deadline(write_stall).is_some_and(|deadline| deadline <= now) {
                    return Err(Ended::Stalled { limit: write_stall });
                }
            }
            _ = stop.wait_for(|now| *now > phase) => {
                // Whoever may be anybody could hold up the end for as long as that may take, and can enrol later.
                if phase == Phase::Draining || !asked() || !known() {
                    return Err(Ended::Stopped);
                }
                phase = Phase::Draining;
                http.as_mut().graceful_shutdown();
            }
            () = deadline.as_mut(), if watched => {
                if !asked() {
                    return Err(Ended::RequestDeadline { limit: first_request });
                }
                watched = !known();
                if watched && began.elapsed() >= anonymous {
                    return Err(Ended::Anonymous { limit: anonymous });
                }
                deadline.as_mut().reset(began + anonymous);
            }
        }
    }
}

fn builder(streams: &Streams, room: &Room, limits: &Limits) -> http2::Builder<Streams> {
    let mut builder = http2::Builder::new(streams.clone());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(room.streams)
        .initial_stream_window_size(room.stream_window)
        .initial_connection_window_size(room.connection_window)
        .max_frame_size(nibble_proto::FRAME_BYTES)
        .max_header_list_size(HEADERS)
        .max_send_buf_size(SEND_BUFFER)
        .keep_alive_interval(limits.ping_interval)
        .keep_alive_timeout(limits.ping_timeout);
    builder
}
