//! The work between two messages: training, encoding, settling. It blocks, on a processor or a disk.

use std::{convert::Infallible, num::NonZeroUsize, thread::available_parallelism};

use bytes::Bytes;
use nibble_codec::{Coding, DecodeError, Intent, Layout, Outcome, Payload, Residual};
use sha2::{Digest, Sha256};

use super::{
    AgentError, TrainerSource,
    order::{Order, Path},
};
use crate::{
    Assignment, ClientError, Participant,
    state::{PendingUpdate, StateError, Store, in_bytes},
    transfer::Wanted,
};

/// Where a client trains.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Training {
    /// On a thread of its own, so that the connection stays alive meanwhile.
    #[default]
    OwnThread,
    /// On the thread that polls the agent, for simulations whose every step is to be in a fixed order.
    Inline,
}

/// What a client works with. One piece of work has it at a time.
pub(super) struct Workbench {
    pub(super) store: Store,
    trainers: Box<dyn TrainerSource>,
    samples: Vec<u32>,
    participant: Option<Prepared>,
    /// Most bytes of the update that was prepared for.
    pub(super) update_bytes: u64,
    /// The global model held last, here and on disk.
    global: Option<Global>,
}

struct Prepared {
    architecture: String,
    participant: Participant,
}

struct Global {
    sha256: [u8; 32],
    parameters: Vec<f32>,
    /// Whether it is on disk, too.
    kept: bool,
}

/// Why there is no update.
pub(super) enum Setback {
    /// The round is to be declined, for this reason.
    Decline(String),
    /// The state cannot be kept.
    State(StateError),
}

impl From<StateError> for Setback {
    fn from(error: StateError) -> Self {
        Self::State(error)
    }
}

impl Workbench {
    pub(super) fn new(store: Store, trainers: Box<dyn TrainerSource>, samples: Vec<u32>) -> Self {
        let global = Global::on_disk(&store);
        Self { store, trainers, samples, participant: None, update_bytes: 0, global }
    }

    /// Name of the global model that is held.
    pub(super) fn held(&self) -> Option<[u8; 32]> {
        self.global.as_ref().map(|global| global.sha256)
    }

    /// Makes ready for an order, before anything is downloaded for it. Gives what has to be.
    pub(super) fn prepare(&mut self, order: &Order) -> Result<Option<Wanted>, String> {
        let layout = self.participant(order)?.layout();
        let frame_bytes = Coding::Fp32.payload_bytes(layout);
        if order.frame_bytes != frame_bytes {
            return Err(format!("the model's frame is said to have {} bytes, not {frame_bytes}", order.frame_bytes));
        }
        let payload_bytes = order.scheme.coding.payload_bytes(layout);
        if payload_bytes > order.max_payload_bytes {
            let (scheme, budget) = (order.scheme, order.max_payload_bytes);
            return Err(format!("an update under {scheme} takes {payload_bytes} bytes, the budget is {budget}"));
        }
        self.update_bytes = payload_bytes;
        let keyframe = usize::try_from(frame_bytes).map_err(|_| "the model does not fit this machine's memory")?;
        if let Some(path) = order.path.as_ref().filter(|_| self.held() != Some(order.model)) {
            self.begin_at(path, order)?;
        }
        if self.held() == Some(order.model) {
            return Ok(None);
        }
        let path = order.path.as_ref().filter(|path| self.held() == Some(path.base));
        Ok(Some(path.and_then(|path| path.wanted(order, keyframe)).unwrap_or(Wanted::keyframe(order.model, keyframe))))
    }

    /// Makes the run's first model, if it is that which a path starts from.
    fn begin_at(&mut self, path: &Path, order: &Order) -> Result<(), String> {
        if let Some(seed) = path.initial_seed.filter(|_| self.held() != Some(path.base)) {
            let first = Global::new(self.participant(order)?.trainer().init(seed));
            if first.sha256 == path.base {
                self.global = Some(first);
            }
        }
        Ok(())
    }

