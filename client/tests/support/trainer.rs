//! A trainer whose deltas are a formula.

use std::ops::Range;

use nibble_client::agent::BoxError;
use nibble_codec::Layout;
use nibble_learning::{Evaluation, LearningError, Task, TensorSpec, TrainReport, Trainer};
use nibble_seed::Seed;

/// The samples of the client.
pub const SAMPLES: [u32; 5] = [4, 8, 15, 16, 23];

/// Trains towards a half, with noise by the order's seed.
pub struct Toy {
    tensors: Vec<TensorSpec>,
}

/// The tensors of the architecture `toy`: 40,010 coordinates, so that a frame takes three chunks.
pub fn tensors() -> Vec<TensorSpec> {
    let tensor = |name: &str, shape: &[usize]| TensorSpec { name: name.into(), shape: shape.to_vec() };
    vec![tensor("fc.weight", &[10, 4000]), tensor("fc.bias", &[10])]
}

/// Their layout.
pub fn layout() -> Layout {
    layout_of(&tensors())
}

/// The layout of any tensors.
pub fn layout_of(tensors: &[TensorSpec]) -> Layout {
    Layout::new(tensors.iter().map(|tensor| (tensor.name.clone(), tensor.shape.clone()))).unwrap()
}

/// What training from `global` in that order gives.
pub fn delta(global: &[f32], order: Seed) -> Vec<f32> {
    let noise = |i: usize| order.unit_at(i as u64) - 0.5;
    global.iter().enumerate().map(|(i, global)| 0.1 * (0.5 - global) + 0.01 * noise(i)).collect()
}

impl Toy {
    /// A trainer of the architecture `toy`.
    pub fn boxed() -> Box<dyn Trainer> {
        Box::new(Self { tensors: tensors() })
    }

    /// Knows one architecture.
    pub fn source(architecture: &str) -> Result<Box<dyn Trainer>, BoxError> {
        if architecture == "toy" { Ok(Self::boxed()) } else { Err(format!("no model {architecture}").into()) }
    }
}

impl Trainer for Toy {
    fn tensors(&self) -> &[TensorSpec] {
        &self.tensors
    }

    fn init(&self, _: Seed) -> Vec<f32> {
        vec![0.0; layout().coordinates()]
    }

    fn train(&mut self, global: &[f32], task: Task<'_>, out: &mut [f32]) -> Result<TrainReport, LearningError> {
        if task.sgd.lr == 0.0 {
            return Err(LearningError::Diverged { steps: 3 });
        }
        assert_eq!(task.samples, SAMPLES);
        out.copy_from_slice(&delta(global, task.order));
        let mean_loss = if task.sgd.lr > 1e9 { f64::INFINITY } else { 1.5 };
        Ok(TrainReport { samples: 5, steps: 1, mean_loss })
    }

    fn evaluate(&mut self, _: &[f32], _: Range<usize>) -> Result<Evaluation, LearningError> {
        Ok(Evaluation::default())
    }
}
