//! Made-up comparisons with plausible curves, for the report's tests and for looking at its page.

use nibble_sim::results::{Comparison, RoundRow, RunResult, RunSummary};

/// Coordinates of a small convolutional network.
pub(crate) const COORDINATES: u64 = 206_922;
const CLIENTS_PER_ROUND: u64 = 10;

/// A scheme with its bits per coordinate, what it loses in accuracy, its NMSE.
pub(crate) type Level = (&'static str, f64, f64, f64);

pub(crate) const LEVELS: [Level; 5] = [
    ("fp32", 32.002, 0.0, 0.0),
    ("int8+ef", 8.13, 0.0002, 1.1e-4),
    ("int4+ef", 4.13, 0.0015, 0.021),
    ("int2+ef", 2.13, 0.014, 0.38),
    ("int2", 2.13, 0.064, 0.41),
];

/// A number in [-1, 1) from what it is for.
fn noise(seed: u64, what: u64) -> f64 {
    let mut z = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ what.wrapping_mul(0xd1b5_4a32_d192_ed03);
    for _ in 0..3 {
        z ^= z >> 31;
        z = z.wrapping_mul(0x94d0_49bb_1331_11eb);
    }
    (z >> 11) as f64 / (1u64 << 52) as f64 - 1.0
}

pub(crate) fn run((scheme, bits, loss, nmse): Level, seed: u64, rounds: u64) -> RunResult {
    let update = (bits * COORDINATES as f64 / 8.0).round();
    let tag = scheme.bytes().fold(7u64, |h, b| h.wrapping_mul(31).wrapping_add(u64::from(b)));
    let rows: Vec<RoundRow> = (0..rounds)
        .map(|round| {
            let risen = 1.0 - (-(round as f64 + 1.0) / (4.5 + 30.0 * loss)).exp();
            let shared = 0.008 * noise(seed, 1) + 0.06 * noise(seed, 100 + round) * (1.0 - 0.93 * risen);
            let accuracy = 0.1 + (0.752 - loss) * risen + shared + 0.004 * noise(seed ^ tag, round);
            RoundRow {
                round,
                accuracy,
                loss: 2.3 * (1.0 - accuracy),
                train_loss: 2.2 * (1.0 - accuracy),
                selected: CLIENTS_PER_ROUND,
                counted: CLIENTS_PER_ROUND - u64::from(round % 7 == 3),
                uncounted: u64::from(round % 7 == 3),
                uplink_bytes: CLIENTS_PER_ROUND * update as u64,
                downlink_bytes: CLIENTS_PER_ROUND * 4 * COORDINATES,
                update_nmse: nmse * (1.0 + 0.1 * noise(seed ^ tag, 900 + round)) * (1.0 + 0.02 * round as f64),
                seconds: 0.6 + 0.1 * noise(seed, 500 + round),
                virtual_seconds: 1.0 + round as f64,
                closed_by: "all reported".into(),
            }
        })
        .collect();
    let last5: Vec<f64> = rows.iter().rev().take(5).map(|r| r.accuracy).collect();
    let summary = RunSummary {
        scheme: scheme.into(),
        variant: String::new(),
        seed,
        rounds,
        final_accuracy: rows.last().map_or(f64::NAN, |r| r.accuracy),
        mean_last5_accuracy: last5.iter().sum::<f64>() / last5.len() as f64,
        uplink_bytes_per_update: update,
        bits_per_coordinate: bits,
        uplink_bytes_total: rows.iter().map(|r| r.uplink_bytes).sum(),
        downlink_bytes_total: rows.iter().map(|r| r.downlink_bytes).sum(),
        model_hash: format!("{:016x}", tag.wrapping_mul(seed | 1)).repeat(4),
        round_seconds_median: 0.6,
        peak_rss_bytes: (seed != 2).then_some(183_500_800),
        after: nibble_sim::results::After::default(),
    };
    RunResult { summary, rounds: rows, classes: Vec::new() }
}

pub(crate) fn comparison(levels: &[Level], seeds: u64, rounds: u64) -> Comparison {
    let runs = levels.iter().flat_map(|level| (1..=seeds).map(|seed| run(*level, seed, rounds))).collect();
    Comparison {
        name: "Made-up sample".into(),
        data: "70 000 images of 28 x 28 in 10 classes, over 100 clients by a Dirichlet partition (alpha 0.5); 10 000 for testing".into(),
        model: "convolutional network, 206 922 parameters".into(),
        coordinates: COORDINATES,
        command: "nibble-sim compare --schemes fp32,int8+ef,int4+ef,int2+ef,int2 --seeds 1,2,3 --rounds 20".into(),
        experiment: "seed = 1\nrounds = 20\n\n[clients]\ntotal = 100\nper_round = 10\n\n[compression]\nscheme = \"int4\"\nfeedback = true\n".into(),
        machine: "nibble-sim 0.1.0, 2 cores, 2 threads".into(),
        target_accuracy: None,
        complete: true,
        runs,
    }
}