    /// Takes the global model out of frames. Gives what has to be downloaded instead, if it does not come out of delta
    /// frames.
    pub(super) fn receive(
        &mut self,
        order: &Order,
        wanted: &Wanted,
        frames: Option<Vec<u8>>,
    ) -> Result<Option<Wanted>, String> {
        let base = self.global.take();
        let layout = self.participant(order)?.layout();
        let problem = match decoded(wanted, frames, base, layout) {
            Ok(mut global) if global.sha256 == order.model => {
                match self.store.keep_model(&global.parameters) {
                    Ok(()) => global.kept = true,
                    Err(error) => {
                        tracing::warn!(%error, "the model is not kept: after a restart all of it has to be sent again");
                    }
                }
                self.global = Some(global);
                return Ok(None);
            }
            Ok(_) => "the model that was sent is not the one that was announced: their SHA-256 differ".into(),
            Err(problem) => problem,
        };
        if wanted.base.is_none() {
            return Err(problem);
        }
        tracing::warn!(problem, "the delta frames do not lead to the model: all of it is fetched");
        Ok(Some(Wanted::keyframe(order.model, Coding::Fp32.payload_bytes(layout) as usize)))
    }

    /// Trains and encodes, and keeps the update as pending. Durable on return.
    pub(super) fn perform(&mut self, order: &Order) -> Result<Bytes, Setback> {
        let residual = self.residual(order)?;
        let Some(global) = self.global.take() else { return Err(Setback::Decline("the model is not held".into())) };
        let samples = std::mem::take(&mut self.samples);
        let assignment = Assignment {
            round: order.round,
            scheme: order.scheme,
            rounding: order.rounding,
            order: order.order,
            samples: &samples,
            sgd: &order.sgd,
        };
        let update = self.participant(order).and_then(|participant| {
            let layout = participant.layout().clone();
            let residual = Residual::from_values(residual, &layout).map_err(|error| error.to_string())?;
            let update = participant.perform(&global.parameters, &assignment, residual, Vec::new());
            update.map(|update| (update, layout)).map_err(|error| error.to_string())
        });
        (self.samples, self.global) = (samples, Some(global));
        let (update, layout) = update.map_err(Setback::Decline)?;
        let loss = update.report.mean_loss;
        if !loss.is_finite() {
            return Err(Setback::Decline(format!("training reports a mean loss of {loss}")));
        }
        let pending = PendingUpdate {
            round: order.round,
            samples: update.report.samples,
            payload_sha256: Sha256::digest(&update.payload).into(),
            payload_bytes: update.payload.len() as u64,
            train_loss: loss,
            nmse: update.nmse,
        };
        let intent = update.intent.map(Intent::into_vector).unwrap_or_default();
        self.store.pend(&order.run, &layout, pending, &intent, &update.payload)?;
        Ok(update.payload.into())
    }

    /// Moves the residual, now that the pending update's outcome is known. Durable on return.
    pub(super) fn settle(&mut self, outcome: Settlement) -> Result<(), AgentError> {
        let summary = self.store.summary().clone();
        // Its memory is needed now.
        let set_down = self.global.take_if(|global| global.kept).is_some();
        let mut vector = self.store.vector()?;
        if outcome == Settlement::Accepted && !vector.is_empty() {
            let payload = self.store.payload()?;
            vector = left_out(vector, &payload, &summary.layout).map_err(AgentError::Settling)?;
        }
        self.store.settle(&summary.run, &summary.layout, &vector)?;
        drop(vector);
        if set_down {
            self.global = Global::on_disk(&self.store);
        }
        Ok(())
    }

    /// What earlier updates of the order's run left out.
    fn residual(&mut self, order: &Order) -> Result<Vec<f32>, Setback> {
        let summary = self.store.summary();
        if summary.coordinates == 0 {
            return Ok(Vec::new());
        }
        let hash = self.participant.as_ref().map(|prepared| prepared.participant.layout().hash());
        let why = if summary.run != order.run {
            "it belongs to another run"
        } else if Some(summary.layout.hash()) != hash {
            "the model's layout changed"
        } else if !order.scheme.feedback {
            "the scheme has no feedback"
        } else {
            return Ok(self.store.vector()?);
        };
        tracing::warn!(run = order.run, was_of = summary.run, "the residual is dropped: {why}");
        Ok(Vec::new())
    }

