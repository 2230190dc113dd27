//! How much the loss minds an error in each tensor: what `+sensitive` schemes weigh errors by.
//!
//! To second order a small error e, independent of the gradient, costs ½ eᵀHe of loss: each tensor is moved by a random
//! sign vector both ways, which cancels the gradient and leaves ½ ‖e‖² times the mean curvature (Hutchinson 1990 estimates
//! the trace of H so; HAWQ, Dong et al. 2019, gives layers bits by it).

use nibble_codec::Layout;
use nibble_learning::{LearningError, SgdConfig, Task, Trainer};
use nibble_seed::Seed;

/// Samples that the loss is measured on.
const SAMPLES: usize = 256;
/// How far a tensor is moved, of the root mean square of its update: about what 2 or 3 bits leave.
const SHARE: f32 = 0.5;
/// Tensors whose curvature cannot be told from none count this much, of the most sensitive.
const LEAST: f64 = 0.01;

/// The weight of a squared error in each tensor, 1 for the tensor that minds most, at the model `global` + `delta`.
pub(crate) fn measure(
    trainer: &mut dyn Trainer,
    layout: &Layout,
    global: &[f32],
    delta: &[f32],
    samples: &[u32],
    signs: Seed,
) -> Result<Vec<f64>, LearningError> {
    let samples = &samples[..samples.len().min(SAMPLES)];
    // One step of rate 0 on all of them tells the loss, and changes nothing.
    let sgd = SgdConfig { lr: 0.0, batch: samples.len().max(1), ..SgdConfig::default() };
    let mut model: Vec<f32> = global.iter().zip(delta).map(|(global, delta)| global + delta).collect();
    let mut unchanged = vec![0.0; model.len()];
    let mut loss = |model: &[f32]| {
        let task = Task { samples, sgd: &sgd, order: signs, hook: None };
        trainer.train(model, task, &mut unchanged).map(|report| report.mean_loss)
    };
    let here = loss(&model)?;
    let mut weights = Vec::with_capacity(layout.tensors().len());
    for tensor in layout.tensors() {
        let range = tensor.offset..tensor.offset + tensor.len;
        let energy: f64 = delta[range.clone()].iter().map(|&delta| f64::from(delta).powi(2)).sum();
        let step = SHARE * (energy / tensor.len.max(1) as f64).sqrt() as f32;
        let mut moved = |times: f32| {
            for (at, value) in range.clone().zip(&mut model[range.clone()]) {
                let sign = if signs.at(at as u64) & 1 == 0 { step } else { -step };
                *value = global[at] + delta[at] + times * sign;
            }
            loss(&model)
        };
        let there = moved(1.0)? + moved(-1.0)?;
        model[range.clone()].iter_mut().zip(range.clone()).for_each(|(value, at)| *value = global[at] + delta[at]);
        let squares = f64::from(step).powi(2) * tensor.len as f64;
        weights.push(if squares > 0.0 { (there / 2.0 - here) / squares } else { 0.0 });
    }
    let most = weights.iter().copied().fold(0.0, f64::max);
    let weight = |found: f64| if most > 0.0 { (found / most).max(LEAST) } else { 1.0 };
    Ok(weights.into_iter().map(weight).collect())
}

#[cfg(test)]
mod tests {
    use nibble_learning::{Evaluation, TensorSpec, TrainReport};

    use super::*;

    /// A loss that is Σ curvature x²/2 + slope x.
    struct Bowl(Vec<TensorSpec>);

    const CURVATURES: [f64; 3] = [4.0, 0.5, 0.0];

    impl Trainer for Bowl {
        fn tensors(&self) -> &[TensorSpec] {
            &self.0
        }

        fn init(&self, _: Seed) -> Vec<f32> {
            vec![0.0; 12]
        }

        fn train(&mut self, x: &[f32], task: Task<'_>, delta: &mut [f32]) -> Result<TrainReport, LearningError> {
            assert_eq!(task.sgd.lr, 0.0);
            delta.fill(0.0);
            let term = |(at, &x): (usize, &f32)| CURVATURES[at / 4] * f64::from(x).powi(2) / 2.0 + 3.0 * f64::from(x);
            Ok(TrainReport { samples: 1, steps: 1, mean_loss: x.iter().enumerate().map(term).sum() })
        }

        fn evaluate(&mut self, _: &[f32], _: core::ops::Range<usize>) -> Result<Evaluation, LearningError> {
            Ok(Evaluation::default())
        }
    }

    #[test]
    fn weights_are_curvatures_whatever_the_slope() {
        let mut bowl = Bowl((0..3).map(|at| TensorSpec { name: format!("t{at}"), shape: vec![4] }).collect());
        let layout = Layout::new([("a", vec![4]), ("b", vec![4]), ("c", vec![4])]).unwrap();
        let delta = [0.1, -0.2, 0.3, 0.1, 0.02, 0.01, 0.03, -0.01, 1.0, 1.0, 1.0, 1.0];
        let weights = measure(&mut bowl, &layout, &[0.5; 12], &delta, &[1, 2], Seed(3)).unwrap();
        for (weight, expected) in weights.into_iter().zip([1.0, 0.125, LEAST]) {
            assert!((weight - expected).abs() < 1e-3, "{weight} is not {expected}");
        }
    }
}
