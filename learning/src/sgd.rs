//! Local training by mini-batch SGD: the [`Trainer`] of the built-in models.
//!
//! A step follows PyTorch's `torch.optim.SGD`: decay joins the gradient g after the hook, then v = momentum * v + g,
//! then p -= lr * v. Without hook, momentum and decay the gradient goes straight into the parameters.

use std::sync::Arc;

use nibble_seed::{Purpose, Seed};

use crate::data::{Dataset, Samples};
use crate::error::LearningError;
use crate::model::Model;
use crate::net::{Network, Sink};
use crate::trainer::{Evaluation, SgdConfig, Task, TensorSpec, TrainReport, Trainer};

/// Samples per pass forward in an evaluation, whatever the range: sums do not depend on how the work was split.
const EVALUATED: usize = 32;

/// Trains a [`Model`] on a [`Dataset`] with one thread.
pub struct SgdTrainer {
    model: Model,
    data: Arc<Dataset>,
    network: Network,
    /// Local parameters; between calls only room.
    parameters: Vec<f32>,
    /// Gradient and velocity, allocated when first needed.
    gradient: Vec<f32>,
    velocity: Vec<f32>,
    labels: Vec<u8>,
}

impl SgdTrainer {
    /// A trainer with the scratch memory for `model`.
    #[must_use]
    pub fn new(model: Model, data: Arc<Dataset>) -> Self {
        let network = Network::new(&model, EVALUATED);
        let parameters = vec![0.0; model.parameters()];
        Self { model, data, network, parameters, gradient: Vec::new(), velocity: Vec::new(), labels: Vec::new() }
    }

    /// Whether a parameter vector and the data fit the model.
    fn check(&self, what: &'static str, found: usize) -> Result<(), LearningError> {
        let expected = self.parameters.len();
        if found != expected {
            return Err(LearningError::Length { what, expected, found });
        }
        let model = (self.model.shape, self.model.classes);
        let data = (self.data.shape, self.data.classes);
        if model != data {
            return Err(LearningError::OtherData { model, data });
        }
        Ok(())
    }

    /// Runs all passes over the samples; the summed loss of the steps, and their number.
    fn run(&mut self, mut task: Task<'_>) -> Result<(f64, u64), LearningError> {
        let SgdConfig { epochs, batch, lr, momentum, weight_decay } = *task.sgd;
        let plain = task.hook.is_none() && momentum == 0.0 && weight_decay == 0.0;
        if !plain {
            self.gradient.resize(self.parameters.len(), 0.0);
        }
        self.velocity.clear();
        self.velocity.resize(if momentum == 0.0 { 0 } else { self.parameters.len() }, 0.0);
        let (mut loss, mut steps) = (0.0, 0);
        for pass in 0..epochs {
            for batch in order(task.order, pass, task.samples.len()).chunks(batch) {
                let samples = batch.iter().map(|&i| task.samples[i as usize] as usize);
                gather(&mut self.network, &self.parameters, &self.data.train, samples, &mut self.labels)?;
                loss += self.network.loss(&self.labels).sum / batch.len() as f64;
                if plain {
                    self.network.backward(&mut self.parameters, batch.len(), Sink::Step(lr));
                } else {
                    let sink = Sink::Gradient(&mut self.gradient);
                    self.network.backward(&mut self.parameters, batch.len(), sink);
                    if let Some(hook) = &mut task.hook {
                        hook.on_step(steps, &self.parameters, &mut self.gradient);
                    }
                    self.step(task.sgd);
                }
                steps += 1;
            }
        }
        Ok((loss, steps))
    }

    /// Applies the gradient.
    fn step(&mut self, sgd: &SgdConfig) {
        if sgd.weight_decay != 0.0 {
            self.gradient.iter_mut().zip(&self.parameters).for_each(|(g, &p)| *g += sgd.weight_decay * p);
        }
        let direction = if sgd.momentum == 0.0 {
            &self.gradient
        } else {
            self.velocity.iter_mut().zip(&self.gradient).for_each(|(v, &g)| *v = sgd.momentum * *v + g);
            &self.velocity
        };
        self.parameters.iter_mut().zip(direction).for_each(|(p, &v)| *p -= sgd.lr * v);
    }
}

impl Trainer for SgdTrainer {
    fn tensors(&self) -> &[TensorSpec] {
        self.model.tensors()
    }

    fn init(&self, seed: Seed) -> Vec<f32> {
        self.model.init(seed)
    }

    fn train(&mut self, global: &[f32], task: Task<'_>, delta: &mut [f32]) -> Result<TrainReport, LearningError> {
        self.check("global", global.len())?;
        self.check("delta", delta.len())?;
        if task.samples.is_empty() {
            return Err(LearningError::NoSamples);
        }
        for (key, found) in [("batch", task.sgd.batch as u64), ("epochs", task.sgd.epochs.into())] {
            if found == 0 {
                return Err(LearningError::Zero { key });
            }
        }
        let largest = task.sgd.batch.min(task.samples.len());
        if self.network.capacity() < largest {
            self.network = Network::new(&self.model, largest);
        }
        self.parameters.copy_from_slice(global);
        let samples = task.samples.len() as u64;
        let (loss, steps) = self.run(task)?;
        let mut finite = true;
        for ((delta, &local), &global) in delta.iter_mut().zip(&self.parameters).zip(global) {
            *delta = local - global;
            finite &= delta.is_finite();
        }
        if !finite {
            return Err(LearningError::Diverged { steps });
        }
        Ok(TrainReport { samples, steps, mean_loss: loss / steps as f64 })
    }

    fn evaluate(&mut self, parameters: &[f32], range: core::ops::Range<usize>) -> Result<Evaluation, LearningError> {
        self.check("global", parameters.len())?;
        let mut evaluation = Evaluation::default();
        for start in range.clone().step_by(EVALUATED) {
            let samples = start..range.end.min(start + EVALUATED);
            evaluation.samples += samples.len() as u64;
            gather(&mut self.network, parameters, &self.data.test, samples, &mut self.labels)?;
            let loss = self.network.loss(&self.labels);
            evaluation.correct += loss.correct;
            evaluation.loss_sum += loss.sum;
        }
        Ok(evaluation)
    }
}

/// The visiting order of a pass over `n` samples.
fn order(stream: Seed, pass: u32, n: usize) -> Vec<u32> {
    let stream = if pass == 0 { stream } else { stream.derive(Purpose::BatchOrder, pass.into(), 0) };
    stream.permutation(n)
}

/// Passes the samples at `indices` forward and leaves their labels in `labels`.
fn gather(
    network: &mut Network,
    parameters: &[f32],
    from: &Samples,
    indices: impl ExactSizeIterator<Item = usize> + Clone,
    labels: &mut Vec<u8>,
) -> Result<(), LearningError> {
    labels.clear();
    for index in indices.clone() {
        let samples = from.len();
        let label = *from.labels.get(index).ok_or(LearningError::SampleIndex { index, samples })?;
        if usize::from(label) >= network.classes() {
            return Err(LearningError::Label { index, label, classes: network.classes() });
        }
        labels.push(label);
    }
    let batch = labels.len();
    let mut indices = indices;
    network.forward(parameters, batch, |_, out| {
        if let Some(index) = indices.next() {
            from.features.read(index, out);
        }
    });
    Ok(())
}

#[cfg(test)]
mod tests;
