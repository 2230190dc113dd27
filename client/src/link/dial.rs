//! Opening byte streams.

use std::io;

use futures_util::future::BoxFuture;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpSocket, TcpStream, lookup_host},
};

use super::Address;

/// Most bytes the kernel queues for sending. Pings wait behind them: on a link of 5 kB/s this is 26 s, less than the
/// 30 s after which an unanswered ping ends the connection; it still carries 1.3 MB/s over 100 ms.
const SEND_BUFFER_BYTES: u32 = 128 * 1024;

/// A connected byte stream.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Any connected byte stream.
pub type BoxedStream = Box<dyn Stream>;

/// Opens byte streams to a coordinator: the seam at which a simulated network takes the place of TCP.
pub trait Dial: Send + Sync {
    /// A new stream to `address`, before any TLS.
    fn dial<'a>(&'a self, address: &'a Address) -> BoxFuture<'a, io::Result<BoxedStream>>;
}

/// TCP.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tcp;

impl Dial for Tcp {
    fn dial<'a>(&'a self, address: &'a Address) -> BoxFuture<'a, io::Result<BoxedStream>> {
        Box::pin(async move {
            let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no addresses");
            for socket in lookup_host((address.host(), address.port())).await? {
                match connect(socket).await {
                    Ok(stream) => return Ok(Box::new(stream) as BoxedStream),
                    Err(error) => last = error,
                }
            }
            Err(last)
        })
    }
}

async fn connect(address: std::net::SocketAddr) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
    socket.set_keepalive(true)?;
    socket.set_nodelay(true)?;
    socket.connect(address).await
}
