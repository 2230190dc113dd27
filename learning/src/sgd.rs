//! Local training of the built-in models: mini-batch SGD over a data set in memory.
//!
//! The result depends on the arguments alone: batches follow the task's order, the last and smaller one is kept, and
//! the kernels' sums have one order. With a hook, clipping, momentum or decay the gradient passes through memory;
//! without, it goes straight into the parameters, to the same bits.
//!
//! A step is: gradient, hook, clipping, weight decay, momentum, descent. What a hook adds to a gradient is clipped with it.

use std::sync::Arc;

use nibble_seed::{Purpose, Seed};

use crate::data::{Dataset, Features, Samples};
use crate::error::LearningError;
use crate::kernels::{Axpy, Backend, Grey, SumSquares};
use crate::nn::{Model, Rounding, Sink};
use crate::quantization::Quantization;
use crate::trainer::{Evaluation, SgdConfig, Task, TensorSpec, TrainReport, Trainer};

/// Samples evaluated at a time.
const EVALUATION_BATCH: usize = 32;

/// A built-in model with a data set to train and test it on.
pub struct SgdTrainer {
    model: Model,
    data: Arc<Dataset>,
    labels: Vec<u8>,
    gradient: Vec<f32>,
    velocity: Vec<f32>,
    /// The parameters as a quantised model has them.
    rounded: Vec<f32>,
}

impl SgdTrainer {
    /// A trainer of `model` on `data`.
    ///
    /// # Errors
    /// If the model was built for samples of another shape or number of classes, or the data belies its own.
    pub fn new(model: Model, data: Arc<Dataset>) -> Result<Self, LearningError> {
        let (expected, found) = (model.shape(), data.shape);
        let mut checks = vec![
            ("channels", expected.0, found.0),
            ("pixels of height", expected.1, found.1),
            ("pixels of width", expected.2, found.2),
            ("classes", model.classes(), data.classes),
        ];
        for samples in [&data.train, &data.test] {
            checks.push(("features a sample", found.0 * found.1 * found.2, samples.features.width()));
            let largest = samples.labels.iter().max().map_or(0, |&label| usize::from(label) + 1);
            checks.push(("classes", model.classes(), largest.max(model.classes())));
        }
        match checks.into_iter().find(|(_, expected, found)| expected != found) {
            Some((what, expected, found)) => Err(LearningError::DataMismatch { what, expected, found }),
            None => Ok(Self {
                model,
                data,
                labels: Vec::new(),
                gradient: Vec::new(),
                velocity: Vec::new(),
                rounded: Vec::new(),
            }),
        }
    }

    /// The model.
    #[must_use]
    pub fn model(&self) -> &Model {
        &self.model
    }

    fn check_length(&self, what: &'static str, found: usize) -> Result<(), LearningError> {
        let expected = self.model.parameters();
        if found == expected { Ok(()) } else { Err(LearningError::Length { what, expected, found }) }
    }

    /// Allocates what training needs, so that steps do not.
    fn reserve(&mut self, task: &Task<'_>, collect: bool) {
        let sgd = task.sgd;
        let batch = sgd.batch.min(task.samples.len());
        self.model.reserve(batch);
        self.labels.reserve(batch);
        let parameters = self.model.parameters();
        if collect {
            self.gradient.resize(parameters, 0.0);
        }
        if sgd.qat.is_some() {
            self.rounded.resize(parameters, 0.0);
        }
        if sgd.momentum != 0.0 {
            self.velocity.clear();
            self.velocity.resize(parameters, 0.0);
        }
    }

    /// One step on the batch that was loaded; gives its mean loss.
    fn step(
        &mut self,
        (parameters, global): (&mut [f32], &[f32]),
        step: u64,
        task: &mut Task<'_>,
        collect: bool,
    ) -> f64 {
        let SgdConfig { lr, momentum, weight_decay, clip_norm, proximal, .. } = *task.sgd;
        let samples = self.labels.len() as f64;
        if !collect {
            return self.model.backward(Sink::Descend { parameters, rate: lr }, &self.labels) / samples;
        }
        self.gradient.fill(0.0);
        let forward = match task.sgd.qat {
            None => &*parameters,
            Some(quantization) => {
                quantization.round(self.model.backend(), self.model.tensors(), parameters, &mut self.rounded);
                &self.rounded
            }
        };
        let sink = Sink::Collect { parameters: forward, gradient: &mut self.gradient };
        let loss = self.model.backward(sink, &self.labels) / samples;
        if let Some(hook) = &mut task.hook {
            hook.on_step(step, parameters, &mut self.gradient);
        }
        if proximal != 0.0 {
            for ((gradient, parameter), global) in self.gradient.iter_mut().zip(&*parameters).zip(global) {
                *gradient += proximal * (parameter - global);
            }
        }
        let backend = self.model.backend();
        if let Some(most) = clip_norm {
            clip(backend, &mut self.gradient, most);
        }
        if weight_decay != 0.0 {
            backend.run(Axpy { scale: weight_decay, x: parameters, y: &mut self.gradient });
        }
        if momentum != 0.0 {
            for (velocity, gradient) in self.velocity.iter_mut().zip(&self.gradient) {
                *velocity = momentum * *velocity + gradient;
            }
        }
        let direction = if momentum == 0.0 { &self.gradient } else { &self.velocity };
        backend.run(Axpy { scale: -lr, x: direction, y: parameters });
        loss
    }
}

