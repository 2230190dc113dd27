//! One client's part in a round.
//!
//! ```text
//! delta = train(global)    intended = delta + residual    payload = encode(intended)
//! outcome known:           residual = intended - what was accepted of it
//! ```

use std::num::NonZeroUsize;

use nibble_codec::{Coding, Encoder, Intent, Layout, Payload, PayloadId, Residual, Scheme};
use nibble_learning::{SgdConfig, StepHook, Task, TrainReport, Trainer};
use nibble_seed::{RoundId, Seed};

use crate::{
    control::{Control, Correct},
    error::ClientError,
    sensitivity,
};

/// Trains and encodes for any number of clients, one at a time. Holds scratch only; the client is its residual.
pub struct Participant {
    trainer: Box<dyn Trainer>,
    layout: Layout,
    encoder: Encoder,
    delta: Vec<f32>,
    correction: Vec<f32>,
}

/// What the coordinator asks of a client, and what the client trains on.
#[derive(Clone, Copy, Debug)]
pub struct Assignment<'a> {
    /// The round.
    pub round: RoundId,
    /// How the update is coded.
    pub scheme: Scheme,
    /// Stream of the rounding noise, issued for this client and round.
    pub rounding: Seed,
    /// Stream of the batch order.
    pub order: Seed,
    /// The client's samples, as indices into the trainer's training data.
    pub samples: &'a [u32],
    /// How to optimise.
    pub sgd: &'a SgdConfig,
    /// Whether the loss of the global model is measured before training.
    pub measure: bool,
    /// What corrects the gradients, if anything does.
    pub control: Option<Control<'a>>,
}

/// An encoded update whose outcome is not known yet.
#[derive(Debug)]
#[must_use = "an update that is not settled loses what it left out"]
pub struct Update {
    /// What is sent.
    pub payload: Vec<u8>,
    /// What training reported; its samples are the update's weight.
    pub report: TrainReport,
    /// Mean loss of the global model on the client's samples, where it was to be measured.
    pub start_loss: Option<f64>,
    /// ‖intended − decoded‖² / ‖intended‖².
    pub nmse: f64,
    /// What was meant, where the scheme keeps what was left out: to be settled when the outcome is known.
    pub intent: Option<Intent>,
}

impl Participant {
    /// A participant that trains with `trainer`.
    ///
    /// # Errors
    /// If the trainer's tensors make no layout.
    pub fn new(trainer: Box<dyn Trainer>) -> Result<Self, ClientError> {
        let layout = Layout::new(trainer.tensors().iter().map(|tensor| (tensor.name.clone(), tensor.shape.clone())))?;
        let delta = vec![0.0; layout.coordinates()];
        Ok(Self { trainer, layout, encoder: Encoder::new(Coding::Fp32.into()), delta, correction: Vec::new() })
    }

    /// Encodes with as many threads, which changes no byte.
    #[must_use]
    pub fn with_threads(self, threads: NonZeroUsize) -> Self {
        Self { encoder: self.encoder.with_threads(threads), ..self }
    }

    /// The layout of parameters and updates.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The trainer, e.g. to evaluate with.
    pub fn trainer(&mut self) -> &mut dyn Trainer {
        &mut *self.trainer
    }

    /// What the last training changed: local minus global parameters.
    #[must_use]
    pub fn delta(&self) -> &[f32] {
        &self.delta
    }

    /// Trains from `global`, adds the residual and encodes. Without feedback, or with a control variate, the residual is ignored. The payload takes
    /// the place of what is in `buffer`, to spare an allocation.
    ///
    /// # Errors
    /// If training or encoding fails.
    pub fn perform(
        &mut self,
        global: &[f32],
        assignment: &Assignment<'_>,
        residual: Residual,
        buffer: Vec<u8>,
    ) -> Result<Update, ClientError> {
        let measured = assignment.measure.then(|| self.trainer.evaluate_on(global, assignment.samples)).transpose()?;
        let start_loss = measured.map(|evaluation| evaluation.mean_loss());
        if let Some(control) = &assignment.control {
            control.correction(self.layout.coordinates(), &mut self.correction);
        }
        let mut correct = Correct(&self.correction);
        let hook = assignment.control.map(|_| &mut correct as &mut dyn StepHook);
        let task = Task { samples: assignment.samples, sgd: assignment.sgd, order: assignment.order, hook };
        let report = self.trainer.train(global, task, &mut self.delta)?;
        let scheme = assignment.scheme;
        self.encoder.set_scheme(scheme);
        if scheme.sensitive {
            let Self { trainer, layout, delta, .. } = self;
            let (samples, signs) = (assignment.samples, assignment.rounding);
            let weights = sensitivity::measure(&mut **trainer, layout, global, delta, samples, signs)?;
            self.encoder.set_weights(layout, weights)?;
        }
        // What is left out of a corrected update stays in the control variate.
        let keeps = scheme.feedback && assignment.control.is_none();
        let intent = keeps.then(|| residual.intend(&self.delta));
        let vector = intent.as_ref().map_or(&self.delta[..], Intent::vector);
        let id = PayloadId { round: assignment.round, seed: assignment.rounding };
        let mut payload = buffer;
        self.encoder.encode(&self.layout, vector, id, &mut payload)?;
        let nmse = match scheme.coding {
            Coding::Fp32 => 0.0,
            _ => Payload::trust(&payload, &self.layout)?.nmse(vector)?,
        };
        Ok(Update { payload, report, start_loss, nmse, intent })
    }
}
