//! Every scheme under every seed, one run after the other: interruptible, resumable, and written down at the end.
//!
//! While it goes on, `state/` in the output directory holds the experiment, the finished runs and the checkpoint of the
//! current one. It is removed once everything is written.

mod state;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use nibble_codec::Scheme;
use nibble_seed::Seed;
use nibble_server::policy::Policy;

use crate::{
    after,
    clock::Stopwatch,
    deployed,
    engine::Run,
    error::SimError,
    experiment::{Codecs, Experiment, Variant},
    federation::Federation,
    files::write_whole,
    model_file, report,
    results::{After, Comparison, RoundRow, RunResult, RunSummary},
};
use state::{State, lock};

/// How to run an experiment, beside what is in it.
#[derive(Clone, Debug)]
pub struct Options {
    /// What carries models and updates.
    pub transport: Transport,
    /// Worker threads, at least 1. They change nothing but the time it takes.
    pub threads: usize,
    /// Where the results go.
    pub out: PathBuf,
    /// What to do with an unfinished comparison in `out`.
    pub unfinished: Unfinished,
    /// How often the current run is checkpointed; zero is after every round.
    pub checkpoint_every: Duration,
    /// Where the delta of every client and round goes as a file, if anywhere; with [`Transport::Memory`] only.
    pub save_updates: Option<PathBuf>,
    /// The command to print in the report.
    pub command: String,
}

/// What carries models and updates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Virtual clients in this process, in virtual time.
    Memory,
    /// A real coordinator and real client processes, over gRPC and mTLS on loopback.
    Grpc,
}

/// What to do with an unfinished comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfinished {
    /// Refuse to touch it.
    Refuse,
    /// Go on with it.
    Resume,
    /// Throw it away.
    Discard,
}

/// Sees how a comparison goes on.
pub trait Observer {
    /// A run begins, or goes on with `done` of its `rounds`. `index` counts from 0 over all `runs`.
    fn run_begins(&mut self, index: usize, runs: usize, name: &str, done: u64, rounds: u64);
    /// A round was played.
    fn round_ended(&mut self, row: &RoundRow);
    /// A run reached its last round.
    fn run_ended(&mut self, summary: &RunSummary);
}

/// Runs what the experiments describe, at least one, and writes the results. When `interrupted` becomes true the current round is
/// finished, the state kept, the results so far written, and [`SimError::Interrupted`] returned.
///
/// # Errors
/// If the experiment cannot run here, or its results cannot be written.
pub fn compare(
    variants: &[Variant],
    options: &Options,
    observer: &mut dyn Observer,
    interrupted: &AtomicBool,
) -> Result<Comparison, SimError> {
    let load = |variant: &Variant| {
        let federation = Federation::load(&variant.experiment)?;
        check_budget(&variant.experiment, &federation).map(|()| federation)
    };
    // Every mistake is found before anything runs.
    let federations = variants.iter().map(load).collect::<Result<Vec<_>, _>>()?;
    let _lock = lock(&options.out)?;
    let state = State::open(variants, options)?;
    let mut planned = Vec::new();
    for (variant, federation) in variants.iter().zip(&federations) {
        for &scheme in &variant.experiment.schemes {
            let seeds = variant.experiment.seeds.iter();
            planned.extend(seeds.map(|&seed| Planned { variant, federation, scheme, seed }));
        }
    }
    let mut comparison = describe(variants, &federations[0], options);
    for (index, run) in planned.iter().enumerate() {
        if let Some(finished) = state.finished(run)? {
            comparison.runs.push(finished);
            continue;
        }
        let played = run.play(&state, options, observer, interrupted, (index, planned.len()));
        let Played { went, mut result, global } = match played {
            Ok(played) => played,
            Err(error) if state.is_worth_keeping() => return Err(error),
            Err(error) => {
                // Nothing is lost; if it cannot be removed, that it failed is still the news.
                let _ = state.remove();
                return Err(error);
            }
        };
        result.summary.variant.clone_from(&run.variant.label);
        let write_model = || model_file::write(&run.model_file(options), run.federation.layout(), &global);
        if went == Went::Interrupted {
            if !result.rounds.is_empty() {
                write_model()?;
                comparison.runs.push(result);
            }
            remove_other_models(&planned[..comparison.runs.len()], options)?;
            return Err(stop(&comparison, options, planned.len()));
        }
        let measured = after::measure(&run.variant.experiment, run.federation, &global, run.seed, options.threads)?;
        if measured != After::default() {
            result.summary.after = measured;
        }
        write_model()?;
        state.finish(run, &result)?;
        observer.run_ended(&result.summary);
        comparison.runs.push(result);
    }
    comparison.complete = true;
    remove_other_models(&planned, options)?;
    write_results(&comparison, &options.out)?;
    state.remove()?;
    Ok(comparison)
}