impl Trainer for SgdTrainer {
    fn tensors(&self) -> &[TensorSpec] {
        self.model.tensors()
    }

    fn init(&self, seed: Seed) -> Vec<f32> {
        let mut parameters = Vec::with_capacity(self.model.parameters());
        let mut fan_in = 1;
        for (index, tensor) in (0..).zip(self.model.tensors()) {
            if tensor.shape.len() > 1 {
                fan_in = tensor.shape[1..].iter().product::<usize>(); // a bias has that of the weight before it
            }
            let stream = seed.derive(Purpose::Init, index, 0);
            let bound = (fan_in as f32).sqrt();
            parameters.extend((0..tensor.numel() as u64).map(|i| (2.0 * stream.unit_at(i) - 1.0) / bound));
        }
        parameters
    }

    fn train(&mut self, global: &[f32], mut task: Task<'_>, delta: &mut [f32]) -> Result<TrainReport, LearningError> {
        self.check_length("global", global.len())?;
        self.check_length("delta", delta.len())?;
        check(task.sgd)?;
        self.check_samples(task.samples)?;
        let collect = task.hook.is_some()
            || task.sgd.momentum != 0.0
            || task.sgd.weight_decay != 0.0
            || task.sgd.clip_norm.is_some()
            || task.sgd.qat.is_some()
            || task.sgd.proximal != 0.0;
        self.model.round_activations(match task.sgd.qat.and_then(Quantization::activation_steps) {
            Some(steps) => Rounding::Batch(steps),
            None => Rounding::Off,
        });
        self.reserve(&task, collect);
        delta.copy_from_slice(global); // trained in place, the difference is taken at the end
        let (mut steps, mut loss_sum) = (0, 0.0);
        let (wanted, mut pass) = (task.sgd.steps_on(task.samples.len()), 0);
        while steps < wanted {
            let order = if pass == 0 { task.order } else { task.order.derive(Purpose::BatchOrder, pass, 0) };
            pass += 1;
            let left = usize::try_from(wanted - steps).unwrap_or(usize::MAX);
            for batch in order.permutation(task.samples.len()).chunks(task.sgd.batch).take(left) {
                let indices = batch.iter().map(|&i| task.samples[i as usize] as usize);
                load(&mut self.model, &mut self.labels, &self.data.train, indices);
                loss_sum += self.step((delta, global), steps, &mut task, collect);
                steps += 1;
            }
        }
        let mut finite = true;
        for (delta, global) in delta.iter_mut().zip(global) {
            *delta -= global;
            finite &= delta.is_finite();
        }
        if !finite {
            return Err(LearningError::Diverged { steps });
        }
        Ok(TrainReport { samples: task.samples.len() as u64, steps, mean_loss: loss_sum / steps as f64 })
    }

    fn evaluate(&mut self, parameters: &[f32], range: core::ops::Range<usize>) -> Result<Evaluation, LearningError> {
        self.check_length("evaluated", parameters.len())?;
        self.model.round_activations(Rounding::Off);
        self.test(parameters, range)
    }

    fn evaluate_on(&mut self, parameters: &[f32], samples: &[u32]) -> Result<Evaluation, LearningError> {
        self.check_length("evaluated", parameters.len())?;
        self.check_samples(samples)?;
        self.model.round_activations(Rounding::Off);
        Ok(self.pass(parameters, samples))
    }

    fn evaluate_quantised(
        &mut self,
        parameters: &[f32],
        quantization: Quantization,
        calibration: &[u32],
        range: core::ops::Range<usize>,
    ) -> Result<Evaluation, LearningError> {
        self.check_length("evaluated", parameters.len())?;
        self.check_samples(calibration)?;
        let mut rounded = vec![0.0; parameters.len()];
        quantization.round(self.model.backend(), self.model.tensors(), parameters, &mut rounded);
        self.model.round_activations(Rounding::Off);
        if let Some(steps) = quantization.activation_steps() {
            self.model.round_activations(Rounding::Batch(steps));
            self.model.forget_ranges();
            self.pass(&rounded, calibration);
            self.model.round_activations(Rounding::Remembered(steps));
        }
        self.test(&rounded, range)
    }
}

