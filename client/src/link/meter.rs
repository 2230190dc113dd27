//! Bytes on the socket, counted where they leave and arrive, and stopped there.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Address, BoxedStream, Dial};

/// Counts the bytes of all connections of a link, and lets no more through than it was told.
#[derive(Debug, Default)]
pub struct Meter {
    ways: Mutex<[Way; 2]>,
}

/// One direction.
#[derive(Clone, Copy, Debug, Default)]
struct Way {
    counted: u64,
    limit: Option<u64>,
}

const UP: usize = 0;
const DOWN: usize = 1;

impl Meter {
    /// From now on lets as many bytes through, up and down; none, any number. Gives what was counted before.
    pub(crate) fn restart(&self, limits: [Option<u64>; 2]) -> [u64; 2] {
        let mut ways = self.ways();
        let counted = ways.map(|way| way.counted);
        *ways = limits.map(|limit| Way { counted: 0, limit });
        counted
    }

    /// Bytes that may pass now.
    fn room(&self, way: usize) -> io::Result<usize> {
        let Way { counted, limit } = self.ways()[way];
        match limit.map_or(u64::MAX, |limit| limit.saturating_sub(counted)) {
            0 => Err(io::Error::other("the budget allows no more bytes now")),
            room => Ok(usize::try_from(room).unwrap_or(usize::MAX)),
        }
    }

    fn count(&self, way: usize, bytes: usize) {
        self.ways()[way].counted += bytes as u64;
    }

    fn ways(&self) -> MutexGuard<'_, [Way; 2]> {
        self.ways.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Opens streams that a meter watches.
pub struct Metered {
    inner: Arc<dyn Dial>,
    meter: Arc<Meter>,
}

impl Metered {
    /// What `inner` opens, watched by `meter`.
    #[must_use]
    pub fn new(inner: Arc<dyn Dial>, meter: Arc<Meter>) -> Self {
        Self { inner, meter }
    }
}

impl Dial for Metered {
    fn dial<'a>(&'a self, address: &'a Address) -> BoxFuture<'a, io::Result<BoxedStream>> {
        Box::pin(async move {
            let (stream, meter) = (self.inner.dial(address).await?, Arc::clone(&self.meter));
            Ok(Box::new(Watched { stream, meter }) as BoxedStream)
        })
    }
}

struct Watched {
    stream: BoxedStream,
    meter: Arc<Meter>,
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let (before, room) = (buffer.filled().len(), self.meter.room(DOWN)?);
        let result = if room >= buffer.remaining() {
            Pin::new(&mut self.stream).poll_read(cx, buffer)
        } else {
            let mut bytes = [0; 1024];
            let mut part = ReadBuf::new(&mut bytes[..room.min(1024)]);
            let result = Pin::new(&mut self.stream).poll_read(cx, &mut part);
            buffer.put_slice(part.filled());
            result
        };
        self.meter.count(DOWN, buffer.filled().len() - before);
        result
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let most = self.meter.room(UP)?.min(bytes.len());
        let result = Pin::new(&mut self.stream).poll_write(cx, &bytes[..most]);
        if let Poll::Ready(Ok(count)) = result {
            self.meter.count(UP, count);
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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn no_byte_passes_beyond_the_limit() {
        let (near, mut far) = duplex(1 << 16);
        let meter = Arc::new(Meter::default());
        let mut near = Watched { stream: Box::new(near), meter: Arc::clone(&meter) };
        near.write_all(&[1; 3000]).await.unwrap();
        assert_eq!(meter.restart([Some(1000), Some(1500)]), [3000, 0]);
        assert!(near.write_all(&[2; 1001]).await.is_err());
        far.write_all(&[3; 5000]).await.unwrap();
        let mut bytes = vec![0; 5000];
        assert!(near.read_exact(&mut bytes).await.is_err());
        assert!(bytes[..1500] == [3; 1500] && bytes[1500..] == [0; 3500]);
        assert_eq!(meter.restart([None, None]), [1000, 1500]);
        near.read_exact(&mut bytes[..3500]).await.unwrap();
        far.read_exact(&mut [0; 4000]).await.unwrap();
        assert_eq!(meter.restart([None, None]), [0, 3500]);
    }
}
