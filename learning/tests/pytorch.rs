//! The trainer against PyTorch: initialisation, loss, gradients, plain SGD, momentum, weight decay, steps, clipping and
//! FedProx's pull.
//!
//! `data/make_golden.py` defines the tasks, it and `data/make_local.py` wrote the numbers.
#![allow(clippy::unwrap_used)] // a failing helper is a failing test

use std::sync::Arc;

use ndarray::Array2;
use nibble_learning::data::{Dataset, Features, Samples};
use nibble_learning::{Model, Quantization, SgdConfig, SgdTrainer, StepHook, Task, TrainReport, Trainer};
use nibble_seed::Seed;

type Shape = (usize, usize, usize);

const CASES: [(&str, Shape, usize); 4] =
    [("mlp", (1, 28, 28), 10), ("cnn", (1, 28, 28), 10), ("cnn", (3, 8, 12), 4), ("logreg", (1, 1, 7), 3)];

fn samples(seed: u64, n: usize, shape: Shape, classes: usize) -> Samples {
    let width = shape.0 * shape.1 * shape.2;
    let level = |i| if Seed(seed).at(i) & 256 == 0 { 0 } else { (Seed(seed).at(i) & 255) as u8 };
    let levels = (0..(n * width) as u64).map(level).collect();
    let labels = (0..n as u64).map(|i| (Seed(seed + 1).at(i) % classes as u64) as u8).collect();
    Samples { features: Features::Bytes(Array2::from_shape_vec((n, width), levels).unwrap()), labels, owners: None }
}

fn trainer((name, shape, classes): (&str, Shape, usize)) -> SgdTrainer {
    let (train, test) = (samples(100, 40, shape, classes), samples(200, 20, shape, classes));
    let data = Dataset { name: "golden".to_owned(), classes, shape, train, test };
    SgdTrainer::new(Model::from_name(name, shape, classes).unwrap(), Arc::new(data)).unwrap()
}

/// Keeps the first gradient it sees.
#[derive(Default)]
struct First(Vec<f32>);

impl StepHook for First {
    fn on_step(&mut self, step: u64, _parameters: &[f32], gradient: &mut [f32]) {
        if step == 0 {
            self.0 = gradient.to_vec();
        }
    }
}

fn train(trainer: &mut SgdTrainer, sgd: &SgdConfig, hook: Option<&mut First>) -> (Vec<f32>, TrainReport) {
    let global = trainer.init(Seed(7));
    let mut delta = vec![f32::NAN; global.len()];
    let samples: Vec<u32> = (0..40).collect();
    let hook = hook.map(|hook| hook as &mut dyn StepHook);
    let report = trainer.train(&global, Task { samples: &samples, sgd, order: Seed(5), hook }, &mut delta).unwrap();
    (delta, report)
}

/// Compares what the file has of `quantity`, relative to the largest of its values.
fn check(case: usize, quantity: &str, found: &[f32], tolerance: f64) {
    let files = concat!(include_str!("data/golden.txt"), include_str!("data/local.txt"));
    let lines = files.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let expected: Vec<(usize, f64)> = lines
        .filter(|words| words[0] == case.to_string() && words[1] == quantity)
        .map(|words| (words[2].parse().unwrap(), words[3].parse().unwrap()))
        .collect();
    assert!(!expected.is_empty(), "{quantity}");
    let size = expected.iter().fold(0.0, |size: f64, (_, value)| size.max(value.abs()));
    for (index, value) in expected {
        let error = (f64::from(found[index]) - value).abs() / size;
        assert!(error < tolerance, "{} {quantity}[{index}]: {}, PyTorch {value}", CASES[case].0, found[index]);
    }
}

