//! The configuration file, key by key.

use std::path::PathBuf;

use nibble_learning::partition::Partition;
use serde::{Deserialize, Serialize};

/// A configuration as written.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Raw {
    /// The coordinator: `https://host:7443`, or `http://` for an insecure one on this machine. No default.
    pub server: Option<String>,
    /// Directory of the identity, the residual and the pending update, as the process sees it. No default.
    pub state: Option<PathBuf>,
    /// The number by which an insecure coordinator knows this client. Only, and always, with `http://`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub insecure_client: Option<u64>,
    /// Longest time that a check-in is held while there is nothing to do, in seconds, 0 to 300. Default: 20.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold_seconds: Option<f64>,
    /// What is trained on.
    pub data: Data,
    /// What this client may spend. Default: any number of bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
    /// A slower link and machine than there are, for trials. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shape: Option<Shape>,
}

/// Most bytes on the socket, TLS included; TCP and IP add some 3 %. Each at least 1; default: any number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Budget {
    /// Sent in a run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uplink_bytes: Option<u64>,
    /// Sent in a round.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uplink_bytes_per_round: Option<u64>,
    /// Sent in a day, from midnight to midnight UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uplink_bytes_per_day: Option<u64>,
    /// Received in a run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub downlink_bytes: Option<u64>,
    /// Received in a round.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub downlink_bytes_per_round: Option<u64>,
    /// Received in a day.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub downlink_bytes_per_day: Option<u64>,
}

/// A slower link and machine than there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shape {
    /// Rate towards this client, above 0.
    pub down_bits_per_second: f64,
    /// Rate from this client, above 0.
    pub up_bits_per_second: f64,
    /// One way, 0 to 3600. Default: 0.
    #[serde(default)]
    pub latency_seconds: f64,
    /// Most that is added to the latency, uniformly, 0 to 3600. Default: 0.
    #[serde(default)]
    pub jitter_seconds: f64,
    /// Least time that training for a round takes. Default: 0.
    #[serde(default)]
    pub training_seconds: f64,
}

/// What is trained on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Data {
    /// `mnist-10k`, `fashion-mnist`, `mnist`, a directory of IDX files, or a CSV file. Default: `mnist-10k`.
    pub dataset: String,
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
    /// The part of the training samples that this client has. Default: all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share: Option<Share>,
}

/// One client's part of a partition, the same that the simulator deals out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Share {
    /// Which part, from 0 to below `clients`.
    pub index: usize,
    /// Into how many parts the samples are dealt out, at least 1.
    pub clients: usize,
    /// How they are dealt out. Default: Dirichlet with alpha 0.3.
    #[serde(default = "default_partition")]
    pub partition: Partition,
    /// Seed of the partition, and of the test part of a CSV file that has none. Default: 1234.
    #[serde(default = "default_seed")]
    pub seed: u64,
    /// Share of this part that is not trained on, from 0 to below 1. Default: 0.
    #[serde(default)]
    pub holdout: f64,
}

impl Default for Data {
    fn default() -> Self {
        let dataset = "mnist-10k".into();
        Self { dataset, label: None, owner: None, test_fraction: None, test: None, share: None }
    }
}

fn default_partition() -> Partition {
    Partition::Dirichlet { alpha: 0.3, min_samples: 1 }
}

pub(super) fn default_seed() -> u64 {
    1234
}
