//! The seam between federated learning and a model: whoever has a model implements [`Trainer`].
//!
//! Parameters and deltas are flat `f32` vectors, tensors concatenated in PyTorch's parameter order and layout
//! (linear weight `[out, in]`, convolution weight `[out, in, kh, kw]`, then the bias), so that a PyTorch model swaps in
//! through `vector_to_parameters`. A trainer holds scratch memory, never a client's state.

use nibble_seed::Seed;

use crate::{error::LearningError, quantization::Quantization};

/// Name and shape of one tensor of the flat parameter vector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorSpec {
    /// Name as in a PyTorch state dict, e.g. `fc1.weight`.
    pub name: String,
    /// Dimensions, outermost first.
    pub shape: Vec<usize>,
}

impl TensorSpec {
    /// Number of coordinates.
    #[must_use]
    pub fn numel(&self) -> usize {
        self.shape.iter().product()
    }
}

/// Local optimisation, the same for every client of a round.
#[derive(Clone, Debug, PartialEq)]
pub struct SgdConfig {
    /// Passes over the client's samples, at least 1.
    pub epochs: u32,
    /// Steps to take instead, at least 1, over as many passes as that needs; `epochs` then says nothing.
    pub steps: Option<u32>,
    /// Samples per step, at least 1; the last, smaller batch of a pass is kept.
    pub batch: usize,
    /// Learning rate.
    pub lr: f32,
    /// Momentum as PyTorch's SGD defines it: v = momentum * v + g, step along v. 0 turns it off.
    pub momentum: f32,
    /// L2 weight decay added to the gradient as PyTorch's SGD does. 0 turns it off.
    pub weight_decay: f32,
    /// Greatest L2 norm of a step's gradient, all tensors together and before weight decay, above 0: a longer one is
    /// scaled down to it as PyTorch's `clip_grad_norm_` does (Pascanu, Mikolov, Bengio: "On the difficulty of training
    /// recurrent neural networks", ICML 2013, algorithm 1). `None` lets every gradient be.
    pub clip_norm: Option<f32>,
    /// Trains for a quantised model: passes are computed with rounded weights and activations, their gradient moves the
    /// parameters that are not rounded. `None` rounds nothing.
    pub qat: Option<Quantization>,
    /// Pull towards the global parameters, at least 0: this times (parameters - global) is added to the gradient before it is
    /// clipped (Li et al., *Federated optimization in heterogeneous networks*, MLSys 2020: FedProx). 0 turns it off.
    pub proximal: f32,
}

impl Default for SgdConfig {
    fn default() -> Self {
        Self {
            epochs: 1,
            steps: None,
            batch: 32,
            lr: 0.1,
            momentum: 0.0,
            weight_decay: 0.0,
            clip_norm: None,
            qat: None,
            proximal: 0.0,
        }
    }
}

impl SgdConfig {
    /// Steps that a client with so many samples takes.
    #[must_use]
    pub fn steps_on(&self, samples: usize) -> u64 {
        let of_epochs = u64::from(self.epochs) * self.steps_of_pass(samples);
        self.steps.map_or(of_epochs, u64::from)
    }

    /// Samples that those steps visit, each as often as it is visited.
    #[must_use]
    pub fn visits_on(&self, samples: usize) -> u64 {
        let (steps, pass) = (self.steps_on(samples), self.steps_of_pass(samples).max(1));
        steps / pass * samples as u64 + steps % pass * self.batch as u64
    }

    fn steps_of_pass(&self, samples: usize) -> u64 {
        samples.div_ceil(self.batch.max(1)) as u64
    }
}

/// One client's work in one round.
pub struct Task<'a> {
    /// The client's samples as indices into the trainer's training data.
    pub samples: &'a [u32],
    /// How to optimise.
    pub sgd: &'a SgdConfig,
    /// Stream of the visiting order: pass 0 visits `order.permutation(n)`, pass e > 0 that of `order.derive(BatchOrder, e, 0)`.
    pub order: Seed,
    /// Sees every step before it is applied: FedProx, SCAFFOLD and privacy hang here.
    pub hook: Option<&'a mut dyn StepHook>,
}

