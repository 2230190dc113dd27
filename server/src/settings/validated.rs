//! What a configuration means, once every rule was checked.

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use nibble_codec::Scheme;
use nibble_seed::Seed;

use super::{
    Raw,
    raw::{Data, RunKeys},
};
use crate::{
    RoundConfigError,
    aggregation::{Aggregation, KeyError},
    broadcast::{Downlink, Span},
    budget::Budgets,
    coordinator::Training,
    listener::{Limits, Rate},
    policy::{Policy, PolicyError},
    round::RoundConfig,
    selection::{PowerOfChoice, Rule},
    strategy::{Around, Strategy},
};

/// A checked configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Directory of everything that is kept.
    pub state: PathBuf,
    /// Address to serve clients on.
    pub listen: SocketAddr,
    /// Address to serve metrics on.
    pub metrics: Option<SocketAddr>,
    /// Bucket that keeps a copy of every model.
    pub models: Option<String>,
    /// Threads to fold with.
    pub threads: Option<usize>,
    /// Certificates.
    pub tls: TlsSettings,
    /// Bounds on connections.
    pub limits: Limits,
    /// Name of the run.
    pub run: String,
    /// Its seed.
    pub seed: Seed,
    /// Its rounds.
    pub rounds: u64,
    /// Where the first parameters come from.
    pub initial: Initial,
    /// What the parameters mean.
    pub architecture: String,
    /// The held-out set, if there is one.
    pub data: Option<Data>,
    /// Tensors that are each client's own.
    pub personal: Vec<String>,
    /// How clients train.
    pub training: Training,
    /// When rounds select and close.
    pub round: RoundConfig,
    /// How long a client that declined is not selected.
    pub decline_pause: Duration,
    /// Scheme of the updates.
    pub policy: Policy,
    /// Most bytes that the updates of a cohort take together.
    pub cohort_uplink_bytes: Option<u64>,
    /// How updates become one.
    pub aggregation: Aggregation,
    /// What the combined update does to the model, and what pulls at clients.
    pub strategy: Strategy,
    /// How the model's changes travel, if they are compressed.
    pub downlink: Option<Downlink>,
    /// Most bytes of a payload.
    pub uplink_budget_bytes: Option<u64>,
    /// What devices may spend.
    pub budgets: Budgets,
    /// The keys of the run as TOML, every one spelled out.
    pub config: String,
}

/// Certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSettings {
    /// Directory of the authority.
    pub authority: PathBuf,
    /// How long a device's certificate holds.
    pub validity: Duration,
}

/// Where the first parameters come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Initial {
    /// A built-in model makes them from the seed.
    BuiltIn,
    /// A safetensors file.
    File(PathBuf),
}

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("cannot read the configuration {}: {error}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// The text is not TOML, or a key is unknown or of the wrong type.
    #[error("{place}: {error}")]
    Syntax {
        /// File or override.
        place: String,
        /// What the TOML reader says.
        error: String,
    },
    /// A value breaks a rule.
    #[error("{}: {problem}\n  help: {mend}", place.as_ref().unwrap_or(key))]
    Rule {
        /// File and line.
        place: Option<String>,
        /// The dotted key.
        key: String,
        /// What is wrong.
        problem: String,
        /// How to mend it.
        mend: String,
    },
}

impl SettingsError {
    /// The same, with the line of the key in the file.
    pub(super) fn found_in(self, file: &Path, text: &str) -> Self {
        let Self::Rule { place: None, key, problem, mend } = self else { return self };
        let (table, name) = key.rsplit_once('.').unwrap_or(("", &key));
        let mut within = table.is_empty();
        let mut found = None;
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if let Some(header) = line.strip_prefix('[') {
                within = header.trim_end_matches(']').trim() == table;
            } else if within && line.strip_prefix(name).is_some_and(|rest| rest.trim_start().starts_with('=')) {
                found = Some(number);
            }
        }
        let place = match found {
            Some(line) => format!("{}:{line}: {key}", file.display()),
            None => format!("{}: {key}", file.display()),
        };
        Self::Rule { place: Some(place), key, problem, mend }
    }
}

pub(super) fn broken(key: &str, problem: impl Into<String>, mend: impl Into<String>) -> SettingsError {
    SettingsError::Rule { place: None, key: key.into(), problem: problem.into(), mend: mend.into() }
}