/// A run that is to be played.
struct Planned<'a> {
    variant: &'a Variant,
    federation: &'a Federation,
    scheme: Codecs,
    seed: Seed,
}

impl Planned<'_> {
    fn play(
        &self,
        state: &State,
        options: &Options,
        observer: &mut dyn Observer,
        interrupted: &AtomicBool,
        (index, runs): (usize, usize),
    ) -> Result<Played, SimError> {
        let &Self { variant: Variant { label, experiment }, federation, scheme, seed } = self;
        let current = state.current(self);
        let gap = if label.is_empty() { "" } else { " " };
        let name = format!("{scheme}{gap}{label} seed {}", seed.0);
        let begins =
            |observer: &mut dyn Observer, done| observer.run_begins(index, runs, &name, done, experiment.raw.rounds);
        match options.transport {
            Transport::Grpc => {
                begins(observer, 0);
                deployed::run(experiment, federation, (scheme, seed), &current, observer, interrupted)
            }
            Transport::Memory => {
                let mut run = Run::open(experiment, federation, (scheme, seed), options.threads, &current)?;
                if let Some(dir) = &options.save_updates {
                    run.save_updates(dir)?;
                }
                begins(observer, run.progress().rows.len() as u64);
                let went = play(&mut run, options.checkpoint_every, observer, interrupted)?;
                if went == Went::Interrupted {
                    run.checkpoint()?;
                }
                let mut result = run.result();
                result.summary.after.own = run.own_accuracies()?;
                Ok(Played { went, result, global: run.into_global() })
            }
        }
    }

    /// Names the run in file names.
    fn slug(&self) -> String {
        let plain = |c: char| if c.is_ascii_alphanumeric() || "+-.@".contains(c) { c } else { '-' };
        let scheme = self.scheme.to_string().replace([':', '/'], "-");
        let label: String = self.variant.label.chars().map(plain).collect();
        let gap = if label.is_empty() { "" } else { "-" };
        format!("{scheme}{gap}{label}-seed{}", self.seed.0)
    }

    /// Where its model goes.
    fn model_file(&self, options: &Options) -> PathBuf {
        options.out.join("models").join(format!("{}.safetensors", self.slug()))
    }
}

/// A run as far as it went.
pub(crate) struct Played {
    pub(crate) went: Went,
    pub(crate) result: RunResult,
    /// The global model; empty if no round has ended.
    pub(crate) global: Vec<f32>,
}

/// How far a run went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Went {
    /// Every round was played.
    ToTheEnd,
    /// It was interrupted.
    Interrupted,
}

/// Plays rounds until the run is done or interrupted, with a checkpoint now and then.
fn play(
    run: &mut Run<'_>,
    checkpoint_every: Duration,
    observer: &mut dyn Observer,
    interrupted: &AtomicBool,
) -> Result<Went, SimError> {
    let mut since = Stopwatch::start();
    while !run.is_done() {
        if interrupted.load(Ordering::Relaxed) {
            return Ok(Went::Interrupted);
        }
        observer.round_ended(run.step()?);
        if since.elapsed() >= checkpoint_every && !run.is_done() {
            run.checkpoint()?;
            since = Stopwatch::start();
        }
    }
    Ok(Went::ToTheEnd)
}

/// Models of an earlier comparison in the same directory would pass for this one's.
fn remove_other_models(played: &[Planned<'_>], options: &Options) -> Result<(), SimError> {
    let dir = options.out.join("models");
    let kept: BTreeSet<_> = played.iter().map(|run| run.model_file(options)).collect();
    for entry in fs::read_dir(&dir).map_err(SimError::io(&dir))?.flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|ending| ending == "safetensors") && !kept.contains(&path) {
            fs::remove_file(&path).map_err(SimError::io(path))?;
        }
    }
    Ok(())
}

