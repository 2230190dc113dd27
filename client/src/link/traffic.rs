//! What a connection carries, watched from between TLS and HTTP/2.
//!
//! Progress is measured here and not by messages handed over, because on a slow link buffers take in far more than the
//! network carries away.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use rustls::AlertDescription;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Fewer bytes in a whole interval are pings, not a transfer.
const TRICKLE_BYTES: u64 = 256;

/// Bytes carried by all connections of a link so far, and the alert that ended the last one.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    read_bytes: AtomicU64,
    written_bytes: AtomicU64,
    alert: Mutex<Option<AlertDescription>>,
}

impl Traffic {
    /// Bytes of HTTP/2 read and written.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        (self.read_bytes.load(Ordering::Relaxed), self.written_bytes.load(Ordering::Relaxed))
    }

    /// Takes the TLS alert that the coordinator sent last. HTTP/2 above keeps only its text, and not always that.
    pub(super) fn take_alert(&self) -> Option<AlertDescription> {
        self.alert.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Runs `work` for as long as bytes move. `None` if they stopped for `patience`.
    pub(crate) async fn unless_stalled<T>(&self, patience: Duration, work: impl Future<Output = T>) -> Option<T> {
        let mut work = std::pin::pin!(work);
        let mut before = self.total();
        loop {
            match tokio::time::timeout(patience, &mut work).await {
                Ok(result) => return Some(result),
                Err(_) if self.total() - before < TRICKLE_BYTES => return None,
                Err(_) => before = self.total(),
            }
        }
    }

    fn total(&self) -> u64 {
        let (read, written) = self.bytes();
        read + written
    }

    fn note(&self, error: &io::Error) {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        if let Some(rustls::Error::AlertReceived(alert)) = inner {
            *self.alert.lock().unwrap_or_else(PoisonError::into_inner) = Some(*alert);
        }
    }
}

/// A stream whose traffic is watched.
pub(super) struct Watched<S> {
    pub(super) stream: S,
    pub(super) traffic: Arc<Traffic>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(cx, buffer);
        self.traffic.read_bytes.fetch_add((buffer.filled().len() - before) as u64, Ordering::Relaxed);
        if let Poll::Ready(Err(error)) = &result {
            self.traffic.note(error);
        }
        result
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, bytes);
        match &result {
            Poll::Ready(Ok(count)) => {
                self.traffic.written_bytes.fetch_add(*count as u64, Ordering::Relaxed);
            }
            Poll::Ready(Err(error)) => self.traffic.note(error),
            Poll::Pending => {}
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