#[test]
fn trains_as_pytorch_does() {
    let plain = SgdConfig { batch: 16, ..SgdConfig::default() };
    let momentum = SgdConfig { epochs: 2, momentum: 0.9, weight_decay: 0.01, ..plain };
    for (case, model) in CASES.into_iter().enumerate() {
        let mut trainer = trainer(model);
        let initial = trainer.init(Seed(7));
        let evaluation = trainer.evaluate(&initial, 0..20).unwrap();
        assert_eq!(evaluation.samples, 20);
        check(case, "evaluate", &[evaluation.loss_sum as f32, evaluation.correct as f32], 1e-6);

        let mut first = First::default();
        let (hooked, _) = train(&mut trainer, &plain, Some(&mut first));
        check(case, "gradient", &first.0, 1e-5);
        let (delta, report) = train(&mut trainer, &plain, None);
        assert!(hooked == delta, "a hook that changes nothing changes nothing");
        assert_eq!((report.samples, report.steps), (40, 3));
        check(case, "plain", &delta, 1e-4);
        check(case, "plain_loss", &[report.mean_loss as f32], 1e-5);

        let (delta, report) = train(&mut trainer, &momentum, None);
        assert_eq!((report.samples, report.steps), (40, 6));
        check(case, "momentum", &delta, 1e-4);
        check(case, "momentum_loss", &[report.mean_loss as f32], 1e-5);
    }
}

#[test]
fn steps_and_clipping_are_those_of_pytorch() {
    let sgd = SgdConfig { batch: 16, momentum: 0.9, weight_decay: 0.01, ..SgdConfig::default() };
    let clipped = SgdConfig { steps: Some(7), clip_norm: Some(0.5), ..sgd };
    for (case, model) in CASES.into_iter().enumerate() {
        let mut trainer = trainer(model);
        let (delta, report) = train(&mut trainer, &clipped, None);
        assert_eq!((report.samples, report.steps), (40, 7));
        check(case, "clipped", &delta, 1e-4);
        check(case, "clipped_loss", &[report.mean_loss as f32], 1e-5);
        let (once, report) = train(&mut trainer, &SgdConfig { steps: Some(1), ..clipped }, None);
        assert_eq!(report.steps, 1);
        check(case, "clipped_once", &once, 1e-5);
        let unclipped = SgdConfig { clip_norm: Some(1e6), ..clipped };
        let loose = train(&mut trainer, &unclipped, None);
        assert!(loose == train(&mut trainer, &SgdConfig { clip_norm: None, ..unclipped }, None), "nothing to clip");
        assert_eq!(loose.0 != delta, model.0 != "logreg", "the gradients of all but the smallest model were clipped");
        let [twice, six] = [(2, None), (1, Some(6))].map(|(epochs, steps)| SgdConfig { epochs, steps, ..sgd });
        assert!(train(&mut trainer, &twice, None) == train(&mut trainer, &six, None));
    }
}

#[test]
fn the_proximal_term_is_that_of_pytorch() {
    let plain = SgdConfig { batch: 16, ..SgdConfig::default() };
    let pulled = SgdConfig { proximal: 0.7, ..plain };
    for (case, model) in CASES.into_iter().enumerate() {
        let mut trainer = trainer(model);
        let (delta, report) = train(&mut trainer, &pulled, None);
        check(case, "proximal", &delta, if model.0 == "cnn" { 1e-4 } else { 1e-5 });
        check(case, "proximal_loss", &[report.mean_loss as f32], 1e-5);
        let norm = |delta: &[f32]| delta.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>();
        assert!(norm(&delta) < 0.95 * norm(&train(&mut trainer, &plain, None).0), "it holds back");
    }
}

#[test]
fn quantization_aware_steps_are_those_of_pytorch() {
    for (case, model) in CASES.into_iter().enumerate() {
        let mut trainer = trainer(model);
        for (name, qat) in Quantization::ALL {
            let sgd = SgdConfig { batch: 16, steps: Some(1), qat: Some(qat), ..SgdConfig::default() };
            let (delta, report) = train(&mut trainer, &sgd, None);
            // Of the cnn's many activations some lie so near another in their pool, or the middle of a step, that the last
            // bit decides: PyTorch's own gradient moves by up to 0.5 % of its largest value when they change by 1e-7.
            let tolerance = if model.0 == "cnn" { 1e-2 } else { 2e-5 };
            check(case, &format!("qat_{name}"), &delta, tolerance);
            check(case, &format!("qat_{name}_loss"), &[report.mean_loss as f32], 1e-5);
        }
    }
}