/// Writes what there is of an interrupted comparison.
fn stop(comparison: &Comparison, options: &Options, planned: usize) -> SimError {
    let finished = comparison.runs.iter().filter(|run| run.summary.rounds > 0).count();
    match write_results(comparison, &options.out) {
        Ok(()) => SimError::Interrupted(format!(
            " in run {finished} of {planned}; what there is lies in {}, and --resume goes on",
            options.out.display()
        )),
        Err(error) => error,
    }
}

fn write_results(comparison: &Comparison, out: &Path) -> Result<(), SimError> {
    write_whole(&out.join("experiment.toml"), comparison.experiment.as_bytes())?;
    report::write(comparison, out).map_err(SimError::from)
}

fn describe(variants: &[Variant], federation: &Federation, options: &Options) -> Comparison {
    let experiment = &variants[0].experiment;
    let coordinates = federation.layout().coordinates();
    Comparison {
        name: experiment.raw.name.clone(),
        data: federation.describe_data(experiment),
        model: format!("{} with {coordinates} parameters", experiment.raw.model.name),
        coordinates: coordinates as u64,
        command: options.command.clone(),
        experiment: all_resolved(variants),
        machine: crate::machine::describe(options.threads),
        target_accuracy: experiment.raw.target_accuracy,
        complete: false,
        runs: Vec::new(),
    }
}

/// Every experiment with every key spelled out.
fn all_resolved(variants: &[Variant]) -> String {
    match variants {
        [Variant { label, experiment }] if label.is_empty() => resolved(experiment),
        _ => {
            let one = |variant: &Variant| format!("# --- {}\n{}", variant.label, resolved(&variant.experiment));
            variants.iter().map(one).collect::<Vec<_>>().join("\n")
        }
    }
}

/// The experiment with every key spelled out.
#[must_use]
pub fn resolved(experiment: &Experiment) -> String {
    toml::to_string(&experiment.raw).expect("an experiment that was read from TOML can be written as TOML")
}

/// Refuses schemes that ask for fewer bytes than payloads take, and those whose payloads exceed the budget of an update or of a
/// cohort: their size is known before anything runs.
///
/// # Errors
/// If a scheme asks for too few bytes, or needs more than a budget allows.
pub fn check_budget(experiment: &Experiment, federation: &Federation) -> Result<(), SimError> {
    for codecs in &experiment.schemes {
        let ways = [
            Some(codecs.up.short_of(federation.layout())),
            codecs.down.map(|down| down.coding.short_of(federation.layout())),
        ];
        if let Some(least) = ways.into_iter().flatten().flatten().next() {
            return Err(SimError::TooFewBytes { scheme: codecs.to_string(), least });
        }
    }
    if let Some(budget) = experiment.raw.cohort.uplink_bytes {
        let clients = experiment.round.selected();
        let needed = |policy: &Policy| policy.least_together(federation.layout(), clients);
        let mut up = experiment.schemes.iter().map(|codecs| codecs.up);
        if let Some(over) = up.find(|policy| needed(policy) > budget) {
            return Err(SimError::CohortBudget { scheme: over.to_string(), clients, needed: needed(&over), budget });
        }
    }
    let Some(budget) = experiment.raw.compression.uplink_budget_bytes else { return Ok(()) };
    let needed = |policy: &Policy| policy.most_bytes(federation.layout());
    let mut up = experiment.schemes.iter().map(|codecs| codecs.up);
    let Some(over) = up.find(|policy| needed(policy) > budget) else { return Ok(()) };
    let fits = ["int8", "int7", "int6", "int5", "int4", "int3", "int2"]
        .into_iter()
        .find(|name| name.parse::<Scheme>().is_ok_and(|scheme| needed(&scheme.into()) <= budget));
    let mend = match fits {
        Some(name) => format!("{name} is the widest that fits; change compression.uplink or raise the budget"),
        None => "no scheme fits; raise the budget, or choose a smaller model".into(),
    };
    Err(SimError::Budget { scheme: over.to_string(), needed: needed(&over), budget, mend })
}
