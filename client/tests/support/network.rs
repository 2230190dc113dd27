//! Connections in memory, each of which may break after so many bytes.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use futures_util::future::BoxFuture;
use nibble_client::link::{Address, BoxedStream, Dial};
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf},
    sync::mpsc,
};

/// When a connection breaks: after so many bytes were read, or written, by the client.
#[derive(Clone, Copy, Debug)]
pub struct Cut {
    pub read: usize,
    pub written: usize,
}

impl Cut {
    pub const NEVER: Self = Self { read: usize::MAX, written: usize::MAX };
}

/// A network with one listener.
pub struct Network {
    listener: mpsc::UnboundedSender<io::Result<DuplexStream>>,
    cuts: Mutex<VecDeque<Cut>>,
}

impl Network {
    /// A network, and the connections that its listener accepts. The first connections break as `cuts` say.
    pub fn new(cuts: impl IntoIterator<Item = Cut>) -> (Arc<Self>, mpsc::UnboundedReceiver<io::Result<DuplexStream>>) {
        let (listener, accepted) = mpsc::unbounded_channel();
        (Arc::new(Self { listener, cuts: Mutex::new(cuts.into_iter().collect()) }), accepted)
    }
}

impl Dial for Network {
    fn dial<'a>(&'a self, _: &'a Address) -> BoxFuture<'a, io::Result<BoxedStream>> {
        let (near, far) = tokio::io::duplex(16 * 1024);
        let left = self.cuts.lock().unwrap().pop_front().unwrap_or(Cut::NEVER);
        let sent = self.listener.send(Ok(far)).map_err(|_| io::ErrorKind::ConnectionRefused.into());
        Box::pin(async move { sent.map(|()| Box::new(Breaking { stream: near, left }) as BoxedStream) })
    }
}

struct Breaking {
    stream: DuplexStream,
    left: Cut,
}

fn broken() -> Poll<io::Result<usize>> {
    Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
}

impl AsyncRead for Breaking {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.left.read == 0 || self.left.written == 0 {
            return broken().map_ok(|_| ());
        }
        let mut part = [0; 4096];
        let len = part.len().min(self.left.read).min(buffer.remaining());
        let mut part = ReadBuf::new(&mut part[..len]);
        let result = Pin::new(&mut self.stream).poll_read(cx, &mut part);
        buffer.put_slice(part.filled());
        self.left.read -= part.filled().len();
        result
    }
}

impl AsyncWrite for Breaking {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.left.read == 0 || self.left.written == 0 {
            return broken();
        }
        let bytes = &bytes[..bytes.len().min(self.left.written)];
        let result = Pin::new(&mut self.stream).poll_write(cx, bytes);
        if let Poll::Ready(Ok(count)) = result {
            self.left.written -= count;
        }
        result
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
