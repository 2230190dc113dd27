//! The coordinator as a process: everything put together, started in order, and stopped in order.
//!
//! ```text
//! start: lock, store, spool, models --> coordinator (on a thread of its own) --> services --> listener
//! stop:  held calls are answered --> listener drains --> nobody can command any more --> coordinator --> evaluation, copies
//! ```

use std::{
    fs::{self, File, TryLockError},
    future::Future,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot, watch},
    time::timeout,
};

use crate::{
    budget::Budgets,
    clock::Clock,
    coordinator::{Coordinator, CoordinatorError, Handle, Ledger, Parts, Plan},
    evaluation::{Evaluate, Evaluation},
    listener::{self, Accept, Limits, Listener, Meters, Security},
    models::{self, Bucket, ModelError, Models},
    service::{DiskWork, Enrolment, Services, StoreDirectory},
    spool::{Spool, SpoolError},
    store::{Store, StoreError},
};

/// How long copies of models to a bucket may hold up the end of the process.
const COPYING: Duration = Duration::from_secs(10);

/// What stops a coordinator's process.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProcessError {
    /// The state directory cannot be used.
    #[error("cannot use the state directory {}: {error}", path.display())]
    State {
        /// The directory or a file in it.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// Another process uses it.
    #[error("another coordinator uses {}; stop it, or name another state directory", path.display())]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// The coordinator failed.
    #[error(transparent)]
    Coordinator(#[from] CoordinatorError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Models cannot be kept.
    #[error(transparent)]
    Models(#[from] ModelError),
    /// Uploads cannot be kept.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// No thread could be started, or one panicked.
    #[error("the coordinator's thread failed: {0}")]
    Thread(String),
}

/// What a process is made of.
pub struct Process {
    /// The run.
    pub plan: Arc<Plan>,
    /// Directory of everything that is kept.
    pub state: PathBuf,
    /// Bucket that keeps a copy of every model.
    pub models: Option<String>,
    /// Threads to fold with.
    pub threads: usize,
    /// Bounds on connections.
    pub limits: Limits,
    /// What devices may spend.
    pub budgets: Budgets,
    /// TLS, or none.
    pub security: Security,
    /// Certificates; `None` on an insecure coordinator.
    pub enrolment: Option<Arc<Enrolment>>,
    /// Evaluates every new model.
    pub evaluator: Option<Box<dyn Evaluate>>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where to wait for the disk, and whether the coordinator has a thread of its own.
    pub disk: DiskWork,
    /// Counts bytes and connections.
    pub meters: Meters,
    /// Told `true` once the last round has ended.
    pub over: watch::Sender<bool>,
}

impl Process {
    /// Serves clients that come through `accept` until `stop`. The run starts from the parameters that `initial` gives, or
    /// goes on from where it was.
    ///
    /// # Errors
    /// If the state cannot be used, or the store, the spool or the models fail.
    pub async fn serve<A: Accept>(
        self,
        accept: A,
        initial: impl FnOnce() -> Vec<f32>,
        stop: impl Future<Output = ()>,
    ) -> Result<(), ProcessError> {
        let _lock = lock(&self.state)?;
        let run = &self.plan.name;
        let [spool, models] = ["spool", "models"].map(|part| self.state.join(part).join(run));
        [&spool, &models].into_iter().try_for_each(|directory| make(directory))?;
        let spool = Spool::open(spool)?;
        let bucket = self.models.as_deref().map(Bucket::at).transpose()?.map(|bucket| bucket.of(run));
        let has_bucket = bucket.is_some();
        let models = Arc::new(Models::open(models, bucket)?);
        let ledger = Arc::new(Ledger::new(self.meters.clone()));
        let mut followers = Vec::new();
        let evaluating = match self.evaluator {
            Some(evaluator) => {
                let of = (run.as_str(), &self.plan.layout);
                let (sender, thread) = Evaluation::new(evaluator, &self.state, of, Arc::clone(&models))?.spawn();
                followers.push(sender);
                Some(thread)
            }
            None => None,
        };
        let copying = has_bucket.then(|| {
            let (sender, new) = mpsc::unbounded_channel();
            followers.push(sender);
            tokio::spawn(models::copy(Arc::clone(&models), new))
        });
        let is_over = self.over.subscribe();
        let parts = Parts {
            plan: Arc::clone(&self.plan),
            store: Store::open(&self.state)?,
            spool: Arc::clone(&spool),
            models: Arc::clone(&models),
            clock: Arc::clone(&self.clock),
            ledger: Arc::clone(&ledger),
            threads: self.threads,
            followers,
            over: self.over,
        };
        let coordinator = Coordinator::start(parts, initial).await?;
        let (handle, commands) = Handle::new();
        let (drain, draining) = watch::channel(false);
        let (ended, result) = spawn(self.disk, coordinator.run(commands, told(draining)))?;
        let clock = Arc::clone(&self.clock);
        let services = Services {
            coordinator: handle,
            plan: self.plan,
            spool,
            models,
            ledger,
            enrolment: self.enrolment,
            budgets: Arc::new(self.budgets),
            clock: self.clock,
            disk: self.disk,
        };
        let listener = Listener {
            security: self.security,
            directory: Arc::new(StoreDirectory::new(Store::open(&self.state)?)),
            limits: self.limits,
            clock: crate::identity::Clock::new(move || clock.now().as_secs()),
            meters: self.meters,
        };
        let (routes, health) = services.routes().await;
        let stop = async {
            tokio::select! {
                () = stop => {}
                // A coordinator that ends before it was told to has failed: nobody is served any longer.
                () = told(ended) => {}
            }
            health.stops().await;
            drain.send_replace(true);
        };
        listener::serve(accept, routes, listener, stop).await;
        // With the services the last handle is gone, so the coordinator ends, and nobody is told of new models any more.
        let result = result.await.map_err(|_| ProcessError::Thread("it panicked".into()))?;
        if let Some(evaluating) = evaluating {
            let whole = *is_over.borrow(); // else what waits is evaluated at the next start
            if !matches!(self.disk.run(move || evaluating.end(whole)).await, Ok(Ok(()))) {
                tracing::warn!("the last models may not have been evaluated");
            }
        }
        if let Some(copying) = copying
            && timeout(COPYING, copying).await.is_err()
        {
            tracing::warn!("the bucket lacks models; the next start copies them");
        }
        Ok(result?)
    }
}

type Ended = (watch::Receiver<bool>, oneshot::Receiver<Result<(), CoordinatorError>>);

/// Runs the coordinator; gives a signal of its end, and its result.
fn spawn(
    disk: DiskWork,
    coordinating: impl Future<Output = Result<(), CoordinatorError>> + Send + 'static,
) -> Result<Ended, ProcessError> {
    let (ended, end) = watch::channel(false);
    let (sender, result) = oneshot::channel();
    let whole = async move {
        let outcome = coordinating.await;
        if let Err(error) = &outcome {
            tracing::error!(%error, "the coordinator failed");
        }
        drop(sender.send(outcome));
        ended.send_replace(true);
    };
    match disk {
        DiskWork::InPlace => drop(tokio::spawn(whole)),
        DiskWork::OnThreads => {
            let failed = |error: io::Error| ProcessError::Thread(error.to_string());
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
            let thread = thread::Builder::new().name("coordinator".into());
            thread.spawn(move || runtime.block_on(whole)).map_err(failed)?;
        }
    }
    Ok((end, result))
}

/// Ends when `signal` is true, or can no longer become so.
async fn told(mut signal: watch::Receiver<bool>) {
    drop(signal.wait_for(|told| *told).await);
}

/// Makes a directory two levels below the state directory; its name is durable on return, as the files in it are to be.
fn make(directory: &Path) -> Result<(), ProcessError> {
    let make = || {
        fs::create_dir_all(directory)?;
        directory.ancestors().skip(1).take(2).try_for_each(|above| File::open(above)?.sync_all())
    };
    make().map_err(|error| ProcessError::State { path: directory.into(), error })
}

/// Keeps other processes out of the state directory until the file is dropped.
fn lock(state: &Path) -> Result<File, ProcessError> {
    let path = state.join("lock");
    let failed = |error| ProcessError::State { path: path.clone(), error };
    fs::create_dir_all(state).map_err(failed)?;
    let file = File::create(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(ProcessError::Locked { path: state.into() }),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}
