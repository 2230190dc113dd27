//! The loop.

use std::{path::PathBuf, sync::Arc, time::Duration};

use nibble_proto::{
    crash,
    v1::{self, UpdateHeader, UpdateRef, check_in_response::Instruction, upload_update_response},
};
use nibble_seed::Seed;
use rustls_pki_types::UnixTime;
use tokio::time::{Instant, sleep, sleep_until};
use tonic::Code;
use tracing::Instrument;

use super::{
    AgentError, Backoff, TrainerSource, Training,
    order::Order,
    purse::{CALL, Purse},
    spending::{Affordable, ROUND_IS_SPENT},
    workbench::{Setback, Settlement, Workbench},
};
use crate::{
    identity,
    link::{CallError, Link},
    state::{Store, Summary},
    transfer::{Download, Upload, Wanted},
};

/// Shortest and longest pause that a coordinator can ask for.
const PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(3600));
/// Most bytes of a reason that a coordinator keeps.
const REASON_BYTES: usize = 200;
/// How long after a renewal that failed the next one is tried.
const RENEWAL_PAUSE: Duration = Duration::from_secs(3600);

/// How an agent behaves.
#[derive(Clone, Debug)]
pub struct AgentConfig {
    /// Longest time a check-in is held while there is nothing to do.
    pub hold: Duration,
    /// Where training happens.
    pub training: Training,
    /// Least time that training for a round takes; for trials.
    pub slowness: Duration,
    /// Stream of the jitter of pauses; see [`jitter_from_system`](super::jitter_from_system).
    pub jitter: Seed,
    /// Renews the certificate in this directory by this clock; without it, a certificate is used until it ends.
    pub renewal: Option<(PathBuf, fn() -> UnixTime)>,
}

impl AgentConfig {
    /// Check-ins held 20 s, training on a thread of its own, no renewal.
    #[must_use]
    pub fn new(jitter: Seed) -> Self {
        Self {
            hold: Duration::from_secs(20),
            training: Training::default(),
            slowness: Duration::ZERO,
            jitter,
            renewal: None,
        }
    }
}

/// How an agent ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The run is over.
    Finished {
        /// The run.
        run: String,
    },
    /// The budget for the run is spent.
    Spent,
    /// The caller wanted it to stop.
    Stopped,
}

/// A client of one coordinator.
pub struct Agent {
    config: AgentConfig,
    link: Link,
    /// Away while work is done on another thread.
    bench: Option<Workbench>,
    backoff: Backoff,
    connected: Option<Box<dyn FnOnce() + Send>>,
    download: Option<Download>,
    upload: Option<Upload>,
    renew_after: Option<Instant>,
    /// What may be spent, if that is capped.
    pub(super) purse: Option<Purse>,
}

impl Agent {
    /// An agent that trains with what `trainers` makes on `samples`, indices into the trainers' training data.
    #[must_use]
    pub fn new(
        config: AgentConfig,
        link: Link,
        store: Store,
        trainers: impl TrainerSource + 'static,
        samples: Vec<u32>,
    ) -> Self {
        let bench = Some(Workbench::new(store, Box::new(trainers), samples));
        let backoff = Backoff::new(config.jitter);
        Self {
            config,
            link,
            bench,
            backoff,
            connected: None,
            download: None,
            upload: None,
            renew_after: None,
            purse: None,
        }
    }

    /// Calls `connected` once, when the first check-in has succeeded.
    #[must_use]
    pub fn on_connected(self, connected: impl FnOnce() + Send + 'static) -> Self {
        Self { connected: Some(Box::new(connected)), ..self }
    }

    /// Spends no more than `purse` allows, whose meter watches the link.
    #[must_use]
    pub fn with_purse(self, purse: Purse) -> Self {
        Self { purse: Some(purse), ..self }
    }

    /// Does what the coordinator says until the run is over or `stop` completes. What matters is on disk at any time, so
    /// it may also be dropped.
    ///
    /// # Errors
    /// If the coordinator refuses this device, or the state on disk cannot be kept. All else is tried again.
    pub async fn run(mut self, stop: impl Future<Output = ()>) -> Result<Ended, AgentError> {
        tokio::select! {
            biased;
            () = stop => Ok(Ended::Stopped),
            ended = self.work() => ended,
        }
    }