impl Settings {
    /// Checks every rule; relative paths are relative to `base`.
    pub(super) fn check(raw: &Raw, base: &Path) -> Result<Self, SettingsError> {
        let keys = RunKeys {
            run: &raw.run,
            model: &raw.model,
            data: &raw.data,
            local: &raw.local,
            cohort: &raw.cohort,
            compression: &raw.compression,
            aggregation: &raw.aggregation,
            strategy: &raw.strategy,
            asynchronous: raw.asynchronous.as_ref(),
        };
        let config = toml::to_string(&keys).expect("what was read from TOML can be written as TOML");
        check_run(raw)?;
        let data = (raw.data.dataset != "none").then(|| raw.data.clone());
        let initial = match &raw.model.initial {
            Some(file) => Initial::File(base.join(file)),
            None if data.is_none() => {
                let mend = "name a safetensors file, or a data set whose shape makes a built-in model";
                return Err(broken("model.initial", "without a held-out set nothing says what the tensors are", mend));
            }
            None => Initial::BuiltIn,
        };
        if let Some(url) = &raw.models {
            crate::models::Bucket::at(url).map_err(|error| {
                broken("models", error.to_string(), "name a directory or a bucket, or leave it out")
            })?;
        }
        let policy: Policy = raw.compression.uplink.parse().map_err(|error: PolicyError| {
            let mend = "write SCHEME[@SCHEDULE], e.g. int4+ef, auto:0.5, auto:1@ascending, fit";
            broken("compression.uplink", error.to_string(), mend)
        })?;
        let round = round(raw)?;
        let (mut updates, strategy) = algorithm(raw, &policy, &round)?;
        let round = match &raw.asynchronous {
            None => round,
            Some(keys) => keys.check(round, &mut updates, &strategy, raw.cohort.uplink_bytes).map_err(rule)?,
        };
        Ok(Self {
            state: base.join(&raw.state),
            listen: raw.listen,
            metrics: raw.metrics,
            models: raw.models.clone(),
            threads: raw.threads,
            tls: TlsSettings {
                authority: base.join(&raw.tls.authority),
                validity: Duration::from_secs(u64::from(raw.tls.device_days) * 86_400),
            },
            limits: limits(raw)?,
            run: raw.run.name.clone(),
            seed: Seed(raw.run.seed),
            rounds: raw.run.rounds,
            initial,
            architecture: raw.model.name.clone(),
            data,
            personal: personal(raw, &strategy)?,
            training: Training { proximal: strategy.proximal(), ..training(raw)? },
            round,
            decline_pause: Duration::try_from_secs_f64(raw.cohort.decline_pause_seconds).map_err(|_| {
                let problem = format!("{} is not a time in seconds", raw.cohort.decline_pause_seconds);
                broken("cohort.decline_pause_seconds", problem, "set it to 0 or more")
            })?,
            policy,
            cohort_uplink_bytes: raw.cohort.uplink_bytes,
            aggregation: updates,
            strategy,
            downlink: downlink(&raw.compression)?,
            uplink_budget_bytes: raw.compression.uplink_budget_bytes,
            budgets: raw.budget.check()?,
            config,
        })
    }
}

/// A rule that experiments have, too.
fn rule(KeyError { key, problem, mend }: KeyError) -> SettingsError {
    broken(&key, problem, mend)
}

fn downlink(raw: &super::raw::Compression) -> Result<Option<Downlink>, SettingsError> {
    let versions = raw.downlink_span;
    let span = Span::new(versions).ok_or_else(|| {
        broken("compression.downlink_span", format!("{versions} is not a number of rounds"), "set it to 1 to 1000")
    })?;
    let scheme = raw.downlink.as_deref().map(|name| scheme("compression.downlink", name)).transpose()?;
    Ok(scheme.map(|scheme| Downlink { scheme, span }))
}

fn check_run(raw: &Raw) -> Result<(), SettingsError> {
    let name = &raw.run.name;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > 100 || name.starts_with('.') || !name.chars().all(plain) {
        let mend = "use up to 100 letters, digits, - and _; it names files and cannot be changed later";
        return Err(broken("run.name", format!("{name:?} cannot name a run"), mend));
    }
    if raw.run.rounds == 0 {
        return Err(broken("run.rounds", "0 rounds train nothing", "set it to 1 or more"));
    }
    if i64::try_from(raw.run.seed).is_err() {
        return Err(broken("run.seed", format!("{} is above 2^63 - 1", raw.run.seed), "use a smaller seed"));
    }
    if raw.threads == Some(0) {
        return Err(broken("threads", "0 threads fold nothing", "set it to 1 or more, or leave it out"));
    }
    if !(1..=3650).contains(&raw.tls.device_days) {
        let problem = format!("a certificate of {} days", raw.tls.device_days);
        return Err(broken("tls.device_days", problem, "set it from 1 to 3650"));
    }
    if raw.compression.uplink_budget_bytes == Some(0) {
        let mend = "set the most bytes an update may have, or leave the key out for no budget";
        return Err(broken("compression.uplink_budget_bytes", "a budget of 0 bytes lets no update through", mend));
    }
    Ok(())
}

fn limits(raw: &Raw) -> Result<Limits, SettingsError> {
    let limits = &raw.limits;
    if limits.connections == 0 {
        return Err(broken("limits.connections", "0 connections let nobody in", "set it to 1 or more"));
    }
    if limits.connections_per_address == 0 {
        let mend = "set it to 1 or more";
        return Err(broken("limits.connections_per_address", "0 connections let nobody in", mend));
    }
    Ok(Limits {
        total: limits.connections,
        per_address: limits.connections_per_address,
        rate: Rate { min_bytes: limits.min_bytes_per_10s, window: Duration::from_secs(10) },
        drain: Duration::from_secs(limits.drain_seconds),
        ..Limits::default()
    })
}

