//! Responses of which a peer takes nothing, though it answers pings: by leaving no room in HTTP/2's windows.
//!
//! A body notes when a part of it was handed over to be sent; the next is asked for as soon as there is room for it. What is
//! waited for in between is the peer. A body that itself has nothing to hand over, as of a watched health, waits for nobody.
//! Whether a peer is slow or takes nothing, the connection's bytes tell.
//!
//! Absent on purpose: the last part of a response. HTTP/2's own buffers hold that, and nothing else waits for it.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, Weak},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::Instant;
use tonic::Status;

use super::lock;

/// Since when a peer is waited for; none, if it is not.
type Since = Mutex<Option<Instant>>;

/// The responses of a connection that are on their way.
#[derive(Default)]
pub(super) struct Responses(Mutex<Vec<Weak<Since>>>);

impl Responses {
    /// The same body, watched.
    pub(super) fn watch(&self, body: tonic::body::Body) -> tonic::body::Body {
        let since = Arc::<Since>::default();
        let mut all = lock(&self.0);
        all.retain(|since| since.strong_count() > 0);
        all.push(Arc::downgrade(&since));
        tonic::body::Body::new(Watched { body, since })
    }

    /// When nothing has been taken of one of them for `limit`, if nothing is until then.
    pub(super) fn deadline(&self, limit: Duration) -> Option<Instant> {
        let since = |since: &Weak<Since>| *lock(&*since.upgrade()?);
        lock(&self.0).iter().filter_map(since).min().map(|since| since + limit)
    }
}

struct Watched {
    body: tonic::body::Body,
    since: Arc<Since>,
}

impl Body for Watched {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        let is_handed_over = matches!(&frame, Poll::Ready(Some(Ok(frame))) if frame.is_data());
        *lock(&self.since) = is_handed_over.then(Instant::now);
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
