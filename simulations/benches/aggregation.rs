//! What aggregation rules cost: 100 updates of 1,663,370 coordinates (the cnn) as int8, folded from memory.
//!
//! ```text
//! cargo bench -p nibble-sim --bench aggregation -- [THREADS]
//! ```
//!
//! Every rule runs in a process of its own, three times, of which the fastest counts. Measuring is the pass for norms or inner products
//! and the rule itself; folding is the pass that makes the mean. Memory is the highest resident set while folding, less what was
//! resident when the payloads and the model lay ready.

#![allow(clippy::print_stdout, clippy::disallowed_methods)] // a bench prints what it times

use std::{
    env, fs,
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Instant,
};

use anyhow::Context;
use nibble_codec::{Encoder, Layout, Payload, PayloadId};
use nibble_seed::{ClientId, Purpose, RoundId, Seed};
use nibble_server::{
    Aggregate, Contribution, Facts,
    aggregation::{Keys, NormBound},
};

const UPDATES: usize = 100;
const ATTACKERS: usize = 20;
/// The tensors of the cnn.
const SHAPES: [&[usize]; 8] = [&[32, 1, 5, 5], &[32], &[64, 32, 5, 5], &[64], &[512, 3136], &[512], &[10, 512], &[10]];
const RULES: [(&str, &str); 9] = [
    ("mean", "off"),
    ("mean", "on"),
    ("median", "on"),
    ("trimmed-mean", "on"),
    ("krum", "on"),
    ("multi-krum", "on"),
    ("geometric-median", "on"),
    ("centered-clipping", "on"),
    ("bulyan", "on"),
];

fn main() -> anyhow::Result<()> {
    let arguments: Vec<_> = env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match &arguments[..] {
        // `cargo test --benches` only asks whether it builds and starts.
        _ if arguments.iter().any(|argument| argument == "--test") => return Ok(()),
        [rule, bound, threads] => return measure(rule, bound, threads.parse()?),
        _ => {}
    }
    let threads = arguments.first().cloned().unwrap_or_else(|| "1".into());
    println!(
        "{:>18} {:>10} {:>9} {:>9} {:>9} {:>8}",
        "rule", "norm bound", "measure s", "fold s", "in all s", "MiB more"
    );
    for (rule, bound) in RULES {
        let status = Command::new(env::current_exe()?).args([rule, bound, &threads]).status()?;
        anyhow::ensure!(status.success(), "{rule} ended with {status}");
    }
    Ok(())
}

/// Prints the row of one rule.
fn measure(rule: &str, bound: &str, threads: usize) -> anyhow::Result<()> {
    let attackers = ["krum", "multi-krum", "bulyan"].contains(&rule).then_some(ATTACKERS);
    let mut keys = Keys { rule: rule.into(), attackers, ..Keys::default() };
    if bound == "off" {
        keys.norm_bound = NormBound::Word("off".into());
    }
    let aggregation = keys.check(UPDATES)?;
    let layout = Layout::new(SHAPES.into_iter().enumerate().map(|(index, shape)| (index.to_string(), shape.to_vec())))?;
    let payloads: Vec<_> = (0..UPDATES as u64).map(|client| payload(&layout, client)).collect::<Result<_, _>>()?;
    let mut mean = vec![0.0f32; layout.coordinates()];
    mean.fill(1.0); // resident from the start
    let before = resident("VmRSS")?;
    let mut runs = Vec::new();
    for _ in 0..3 {
        let contribution = |client: usize| {
            let facts = Facts { client: ClientId(client as u64), samples: 100, steps: 1, loss: None, age: 0 };
            Ok(Contribution { facts, chunks: Payload::trust(&payloads[client], &layout)? })
        };
        let contributions = (0..UPDATES).map(contribution).collect::<anyhow::Result<_>>()?;
        let start = Instant::now();
        let aggregate = Aggregate::new(contributions)?.under(&aggregation, &layout, threads)?;
        let measured = start.elapsed();
        fold(&aggregate, &layout, threads, &mut mean)?;
        runs.push((start.elapsed(), measured));
    }
    let more = (resident("VmHWM")?.saturating_sub(before)) as f64 / 1024.0;
    let (total, measured) = runs.into_iter().min().context("it ran")?;
    let [total, measured, folded] = [total, measured, total - measured].map(|time| time.as_secs_f64());
    println!("{rule:>18} {bound:>10} {measured:>9.2} {folded:>9.2} {total:>9.2} {more:>8.1}");
    Ok(())
}

/// A direction that all share, and noise of each.
fn payload(layout: &Layout, client: u64) -> anyhow::Result<Vec<u8>> {
    let noise = Seed(1).derive(Purpose::Rounding, 0, client);
    let value = |index: usize| {
        let bits = (noise.0 ^ index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (bits >> 40) as f32 / (1u64 << 24) as f32 - 0.5 + (index % 7) as f32 * 0.1
    };
    let x: Vec<f32> = (0..layout.coordinates()).map(value).collect();
    let mut bytes = Vec::new();
    let id = PayloadId { round: RoundId(0), seed: Seed(client) };
    Encoder::new("int8".parse()?).encode(layout, &x, id, &mut bytes)?;
    Ok(bytes)
}

/// All chunks, on all threads, as the coordinator does.
fn fold(aggregate: &Aggregate<Payload<'_>>, layout: &Layout, threads: usize, mean: &mut [f32]) -> anyhow::Result<()> {
    let tiles: Vec<_> = mean.chunks_mut(layout.chunk_range(0).len()).map(std::sync::Mutex::new).collect();
    let next = AtomicUsize::new(0);
    let work = || -> anyhow::Result<()> {
        let mut sum = Vec::new();
        loop {
            let chunk = next.fetch_add(1, Ordering::Relaxed);
            let Some(tile) = tiles.get(chunk) else { return Ok(()) };
            let mut tile = tile.lock().expect("no thread panics while it folds");
            aggregate.mean_of(chunk..chunk + 1, tile.len(), &mut sum).map_err(|(_, error)| error)?;
            tile.iter_mut().zip(&sum).for_each(|(mean, sum)| *mean = *sum as f32);
        }
    };
    thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let mine = work();
        others.into_iter().fold(mine, |result, thread| result.and(thread.join().expect("folding does not panic")))
    })
}

/// KiB of a line of `/proc/self/status`.
fn resident(name: &str) -> anyhow::Result<u64> {
    let status = fs::read_to_string("/proc/self/status").context("memory is measured on Linux alone")?;
    let line = status.lines().find(|line| line.starts_with(name)).context("no such line")?;
    line.split_whitespace().nth(1).context("no number")?.parse().context("no number")
}
