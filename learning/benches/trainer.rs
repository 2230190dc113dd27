//! Samples per second of `Trainer::train`: clients of 600 Fashion-MNIST-shaped samples, batches of 32, one thread.
//!
//! `cargo bench -p nibble-learning`; `benches/pytorch_loop.py` is the same loop in PyTorch.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ndarray::Array2;
use nibble_learning::data::{Dataset, Features, Samples};
use nibble_learning::{Model, SgdConfig, SgdTrainer, Task, Trainer};
use nibble_seed::Seed;

const SAMPLES: usize = 6000;

/// Images like Fashion-MNIST's for what time depends on: their size, and that about half of the pixels are black.
fn data() -> Dataset {
    let pixel = |i: usize| (Seed(1).at(i as u64) as u8).saturating_mul(Seed(2).at(i as u64) as u8 & 1);
    let features = Features::Bytes(Array2::from_shape_fn((SAMPLES, 784), |(i, j)| pixel(784 * i + j)));
    let labels = (0..SAMPLES).map(|i| (Seed(3).at(i as u64) % 10) as u8).collect();
    let train = Samples { features, labels, owners: None };
    Dataset { name: "noise".into(), classes: 10, shape: (1, 28, 28), test: train.clone(), train }
}

fn train(criterion: &mut Criterion) {
    let data = Arc::new(data());
    let mut group = criterion.benchmark_group("train");
    group.throughput(Throughput::Elements(600));
    for (name, lr) in [("mlp", 0.1), ("cnn", 0.05)] {
        let model = Model::from_name(name, data.shape, data.classes).expect("the shape is Fashion-MNIST's");
        let mut trainer = SgdTrainer::new(model, Arc::clone(&data)).expect("the model was made for this data");
        let sgd = SgdConfig { lr, ..SgdConfig::default() };
        let global = trainer.init(Seed(0));
        let mut delta = vec![0.0; global.len()];
        let mut client = 0;
        group.sample_size(if name == "mlp" { 50 } else { 10 });
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                client = (client + 1) % 10;
                let samples: Vec<u32> = (600 * client..600 * (client + 1)).collect();
                let task = Task { samples: &samples, sgd: &sgd, order: Seed(client.into()), hook: None };
                trainer.train(&global, task, &mut delta).expect("training does not diverge");
                black_box(&delta);
            });
        });
    }
    group.finish();
}

criterion_group!(benches, train);
criterion_main!(benches);
