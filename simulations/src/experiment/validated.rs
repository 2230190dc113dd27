//! What an experiment means, once every rule was checked.

use std::{io, path::PathBuf, time::Duration};

use nibble_learning::{Quantization, SgdConfig, UnknownQuantization, data::DataConfig};
use nibble_seed::{RoundId, Seed};
use nibble_server::{
    aggregation::{Aggregation, KeyError},
    broadcast::Span,
    learning_rate::LearningRate,
    round::RoundConfig,
    selection::{PowerOfChoice, Rule},
    strategy::{Around, Strategy},
};

use super::{Budget, Codecs, Evaluate, Raw, clients};

/// A checked experiment.
#[derive(Clone, Debug)]
pub struct Experiment {
    /// The keys it came from, for the record.
    pub raw: Raw,
    /// Seeds, at least one, all different.
    pub seeds: Vec<Seed>,
    /// Schemes, at least one, all different.
    pub schemes: Vec<Codecs>,
    /// Which data set.
    pub data: DataConfig,
    /// Local training; its learning rate is what [`Experiment::learning_rate`] starts from.
    pub sgd: SgdConfig,
    /// The learning rate, round by round.
    pub learning_rate: LearningRate,
    /// When rounds select and close.
    pub round: RoundConfig,
    /// Which versions of the model its changes start from, where they are compressed.
    pub span: Span,
    /// Widths that the last model is evaluated in.
    pub quantised: Vec<Quantization>,
    /// How updates become one.
    pub aggregation: Aggregation,
    /// What the combined update does to the model, and what pulls at clients.
    pub strategy: Strategy,
}

/// An experiment that cannot be run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExperimentError {
    /// The file cannot be read.
    #[error(
        "cannot read the experiment {}: {error}\n  help: give the path of a TOML file, or leave it out for the built-in \
         comparison; `nibble-sim config show` prints that", file.display()
    )]
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
        /// File and line, or override.
        place: Option<String>,
        /// The dotted key.
        key: String,
        /// What is wrong.
        problem: String,
        /// How to mend it.
        mend: String,
    },
}

pub(super) fn broken(key: &str, problem: impl Into<String>, mend: impl Into<String>) -> ExperimentError {
    ExperimentError::Rule { place: None, key: key.into(), problem: problem.into(), mend: mend.into() }
}

/// A rule that coordinators have, too.
fn rule(KeyError { key, problem, mend }: KeyError) -> ExperimentError {
    broken(&key, problem, mend)
}

impl TryFrom<Raw> for Experiment {
    type Error = ExperimentError;

    fn try_from(raw: Raw) -> Result<Self, ExperimentError> {
        check_run(&raw)?;
        clients::check(&raw)?;
        let (mut sgd, learning_rate) = sgd(&raw)?;
        let (schemes, round) = (schemes(&raw)?, round(&raw)?);
        let (mut aggregation, strategy) = algorithm(&raw, &schemes, &round)?;
        let round = asynchronous(&raw, round, &mut aggregation, &strategy)?;
        sgd.proximal = strategy.proximal();
        Ok(Self {
            seeds: raw.seeds.iter().copied().map(Seed).collect(),
            schemes,
            data: DataConfig {
                dataset: raw.data.dataset.clone(),
                label: raw.data.label.clone(),
                owner: raw.data.owner.clone(),
                test_fraction: raw.data.test_fraction,
                test: raw.data.test.clone(),
            },
            sgd,
            learning_rate,
            round,
            span: span(&raw)?,
            quantised: evaluate(&raw)?,
            aggregation,
            strategy,
            raw,
        })
    }
}

/// How updates become one, what that does to the model, and what pulls at clients.
fn algorithm(raw: &Raw, schemes: &[Codecs], round: &RoundConfig) -> Result<(Aggregation, Strategy), ExperimentError> {
    let policies: Vec<_> = schemes.iter().map(|codecs| codecs.up).collect();
    let around = Around {
        aggregation: &raw.aggregation,
        local: (raw.local.lr, raw.local.momentum),
        clients: (round.selected() as u64, Some(raw.data.clients as u64)),
        policies: &policies,
    };
    let (mut aggregation, strategy) = raw
        .aggregation
        .check(quorum(raw))
        .and_then(|aggregation| {
            policies.iter().try_for_each(|policy| raw.aggregation.check_against(*policy))?;
            Ok((aggregation, raw.strategy.check(around)?))
        })
        .map_err(rule)?;
    aggregation.rule = strategy.rule().unwrap_or(aggregation.rule);
    if strategy.control().is_some() && !raw.local.personal.is_empty() {
        let problem = format!("{} corrects all of the model, and a part of it is each client's own", raw.strategy.name);
        return Err(broken("strategy.name", problem, "leave local.personal out, or choose another strategy"));
    }
    Ok((aggregation, strategy))
}

