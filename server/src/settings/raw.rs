//! The configuration file, key by key. Keys of a run are those of an experiment, with the same meaning.

use std::{net::SocketAddr, path::PathBuf};

use serde::{Deserialize, Serialize};

use crate::{aggregation, local, round::Asynchronous, selection::Rule, strategy};

/// A configuration as written.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Raw {
    /// Directory of everything that is kept, relative to the file. Default: `state`.
    #[serde(default = "state")]
    pub state: PathBuf,
    /// Address to serve clients on. Default: `0.0.0.0:7443`.
    #[serde(default = "listen")]
    pub listen: SocketAddr,
    /// Address to serve Prometheus metrics on, over plain HTTP. Default: none.
    pub metrics: Option<SocketAddr>,
    /// Where a copy of every model is kept, e.g. `file:///DIR`. Default: none, models lie under `state`.
    pub models: Option<String>,
    /// Threads to fold updates with. Default: as many as the machine has.
    pub threads: Option<usize>,
    /// Certificates.
    #[serde(default)]
    pub tls: Tls,
    /// Bounds on connections.
    #[serde(default)]
    pub limits: Limits,
    /// The run.
    pub run: Run,
    /// What is trained.
    #[serde(default)]
    pub model: Model,
    /// The held-out set.
    #[serde(default)]
    pub data: Data,
    /// How clients train.
    #[serde(default)]
    pub local: local::Keys,
    /// Who takes part in a round, and when it closes.
    #[serde(default)]
    pub cohort: Cohort,
    /// How updates travel.
    #[serde(default)]
    pub compression: Compression,
    /// How updates become one.
    #[serde(default)]
    pub aggregation: aggregation::Keys,
    /// What the combined update does to the model, and what pulls at clients.
    #[serde(default)]
    pub strategy: strategy::Keys,
    /// Rounds that do not wait for their clients. Default: they do.
    pub asynchronous: Option<Asynchronous>,
    /// What devices may spend. It may change from one start to the next. Default: any number of bytes.
    #[serde(default)]
    pub budget: super::budget::Keys,
}

/// Certificates.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// Directory of the authority, relative to the file. Default: `authority`.
    pub authority: PathBuf,
    /// Days that a device's certificate holds. Default: 90.
    pub device_days: u32,
}

/// Bounds on connections.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Most connections at a time. Default: 12,000.
    pub connections: usize,
    /// Most connections from one address. Default: 1,024.
    pub connections_per_address: usize,
    /// Least bytes in ten seconds of a connection with an unfinished request. Default: 1,024.
    pub min_bytes_per_10s: u64,
    /// Seconds that running requests have to end when the coordinator stops. Default: 10.
    pub drain_seconds: u64,
}

/// The run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// Its name: letters, digits, `-`, `_` and `.`.
    pub name: String,
    /// Its seed. Default: 0.
    #[serde(default)]
    pub seed: u64,
    /// Rounds, abandoned ones included, at least 1.
    pub rounds: u64,
}

/// What is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Model {
    /// `mlp`, `cnn`, `logreg`, or a name that your clients know. Default: `mlp`.
    pub name: String,
    /// The parameters to start from, as safetensors, relative to the file; they also say what the tensors are. Default: for
    /// a built-in model fresh ones, from the seed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initial: Option<PathBuf>,
}

/// The held-out set, on which every new global model is evaluated.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Data {
    /// `mnist-10k`, `fashion-mnist`, `mnist`, a directory of IDX files, a CSV file, or `none`: its test part is used, and its
    /// shape makes a built-in model. Default: `mnist-10k`.
    pub dataset: String,
    /// CSV only: the label column. Default: `label`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// CSV only: a column that is not a feature, as clients name it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// CSV only: fraction of the rows that are the test part. Default: 0.2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_fraction: Option<f64>,
    /// CSV only: a file of its own for the test part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test: Option<PathBuf>,
    /// Seed of the split of a CSV file. Default: 1234.
    pub partition_seed: u64,
}

