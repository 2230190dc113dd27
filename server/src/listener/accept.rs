//! Where connections come from: a bound socket, or a test's simulated network.

use std::{future::Future, io, net::SocketAddr, time::Duration};

use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
};

/// How long a TCP connection may be silent before the kernel asks whether its other end is there.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// A source of connections.
pub trait Accept: Send {
    /// A connection's two directions.
    type Io: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// The next connection and the address of its other end. Dropping the future must lose no connection.
    ///
    /// # Errors
    /// If there is none now; the listener logs it, waits a little and asks again.
    fn accept(&mut self) -> impl Future<Output = io::Result<(Self::Io, SocketAddr)>> + Send;
}

impl Accept for TcpListener {
    type Io = TcpStream;

    async fn accept(&mut self) -> io::Result<(TcpStream, SocketAddr)> {
        let (stream, address) = TcpListener::accept(self).await?;
        // A socket that refuses an option is one that its peer has closed already: reading it will tell.
        let _ = stream.set_nodelay(true);
        let _ = SockRef::from(&stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE));
        Ok((stream, address))
    }
}
