use ndarray::Array2;

use super::*;
use crate::kernels::Backend;
use crate::trainer::StepHook;

fn samples(seed: u64, n: usize, features: usize) -> Samples {
    let level = |i| (Seed(seed).at(i) as u8).saturating_sub(100);
    let levels = (0..(n * features) as u64).map(level).collect();
    let labels = (0..n as u64).map(|i| (Seed(seed).at(i) % 3) as u8).collect();
    Samples { features: Features::Bytes(Array2::from_shape_vec((n, features), levels).unwrap()), labels, owners: None }
}

fn trainer_on(name: &str, backend: Backend) -> SgdTrainer {
    let shape = (1, 8, 8);
    let (train, test) = (samples(1, 50, 64), samples(2, 70, 64));
    let data = Dataset { name: "test".to_owned(), classes: 3, shape, train, test };
    SgdTrainer::new(Model::with_backend(name, shape, 3, backend).unwrap(), Arc::new(data)).unwrap()
}

fn trainer(name: &str) -> SgdTrainer {
    trainer_on(name, Backend::detect())
}

fn train(trainer: &mut SgdTrainer, samples: &[u32], sgd: &SgdConfig) -> Result<(Vec<f32>, TrainReport), LearningError> {
    let global = trainer.init(Seed(3));
    let mut delta = vec![0.0; global.len()];
    let report = trainer.train(&global, Task { samples, sgd, order: Seed(4), hook: None }, &mut delta)?;
    Ok((delta, report))
}

const ALL: [u32; 5] = [7, 49, 0, 21, 22];

#[test]
fn processors_with_fused_multiply_add_agree_bit_for_bit() {
    let sgd = SgdConfig { epochs: 3, batch: 4, ..SgdConfig::default() };
    for name in Model::names() {
        let results = Backend::available().into_iter().map(|backend| {
            let mut trainer = trainer_on(name, backend);
            let (delta, report) = train(&mut trainer, &ALL, &sgd).unwrap();
            (backend, delta, report, trainer.evaluate(&trainer.init(Seed(3)), 0..70).unwrap())
        });
        let results: Vec<_> = results.collect();
        for (backend, delta, report, evaluation) in &results {
            if backend.is_fused() {
                assert!(*delta == results[0].1, "{name} on {backend:?} differs");
                assert_eq!((report, evaluation), (&results[0].2, &results[0].3), "{name}");
            } else {
                let distance = |a: &[f32]| a.iter().zip(delta).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(distance(&results[0].1) < 1e-4, "{name}");
            }
        }
    }
}

#[test]
fn a_result_depends_on_nothing_that_was_done_before() {
    let sgd = SgdConfig { epochs: 2, batch: 3, ..SgdConfig::default() };
    let heavy = SgdConfig { batch: 40, momentum: 0.9, ..sgd };
    for name in Model::names() {
        let fresh = train(&mut trainer(name), &ALL, &sgd).unwrap();
        let fresh_heavy = train(&mut trainer(name), &ALL, &heavy).unwrap();
        let mut used = trainer(name);
        let parameters = used.init(Seed(9));
        let evaluation = used.evaluate(&parameters, 0..70).unwrap();
        for _ in 0..2 {
            assert!(train(&mut used, &ALL, &heavy).unwrap() == fresh_heavy, "{name}");
            assert!(train(&mut used, &ALL, &sgd).unwrap() == fresh, "{name}");
            assert_eq!(used.evaluate(&parameters, 0..70).unwrap(), evaluation);
        }
    }
}

#[test]
fn batches_follow_the_order_and_keep_the_rest() {
    // One step a sample: training on the permuted samples, each alone and one after the other, is the same.
    let mut trainer = trainer("mlp");
    let sgd = SgdConfig { batch: 1, epochs: 2, ..SgdConfig::default() };
    let (delta, report) = train(&mut trainer, &ALL, &sgd).unwrap();
    assert_eq!((report.samples, report.steps), (5, 10));
    let mut parameters = trainer.init(Seed(3));
    let mut step = vec![0.0; parameters.len()];
    let mut losses = 0.0;
    let single = SgdConfig { epochs: 1, ..sgd };
    for order in [Seed(4), Seed(4).derive(Purpose::BatchOrder, 1, 0)] {
        for i in order.permutation(5) {
            let samples = &[ALL[i as usize]];
            let task = Task { samples, sgd: &single, order: Seed(0), hook: None };
            losses += trainer.train(&parameters, task, &mut step).unwrap().mean_loss;
            parameters.iter_mut().zip(&step).for_each(|(p, s)| *p += s);
        }
    }
    assert!((report.mean_loss - losses / 10.0).abs() < 1e-5);
    for ((p, global), delta) in parameters.iter().zip(trainer.init(Seed(3))).zip(&delta) {
        assert!((p - global - delta).abs() < 1e-5);
    }
    let rest = SgdConfig { batch: 3, ..SgdConfig::default() };
    assert_eq!(train(&mut trainer, &ALL, &rest).unwrap().1.steps, 2);
}

