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

criterion_group!(benches, codec);
criterion_main!(benches);