/// Rounds that do not wait, if the experiment wants such.
fn asynchronous(
    raw: &Raw,
    round: RoundConfig,
    aggregation: &mut Aggregation,
    strategy: &Strategy,
) -> Result<RoundConfig, ExperimentError> {
    let Some(keys) = &raw.asynchronous else { return Ok(round) };
    keys.check(round, aggregation, strategy, raw.cohort.uplink_bytes).map_err(rule)
}

fn span(raw: &Raw) -> Result<Span, ExperimentError> {
    let versions = raw.compression.downlink_span;
    Span::new(versions).ok_or_else(|| {
        broken("compression.downlink_span", format!("{versions} is not a number of rounds"), "set it to 1 to 1000")
    })
}

impl Experiment {
    /// How clients train in `round`.
    #[must_use]
    pub fn sgd_in(&self, round: RoundId) -> SgdConfig {
        SgdConfig { lr: self.learning_rate.in_round(round.0, self.raw.rounds), ..self.sgd.clone() }
    }
}

fn check_run(raw: &Raw) -> Result<(), ExperimentError> {
    let file_name = |name: &str| !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\', '\0']);
    if !file_name(&raw.name) {
        return Err(broken("name", format!("{:?} cannot name a directory", raw.name), "use letters, digits and -"));
    }
    if raw.rounds == 0 {
        return Err(broken("rounds", "0 rounds train nothing", "set it to 1 or more"));
    }
    if raw.seeds.is_empty() {
        return Err(broken("seeds", "no seeds, so nothing to run", "list at least one, e.g. seeds = [0]"));
    }
    if let Some(twice) = repeated(&raw.seeds) {
        return Err(broken("seeds", format!("seed {twice} is listed twice"), "list each seed once"));
    }
    if let Some(seed) = raw.seeds.iter().find(|&&seed| i64::try_from(seed).is_err()) {
        return Err(broken("seeds", format!("seed {seed} is above 2^63 - 1"), "use a smaller seed"));
    }
    if raw.data.clients == 0 {
        return Err(broken("data.clients", "0 clients cannot train", "set it to 1 or more"));
    }
    if raw.compression.uplink_budget_bytes == Some(0) {
        let mend = "set the most bytes an update may have, or leave the key out for no budget";
        return Err(broken("compression.uplink_budget_bytes", "a budget of 0 bytes lets no update through", mend));
    }
    Ok(())
}

fn schemes(raw: &Raw) -> Result<Vec<Codecs>, ExperimentError> {
    const KEY: &str = "compression.uplink";
    let names = &raw.compression.uplink;
    let parse = |name: &String| {
        let mend = "write schemes as NAME[:ARG]*[+ef][@SCHEDULE], e.g. fp32, int4+ef, auto:0.5@ascending, fit";
        name.parse::<Codecs>().map_err(|error| broken(KEY, error.to_string(), mend))
    };
    let schemes = names.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
    if schemes.is_empty() {
        return Err(broken(KEY, "no schemes, so nothing to run", "list at least one, e.g. uplink = [\"int4+ef\"]"));
    }
    let capped = raw.budget.as_ref().is_some_and(Budget::caps_updates) || raw.cohort.uplink_bytes.is_some();
    if schemes.iter().any(|codecs| codecs.up.fits()) && !capped {
        let mend = "set budget.uplink_bytes, budget.uplink_bytes_per_round, cohort.uplink_bytes, or another cap on what clients send";
        return Err(broken(KEY, "fit gives updates what a budget leaves, but there is none", mend));
    }
    match repeated(&schemes) {
        Some(twice) => Err(broken(KEY, format!("{twice} is listed twice"), "list each scheme once")),
        None => Ok(schemes),
    }
}

fn sgd(raw: &Raw) -> Result<(SgdConfig, LearningRate), ExperimentError> {
    let local = &raw.local;
    let lr = local.check(raw.rounds).map_err(rule)?;
    let qat = local.quantization().map_err(rule)?;
    let sgd = SgdConfig {
        epochs: local.epochs,
        steps: local.steps,
        batch: local.batch,
        lr: local.lr as f32,
        momentum: local.momentum as f32,
        weight_decay: local.weight_decay as f32,
        clip_norm: local.clip_norm.map(|norm| norm as f32),
        qat,
        proximal: 0.0,
    };
    Ok((sgd, lr))
}

