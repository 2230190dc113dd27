//! The two ends of the simulated network, as the processes know them.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
};

use futures_util::{FutureExt, future::BoxFuture};
use nibble_client::link::{Address, BoxedStream, Dial};
use nibble_server::listener::Accept;
use turmoil::net::{TcpListener, TcpStream};

/// The coordinator's name in the simulated network.
pub(crate) const COORDINATOR: &str = "coordinator";
const PORT: u16 = 7443;

/// Connects to the coordinator, whatever the address says.
pub(crate) struct Simulated;

impl Dial for Simulated {
    fn dial<'a>(&'a self, _: &'a Address) -> BoxFuture<'a, io::Result<BoxedStream>> {
        async { Ok(Box::new(TcpStream::connect((COORDINATOR, PORT)).await?) as BoxedStream) }.boxed()
    }
}

/// The coordinator's socket. An insecure coordinator serves loopback addresses only, so every peer is said to have one.
pub(crate) struct Socket(TcpListener);

impl Socket {
    pub(crate) async fn bind() -> io::Result<Self> {
        Ok(Self(TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).await?))
    }
}

impl Accept for Socket {
    type Io = TcpStream;

    async fn accept(&mut self) -> io::Result<(TcpStream, SocketAddr)> {
        let (stream, peer) = self.0.accept().await?;
        Ok((stream, (Ipv4Addr::LOCALHOST, peer.port()).into()))
    }
}