    async fn work(&mut self) -> Result<Ended, AgentError> {
        loop {
            match self.turn().await {
                Ok(None) => {}
                Ok(Some(ended)) => return Ok(ended),
                Err(error) if error.is_passing() => {
                    let pause = self.backoff.pause();
                    tracing::warn!(%error, pause_ms = pause.as_millis() as u64, "trying again");
                    sleep(pause).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// One check-in and what it leads to.
    async fn turn(&mut self) -> Result<Option<Ended>, AgentError> {
        let pending = self.pending();
        match self.afford_check_in(pending.is_some()).await? {
            Affordable::Now => {}
            Affordable::Later => return Ok(None),
            Affordable::Never => return Ok(Some(Ended::Spent)),
        }
        self.renew().await?;
        let (held, allowance) = (self.bench().held(), self.allowance());
        let (instruction, budget) = self.link.check_in(pending.clone(), held, allowance, self.config.hold).await?;
        self.is_allowed(budget);
        if let Some(connected) = self.connected.take() {
            connected();
        }
        match (instruction, pending) {
            (Instruction::Wait(wait), _) => {
                self.backoff.reset();
                let (shortest, longest) = PAUSES;
                sleep(Duration::from_millis(wait.retry_after_ms.into()).clamp(shortest, longest)).await;
            }
            (Instruction::Assignment(assignment), None) => {
                let span = tracing::info_span!("round", run = assignment.run, round = assignment.round);
                self.take_part(assignment).instrument(span).await?;
            }
            (Instruction::SendPending(_), Some(update)) => {
                let span = tracing::info_span!("round", run = update.run, round = update.round);
                self.send().instrument(span).await?;
            }
            (Instruction::Receipt(receipt), Some(update)) => {
                let span = tracing::info_span!("round", run = update.run, round = update.round);
                self.settle(receipt, &update).instrument(span).await?;
            }
            (Instruction::Finished(finished), pending) => {
                tracing::info!(run = finished.run, pending = pending.is_some(), "the run is over");
                return Ok(Some(Ended::Finished { run: finished.run }));
            }
            (Instruction::Assignment(_), Some(_)) => {
                return Err(CallError::Protocol("it assigns a round while an update is pending").into());
            }
            (Instruction::SendPending(_) | Instruction::Receipt(_), None) => {
                return Err(CallError::Protocol("it asks about an update when none is pending").into());
            }
        }
        Ok(None)
    }

    /// Trains for a round and sends the update.
    async fn take_part(&mut self, assignment: v1::Assignment) -> Result<(), AgentError> {
        let (run, round) = (assignment.run.clone(), assignment.round);
        let order = match Order::try_from(assignment) {
            Ok(order) => Arc::new(order),
            Err(reason) => return self.decline(run, round, reason).await,
        };
        if let Some(purse) = &mut self.purse {
            purse.is_of(&run);
        }
        let task = Arc::clone(&order);
        let mut missing = self.at_bench(move |bench| bench.prepare(&task)).await;
        loop {
            let wanted = match missing {
                Ok(None) => break,
                Ok(Some(wanted)) => wanted,
                Err(reason) => return self.decline(run, round, reason).await,
            };
            let bytes = wanted.frame_bytes.iter().sum::<usize>() as u64;
            if let Err(reason) = self.afford("the model", [0, bytes], false)? {
                return self.decline(run, round, reason).await;
            }
            let frames = self.fetch(&wanted).await?;
            let task = Arc::clone(&order);
            missing = self.at_bench(move |bench| bench.receive(&task, &wanted, frames)).await;
        }
        // An update that cannot be sent is not trained for.
        let update = self.bench().update_bytes;
        if let Err(reason) = self.afford("the update", [update, 0], true)? {
            return self.decline(run, round, reason).await;
        }
        tracing::info!(phase = "train", architecture = order.architecture, scheme = %order.scheme, "training");
        let until = Instant::now() + self.config.slowness;
        let performed = self.at_bench(move |bench| bench.perform(&order)).await;
        if !self.config.slowness.is_zero() {
            sleep_until(until).await;
        }
        match performed {
            Ok(payload) => {
                let pending = self.bench().store.summary().pending;
                let (samples, loss) = pending.map_or((0, f64::NAN), |update| (update.samples, update.train_loss));
                tracing::info!(
                    phase = "encode",
                    bytes = payload.len(),
                    samples,
                    loss,
                    "trained; the update is pending"
                );
                self.upload = Some(self.upload_of(payload, false)?);
                self.send().await
            }
            Err(Setback::Decline(reason)) => self.decline(run, round, reason).await,
            Err(Setback::State(error)) => Err(error.into()),
        }
    }

    /// Frames that are wanted: the rest of them, if a part has come before. None if there are no such delta frames.
    async fn fetch(&mut self, wanted: &Wanted) -> Result<Option<Vec<u8>>, AgentError> {
        let held = self.download.take().filter(|download| download.is_of(wanted));
        let mut download = held.unwrap_or_else(|| Download::new(wanted.clone()));
        let (before, (read_before, _)) = (download.len(), self.link.bytes());
        let result = download.resume(&self.link).await;
        if download.len() > before {
            self.backoff.reset();
        }
        match result {
            Ok(()) => {}
            Err(CallError::Failed { code: Code::NotFound, .. }) if wanted.base.is_some() => return Ok(None),
            Err(error) => {
                self.download = Some(download);
                return Err(error.into());
            }
        }
        let wire_bytes = self.link.bytes().0 - read_before;
        let (bytes, frames, delta) = (download.len(), wanted.frame_bytes.len(), wanted.base.is_some());
        tracing::info!(phase = "download", bytes, frames, delta, resumed_at = before, wire_bytes, "the model is here");
        Ok(Some(download.into_frames()))
    }

    /// Sends the pending update: the rest of it, if a part has arrived before.
    async fn send(&mut self) -> Result<(), AgentError> {
        let mut upload = match self.upload.take() {
            Some(upload) => upload,
            None => {
                let payload = self.at_bench(|bench| bench.store.payload()).await?;
                self.upload_of(payload, true)?
            }
        };
        let rest = upload.payload.len() as u64 - upload.offset();
        if let Err(reason) = self.afford("the update", [rest, 0], false)? {
            tracing::warn!(reason, "the update is not sent now");
            self.upload = Some(upload);
            sleep(ROUND_IS_SPENT).await;
            return Ok(());
        }
        let (before, (_, written_before)) = (upload.offset(), self.link.bytes());
        let result = upload.resume(&self.link).await;
        if upload.offset() > before {
            self.backoff.reset();
        }
        let (bytes, resumed_at) = (upload.payload.len(), upload.offset());
        match result {
            Ok(upload_update_response::Result::Stored(_)) => {
                let wire_bytes = self.link.bytes().1 - written_before;
                tracing::info!(phase = "upload", bytes, resumed_at, wire_bytes, "the update is stored");
                crash::point("update-sent");
                self.backoff.reset();
                Ok(())
            }
            Ok(upload_update_response::Result::Receipt(receipt)) => match self.pending() {
                Some(update) => self.settle(receipt, &update).await,
                None => Err(CallError::Protocol("it settles an update when none is pending").into()),
            },
            Err(error) => {
                self.upload = Some(upload);
                Err(error.into())
            }
        }
    }

    /// Moves the residual on a receipt for exactly the pending update.
    async fn settle(&mut self, receipt: v1::Receipt, pending: &UpdateRef) -> Result<(), AgentError> {
        if receipt.update.as_ref() != Some(pending) {
            return Err(CallError::Protocol("it sends a receipt for another update than the pending one").into());
        }
        let settlement = match receipt.outcome() {
            v1::Outcome::Accepted => Settlement::Accepted,
            v1::Outcome::Rejected | v1::Outcome::Discarded => Settlement::Returned,
            v1::Outcome::Unspecified => return Err(CallError::Protocol("a receipt tells no outcome").into()),
        };
        self.upload = None;
        crash::point("receipt-heard");
        self.at_bench(move |bench| bench.settle(settlement)).await?;
        self.backoff.reset();
        let (outcome, reason) = (receipt.outcome().as_str_name(), receipt.reason().as_str_name());
        tracing::info!(phase = "settle", outcome, reason, detail = receipt.detail, "the update is settled");
        Ok(())
    }

    /// Takes no part in a round. The residual stays as it lies on disk.
    async fn decline(&mut self, run: String, round: u64, mut reason: String) -> Result<(), AgentError> {
        self.download = None;
        reason.truncate(reason.floor_char_boundary(REASON_BYTES));
        tracing::warn!(phase = "decline", reason, "this client takes no part in the round");
        if let Some(purse) = &mut self.purse {
            // Where even this is too much, nothing passes, and the call fails.
            let _ = purse.set_aside(CALL, [0; 2])?;
        }
        self.link.decline(run, round, reason).await?;
        // A coordinator that assigns the same again would otherwise be declined without a pause.
        sleep(self.backoff.pause()).await;
        Ok(())
    }

    /// Renews the certificate if it ends soon. Until it has ended, a renewal that failed does no harm.
    async fn renew(&mut self) -> Result<(), AgentError> {
        let (Some((dir, now)), Some(device)) = (&self.config.renewal, self.link.device()) else { return Ok(()) };
        let now = now();
        if !device.validity().is_nearly_over(now) || self.renew_after.is_some_and(|after| Instant::now() < after) {
            return Ok(());
        }
        self.renew_after = Some(Instant::now() + RENEWAL_PAUSE);
        match identity::renew(&mut self.link, &dir.clone(), now).await {
            Ok(device) => {
                tracing::info!(until_unix = device.validity().until, "the certificate was renewed");
                self.upload = None; // it was signed with the key that has gone
            }
            Err(error) => {
                let error = AgentError::from(error);
                if error.is_refusal() {
                    return Err(error);
                }
                tracing::warn!(%error, "the certificate could not be renewed");
            }
        }
        Ok(())
    }

    /// The pending update as messages name it.
    fn pending(&self) -> Option<UpdateRef> {
        let Summary { run, pending, .. } = self.bench().store.summary();
        pending.map(|update| UpdateRef {
            run: run.clone(),
            round: update.round.0,
            payload_sha256: update.payload_sha256.to_vec().into(),
        })
    }

    /// The pending update, with its payload, ready to be sent.
    fn upload_of(&self, payload: bytes::Bytes, begun: bool) -> Result<Upload, AgentError> {
        let update = self.pending();
        let Summary { run, pending: Some(facts), .. } = self.bench().store.summary() else {
            return Err(CallError::Protocol("it asks for an update when none is pending").into());
        };
        let signature = match self.link.device() {
            Some(device) => device.sign(run, facts.round.0, &facts.payload_sha256)?,
            None => Vec::new(),
        };
        let header = UpdateHeader {
            update,
            samples: facts.samples,
            payload_bytes: payload.len() as u64,
            offset: 0,
            signature: signature.into(),
            train_loss: facts.train_loss,
            start_loss: facts.start_loss,
            nmse: facts.nmse,
        };
        Ok(Upload { header, payload, begun })
    }

    fn bench(&self) -> &Workbench {
        self.bench.as_ref().expect("the bench is back whenever no work is awaited")
    }

    /// Does a piece of work where the configuration says.
    async fn at_bench<R: Send + 'static>(&mut self, work: impl FnOnce(&mut Workbench) -> R + Send + 'static) -> R {
        let mut bench = self.bench.take().expect("the bench is back whenever no work is awaited");
        let (bench, result) = match self.config.training {
            Training::Inline => {
                let result = work(&mut bench);
                (bench, result)
            }
            Training::OwnThread => {
                let job = tokio::task::spawn_blocking(move || {
                    let result = work(&mut bench);
                    (bench, result)
                });
                match job.await {
                    Ok(done) => done,
                    Err(error) => std::panic::resume_unwind(error.into_panic()),
                }
            }
        };
        self.bench = Some(bench);
        result
    }
}
