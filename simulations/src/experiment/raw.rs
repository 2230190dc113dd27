//! The experiment file, key by key. Every key has a default.

use std::{collections::BTreeMap, path::PathBuf};

use nibble_learning::partition::Partition;
use nibble_server::{aggregation, local, round::Asynchronous, selection::Rule, strategy};
use serde::{Deserialize, Serialize};

use crate::attacks::Kind;

/// An experiment as written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Raw {
    /// Names the output directory and the report. Default: `levels`.
    pub name: String,
    /// One run for each seed and scheme. Default: 0, 1, 2.
    pub seeds: Vec<u64>,
    /// Rounds of a run, at least 1. Default: 20.
    pub rounds: u64,
    /// An accuracy above 0 and below 1: the table then says how long and how many bytes it took to reach it. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_accuracy: Option<f64>,
    /// What is trained on.
    pub data: Data,
    /// What is trained.
    pub model: ModelChoice,
    /// How clients train.
    pub local: local::Keys,
    /// What is measured of the last model, beside its accuracy. Default: nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evaluate: Option<Evaluate>,
    /// Who takes part in a round, and when it closes.
    pub cohort: Cohort,
    /// How virtual clients behave.
    pub availability: Availability,
    /// Clients that send what they should not. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attack: Option<Attack>,
    /// How updates travel.
    pub compression: Compression,
    /// How updates become one.
    pub aggregation: aggregation::Keys,
    /// What the combined update does to the model, and what pulls at clients.
    pub strategy: strategy::Keys,
    /// Rounds that do not wait for their clients (FedBuff). Default: they do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asynchronous: Option<Asynchronous>,
    /// What clients may spend. Default: any number of bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
    /// Links of the clients. Default: none, and transfers take no time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub links: Option<Links>,
}

/// What is trained on, and who holds it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Data {
    /// `mnist-10k`, `fashion-mnist`, `mnist`, a directory of IDX files, or a CSV file. Default: `mnist-10k`.
    pub dataset: String,
    /// Virtual clients, at least 1. Default: 100.
    pub clients: usize,
    /// Who holds which samples. Default: Dirichlet with alpha 0.3.
    pub partition: Partition,
    /// Seed of the partition, the same for every run. Default: 1234.
    pub partition_seed: u64,
    /// Share of every client's samples that it does not train on, to evaluate on, from 0 to below 1. Default: 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holdout: Option<f64>,
    /// CSV only: the label column. Default: `label`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// CSV only: the column that says whom a sample belongs to, for the natural partition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// CSV only: fraction of the rows that become the test part, in (0, 1). Default: 0.2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_fraction: Option<f64>,
    /// CSV only: a file of its own for the test part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test: Option<PathBuf>,
}

/// What is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelChoice {
    /// `mlp`, `cnn` or `logreg`. Default: `mlp`.
    pub name: String,
}

/// What is measured once a run has ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Evaluate {
    /// Accuracy of the last model in integers: `int8`, `int4`, `int8-weights`, `int4-weights`. Default: none of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub quantised: Vec<String>,
    /// Passes that every client trains the last model for on its own samples, to be evaluated on those that
    /// `data.holdout` kept from it. Default: 0, it is not.
    #[serde(skip_serializing_if = "is_zero")]
    pub fine_tune_epochs: u32,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // the signature is serde's
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// Who takes part in a round, and when it closes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cohort {
    /// Updates wanted in a round, from 1 to the number of clients. Default: 10.
    pub size: usize,
    /// Fraction of clients selected beyond the cohort; the last to report are discarded. From 0 to 10. Default: 0.
    pub over_select: f64,
    /// Fewest updates that may close a round, from 1 to the cohort's size. Default: the size; 1 if clients drop out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quorum: Option<usize>,
    /// Virtual seconds after which a round closes with its quorum or is abandoned, above 0. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline_seconds: Option<f64>,
    /// Most bytes on the socket that the updates of a round take together. Under `fit` the clients share them, those whose
    /// updates weigh more get more; other schemes are refused where they do not fit. Default: any number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uplink_bytes: Option<u64>,
    /// How the cohort is chosen among those available: "uniform", "weighted", "power-of-choice", "oort",
    /// "availability-aware", or a table with that as `rule` and the rule's own keys (docs/selection.md). Default: uniform.
    #[serde(skip_serializing_if = "Rule::is_uniform")]
    pub selection: Rule,
}

/// How virtual clients behave, in virtual time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Availability {
    /// Probability that a selected client is lost in a round, from 0 to below 1. Default: 0.
    pub dropout: f64,
    /// Median virtual seconds a client takes, above 0. Default: 1.
    pub seconds: f64,
    /// Spread of those seconds: the standard deviation of their logarithm (lognormal), at least 0. Default: 0.
    pub spread: f64,
}

/// Who attacks, and how; in memory only.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attack {
    /// "sign-flip", "scaling", "gaussian", "alie", "inner-product" or "label-flip".
    pub kind: Kind,
    /// Share of the clients that attack, the same in every round, above 0 and below 1. Default: 0.2.
    #[serde(default = "fifth")]
    pub fraction: f64,
    /// What the kind makes of it, see docs/attacks.md; above 0. Default: the kind's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strength: Option<f64>,
}

