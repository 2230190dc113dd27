//! The tasks of one connection's requests. They end with it: none is detached.

use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    sync::{Arc, Mutex},
    task::Poll,
};

use hyper::rt::Executor;
use tokio::task::JoinSet;

use super::lock;

/// The tasks; clones share them. The last one to drop aborts what still runs.
#[derive(Clone, Default)]
pub(super) struct Streams(Arc<Mutex<JoinSet<()>>>);

impl Streams {
    /// Frees the memory of tasks that ended, for as long as it is polled.
    pub(super) async fn reap(&self) -> Infallible {
        poll_fn(|cx| {
            let mut tasks = lock(&self.0);
            while let Poll::Ready(Some(ended)) = tasks.poll_join_next(cx) {
                if let Err(error) = ended
                    && error.is_panic()
                {
                    tracing::error!(%error, "a request handler panicked");
                }
            }
            Poll::Pending
        })
        .await
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        lock(&self.0).spawn(stream);
    }
}