/// Looks at, and may change, the gradient of each local step.
pub trait StepHook {
    /// `step` counts from 0 over all passes; `gradient` has the parameters' layout and is applied after the call.
    fn on_step(&mut self, step: u64, parameters: &[f32], gradient: &mut [f32]);
}

/// What local training reports beside the delta.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrainReport {
    /// Samples the client trained on: the weight of its update.
    pub samples: u64,
    /// Steps taken.
    pub steps: u64,
    /// Mean training loss over all steps, as each was met.
    pub mean_loss: f64,
}

/// Sums over evaluated samples; add those of two slices to evaluate both.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Evaluation {
    /// Samples evaluated.
    pub samples: u64,
    /// Samples whose most likely class was the label.
    pub correct: u64,
    /// Summed cross-entropy, in nats.
    pub loss_sum: f64,
}

impl Evaluation {
    /// Top-1 accuracy in [0, 1].
    #[must_use]
    pub fn accuracy(&self) -> f64 {
        self.correct as f64 / self.samples.max(1) as f64
    }

    /// Mean cross-entropy in nats.
    #[must_use]
    pub fn mean_loss(&self) -> f64 {
        self.loss_sum / self.samples.max(1) as f64
    }
}

impl core::ops::AddAssign for Evaluation {
    fn add_assign(&mut self, other: Self) {
        self.samples += other.samples;
        self.correct += other.correct;
        self.loss_sum += other.loss_sum;
    }
}

/// A model that can be trained locally. One trainer serves one thread and any number of clients.
pub trait Trainer: Send {
    /// The tensors of the flat parameter vector, in order.
    fn tensors(&self) -> &[TensorSpec];

    /// Fresh parameters: tensor i uniform in ±1/√fan_in from the stream `seed.derive(Init, i, 0)`.
    fn init(&self, seed: Seed) -> Vec<f32>;

    /// Trains from `global` and writes local minus global parameters to `delta` (both of the parameters' length).
    ///
    /// # Errors
    /// If lengths or sample indices do not fit, there are no samples, or training diverged to non-finite values.
    fn train(&mut self, global: &[f32], task: Task<'_>, delta: &mut [f32]) -> Result<TrainReport, LearningError>;

    /// Evaluates `parameters` on the test samples in `range` (indices into the test part).
    ///
    /// # Errors
    /// If lengths or the range do not fit.
    fn evaluate(&mut self, parameters: &[f32], range: core::ops::Range<usize>) -> Result<Evaluation, LearningError>;

    /// Swaps what a client has of the model for itself in before it works, and out after. A trainer whose models are
    /// shared altogether has no use for it, and leaves `own` as it is.
    fn swap_own(&mut self, _own: &mut Vec<f32>) {}

    /// Evaluates `parameters` on training samples, of which the caller knows that they were not trained on.
    ///
    /// # Errors
    /// If lengths or sample indices do not fit, there are no samples, or the trainer cannot do it.
    fn evaluate_on(&mut self, _parameters: &[f32], _samples: &[u32]) -> Result<Evaluation, LearningError> {
        Err(LearningError::NotOnSamples)
    }

    /// Evaluates the model quantised. Activations are rounded as far as they reached on the training samples
    /// `calibration`, at least one, as in a program of integers.
    ///
    /// # Errors
    /// If lengths, samples or the range do not fit, or the trainer has no quantised models.
    fn evaluate_quantised(
        &mut self,
        _parameters: &[f32],
        _quantization: Quantization,
        _calibration: &[u32],
        _range: core::ops::Range<usize>,
    ) -> Result<Evaluation, LearningError> {
        Err(LearningError::Unquantised)
    }
}