#[test]
fn steps_go_on_over_reshuffled_passes() {
    let mut trainer = trainer("mlp");
    let epochs = |epochs| SgdConfig { batch: 2, epochs, ..SgdConfig::default() };
    let steps = |steps| SgdConfig { steps: Some(steps), epochs: 0, ..epochs(1) };
    let mut run = |sgd: &SgdConfig| train(&mut trainer, &ALL, sgd).unwrap();
    assert!(run(&epochs(2)) == run(&steps(6)), "whole passes");
    for (count, visits) in [(1, 2), (2, 4), (3, 5), (4, 7), (9, 15), (10, 17)] {
        assert_eq!(run(&steps(count)).1.steps, u64::from(count));
        assert_eq!((steps(count).visits_on(5), steps(count).steps_on(5)), (visits, u64::from(count)));
    }
    assert_eq!(SgdConfig { batch: 32, ..steps(4) }.visits_on(5), 20, "a batch is no larger than the client");
    assert!(run(&steps(4)).0 != run(&steps(3)).0);
}

#[test]
fn a_gradient_without_end_is_noticed_and_not_clipped_away() {
    let mut trainer = trainer("mlp");
    let sgd = SgdConfig { clip_norm: Some(1.0), ..SgdConfig::default() };
    struct Poison(f32);
    impl crate::StepHook for Poison {
        fn on_step(&mut self, _: u64, _: &[f32], gradient: &mut [f32]) {
            gradient[3] = self.0;
        }
    }
    let global = trainer.init(Seed(3));
    let mut delta = vec![0.0; global.len()];
    for (value, good) in [(f32::NAN, false), (f32::INFINITY, false), (1e30, true)] {
        let task = Task { samples: &ALL, sgd: &sgd, order: Seed(0), hook: Some(&mut Poison(value)) };
        assert_eq!(trainer.train(&global, task, &mut delta).is_ok(), good, "{value}");
    }
}

#[test]
fn slices_of_an_evaluation_add_up() {
    let mut trainer = trainer("cnn");
    let parameters = trainer.init(Seed(5));
    let whole = trainer.evaluate(&parameters, 0..70).unwrap();
    let mut sum = Evaluation::default();
    for range in [0..1, 1..34, 34..34, 34..70] {
        sum += trainer.evaluate(&parameters, range).unwrap();
    }
    assert_eq!((sum.samples, sum.correct), (70, whole.correct));
    assert!((sum.loss_sum - whole.loss_sum).abs() < 1e-9);
}

#[test]
fn floats_and_bytes_train_alike() {
    let mut bytes = trainer("logreg");
    let mut data = Dataset::clone(&bytes.data);
    let Features::Bytes(levels) = &data.train.features else { panic!("made of bytes") };
    data.train.features = Features::Floats(levels.mapv(|level| f32::from(level) / 255.0));
    let model = Model::from_name("logreg", data.shape, 3).unwrap();
    let mut floats = SgdTrainer::new(model, Arc::new(data)).unwrap();
    let sgd = SgdConfig::default();
    assert!(train(&mut floats, &ALL, &sgd).unwrap() == train(&mut bytes, &ALL, &sgd).unwrap());
}

#[test]
fn a_number_that_is_none_is_noticed() {
    for name in Model::names() {
        let mut trainer = trainer(name);
        let mut data = Dataset::clone(&trainer.data);
        let mut features = Array2::zeros((50, 64));
        features[[7, 20]] = f32::NAN;
        data.train.features = Features::Floats(features);
        trainer.data = Arc::new(data);
        assert!(train(&mut trainer, &[7], &SgdConfig::default()).is_err(), "{name}");
        assert!(train(&mut trainer, &[8], &SgdConfig::default()).is_ok(), "{name}");
    }
}