    /// The participant that does what `order` asks for.
    fn participant(&mut self, order: &Order) -> Result<&mut Participant, String> {
        let fits = |held: &Prepared| held.architecture == order.architecture;
        let prepared = match self.participant.take().filter(fits) {
            Some(prepared) => prepared,
            None => {
                let architecture = order.architecture.clone();
                let trainer = self.trainers.trainer(&architecture).map_err(|error| error.to_string())?;
                let participant = Participant::new(trainer).map_err(|error| error.to_string())?;
                // Training is over when the update is encoded: all processors are free.
                let participant = participant.with_threads(available_parallelism().unwrap_or(NonZeroUsize::MIN));
                Prepared { architecture, participant }
            }
        };
        let Prepared { participant, .. } = self.participant.insert(prepared);
        // Names and shapes are compared before a layout is made of them, as a layout's size depends on them.
        let expected = participant.trainer().tensors();
        if expected == order.tensors {
            return Ok(participant);
        }
        let differs = expected.iter().zip(&order.tensors).find(|(expected, found)| expected != found);
        Err(match differs {
            Some((expected, found)) => format!(
                "the run's tensor {} has shape {:?}, this client's {} {:?}",
                found.name, found.shape, expected.name, expected.shape
            ),
            None => format!("the run has {} tensors, this client {}", order.tensors.len(), expected.len()),
        })
    }
}

/// What became of an update, as far as its residual is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Settlement {
    /// What its payload did not carry stays behind.
    Accepted,
    /// All of it stays behind.
    Returned,
}

fn left_out(intent: Vec<f32>, payload: &[u8], layout: &Layout) -> Result<Vec<f32>, ClientError> {
    let settle = || -> Result<Residual, DecodeError> {
        let payload = Payload::parse(payload, layout)?;
        Intent::from_vector(intent).settle(Outcome::Accepted(&payload))
    };
    Ok(settle()?.into_values())
}

impl Global {
    fn new(parameters: Vec<f32>) -> Self {
        let mut sha256 = Sha256::new();
        let Ok(()) = in_bytes::<Infallible>(&parameters, |bytes| {
            sha256.update(bytes);
            Ok(())
        });
        Self { sha256: sha256.finalize().into(), parameters, kept: false }
    }

    fn on_disk(store: &Store) -> Option<Self> {
        store.model().map(|parameters| Self { kept: true, ..Self::new(parameters) })
    }
}

impl Path {
    /// Its frames, if they are fewer bytes than the model's own.
    fn wanted(&self, order: &Order, keyframe: usize) -> Option<Wanted> {
        let total = self.frame_bytes.iter().try_fold(0u64, |total, bytes| total.checked_add(*bytes));
        let shorter = total.is_some_and(|total| (1..=keyframe as u64).contains(&total));
        let frame_bytes = || self.frame_bytes.iter().map(|bytes| *bytes as usize).collect();
        shorter.then(|| Wanted { model: order.model, base: Some(self.base), frame_bytes: frame_bytes() })
    }
}

/// The model that frames lead to from `base`.
fn decoded(wanted: &Wanted, frames: Option<Vec<u8>>, base: Option<Global>, layout: &Layout) -> Result<Global, String> {
    let frames = frames.ok_or("the coordinator no longer has the delta frames")?;
    let mut parameters = base.map(|base| base.parameters).unwrap_or_default();
    parameters.resize(layout.coordinates(), 0.0);
    let unusable = |error: DecodeError| format!("a frame of the model cannot be used: {error}");
    let mut rest = &frames[..];
    for &bytes in &wanted.frame_bytes {
        let (frame, later) = rest.split_at(bytes);
        let frame = Payload::parse(frame, layout).map_err(unusable)?;
        match wanted.base {
            Some(_) => frame.add_to(&mut parameters).map_err(unusable)?,
            None => frame.decode(&mut parameters).map_err(unusable)?,
        }
        rest = later;
    }
    drop(frames); // training needs the memory
    Ok(Global::new(parameters))
}
