//! The files of a deployed run: the coordinator's and the clients' configurations, made from the experiment.

use std::{
    fs,
    path::{Path, PathBuf},
};

use nibble_client::budget::Budget;
use nibble_seed::{ClientId, Seed};
use toml::{Table, Value};

use super::processes::{Program, Running};
use crate::{
    budgets,
    error::SimError,
    experiment::{Codecs, Experiment},
    federation::Federation,
    files::write_whole,
    links::{self, Fleet},
};

/// A deadline for rounds that have none: a day.
const NO_DEADLINE_SECONDS: f64 = 86_400.0;

/// The coordinator's part of a run's directory.
pub(super) const COORDINATOR: &str = "coordinator";

/// The directory of a run.
pub(super) struct Files {
    directory: PathBuf,
    run: String,
    data: Table,
    share: Table,
    /// How slow each client's link is, where there are links.
    shapes: Option<Vec<Table>>,
    /// What each client may spend, if that is capped.
    budgets: Vec<Option<Table>>,
}

/// The clients' part of it, once the coordinator's address is known.
pub(super) struct Clients<'a> {
    files: &'a Files,
    address: &'a str,
}

impl Files {
    /// Writes the coordinator's configuration, and makes its authority where there is none yet.
    pub(super) fn lay_out(
        (experiment, federation): (&Experiment, &Federation),
        (codecs, seed): (Codecs, Seed),
        directory: &Path,
        server: &Program,
    ) -> Result<Self, SimError> {
        // Programs are started with these paths from wherever they like.
        fs::create_dir_all(directory.join("clients")).map_err(SimError::io(directory))?;
        let directory = directory.canonicalize().map_err(SimError::io(directory))?;
        let raw = &experiment.raw;
        let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '-' };
        let run: String = format!("{}-{codecs}-seed{}", raw.name, seed.0).chars().map(plain).collect();
        let mut data = Table::new();
        data.insert("dataset".into(), raw.data.dataset.clone().into());
        data.extend(raw.data.label.clone().map(|label| ("label".into(), label.into())));
        data.extend(raw.data.owner.clone().map(|owner| ("owner".into(), owner.into())));
        data.extend(raw.data.test_fraction.map(|fraction| ("test_fraction".into(), fraction.into())));
        data.extend(raw.data.test.as_ref().map(|test| ("test".into(), test.display().to_string().into())));
        let mut share = table([
            ("clients", integer(raw.data.clients as u64)),
            ("partition", value(&raw.data.partition)),
            ("seed", integer(raw.data.partition_seed)),
        ]);
        share.extend(raw.data.holdout.map(|holdout| ("holdout".into(), holdout.into())));
        let fleet = links::fleet(experiment, seed)?;
        let budget = |client| budget(budgets::of(experiment, fleet.as_ref(), ClientId(client)));
        let budgets = (0..raw.data.clients as u64).map(budget).collect();
        let shapes = fleet.as_ref().map(|fleet| shapes(fleet, experiment, federation));
        let files = Self { directory, run, data, share, shapes, budgets };
        let coordinator = files.directory.join(COORDINATOR);
        if !coordinator.exists() {
            server.output(&["init", &text(&coordinator), "--host", "127.0.0.1"])?;
        }
        let config = files.coordinator(experiment, codecs, seed);
        write_whole(&files.config(), config.to_string().as_bytes())?;
        Ok(files)
    }

    fn coordinator(&self, experiment: &Experiment, codecs: Codecs, seed: Seed) -> Table {
        let raw = &experiment.raw;
        let mut data = self.data.clone();
        data.insert("partition_seed".into(), integer(raw.data.partition_seed));
        let mut cohort = table([
            ("size", integer(raw.cohort.size as u64)),
            ("over_select", raw.cohort.over_select.into()),
            ("available", integer(raw.data.clients as u64)),
            ("deadline_seconds", raw.cohort.deadline_seconds.unwrap_or(NO_DEADLINE_SECONDS).into()),
        ]);
        cohort.extend(raw.cohort.quorum.map(|quorum| ("quorum".into(), integer(quorum as u64))));
        cohort.extend(raw.cohort.uplink_bytes.map(|bytes| ("uplink_bytes".into(), integer(bytes))));
        // With everyone selected there is nothing to choose, which a coordinator would not take.
        if !raw.cohort.selection.is_uniform() && experiment.round.selected() < raw.data.clients {
            cohort.insert("selection".into(), value(&raw.cohort.selection));
        }
        let rounds = integer(raw.rounds);
        let run = [("name", self.run.clone().into()), ("seed", integer(seed.0)), ("rounds", rounds)];
        let mut compression = table([("uplink", codecs.up.to_string().into())]);
        compression.extend(codecs.down.map(|scheme| ("downlink".into(), scheme.to_string().into())));
        compression.insert("downlink_span".into(), integer(raw.compression.downlink_span));
        let mut strategy = value(&raw.strategy).as_table().cloned().unwrap_or_default();
        if experiment.strategy.control().is_some() && raw.strategy.clients.is_none() {
            strategy.insert("clients".into(), integer(raw.data.clients as u64));
        }
        let connections = integer(1024.max(4 * raw.data.clients as u64));
        let mut config = table([
            ("listen", "127.0.0.1:0".into()),
            ("limits", Value::Table(table([("connections_per_address", connections)]))),
            ("run", Value::Table(table(run))),
            ("model", Value::Table(table([("name", raw.model.name.clone().into())]))),
            ("data", Value::Table(data)),
            ("local", value(&raw.local)),
            ("cohort", Value::Table(cohort)),
            ("compression", Value::Table(compression)),
            ("aggregation", value(&experiment.raw.aggregation)),
            ("strategy", Value::Table(strategy)),
        ]);
        config.extend(raw.asynchronous.as_ref().map(|keys| ("asynchronous".into(), value(keys))));
        config
    }

    /// The coordinator's configuration.
    pub(super) fn config(&self) -> PathBuf {
        self.directory.join(COORDINATOR).join("nibble-server.toml")
    }

    /// The clients of a coordinator at `address`.
    pub(super) fn clients<'a>(&'a self, address: &'a str) -> Clients<'a> {
        Clients { files: self, address }
    }

    /// The frame of the newest global model; `None` before the first round has ended.
    pub(super) fn model(&self, server: &Program) -> Result<Option<(PathBuf, Vec<u8>)>, SimError> {
        let json = server.output(&["status", "--format", "json", "--config", &text(&self.config())])?;
        let status: serde_json::Value =
            serde_json::from_str(&json).map_err(|error| SimError::io("nibble-server status")(error.into()))?;
        let Some(name) = status["model_sha256"].as_str() else { return Ok(None) };
        let models = self.directory.join(COORDINATOR).join("state").join("models").join(&self.run);
        let path = models.join(name).with_extension("frame");
        let frame = fs::read(&path).map_err(SimError::io(&path))?;
        Ok(Some((path, frame)))
    }

    fn client(&self, number: usize, extension: &str) -> PathBuf {
        self.directory.join("clients").join(format!("{number}.{extension}"))
    }
}