#[test]
fn the_bits_are_those_of_every_other_processor() {
    let sgd = SgdConfig { epochs: 2, batch: 2, ..SgdConfig::default() };
    let hashes = Model::names().iter().map(|name| {
        let (delta, _) = train(&mut trainer(name), &ALL, &sgd).unwrap();
        delta.iter().fold(0, |hash, value| Seed(hash).at(u64::from(value.to_bits()))) // order counts
    });
    let hashes: Vec<u64> = hashes.collect();
    if Backend::detect().is_fused() {
        assert_eq!(
            hashes,
            [0x80A0_AD1A_12D5_091B, 0x859A_8E8F_0A6E_C818, 0xD92B_5A67_9A4D_152B],
            "if the arithmetic was meant to change, so may these"
        );
    }
}

#[test]
fn what_cannot_be_trained_is_refused() {
    let mut trainer = trainer("mlp");
    let good = SgdConfig::default();
    let mut refused = |samples: &[u32], sgd: &SgdConfig| train(&mut trainer, samples, sgd).unwrap_err().to_string();
    assert_eq!(refused(&[], &good), "the client has no samples to train on");
    assert_eq!(refused(&[3, 50], &good), "sample 50 was asked for, but the data has 50 samples");
    assert_eq!(refused(&ALL, &SgdConfig { batch: 0, ..good }), "batch is 0, but must be at least 1");
    assert_eq!(refused(&ALL, &SgdConfig { epochs: 0, ..good }), "epochs is 0, but must be at least 1");
    assert_eq!(refused(&ALL, &SgdConfig { steps: Some(0), ..good }), "steps is 0, but must be at least 1");
    let clip = SgdConfig { clip_norm: Some(0.0), ..good };
    assert_eq!(refused(&ALL, &clip), "clip_norm is 0, but must be a finite number above 0");
    assert_eq!(refused(&ALL, &SgdConfig { momentum: 1.0, ..good }), "momentum is 1, but must be in [0, 1)");
    assert_eq!(refused(&ALL, &SgdConfig { weight_decay: -1.0, ..good }), "weight_decay is -1, but must be at least 0");
    assert_eq!(refused(&ALL, &SgdConfig { lr: f32::NAN, ..good }), "lr is NaN, but must be a finite number");
    let wild = SgdConfig { lr: 1e30, epochs: 4, ..good };
    assert!(refused(&ALL, &wild).starts_with("training diverged: the delta is not finite after 4 steps"));

    let global = trainer.init(Seed(0));
    let task = || Task { samples: &ALL, sgd: &good, order: Seed(0), hook: None };
    let mut delta = global.clone();
    let error = trainer.train(&global[1..], task(), &mut delta).unwrap_err().to_string();
    assert_eq!(error, "the model has 53803 parameters, but the global vector has 53802");
    assert!(trainer.train(&global, task(), &mut delta[1..]).is_err());
    assert!(trainer.evaluate(&global[1..], 0..1).is_err());
    assert!(trainer.evaluate(&global, 69..71).is_err());
    let model = Model::from_name("mlp", (1, 8, 7), 3).unwrap();
    let error = SgdTrainer::new(model, Arc::clone(&trainer.data)).err().unwrap().to_string();
    assert_eq!(error, "the model was built for 7 pixels of width, but the data has 8");
    let mut data = Dataset::clone(&trainer.data);
    data.test.labels[3] = 3;
    let model = || Model::from_name("mlp", (1, 8, 8), 3).unwrap();
    let error = SgdTrainer::new(model(), Arc::new(data)).err().unwrap().to_string();
    assert_eq!(error, "the model was built for 3 classes, but the data has 4");
    let mut data = Dataset::clone(&trainer.data);
    data.train.features = Features::Bytes(Array2::zeros((50, 63)));
    let error = SgdTrainer::new(model(), Arc::new(data)).err().unwrap().to_string();
    assert_eq!(error, "the model was built for 64 features a sample, but the data has 63");
}

#[test]
fn a_quantised_model_is_the_one_whose_numbers_were_rounded() {
    for name in Model::names() {
        let mut trainer = trainer(name);
        let parameters = trainer.init(Seed(5));
        let wide = trainer.evaluate(&parameters, 0..70).unwrap();
        let mut on = |format: &str, parameters: &[f32]| {
            trainer.evaluate_quantised(parameters, format.parse().unwrap(), &ALL, 0..70).unwrap()
        };
        let eight = on("int8", &parameters);
        assert!(eight != wide && (eight.mean_loss() - wide.mean_loss()).abs() < 0.01, "{name}: {eight:?}, {wide:?}");
        assert!(on("int4", &parameters).loss_sum != eight.loss_sum, "{name}");
        let mut rounded = vec![0.0; parameters.len()];
        let format: Quantization = "int4-weights".parse().unwrap();
        format.round(Backend::detect(), trainer.tensors(), &parameters, &mut rounded);
        let weights_alone = trainer.evaluate_quantised(&parameters, format, &ALL, 0..70).unwrap();
        assert_eq!(trainer.evaluate(&rounded, 0..70).unwrap(), weights_alone);
        assert!(trainer.evaluate_quantised(&parameters, format, &[50], 0..70).is_err());
        assert!(trainer.evaluate_quantised(&parameters, format, &[], 0..70).is_err());
    }
}

