//! A request's body that fails when its connection is slower than the least rate.
//!
//! Only the time in which a handler waits for the body counts, so a handler that is busy does no client harm.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};
use tonic::Status;

use super::{Pace, Rate, TooSlow, meters::Meter};

/// A watched body.
pub(super) struct Paced {
    body: Incoming,
    meter: Arc<Meter>,
    pace: Pace,
    /// The connection's bytes that the pace knows of.
    counted: u64,
    /// Since when nobody waits for the body.
    idle_since: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Paced {
    pub(super) fn new(body: Incoming, meter: Arc<Meter>, rate: Rate) -> Self {
        let now = Instant::now();
        let counted = meter.received();
        Self { body, meter, pace: Pace::new(rate, now), counted, idle_since: Some(now), timer: None }
    }

    fn advance(&mut self, now: Instant) -> Result<(), TooSlow> {
        let received = self.meter.received();
        let bytes = received - self.counted;
        self.counted = received;
        self.pace.advance(bytes, now)
    }

    /// The error of a peer that is too slow.
    fn poll_too_slow(&mut self, cx: &mut Context<'_>) -> Poll<TooSlow> {
        loop {
            if let Err(slow) = self.advance(Instant::now()) {
                return Poll::Ready(slow);
            }
            let deadline = self.pace.deadline();
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
            if timer.deadline() != deadline {
                timer.as_mut().reset(deadline);
            }
            ready!(timer.as_mut().poll(cx));
        }
    }
}

impl Body for Paced {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        let now = Instant::now();
        if let Some(since) = this.idle_since.take() {
            this.pace.pause(now.saturating_duration_since(since));
        }
        let slow = match Pin::new(&mut this.body).poll_frame(cx) {
            Poll::Pending => ready!(this.poll_too_slow(cx)),
            Poll::Ready(Some(Ok(frame))) => match this.advance(now) {
                Ok(()) => {
                    this.idle_since = Some(now);
                    return Poll::Ready(Some(Ok(frame)));
                }
                Err(slow) => slow,
            },
            Poll::Ready(end) => {
                return Poll::Ready(end.map(|frame| frame.map_err(|error| Status::from_error(error.into()))));
            }
        };
        tracing::info!(%slow, "request given up");
        Poll::Ready(Some(Err(Status::deadline_exceeded(slow.to_string()))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
