//! The work between two messages: training, encoding, settling. It blocks, on a processor or a disk.

use std::convert::Infallible;

use bytes::Bytes;
use nibble_codec::{Coding, DecodeError, Intent, Layout, Outcome, Payload, Residual};
use sha2::{Digest, Sha256};

use super::{
    AgentError, TrainerSource,
    order::{Correction, Order, Path},
    prepared::Prepared,
};
use crate::{
    Assignment, ClientError, Control, Participant,
    state::{Keeps, PendingUpdate, StateError, Store, in_bytes},
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
    prepared: Option<Prepared>,
    /// Most bytes of the update that was prepared for.
    pub(super) update_bytes: u64,
    /// The global model of the last order, or one on the way to it.
    global: Option<Global>,
    /// Name of the model on disk.
    kept: Option<[u8; 32]>,
    /// The server's control variate that came last.
    control: Option<Global>,
}

struct Global {
    sha256: [u8; 32],
    parameters: Vec<f32>,
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
        let global = store.model().map(Global::new);
        let kept = global.as_ref().map(|global| global.sha256);
        Self { store, trainers, samples, prepared: None, update_bytes: 0, global, kept, control: None }
    }

    /// Name of the global model that is kept.
    pub(super) fn held(&self) -> Option<[u8; 32]> {
        self.kept
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
        if let Some((_, bytes)) = order.control.and_then(|control| control.server)
            && bytes > frame_bytes
        {
            return Err(format!("the control variate's frame is said to have {bytes} bytes, more than the model"));
        }
        usize::try_from(frame_bytes).map_err(|_| "the model does not fit this machine's memory")?;
        self.next(order)
    }

    /// What has to be downloaded next for an order: the way to its model, then the control variate.
    fn next(&mut self, order: &Order) -> Result<Option<Wanted>, String> {
        match self.next_of_model(order)? {
            None => Ok(self.next_of_control(order)),
            wanted => Ok(wanted),
        }
    }

    fn next_of_control(&mut self, order: &Order) -> Option<Wanted> {
        let server = order.control.and_then(|control| control.server);
        self.control = self.control.take().filter(|control| server.is_some_and(|(name, _)| name == control.sha256));
        let (name, bytes) = server.filter(|_| self.control.is_none())?;
        Some(Wanted::keyframe(name, bytes as usize))
    }

    fn next_of_model(&mut self, order: &Order) -> Result<Option<Wanted>, String> {
        if self.has(order.model) {
            return Ok(None);
        }
        let keyframe = order.frame_bytes as usize;
        let Some(path) = &order.path else { return Ok(Some(Wanted::keyframe(order.model, keyframe))) };
        if !self.has(path.base) {
            self.begin_at(path, order)?;
            if self.has(order.model) {
                return Ok(None);
            }
        }
        Ok(Some(match self.has(path.base) {
            true => path.wanted(order, keyframe).unwrap_or(Wanted::keyframe(order.model, keyframe)),
            false if path.fetch_base => Wanted::keyframe(path.base, keyframe),
            false => Wanted::keyframe(order.model, keyframe),
        }))
    }

    /// Whether a model is here, once it was taken from the disk if that has it.
    fn has(&mut self, model: [u8; 32]) -> bool {
        let is_it = |global: &Global| global.sha256 == model;
        if !self.global.as_ref().is_some_and(is_it) && self.kept == Some(model) {
            self.global = None; // one model at a time
            self.global = self.store.model().map(Global::new);
        }
        self.global.as_ref().is_some_and(is_it)
    }

    /// Makes the run's first model, if it is that which a path starts from.
    fn begin_at(&mut self, path: &Path, order: &Order) -> Result<(), String> {
        if let Some(seed) = path.initial_seed {
            let first = Global::new(self.participant(order)?.trainer().init(seed));
            if first.sha256 == path.base {
                self.global = Some(first);
            }
        }
        Ok(())
    }

    /// Takes a global model out of frames. Gives what has to be downloaded next, or instead, if the model does not come out
    /// of delta frames.
    pub(super) fn receive(
        &mut self,
        order: &Order,
        wanted: &Wanted,
        frames: Option<Vec<u8>>,
    ) -> Result<Option<Wanted>, String> {
        let layout = self.participant(order)?.layout().clone();
        if self.has(order.model) {
            return self.receive_control(order, wanted, frames, &layout);
        }
        let base = self.global.take();
        let parameters = base.map(|base| base.parameters).unwrap_or_default();
        let anchor_frames = order.path.as_ref().map_or(1, |path| path.anchor_frames);
        let came = match wanted.base {
            Some(_) => self.follow(wanted, frames, parameters, anchor_frames, &layout),
            None => decoded(frames, parameters, &layout),
        };
        let problem = match came {
            Ok(global) if global.sha256 == wanted.model => {
                if order.is_anchor(wanted.model) {
                    self.keep(global.sha256, &global.parameters);
                }
                self.global = Some(global);
                return self.next(order);
            }
            Ok(_) => "the model that was sent is not the one that was announced: their SHA-256 differ".into(),
            Err(problem) => problem,
        };
        if wanted.base.is_none() {
            return Err(problem);
        }
        tracing::warn!(problem, "the delta frames do not lead to the model: all of it is fetched");
        Ok(Some(Wanted::keyframe(order.model, Coding::Fp32.payload_bytes(&layout) as usize)))
    }

    fn receive_control(
        &mut self,
        order: &Order,
        wanted: &Wanted,
        frame: Option<Vec<u8>>,
        layout: &Layout,
    ) -> Result<Option<Wanted>, String> {
        let control = decoded(frame, Vec::new(), layout)?;
        if control.sha256 != wanted.model {
            return Err(
                "the control variate that was sent is not the one that was announced: their SHA-256 differ".into()
            );
        }
        self.control = Some(control);
        self.next(order)
    }

    /// The model that delta frames lead to from `parameters`. What the first `anchor_frames` of them lead to is kept; if that
    /// is all of them, not before its name was found right.
    fn follow(
        &mut self,
        wanted: &Wanted,
        frames: Option<Vec<u8>>,
        mut parameters: Vec<f32>,
        anchor_frames: usize,
        layout: &Layout,
    ) -> Result<Global, String> {
        let frames = frames.ok_or("the coordinator no longer has the delta frames")?;
        let mut rest = &frames[..];
        for (&bytes, followed) in wanted.frame_bytes.iter().zip(1..) {
            let (frame, later) = rest.split_at(bytes);
            let add = Payload::parse(frame, layout).and_then(|frame| frame.add_to(&mut parameters));
            add.map_err(|error| format!("a frame of the model cannot be used: {error}"))?;
            if followed == anchor_frames && followed < wanted.frame_bytes.len() {
                let anchor = Global::new(parameters);
                self.keep(anchor.sha256, &anchor.parameters);
                parameters = anchor.parameters;
            }
            rest = later;
        }
        drop(frames); // training needs the memory
        Ok(Global::new(parameters))
    }

    /// Puts a model on disk, in place of the one there.
    fn keep(&mut self, name: [u8; 32], parameters: &[f32]) {
        match self.store.keep_model(parameters) {
            Ok(()) => self.kept = Some(name),
            Err(error) => {
                tracing::warn!(%error, "the model is not kept: more of it than otherwise has to be sent next time");
            }
        }
    }

    /// Trains and encodes, and keeps the update as pending. Durable on return.
    pub(super) fn perform(&mut self, order: &Order) -> Result<Bytes, Setback> {
        let own = self.own(order)?;
        let mut tensors = self.own_tensors(order)?;
        let Some(global) = self.global.take() else { return Err(Setback::Decline("the model is not held".into())) };
        let samples = std::mem::take(&mut self.samples);
        let server = self.control.take().map(|control| control.parameters).unwrap_or_default();
        let assignment = Assignment {
            round: order.round,
            scheme: order.scheme,
            rounding: order.rounding,
            order: order.order,
            samples: &samples,
            sgd: &order.sgd,
            measure: order.measure,
            control: order.control.map(|_| Control { own: &own, server: &server }),
        };
        let residual = if order.control.is_some() { Vec::new() } else { own.clone() };
        let update = self.participant(order).and_then(|participant| {
            let layout = participant.layout().clone();
            let residual = Residual::from_values(residual, &layout).map_err(|error| error.to_string())?;
            participant.trainer().swap_own(&mut tensors);
            let update = participant.perform(&global.parameters, &assignment, residual, Vec::new());
            participant.trainer().swap_own(&mut tensors);
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
            start_loss: update.start_loss,
            nmse: update.nmse,
        };
        let (keeps, vector) = match order.control {
            None => (Keeps::Residual, update.intent.map(Intent::into_vector).unwrap_or_default()),
            Some(Correction { gain, .. }) => {
                let payload = Payload::parse(&update.payload, &layout);
                let after = payload.and_then(|payload| {
                    let moved = (gain, update.report.steps, order.sgd.lr);
                    Control { own: &own, server: &server }.after(moved, &payload, &layout)
                });
                let mut both = own;
                both.resize(layout.coordinates(), 0.0);
                both.extend(after.map_err(|error| Setback::Decline(error.to_string()))?);
                (Keeps::Control, both)
            }
        };
        if order.personal.is_some() {
            self.store.pend_own(&order.run, &pending.payload_sha256, &tensors)?;
        }
        self.store.pend(&order.run, &layout, pending, (keeps, &vector), &update.payload)?;
        Ok(update.payload.into())
    }

    /// Moves the residual, or the control variate, now that the pending update's outcome is known. Durable on return.
    pub(super) fn settle(&mut self, outcome: Settlement) -> Result<(), AgentError> {
        let summary = self.store.summary().clone();
        self.global = None; // its memory is needed now
        if let Some(pending) = &summary.pending {
            self.store.settle_own(&pending.payload_sha256)?;
        }
        let mut vector = self.store.vector()?;
        match (summary.keeps, outcome) {
            (Keeps::Residual, Settlement::Accepted) if !vector.is_empty() => {
                let payload = self.store.payload()?;
                vector = left_out(vector, &payload, &summary.layout).map_err(AgentError::Settling)?;
            }
            (Keeps::Residual, _) => {}
            (Keeps::Control, Settlement::Accepted) => vector = vector.split_off(vector.len() / 2),
            (Keeps::Control, Settlement::Returned) => vector.truncate(vector.len() / 2),
        }
        self.store.settle(&summary.run, &summary.layout, (summary.keeps, &vector))?;
        Ok(())
    }

    /// What is kept of the order's run: what earlier updates left out, or the control variate.
    fn own(&mut self, order: &Order) -> Result<Vec<f32>, Setback> {
        let summary = self.store.summary();
        if summary.coordinates == 0 {
            return Ok(Vec::new());
        }
        let hash = self.prepared.as_ref().map(Prepared::layout_hash);
        let why = if summary.run != order.run {
            "it belongs to another run"
        } else if Some(summary.layout.hash()) != hash {
            "the model's layout changed"
        } else if summary.keeps != order.keeps() {
            "the strategy changed"
        } else if summary.keeps == Keeps::Residual && !order.scheme.feedback {
            "the scheme has no feedback"
        } else {
            return Ok(self.store.vector()?);
        };
        tracing::warn!(run = order.run, was_of = summary.run, "what was kept is dropped: {why}");
        Ok(Vec::new())
    }

    /// The tensors of the order's run that are the client's own.
    fn own_tensors(&mut self, order: &Order) -> Result<Vec<f32>, Setback> {
        self.participant(order).map_err(Setback::Decline)?;
        let first = self.prepared.as_ref().map(|prepared| prepared.own().to_vec()).unwrap_or_default();
        if order.personal.is_none() {
            return Ok(first);
        }
        let kept = self.store.own(&order.run)?;
        if kept.as_ref().is_some_and(|kept| kept.len() != first.len()) {
            tracing::warn!(run = order.run, "the client's own tensors are dropped: there are others now");
        }
        Ok(kept.filter(|kept| kept.len() == first.len()).unwrap_or(first))
    }

    /// The participant that does what `order` asks for.
    fn participant(&mut self, order: &Order) -> Result<&mut Participant, String> {
        let prepared = match self.prepared.take().filter(|prepared| prepared.fits(order)) {
            Some(prepared) => prepared,
            None => Prepared::new(&mut *self.trainers, order)?,
        };
        self.prepared.insert(prepared).participant(order)
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
        Self { sha256: sha256.finalize().into(), parameters }
    }
}

impl Path {
    /// Its frames, if they are no more bytes than the model's own.
    fn wanted(&self, order: &Order, keyframe: usize) -> Option<Wanted> {
        let total = self.frame_bytes.iter().try_fold(0u64, |total, bytes| total.checked_add(*bytes));
        let shorter = total.is_some_and(|total| (1..=keyframe as u64).contains(&total));
        let frame_bytes = || self.frame_bytes.iter().map(|bytes| *bytes as usize).collect();
        shorter.then(|| Wanted { model: order.model, base: Some(self.base), frame_bytes: frame_bytes() })
    }
}

/// The model of its own frame, in the memory of another.
fn decoded(frame: Option<Vec<u8>>, mut parameters: Vec<f32>, layout: &Layout) -> Result<Global, String> {
    let frame = frame.ok_or("the coordinator no longer has the model")?;
    parameters.resize(layout.coordinates(), 0.0);
    let decode = Payload::parse(&frame, layout).and_then(|frame| frame.decode(&mut parameters));
    decode.map_err(|error| format!("the model's frame cannot be used: {error}"))?;
    drop(frame); // training needs the memory
    Ok(Global::new(parameters))
}