#[test]
fn quantised_results_depend_on_nothing_that_was_done_before() {
    for name in Model::names() {
        let qat = SgdConfig { batch: 3, qat: Some("int4".parse().unwrap()), ..SgdConfig::default() };
        let plain = SgdConfig { qat: None, ..qat };
        let fresh = [&qat, &plain].map(|sgd| train(&mut trainer(name), &ALL, sgd).unwrap());
        assert!(fresh[0].0 != fresh[1].0, "{name}");
        let mut used = trainer(name);
        let parameters = used.init(Seed(9));
        let quantised = |used: &mut SgdTrainer, from: &[u32]| {
            used.evaluate_quantised(&parameters, "int8".parse().unwrap(), from, 0..70).unwrap()
        };
        let (evaluation, reached) = (used.evaluate(&parameters, 0..70).unwrap(), quantised(&mut used, &ALL[..2]));
        for _ in 0..2 {
            for (sgd, fresh) in [&qat, &plain].into_iter().zip(&fresh) {
                assert!(train(&mut used, &ALL, sgd).unwrap() == *fresh, "{name}");
            }
            quantised(&mut used, &ALL);
            assert_eq!(quantised(&mut used, &ALL[..2]), reached);
            assert_eq!(used.evaluate(&parameters, 0..70).unwrap(), evaluation);
        }
    }
}

#[test]
fn quantised_training_is_the_same_on_processors_with_fused_multiply_add() {
    let sgd = SgdConfig { epochs: 2, batch: 4, qat: Some("int8".parse().unwrap()), ..SgdConfig::default() };
    for name in Model::names() {
        let fused = Backend::available().into_iter().filter(|backend| backend.is_fused());
        let results: Vec<_> = fused.map(|backend| train(&mut trainer_on(name, backend), &ALL, &sgd).unwrap()).collect();
        assert!(results.iter().all(|result| *result == results[0]), "{name}");
    }
}

#[test]
fn training_samples_are_evaluated_as_test_samples_are() {
    let mut trainer = trainer("mlp");
    let mut data = Dataset::clone(&trainer.data);
    data.train = samples(2, 70, 64); // the test part
    trainer.data = Arc::new(data);
    let parameters = trainer.init(Seed(5));
    let all: Vec<u32> = (0..70).collect();
    assert_eq!(trainer.evaluate_on(&parameters, &all).unwrap(), trainer.evaluate(&parameters, 0..70).unwrap());
    assert_eq!(trainer.evaluate_on(&parameters, &[69]).unwrap(), trainer.evaluate(&parameters, 69..70).unwrap());
    assert!(trainer.evaluate_on(&parameters, &[70]).is_err() && trainer.evaluate_on(&parameters, &[]).is_err());
}

#[test]
fn the_pull_back_is_that_of_the_same_gradient_in_a_hook() {
    struct Pull<'a>(f32, &'a [f32]);
    impl StepHook for Pull<'_> {
        fn on_step(&mut self, _: u64, parameters: &[f32], gradient: &mut [f32]) {
            for ((gradient, parameter), global) in gradient.iter_mut().zip(parameters).zip(self.1) {
                *gradient += self.0 * (parameter - global);
            }
        }
    }
    let mut trainer = trainer("logreg");
    let plain = SgdConfig { batch: 2, epochs: 3, ..SgdConfig::default() };
    let (pulled, _) = train(&mut trainer, &ALL, &SgdConfig { proximal: 2.0, ..plain.clone() }).unwrap();
    let global = trainer.init(Seed(3));
    let mut delta = vec![0.0; global.len()];
    let mut hook = Pull(2.0, &global);
    let task = Task { samples: &ALL, sgd: &plain, order: Seed(4), hook: Some(&mut hook) };
    trainer.train(&global, task, &mut delta).unwrap();
    assert!(pulled == delta);
    let length = |delta: &[f32]| delta.iter().map(|x| x * x).sum::<f32>();
    assert!(length(&pulled) < 0.9 * length(&train(&mut trainer, &ALL, &plain).unwrap().0));
}
