//! Samples per second of a client's local epoch: 600 samples, batches of 32, everything included, one thread. And what
//! storing numbers in bf16 would cost it (docs/local-training.md).
//!
//! Run `cargo bench -p nibble-learning`, and `benches/pytorch_loop.py` on the same quiet machine to compare.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ndarray::Array2;
use nibble_learning::data::{Dataset, Features, Samples};
use nibble_learning::{Model, SgdConfig, SgdTrainer, Task, Trainer};
use nibble_seed::Seed;

const SHAPE: (usize, usize, usize) = (1, 28, 28);
const CLASSES: usize = 10;
const SAMPLES: u32 = 600;

/// Noisy copies of one picture a class, half of them black, as in Fashion-MNIST: kernels skip zeros behind ReLU.
fn samples() -> Samples {
    let label = |i: usize| i % CLASSES;
    let pixel = |(i, j): (usize, usize)| {
        let (picture, noise) = (Seed(label(i) as u64).at(j as u64), Seed(100 + i as u64).at(j as u64));
        if picture & 1 == 0 { 0 } else { (picture >> 8 & 127) as u8 + (noise & 127) as u8 }
    };
    let features = Features::Bytes(Array2::from_shape_fn((6_000, SHAPE.1 * SHAPE.2), pixel));
    Samples { features, labels: (0..6_000).map(|i| label(i) as u8).collect(), owners: None }
}

fn local_epoch(criterion: &mut Criterion) {
    let train = samples();
    let test = Samples { features: Features::Bytes(Array2::zeros((0, 784))), labels: Vec::new(), owners: None };
    let data = Arc::new(Dataset { name: "pictures".to_owned(), classes: CLASSES, shape: SHAPE, train, test });
    let mut group = criterion.benchmark_group("local epoch");
    group.throughput(Throughput::Elements(u64::from(SAMPLES))).sample_size(20);
    for (name, lr) in [("mlp", 0.1), ("cnn", 0.05), ("logreg", 0.1)] {
        let model = Model::from_name(name, SHAPE, CLASSES).expect("the models take such samples");
        let mut trainer = SgdTrainer::new(model, Arc::clone(&data)).expect("model and data agree");
        let mut global = trainer.init(Seed(0));
        let mut delta = vec![0.0; global.len()];
        let sgd = SgdConfig { lr, ..SgdConfig::default() };
        let mut round = 0;
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let first = round as u32 % 10 * SAMPLES;
                let samples: Vec<u32> = (first..first + SAMPLES).collect();
                let task = Task { samples: &samples, sgd: &sgd, order: Seed(round), hook: None };
                let report = trainer.train(&global, task, &mut delta).expect("these learning rates converge");
                if round < 10 {
                    global.iter_mut().zip(&delta).for_each(|(global, delta)| *global += delta);
                }
                round += 1;
                black_box(report)
            });
        });
    }
    group.finish();
}

/// What it takes to store numbers in bf16: those of the models, and the activations of a batch of the mlp's first layer.
fn storage(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("storage");
    for (name, len) in [("mlp", 199_210), ("cnn", 1_663_370), ("activations", 12_800)] {
        let mut wide: Vec<f32> = (0..len).map(|i| Seed(1).unit_at(i) - 0.5).collect();
        let mut narrow = vec![0u16; wide.len()];
        group.throughput(Throughput::Elements(len));
        group.bench_function(BenchmarkId::new("f32 to bf16", name), |bencher| {
            let round = |value: f32| {
                let bits = value.to_bits();
                ((bits + 0x7fff + (bits >> 16 & 1)) >> 16) as u16
            };
            bencher.iter(|| narrow.iter_mut().zip(black_box(&wide)).for_each(|(to, value)| *to = round(*value)));
        });
        group.bench_function(BenchmarkId::new("bf16 to f32", name), |bencher| {
            let widen = |bits: u16| f32::from_bits(u32::from(bits) << 16);
            bencher.iter(|| wide.iter_mut().zip(black_box(&narrow)).for_each(|(to, bits)| *to = widen(*bits)));
        });
    }
    group.finish();
}

criterion_group!(benches, local_epoch, storage);
criterion_main!(benches);