/// What links clients have, in virtual time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Links {
    /// The one kind of link that all clients have, e.g. "lte-m". Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// Kinds of links and what share of the clients has them, e.g. { lte-m = 0.8, nb-iot = 0.2 }. Default: none.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub profiles: BTreeMap<String, f64>,
    /// A file of links that clients are given at random: CSV, or FedScale's client_device_capacity. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace: Option<PathBuf>,
    /// When links are there, where their kind says nothing else. Default: always.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub online: Option<Windows>,
    /// Kinds of one's own, by name. Default: none.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub define: BTreeMap<String, Define>,
    /// How much a link's speed varies from round to round: the standard deviation of its logarithm. Default: 0.
    pub spread: f64,
}

/// A kind of link.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Define {
    /// Towards the client, above 0.
    pub down_bits_per_second: f64,
    /// From the client, above 0.
    pub up_bits_per_second: f64,
    /// One way. Default: 0.
    pub latency_seconds: f64,
    /// Most that is added to the latency, uniformly. Default: 0.
    pub jitter_seconds: f64,
    /// Share of packets lost, from 0 to below 1. Default: 0.
    pub loss: f64,
    /// Energy of a byte received. Default: 0.
    pub microjoules_per_byte_down: f64,
    /// Energy of a byte sent. Default: 0.
    pub microjoules_per_byte_up: f64,
    /// Training time. Default: what `[availability]` says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds_per_sample: Option<f64>,
    /// When it is there. Default: always.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub online: Option<Windows>,
}

/// Recurring windows; every client has its own offset.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Windows {
    /// From the beginning of one to that of the next, above 0.
    pub period_seconds: f64,
    /// Share of the period that the link is there, above 0 and at most 1.
    pub share: f64,
}

/// Bytes on the socket that each client may spend. Who cannot afford what a round takes does not check in.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Budget {
    /// Sent in a run, at least 1. Default: any number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uplink_bytes: Option<u64>,
    /// Sent in a round.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uplink_bytes_per_round: Option<u64>,
    /// Sent in a day of virtual time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uplink_bytes_per_day: Option<u64>,
    /// Received in a run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub downlink_bytes: Option<u64>,
    /// Received in a round.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub downlink_bytes_per_round: Option<u64>,
    /// Received in a day of virtual time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub downlink_bytes_per_day: Option<u64>,
    /// As many bytes sent in a round as the client's link carries in this time, above 0: fast links get more. Default: any
    /// number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uplink_seconds_per_round: Option<f64>,
    /// Lower budgets of clients with a kind of link, by its name. Default: none.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub classes: BTreeMap<String, Budget>,
}

/// How updates travel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Compression {
    /// Schemes of client updates, one run each; after a slash that of the model's changes on their way to the clients,
    /// e.g. "auto:0.25/auto:1". Without one the model goes out whole, in fp32. Default: fp32, int8+ef, int4+ef, int2+ef, int2.
    pub uplink: Vec<String>,
    /// Rounds from one model that the model's changes start from to the next, 1 to 1,000: the more, the fewer bytes for clients
    /// that take part seldom, and the more for those that always do. Default: 16.
    pub downlink_span: u64,
    /// Most payload bytes of one update; a scheme that needs more is refused before anything runs. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uplink_budget_bytes: Option<u64>,
    /// Memory for the residuals of all clients, in MiB; what does not fit is kept on disk. Default: 64.
    pub residual_memory_mib: u64,
}

fn fifth() -> f64 {
    0.2
}

impl Default for Raw {
    fn default() -> Self {
        Self {
            name: "levels".into(),
            seeds: vec![0, 1, 2],
            rounds: 20,
            data: Data::default(),
            model: ModelChoice::default(),
            local: local::Keys::default(),
            evaluate: None,
            cohort: Cohort::default(),
            availability: Availability::default(),
            compression: Compression::default(),
            attack: None,
            aggregation: aggregation::Keys::default(),
            strategy: strategy::Keys::default(),
            asynchronous: None,
            budget: None,
            links: None,
            target_accuracy: None,
        }
    }
}

impl Default for Data {
    fn default() -> Self {
        Self {
            dataset: "mnist-10k".into(),
            clients: 100,
            partition: Partition::Dirichlet { alpha: 0.3, min_samples: 1 },
            partition_seed: 1234,
            holdout: None,
            label: None,
            owner: None,
            test_fraction: None,
            test: None,
        }
    }
}

impl Default for ModelChoice {
    fn default() -> Self {
        Self { name: "mlp".into() }
    }
}

impl Default for Cohort {
    fn default() -> Self {
        Self {
            size: 10,
            over_select: 0.0,
            quorum: None,
            deadline_seconds: None,
            uplink_bytes: None,
            selection: Rule::default(),
        }
    }
}

impl Default for Availability {
    fn default() -> Self {
        Self { dropout: 0.0, seconds: 1.0, spread: 0.0 }
    }
}

impl Default for Compression {
    fn default() -> Self {
        let uplink = ["fp32", "int8+ef", "int4+ef", "int2+ef", "int2"].map(String::from).to_vec();
        Self { uplink, downlink_span: 16, uplink_budget_bytes: None, residual_memory_mib: 64 }
    }
}