/// Who takes part in a round, and when it closes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cohort {
    /// Updates wanted in a round, at least 1. Default: 2.
    pub size: usize,
    /// Fraction of clients selected beyond the cohort; the last to report are discarded. Default: 0.
    pub over_select: f64,
    /// Fewest updates that may close a round. Default: the size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quorum: Option<usize>,
    /// Clients that must be available before a cohort is drawn among them. Default: as many as are selected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub available: Option<usize>,
    /// Seconds after which a cohort is drawn from whoever is there. Default: none, it waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selection_seconds: Option<f64>,
    /// Seconds after which a round closes with its quorum or is abandoned. Default: 600.
    pub deadline_seconds: f64,
    /// Most bytes on the socket that the updates of a round take together. Under `fit` the clients share them, those whose
    /// updates weigh more get more; other schemes are refused where they do not fit. Default: any number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uplink_bytes: Option<u64>,
    /// Seconds for which a client that declined is not selected: one that always declines would end every round at once.
    /// Default: 60.
    pub decline_pause_seconds: f64,
    /// How the cohort is chosen among those available: "uniform", "weighted", "power-of-choice", "oort",
    /// "availability-aware", or a table with that as `rule` and the rule's own keys (docs/selection.md). `oort` goes by
    /// measured times, so a run with it cannot be played again to the same model. Default: uniform.
    #[serde(skip_serializing_if = "Rule::is_uniform")]
    pub selection: Rule,
}

/// How updates travel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Compression {
    /// Scheme of the updates. Default: `int4+ef`.
    pub uplink: String,
    /// Scheme of the global model's changes on their way to the clients, e.g. `auto:1`. Default: none, the model goes out
    /// whole, in fp32.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub downlink: Option<String>,
    /// Rounds from one model that such changes start from to the next, 1 to 1,000: the more, the fewer bytes for clients that
    /// take part seldom, and the more for those that always do. Default: 16.
    pub downlink_span: u64,
    /// Most payload bytes of one update; a scheme that needs more is refused. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uplink_budget_bytes: Option<u64>,
}

/// The keys that make a run what it is, and that it cannot be resumed without.
#[derive(Serialize)]
pub(super) struct RunKeys<'a> {
    pub(super) run: &'a Run,
    pub(super) model: &'a Model,
    pub(super) data: &'a Data,
    pub(super) local: &'a local::Keys,
    pub(super) cohort: &'a Cohort,
    pub(super) compression: &'a Compression,
    pub(super) aggregation: &'a aggregation::Keys,
    pub(super) strategy: &'a strategy::Keys,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) asynchronous: Option<&'a Asynchronous>,
}

impl Raw {
    pub(super) fn deserialize_from(table: toml::Table) -> Result<Self, toml::de::Error> {
        Self::deserialize(table)
    }
}

fn state() -> PathBuf {
    "state".into()
}

fn listen() -> SocketAddr {
    SocketAddr::from(([0, 0, 0, 0], 7443))
}

impl Default for Tls {
    fn default() -> Self {
        Self { authority: "authority".into(), device_days: 90 }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 12_000, connections_per_address: 1_024, min_bytes_per_10s: 1_024, drain_seconds: 10 }
    }
}

impl Default for Model {
    fn default() -> Self {
        Self { name: "mlp".into(), initial: None }
    }
}

impl Default for Data {
    fn default() -> Self {
        let dataset = "mnist-10k".into();
        Self { dataset, label: None, owner: None, test_fraction: None, test: None, partition_seed: 1234 }
    }
}

impl Default for Cohort {
    fn default() -> Self {
        Self {
            size: 2,
            over_select: 0.0,
            quorum: None,
            available: None,
            selection_seconds: None,
            deadline_seconds: 600.0,
            uplink_bytes: None,
            decline_pause_seconds: 60.0,
            selection: Rule::default(),
        }
    }
}

impl Default for Compression {
    fn default() -> Self {
        Self { uplink: "int4+ef".into(), downlink: None, downlink_span: 16, uplink_budget_bytes: None }
    }
}