fn evaluate(raw: &Raw) -> Result<Vec<Quantization>, ExperimentError> {
    let holdout = raw.data.holdout.unwrap_or(0.0);
    if !(0.0..1.0).contains(&holdout) {
        let mend = "set it from 0 to below 1, e.g. 0.2";
        return Err(broken("data.holdout", format!("{holdout} is no share of a client's samples to keep back"), mend));
    }
    let personal = !raw.local.personal.is_empty();
    if personal && holdout == 0.0 {
        let problem = "with personal tensors a model is evaluated on what its client kept back, and they keep nothing";
        return Err(broken("local.personal", problem, "set data.holdout, e.g. to 0.2"));
    }
    let Some(keys) = &raw.evaluate else { return Ok(Vec::new()) };
    if personal && *keys != Evaluate::default() {
        let problem = "personal tensors are part of no model that this could be measured of";
        return Err(broken("local.personal", problem, "leave [evaluate] out, or local.personal"));
    }
    if keys.fine_tune_epochs > 0 && holdout == 0.0 {
        let problem = "clients have nothing to evaluate a fine-tuned model on";
        return Err(broken("evaluate.fine_tune_epochs", problem, "set data.holdout, e.g. to 0.2"));
    }
    if let Some(twice) = repeated(&keys.quantised) {
        return Err(broken("evaluate.quantised", format!("{twice} is listed twice"), "list each of them once"));
    }
    let parse = |name: &String| {
        name.parse().map_err(|error: UnknownQuantization| {
            broken("evaluate.quantised", error.to_string(), "list any of them, e.g. [\"int8\", \"int4\"]")
        })
    };
    keys.quantised.iter().map(parse).collect()
}

fn round(raw: &Raw) -> Result<RoundConfig, ExperimentError> {
    let cohort = &raw.cohort;
    let clients = raw.data.clients;
    let rule = |key: &'static str, mend: &'static str| {
        move |error: nibble_server::RoundConfigError| broken(key, error.to_string(), mend)
    };
    if cohort.size > clients {
        let problem = format!("a cohort of {} clients, but there are only {clients}", cohort.size);
        return Err(broken("cohort.size", problem, format!("lower it to at most {clients}, or raise data.clients")));
    }
    let config = RoundConfig::new(cohort.size)
        .map_err(rule("cohort.size", "set it from 1 to the number of clients"))?
        .over_select(cohort.over_select)
        .map_err(rule("cohort.over_select", "set it to a fraction such as 0.3"))?
        .quorum(quorum(raw))
        .map_err(rule("cohort.quorum", "set it from 1 to cohort.size"))?;
    if config.selected() > clients {
        let problem = format!("{} clients are to be selected, but there are only {clients}", config.selected());
        return Err(broken("cohort.over_select", problem, "lower it or cohort.size, or raise data.clients"));
    }
    let most = match &cohort.selection {
        Rule::PowerOfChoice(PowerOfChoice { candidates }) => candidates.unwrap_or(0),
        _ => 0,
    };
    if most > clients {
        let problem = format!("{most} candidates, but there are only {clients} clients");
        return Err(broken("cohort.selection", problem, "lower candidates, or raise data.clients"));
    }
    let config = config
        .select_by(cohort.selection.clone())
        .map_err(rule("cohort.selection", "see docs/selection.md for the keys of every rule"))?
        .select_among(clients, None);
    let Some(seconds) = cohort.deadline_seconds else { return Ok(config) };
    let deadline = Duration::try_from_secs_f64(seconds).map_err(|_| {
        let problem = format!("{seconds} seconds is not a deadline");
        broken("cohort.deadline_seconds", problem, "set it above 0, or leave it out for none")
    })?;
    config.deadline(deadline).map_err(rule("cohort.deadline_seconds", "set it above 0, or leave it out for none"))
}

/// Fewest updates that may close a round.
fn quorum(raw: &Raw) -> usize {
    let default = if raw.availability.dropout > 0.0 { 1 } else { raw.cohort.size };
    raw.cohort.quorum.unwrap_or(default)
}

fn repeated<T: PartialEq>(items: &[T]) -> Option<&T> {
    items.iter().enumerate().find(|(i, item)| items[..*i].contains(item)).map(|(_, item)| item)
}
