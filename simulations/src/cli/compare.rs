//! `compare` and `run`.

use std::{
    io::stdout,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::available_parallelism,
    time::Duration,
};

use nibble_sim::{
    compare::{Options, Transport, Unfinished, compare as run_comparison},
    error::SimError,
    experiment::{Override, Source, Sweep, Variant},
    report,
};

use super::{
    args::{self, CompareArgs, ExperimentArgs, Format, RunArgs, RunningArgs},
    paint,
    progress::Reporter,
    style_of,
};

pub(super) fn compare(args: CompareArgs) -> Result<(), SimError> {
    let mut source = source_of(args.experiment);
    if !args.schemes.is_empty() {
        source.overrides.push(Override::new("compression.uplink", args.schemes).by("--schemes"));
    }
    if !args.seeds.is_empty() {
        source.overrides.push(Override::new("seeds", integers(&args.seeds)?).by("--seeds"));
    }
    let variants = Sweep::variants(&source, &args.sweeps)?;
    let out = PathBuf::from("results").join(&variants[0].experiment.raw.name);
    execute(&variants, &args.running, out, None)
}

pub(super) fn run(args: RunArgs) -> Result<(), SimError> {
    let mut source = source_of(args.experiment);
    let raw = source.load()?.raw;
    let scheme = args.scheme.unwrap_or_else(|| raw.compression.uplink[0].clone());
    let seed = args.seed.unwrap_or(raw.seeds[0]);
    let name = format!("{}-{}-seed{seed}", raw.name, scheme.replace([':', '/'], "-"));
    source.overrides.push(Override::new("compression.uplink", vec![scheme]).by("--scheme"));
    source.overrides.push(Override::new("seeds", integers(&[seed])?).by("--seed"));
    let experiment = source.load()?;
    let variant = Variant { label: String::new(), experiment };
    execute(&[variant], &args.running, PathBuf::from("results").join(name), args.save_updates)
}

/// The experiment's file and overrides as the command line gives them.
pub(super) fn source_of(args: ExperimentArgs) -> Source {
    let mut overrides = args.sets;
    let rounds = args.rounds.map(|rounds| i64::try_from(rounds).unwrap_or(i64::MAX));
    overrides.extend(rounds.map(|rounds| Override::new("rounds", rounds).by("--rounds")));
    Source { file: args.experiment, overrides }
}

/// Every worker holds a trainer's scratch memory.
const MOST_THREADS: usize = 1024;

/// As many threads as asked for, or as there are processors.
pub(super) fn threads_of(asked: Option<usize>) -> Result<usize, SimError> {
    match asked {
        Some(0) => Err(SimError::Usage {
            problem: "--threads 0 leaves nobody to work".into(),
            mend: "give at least 1, or leave it out for all processors".into(),
        }),
        Some(threads) if threads > MOST_THREADS => Err(SimError::Usage {
            problem: format!("--threads {threads} is more than {MOST_THREADS}"),
            mend: "give as many as there are processors, or leave it out".into(),
        }),
        Some(threads) => Ok(threads),
        None => Ok(available_parallelism().map_or(1, usize::from)),
    }
}

fn integers(values: &[u64]) -> Result<Vec<i64>, SimError> {
    let too_large =
        |_| SimError::Usage { problem: "a seed is above 2^63 - 1".into(), mend: "use a smaller seed".into() };
    values.iter().map(|&value| i64::try_from(value).map_err(too_large)).collect()
}

fn execute(
    variants: &[Variant],
    running: &RunningArgs,
    default_out: PathBuf,
    save_updates: Option<PathBuf>,
) -> Result<(), SimError> {
    let seconds = running.checkpoint_every.unwrap_or(5.0);
    let options = Options {
        transport: match running.transport {
            args::Transport::Memory => Transport::Memory,
            args::Transport::Grpc => Transport::Grpc,
        },
        threads: threads_of(running.threads)?,
        out: running.out.clone().unwrap_or(default_out),
        unfinished: match (running.resume, running.fresh) {
            (true, _) => Unfinished::Resume,
            (_, true) => Unfinished::Discard,
            _ => Unfinished::Refuse,
        },
        checkpoint_every: Duration::try_from_secs_f64(seconds).map_err(|_| SimError::Usage {
            problem: format!("--checkpoint-every {seconds} is not a time"),
            mend: "give seconds, 0 or more".into(),
        })?,
        save_updates,
        command: command_line(),
    };
    let interrupted = watch_for_interrupts();
    let mut reporter = Reporter::new();
    let result = run_comparison(variants, &options, &mut reporter, &interrupted);
    reporter.finish();
    let comparison = result?;
    let rounds = || comparison.runs.iter().flat_map(|run| &run.rounds);
    let abandoned = rounds().filter(|row| row.counted == 0).count();
    if abandoned > 0 {
        let all = rounds().count();
        eprintln!("{}: {abandoned} of {all} rounds were abandoned; rounds.csv says why", paint("warning", "1;33"));
    }
    match running.format {
        Format::Text => {
            say!("{}", report::table(&comparison, style_of(&stdout())));
            say!("{}", report::headline(&comparison));
            say!("Report: {}", options.out.join("report.html").display());
        }
        Format::Json => say!("{}", report::summary_json(&comparison)?),
    }
    Ok(())
}

/// Becomes true at the first Ctrl-C or SIGTERM; a second one ends the process at once.
fn watch_for_interrupts() -> Arc<AtomicBool> {
    let interrupted = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&interrupted);
    let watching = ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        eprintln!("interrupted: finishing the round (again to stop at once)");
    });
    if let Err(error) = watching {
        eprintln!("warning: interruptions will not be caught ({error}); the last checkpoint is what --resume has");
    }
    interrupted
}

/// The command to print in the report, as a shell takes it.
fn command_line() -> String {
    let quote = |word: String| match word.chars().all(|c| c.is_alphanumeric() || "-_=.,:+/@%".contains(c)) {
        true if !word.is_empty() => word,
        _ => format!("'{}'", word.replace('\'', r"'\''")),
    };
    let words = std::env::args_os().skip(1).map(|word| quote(word.to_string_lossy().into_owned()));
    // The same results overwritten or resumed are still those of the plain command.
    let words = words.filter(|word| word != "--resume" && word != "--fresh");
    std::iter::once("nibble-sim".to_owned()).chain(words).collect::<Vec<_>>().join(" ")
}
