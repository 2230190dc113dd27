//! `bench`: seconds a round, start-up and peak memory, each row in a process of its own.

use std::process::Command;

use clap::ValueEnum;
use nibble_sim::{
    clock::{Stopwatch, peak_rss_bytes},
    engine::Run,
    error::SimError,
    experiment::{Override, Source},
    federation::Federation,
    machine,
};
use serde::{Deserialize, Serialize};

use super::{
    args::{BenchArgs, Format, Row},
    compare::threads_of,
    print_json,
};

/// One row, measured.
#[derive(Debug, Serialize, Deserialize)]
struct Measured {
    row: String,
    scheme: String,
    threads: usize,
    rounds: u64,
    /// Median wall-clock seconds of a round, evaluation excluded.
    round_seconds_median: f64,
    /// From the start of the process to the start of round 2, evaluation excluded.
    start_to_round_2_seconds: f64,
    /// Null where the system does not tell.
    peak_rss_bytes: Option<u64>,
    final_accuracy: f64,
}

pub(super) fn bench(args: &BenchArgs, started: Stopwatch) -> Result<(), SimError> {
    let rows = match args.row {
        Some(row) => vec![measure(row, args, started)?],
        None => Row::value_variants().iter().map(|&row| in_own_process(row, args)).collect::<Result<_, _>>()?,
    };
    if args.format == Format::Json {
        return print_json(&rows);
    }
    say!("{}; {} updates", machine::describe(threads_of(args.threads)?), args.scheme);
    say!("{:16} {:>14} {:>18} {:>12}", "row", "s a round", "s to round 2", "peak MiB");
    for row in &rows {
        let peak = row.peak_rss_bytes.map_or_else(|| "-".into(), |bytes| (bytes >> 20).to_string());
        let (round, start) = (row.round_seconds_median, row.start_to_round_2_seconds);
        say!("{:16} {round:>14.4} {start:>18.2} {peak:>12}", row.row);
    }
    Ok(())
}

/// Peak memory belongs to a process: a fresh one for every row.
fn in_own_process(row: Row, args: &BenchArgs) -> Result<Measured, SimError> {
    let program = std::env::current_exe().map_err(SimError::io("nibble-sim"))?;
    let mut command = Command::new(&program);
    command.args(["bench", "--format", "json", "--row", &name_of(row)]);
    command.args(["--scheme", &args.scheme, "--dataset", &args.dataset]);
    command.args(args.threads.map(|threads| format!("--threads={threads}")));
    command.args(args.rounds.map(|rounds| format!("--rounds={rounds}")));
    let output = command.output().map_err(SimError::io(&program))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().trim_start_matches("error: ").to_owned();
        return Err(SimError::Usage {
            problem: format!("the row {} could not be measured: {said}", name_of(row)),
            mend: format!("try it alone with --row {}; --dataset takes other data than fashion-mnist", name_of(row)),
        });
    }
    let rows: Vec<Measured> =
        serde_json::from_slice(&output.stdout).map_err(|error| SimError::io(&program)(error.into()))?;
    rows.into_iter().next().ok_or_else(|| SimError::Usage {
        problem: "the row printed nothing".into(),
        mend: "run it alone with --row to see why".into(),
    })
}

fn measure(row: Row, args: &BenchArgs, started: Stopwatch) -> Result<Measured, SimError> {
    let (model, lr, clients, cohort, rounds) = match row {
        Row::Mlp10Of100 => ("mlp", 0.1, 100, 10, 21),
        Row::Mlp100Of1000 => ("mlp", 0.1, 1000, 100, 21),
        Row::Cnn10Of100 => ("cnn", 0.05, 100, 10, 5),
    };
    let rounds = args.rounds.unwrap_or(rounds);
    let iid: toml::Table = [("kind".to_owned(), "iid".into())].into_iter().collect();
    let overrides = vec![
        Override::new("data.dataset", args.dataset.as_str()),
        Override::new("data.clients", clients),
        Override::new("data.partition", iid),
        Override::new("local.epochs", 1),
        Override::new("model.name", model),
        Override::new("local.lr", lr),
        Override::new("cohort.size", cohort),
        Override::new("rounds", rounds as i64),
        Override::new("compression.uplink", vec![args.scheme.clone()]),
    ];
    let experiment = Source { file: None, overrides }.load()?;
    let federation = Federation::load(&experiment)?;
    let dir = tempfile::tempdir().map_err(SimError::io(std::env::temp_dir()))?;
    let (scheme, threads) = (experiment.schemes[0], threads_of(args.threads)?);
    let mut run = Run::open(&experiment, &federation, (scheme, experiment.seeds[0]), threads, dir.path())?;
    let ready = started.elapsed();
    while !run.is_done() {
        run.step()?;
    }
    let first = run.progress().rows.first().map_or(0.0, |row| row.seconds);
    let summary = run.result().summary;
    Ok(Measured {
        row: name_of(row),
        scheme: summary.scheme,
        threads,
        rounds,
        round_seconds_median: summary.round_seconds_median,
        start_to_round_2_seconds: ready.as_secs_f64() + first,
        peak_rss_bytes: peak_rss_bytes(),
        final_accuracy: summary.final_accuracy,
    })
}

fn name_of(row: Row) -> String {
    row.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}
