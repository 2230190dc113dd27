//! HTTP/2 over TLS over whatever was dialled.

use std::{io, sync::Arc, time::Duration};

use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint};

use super::{Address, BoxedStream, Dial, Traffic, tls::ALPN, traffic::Watched};

/// Longest time to connect, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// How often a silent connection is pinged, and how long the answer may take.
const PING: Duration = Duration::from_secs(30);
/// Bytes the coordinator may send ahead of what was read: bounds memory, and carries 10 MB/s over 100 ms.
const WINDOW_BYTES: u32 = 1024 * 1024;
/// Calls that wait for the connection; the agent makes one at a time.
const QUEUE: usize = 4;

/// A channel that connects when it is first used, and again after every break.
pub(crate) fn connect(
    address: &Address,
    tls: Option<Arc<ClientConfig>>,
    dial: Arc<dyn Dial>,
    traffic: Arc<Traffic>,
) -> Channel {
    let endpoint = Endpoint::from(address.uri())
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(PING)
        .keep_alive_timeout(PING)
        .keep_alive_while_idle(true)
        .max_frame_size(nibble_proto::FRAME_BYTES)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .buffer_size(QUEUE);
    let address = address.clone();
    endpoint.connect_with_connector_lazy(tower::service_fn(move |_| {
        let (address, tls, dial, traffic) = (address.clone(), tls.clone(), Arc::clone(&dial), Arc::clone(&traffic));
        async move {
            let stream = dial.dial(&address).await?;
            let stream = match tls {
                Some(tls) => encrypt(&address, tls, stream).await?,
                None => stream,
            };
            Ok::<_, io::Error>(TokioIo::new(Watched { stream, traffic }))
        }
    }))
}

async fn encrypt(address: &Address, tls: Arc<ClientConfig>, stream: BoxedStream) -> io::Result<BoxedStream> {
    let stream = TlsConnector::from(tls).connect(address.server_name(), stream).await?;
    if stream.get_ref().1.alpn_protocol() != Some(ALPN) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the server does not speak HTTP/2"));
    }
    Ok(Box::new(stream))
}