impl SgdTrainer {
    /// Evaluates on test samples, as activations are rounded now.
    fn test(&mut self, parameters: &[f32], range: core::ops::Range<usize>) -> Result<Evaluation, LearningError> {
        let samples = self.data.test.len();
        if range.end > samples || range.start > range.end {
            return Err(LearningError::SampleIndex { index: range.end.max(range.start), samples });
        }
        self.model.reserve(EVALUATION_BATCH);
        let mut total = Evaluation::default();
        for start in range.clone().step_by(EVALUATION_BATCH) {
            let end = range.end.min(start + EVALUATION_BATCH);
            load(&mut self.model, &mut self.labels, &self.data.test, start..end);
            let (loss_sum, correct) = self.model.evaluate(parameters, &self.labels);
            total += Evaluation { samples: (end - start) as u64, correct, loss_sum };
        }
        Ok(total)
    }

    /// Evaluates on training samples that were checked, as activations are rounded now.
    fn pass(&mut self, parameters: &[f32], samples: &[u32]) -> Evaluation {
        self.model.reserve(EVALUATION_BATCH);
        let mut total = Evaluation::default();
        for batch in samples.chunks(EVALUATION_BATCH) {
            load(&mut self.model, &mut self.labels, &self.data.train, batch.iter().map(|&index| index as usize));
            let (loss_sum, correct) = self.model.evaluate(parameters, &self.labels);
            total += Evaluation { samples: batch.len() as u64, correct, loss_sum };
        }
        total
    }

    fn check_samples(&self, chosen: &[u32]) -> Result<(), LearningError> {
        if chosen.is_empty() {
            return Err(LearningError::NoSamples);
        }
        let samples = self.data.train.len();
        match chosen.iter().find(|&&index| index as usize >= samples) {
            Some(&index) => Err(LearningError::SampleIndex { index: index as usize, samples }),
            None => Ok(()),
        }
    }
}

/// Copies samples into the model's input, and their labels.
fn load(model: &mut Model, labels: &mut Vec<u8>, from: &Samples, indices: impl ExactSizeIterator<Item = usize>) {
    labels.clear();
    let (batch, backend) = (indices.len(), model.backend());
    let input = model.input(batch);
    let width = input.len() / batch;
    for (index, row) in indices.zip(input.chunks_exact_mut(width)) {
        match &from.features {
            Features::Bytes(rows) if let Some(from) = rows.row(index).to_slice() => backend.run(Grey { from, to: row }),
            features => features.read(index, row),
        }
        labels.push(from.labels[index]);
    }
}

/// Scales `gradient` so that its norm is at most `most`. PyTorch's 1e-6 keeps the quotient of a zero gradient finite.
fn clip(backend: Backend, gradient: &mut [f32], most: f32) {
    let mut squares = 0.0;
    backend.run(SumSquares { x: gradient, sum: &mut squares });
    let scale = most / (squares.sqrt() as f32 + 1e-6);
    let short = scale >= 1.0; // of a norm that is no number neither this nor its opposite holds: it is to be noticed
    if !short {
        gradient.iter_mut().for_each(|value| *value *= scale);
    }
}

fn check(sgd: &SgdConfig) -> Result<(), LearningError> {
    let checks = [
        ("epochs", "at least 1", f64::from(sgd.epochs), sgd.epochs >= 1 || sgd.steps.is_some()),
        ("steps", "at least 1", 0.0, sgd.steps != Some(0)),
        ("batch", "at least 1", sgd.batch as f64, sgd.batch >= 1),
        ("lr", "a finite number", f64::from(sgd.lr), sgd.lr.is_finite()),
        ("momentum", "in [0, 1)", f64::from(sgd.momentum), (0.0..1.0).contains(&sgd.momentum)),
        ("proximal", "at least 0", f64::from(sgd.proximal), (0.0..f32::INFINITY).contains(&sgd.proximal)),
        ("weight_decay", "at least 0", f64::from(sgd.weight_decay), (0.0..f32::INFINITY).contains(&sgd.weight_decay)),
        (
            "clip_norm",
            "a finite number above 0",
            f64::from(sgd.clip_norm.unwrap_or_default()),
            sgd.clip_norm.is_none_or(|norm| norm > 0.0 && norm.is_finite()),
        ),
    ];
    match checks.into_iter().find(|(.., good)| !good) {
        Some((setting, expected, found, _)) => Err(LearningError::Setting { setting, expected, found }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
