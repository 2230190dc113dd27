use ndarray::Array2;

use super::*;
use crate::data::Features;
use crate::trainer::StepHook;

/// Twenty samples of six features in three classes, ten of them for tests.
fn data() -> Arc<Dataset> {
    let part = |key: u64, n: usize| {
        let stream = Seed(key);
        let features = Array2::from_shape_fn((n, 6), |(i, j)| stream.unit_at((6 * i + j) as u64));
        let labels = (0..n).map(|i| (i % 3) as u8).collect();
        Samples { features: Features::Floats(features), labels, owners: None }
    };
    Arc::new(Dataset { name: "noise".into(), classes: 3, shape: (1, 2, 3), train: part(1, 20), test: part(2, 70) })
}

fn trainer(name: &str) -> SgdTrainer {
    let data = data();
    SgdTrainer::new(Model::from_name(name, data.shape, data.classes).unwrap(), data)
}

fn train<'a>(
    trainer: &mut SgdTrainer,
    sgd: &'a SgdConfig,
    hook: Option<&'a mut dyn StepHook>,
) -> (Vec<f32>, TrainReport) {
    let global = trainer.init(Seed(0));
    let mut delta = vec![f32::NAN; global.len()];
    let task = Task { samples: &[0, 1, 2, 3, 4, 5, 6], sgd, order: Seed(5), hook };
    let report = trainer.train(&global, task, &mut delta).unwrap();
    (delta, report)
}

struct Look(Vec<f32>);

impl StepHook for Look {
    fn on_step(&mut self, step: u64, _: &[f32], gradient: &mut [f32]) {
        if step == 0 {
            self.0 = gradient.to_vec();
        }
    }
}

#[test]
fn the_plain_step_is_the_general_one() {
    let sgd = SgdConfig { batch: 3, epochs: 2, ..SgdConfig::default() };
    for name in ["mlp", "logreg"] {
        let (plain, report) = train(&mut trainer(name), &sgd, None);
        let mut look = Look(Vec::new());
        let (hooked, same) = train(&mut trainer(name), &sgd, Some(&mut look));
        assert_eq!((report.samples, report.steps), (7, 6));
        assert!((report.mean_loss - same.mean_loss).abs() < 1e-6);
        for (a, b) in plain.iter().zip(&hooked) {
            assert!((a - b).abs() < 1e-6, "{a} is not {b}");
        }
        assert!(look.0.iter().any(|&g| g != 0.0));
    }
}

#[test]
fn init_is_that_of_the_reference_workload() {
    let model = Model::from_name("mlp", (1, 28, 28), 10).unwrap();
    let parameters = model.init(Seed(0));
    assert_eq!(parameters.len(), 199_210);
    for (p, expected) in parameters.iter().zip([-0.011_304_84, 0.009_438_16, -0.007_343_66]) {
        assert!((p - expected as f32).abs() < 5e-9, "{p} is not {expected}");
    }
    assert_eq!(Model::from_name("cnn", (1, 28, 28), 10).unwrap().init(Seed(0)).len(), 1_663_370);
}

#[test]
fn evaluation_adds_up() {
    let mut trainer = trainer("mlp");
    let parameters = trainer.init(Seed(1));
    let all = trainer.evaluate(&parameters, 0..70).unwrap();
    let mut sum = trainer.evaluate(&parameters, 0..33).unwrap();
    sum += trainer.evaluate(&parameters, 33..70).unwrap();
    assert_eq!((all.samples, all.correct), (70, sum.correct));
    assert!((all.loss_sum - sum.loss_sum).abs() < 1e-9);
}