impl Clients<'_> {
    /// Gets a certificate for a client that has none yet.
    pub(super) fn enrol(&self, number: usize, server: &Program, client: &Program) -> Result<(), SimError> {
        let state = self.files.client(number, "state");
        if state.join("cert.pem").exists() {
            return Ok(());
        }
        let (config, number, name) = (text(&self.files.config()), number.to_string(), format!("client-{number}"));
        let token = server.output(&["token", "--config", &config, "--name", &name, "--client", &number])?;
        client.output(&["enroll", "--server", self.address, "--token", token.trim(), "--state", &text(&state)])?;
        Ok(())
    }

    /// Writes a client's configuration and starts it.
    pub(super) fn start(&self, number: usize, client: &Program) -> Result<Running, SimError> {
        let mut share = self.files.share.clone();
        share.insert("index".into(), integer(number as u64));
        let mut data = self.files.data.clone();
        data.insert("share".into(), Value::Table(share));
        let mut config = table([
            ("server", format!("https://{}", self.address).into()),
            ("state", text(&self.files.client(number, "state")).into()),
            ("data", Value::Table(data)),
        ]);
        if let Some(budget) = &self.files.budgets[number] {
            config.insert("budget".into(), Value::Table(budget.clone()));
        }
        if let Some(shapes) = &self.files.shapes {
            config.insert("shape".into(), Value::Table(shapes[number].clone()));
        }
        let file = self.files.client(number, "toml");
        write_whole(&file, config.to_string().as_bytes())?;
        client.start(
            &["run", &text(&file), "--until-stdin-closes"],
            format!("client {number}"),
            &self.files.client(number, "log"),
        )
    }
}

/// A budget as a client reads it.
fn budget(budget: Budget) -> Option<Table> {
    let keys = [
        ("uplink_bytes", budget.up.run),
        ("uplink_bytes_per_round", budget.up.round),
        ("uplink_bytes_per_day", budget.up.day),
        ("downlink_bytes", budget.down.run),
        ("downlink_bytes_per_round", budget.down.round),
        ("downlink_bytes_per_day", budget.down.day),
    ];
    let table: Table = keys.into_iter().filter_map(|(key, cap)| Some((key.to_owned(), integer(cap?)))).collect();
    (!table.is_empty()).then_some(table)
}

/// What makes real links and trainings take as long as virtual ones.
fn shapes(fleet: &Fleet, experiment: &Experiment, federation: &Federation) -> Vec<Table> {
    let shape = |(client, samples): (u64, &Vec<u32>)| {
        let kind = fleet.kind(ClientId(client));
        let (down, up) = kind.rates();
        let visits = experiment.sgd.visits_on(samples.len()) as f64;
        let trains = kind.seconds_per_sample.map_or(experiment.raw.availability.seconds, |each| each * visits);
        table([
            ("down_bits_per_second", down.into()),
            ("up_bits_per_second", up.into()),
            ("latency_seconds", kind.latency.into()),
            ("jitter_seconds", kind.jitter.into()),
            ("training_seconds", trains.into()),
        ])
    };
    (0..).zip(&federation.assignment().clients).map(shape).collect()
}

fn table<const N: usize>(entries: [(&str, Value); N]) -> Table {
    entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

fn integer(value: u64) -> Value {
    Value::Integer(i64::try_from(value).unwrap_or(i64::MAX)) // an experiment's seeds and counts are smaller
}

/// A part of an experiment as it stands there.
fn value(part: &impl serde::Serialize) -> Value {
    Value::try_from(part).expect("what was read from TOML can be written as TOML")
}

fn text(path: &Path) -> String {
    path.display().to_string()
}
