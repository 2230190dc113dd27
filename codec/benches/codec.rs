//! Encode, decode and fold speed of the codec in GB/s of f32 input, one thread: `cargo bench -p nibble-codec`.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use nibble_codec::{Backend, Encoder, Layout, Payload, PayloadId, Scheme, Scratch};
use nibble_seed::{RoundId, Seed};

/// 64 MiB of floats: far out of every cache.
const COORDINATES: usize = 16 << 20;

/// Heavy-tailed values, as updates have.
fn update() -> Vec<f32> {
    let mut stream = Seed(1).stream();
    let mut draw = || (stream.next_unit() - 0.5) as f32;
    (0..COORDINATES).map(|_| draw() * draw() * draw() * 0.01).collect()
}

/// As an mlp's update: rows and columns have scales of their own, some are all zeros, and chunks are few. No real one, so that
/// the bench needs no file; `nibble-sim codec eval FILE` measures those.
fn structured() -> (Layout, Vec<f32>) {
    let shapes = [("w1", vec![250, 784]), ("b1", vec![250]), ("w2", vec![10, 250]), ("b2", vec![10])];
    let layout = Layout::new(shapes.clone()).expect("four names");
    let mut stream = Seed(2).stream();
    let mut draw = || stream.next_unit() as f32;
    let mut x = Vec::new();
    for (_, shape) in shapes {
        let columns = shape.get(1).map_or(1, |&columns| columns);
        // Over four octaves; one in six is nothing.
        let mut scales = |len: usize| -> Vec<f32> {
            (0..len).map(|_| if draw() < 1.0 / 6.0 { 0.0 } else { (-4.0 * draw()).exp2() }).collect()
        };
        let (by_row, by_column) = (scales(shape[0]), scales(columns));
        for row in by_row {
            x.extend(by_column.iter().map(|column| row * column * (draw() + draw() + draw() - 1.5) * 0.01));
        }
    }
    (layout, x)
}

fn auto(c: &mut Criterion) {
    let (layout, x) = structured();
    let id = PayloadId { round: RoundId(0), seed: Seed(7) };
    let mut group = c.benchmark_group("structured");
    group.throughput(Throughput::Bytes(4 * x.len() as u64));
    for name in ["auto:4", "auto:1", "auto:0.1"] {
        let scheme: Scheme = name.parse().expect("a scheme of this crate");
        for &backend in Backend::available().iter().filter(|&&backend| backend != Backend::Reference) {
            let mut encoder = Encoder::with_backend(scheme, backend);
            let mut bytes = Vec::new();
            group.bench_function(format!("encode/{name}/{backend:?}"), |b| {
                b.iter(|| encoder.encode(&layout, black_box(&x), id, &mut bytes));
            });
            let mut decoded = vec![0.0; x.len()];
            group.bench_function(format!("decode/{name}/{backend:?}"), |b| {
                b.iter(|| {
                    Payload::parse_with(black_box(&bytes), &layout, backend)
                        .and_then(|payload| payload.decode(&mut decoded))
                });
            });
        }
    }
}

fn codec(c: &mut Criterion) {
    let x = update();
    let layout = Layout::new([("update", vec![COORDINATES])]).expect("one tensor is a layout");
    let id = PayloadId { round: RoundId(0), seed: Seed(7) };
    let mut group = c.benchmark_group("codec");
    group.throughput(Throughput::Bytes(4 * COORDINATES as u64)).sample_size(10);
    for name in [
        "fp32",
        "int8",
        "int4",
        "int3",
        "int2",
        "int4:nearest",
        "int4:dithered",
        "int4:block32",
        "int2:tensor",
        "auto:4",
        "auto:1",
        "auto:0.1",
        "sign",
        "sign:0.1",
    ] {
        let scheme: Scheme = name.parse().expect("a scheme of this crate");
        for &backend in Backend::available().iter().filter(|&&backend| backend != Backend::Reference) {
            let mut encoder = Encoder::with_backend(scheme, backend);
            let mut bytes = Vec::new();
            encoder.encode(&layout, &x, id, &mut bytes).expect("finite values of the layout's length");
            group.bench_function(format!("encode/{name}/{backend:?}"), |b| {
                b.iter(|| encoder.encode(&layout, black_box(&x), id, &mut bytes));
            });
            group.bench_function(format!("parse/{name}/{backend:?}"), |b| {
                b.iter(|| Payload::parse_with(black_box(&bytes), &layout, backend).is_ok());
            });
            let payload = Payload::parse_with(&bytes, &layout, backend).expect("bytes from the encoder");
            let mut sum = vec![0.0; layout.chunk_range(0).len()];
            let mut scratch = Scratch::default();
            group.bench_function(format!("fold/{name}/{backend:?}"), |b| {
                b.iter(|| {
                    (0..layout.chunks()).try_for_each(|chunk| payload.fold_chunk(chunk, 0.5, &mut scratch, &mut sum))
                });
            });
        }
    }
    let mut copy = vec![0.0; COORDINATES];
    group.bench_function("memcpy", |b| b.iter(|| copy.copy_from_slice(black_box(&x))));
}

criterion_group!(benches, codec, auto);
criterion_main!(benches);
