//! A connection's socket, under TLS: bytes are counted, and a peer that reads nothing is not waited for.
//!
//! HTTP/2 pings find a peer that says nothing, but they and the farewell after them wait in line behind bytes that it
//! does not take.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

use super::meters::Meter;

/// A metered socket.
pub(super) struct Socket<Io> {
    io: Io,
    meter: Arc<Meter>,
    /// How long a write may make no progress.
    limit: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<Io> Socket<Io> {
    pub(super) fn new(io: Io, meter: Arc<Meter>, limit: Duration) -> Self {
        Self { io, meter, limit, stalled: None }
    }

    fn written(&mut self, result: Poll<io::Result<usize>>, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        match result {
            Poll::Ready(Ok(bytes)) => self.meter.count(0, bytes),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => return self.stall(cx).map(Err),
        }
        self.stalled = None;
        result
    }

    /// The error of a write that waited for too long.
    fn stall(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let limit = self.limit;
        let timer = self.stalled.get_or_insert_with(|| Box::pin(sleep(limit)));
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(io::Error::new(io::ErrorKind::TimedOut, format!("the peer has read nothing for {limit:?}")))
    }
}

impl<Io: AsyncRead + Unpin> AsyncRead for Socket<Io> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = Pin::new(&mut self.io).poll_read(cx, buf);
        self.meter.count(buf.filled().len() - before, 0);
        result
    }
}

impl<Io: AsyncWrite + Unpin> AsyncWrite for Socket<Io> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.io).poll_write(cx, buf);
        self.written(result, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.written(result, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.io).poll_shutdown(cx) {
            Poll::Pending => self.stall(cx).map(Err),
            done => done,
        }
    }
}