fn training(raw: &Raw) -> Result<Training, SettingsError> {
    let local = &raw.local;
    let lr = local.check(raw.run.rounds).map_err(rule)?;
    let qat = local.quantization().map_err(rule)?;
    Ok(Training {
        epochs: local.epochs,
        steps: local.steps,
        batch: local.batch as u32, // at most a million
        lr,
        momentum: local.momentum as f32,
        weight_decay: local.weight_decay as f32,
        clip_norm: local.clip_norm.map(|norm| norm as f32),
        qat,
        proximal: 0.0,
    })
}

/// Tensors that are each client's own: of a model that client and coordinator both know how to begin.
fn personal(raw: &Raw, strategy: &Strategy) -> Result<Vec<String>, SettingsError> {
    let names = raw.local.personal.clone();
    if !names.is_empty() && raw.model.initial.is_some() {
        let mend = "leave model.initial out, or local.personal";
        return Err(broken("local.personal", "a file says nothing of tensors that are each client's own", mend));
    }
    if !names.is_empty() && strategy.control().is_some() {
        let problem = format!("{} corrects all of the model, and a part of it is each client's own", raw.strategy.name);
        return Err(broken("strategy.name", problem, "leave local.personal out, or choose another strategy"));
    }
    Ok(names)
}

fn round(raw: &Raw) -> Result<RoundConfig, SettingsError> {
    let cohort = &raw.cohort;
    let rule =
        |key: &'static str, mend: &'static str| move |error: RoundConfigError| broken(key, error.to_string(), mend);
    let seconds = |key: &'static str, seconds: f64| {
        Duration::try_from_secs_f64(seconds)
            .ok()
            .filter(|duration| !duration.is_zero())
            .ok_or_else(|| broken(key, format!("{seconds} is not a time in seconds"), "set it above 0"))
    };
    let config = RoundConfig::new(cohort.size)
        .map_err(rule("cohort.size", "set it to 1 or more"))?
        .over_select(cohort.over_select)
        .map_err(rule("cohort.over_select", "set it to a fraction such as 0.3"))?
        .quorum(cohort.quorum.unwrap_or(cohort.size))
        .map_err(rule("cohort.quorum", "set it from 1 to cohort.size"))?
        .select_by(cohort.selection.clone())
        .map_err(rule("cohort.selection", "see docs/selection.md for the keys of every rule"))?
        .deadline(seconds("cohort.deadline_seconds", cohort.deadline_seconds)?)
        .map_err(rule("cohort.deadline_seconds", "set it above 0"))?;
    let window = cohort.selection_seconds.map(|window| seconds("cohort.selection_seconds", window)).transpose()?;
    let available = cohort.available.unwrap_or(config.selected());
    if available < config.selected() {
        let problem = format!("{available} clients available, but {} are to be selected", config.selected());
        return Err(broken("cohort.available", problem, "raise it, or lower cohort.size or cohort.over_select"));
    }
    let needed = match config.rule() {
        Rule::Uniform(_) => 0,
        Rule::PowerOfChoice(PowerOfChoice { candidates: Some(candidates) }) => (*candidates).max(config.selected() + 1),
        _ => config.selected() + 1,
    };
    if available < needed {
        let problem = format!("a cohort is drawn once {available} clients are there, too few to choose among by rule");
        return Err(broken("cohort.selection", problem, format!("set cohort.available to {needed} or more")));
    }
    Ok(config.select_among(available, window))
}

/// How updates become one, what that does to the model, and what pulls at clients.
fn algorithm(raw: &Raw, policy: &Policy, round: &RoundConfig) -> Result<(Aggregation, Strategy), SettingsError> {
    let quorum = raw.cohort.quorum.unwrap_or(raw.cohort.size);
    let around = Around {
        aggregation: &raw.aggregation,
        local: (raw.local.lr, raw.local.momentum),
        clients: (round.selected() as u64, None),
        policies: &[*policy],
    };
    let (mut aggregation, strategy) = raw
        .aggregation
        .check(quorum)
        .and_then(|aggregation| {
            raw.aggregation.check_against(*policy)?;
            Ok((aggregation, raw.strategy.check(around)?))
        })
        .map_err(rule)?;
    aggregation.rule = strategy.rule().unwrap_or(aggregation.rule);
    Ok((aggregation, strategy))
}

fn scheme(key: &str, name: &str) -> Result<Scheme, SettingsError> {
    let mend = "write a scheme as NAME[:ARG]*[+ef], e.g. fp32, int4+ef, auto:0.5";
    name.parse().map_err(|error: nibble_codec::SchemeError| broken(key, error.to_string(), mend))
}
