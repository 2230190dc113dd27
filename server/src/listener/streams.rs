//! The tasks of one connection's requests. They end with it: none is detached.

use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    sync::{Arc, Mutex},
    task::{Context, Poll, ready},
};

use hyper::rt::Executor;
use tokio::task::JoinSet;

use super::lock;

/// The tasks; clones share them.
#[derive(Clone, Default)]
pub(super) struct Streams(Arc<Mutex<JoinSet<()>>>);

impl Streams {
    /// Frees the memory of tasks that ended, for as long as it is polled.
    pub(super) async fn reap(&self) -> Infallible {
        poll_fn(|cx| {
            // `Ready` is of no tasks at all: there may be some again.
            let _ = self.poll_ended(cx);
            Poll::Pending
        })
        .await
    }

    /// Aborts the tasks and waits until they are gone.
    pub(super) async fn end(&self) {
        lock(&self.0).abort_all();
        poll_fn(|cx| self.poll_ended(cx)).await;
    }

    fn poll_ended(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut tasks = lock(&self.0);
        while let Some(ended) = ready!(tasks.poll_join_next(cx)) {
            if let Err(error) = ended
                && error.is_panic()
            {
                tracing::error!(%error, "a request handler panicked");
            }
        }
        Poll::Ready(())
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        lock(&self.0).spawn(stream);
    }
}
