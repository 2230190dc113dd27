//! What runs produced: the one set of types that tables, files and the report are made from.

use nibble_seed::Seed;
use serde::{Deserialize, Serialize};

use crate::{experiment::Codecs, model_file};

/// One round of one run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RoundRow {
    /// Round, counted from 0.
    pub round: u64,
    /// Top-1 accuracy of the global model on the test part after the round, in [0, 1].
    #[serde(with = "nullable")]
    pub accuracy: f64,
    /// Mean cross-entropy of the global model on the test part, in nats.
    #[serde(with = "nullable")]
    pub loss: f64,
    /// Mean training loss over the counted clients.
    #[serde(with = "nullable")]
    pub train_loss: f64,
    /// Clients selected.
    pub selected: u64,
    /// Updates that entered the aggregate.
    pub counted: u64,
    /// Updates refused or left out of the aggregate.
    pub uncounted: u64,
    /// Payload bytes clients sent in this round, counted or not.
    pub uplink_bytes: u64,
    /// Payload bytes of the model sent to clients in this round.
    pub downlink_bytes: u64,
    /// Mean over counted updates of NMSE, the relative squared error of what was sent against what was meant.
    #[serde(with = "nullable")]
    pub update_nmse: f64,
    /// Wall-clock seconds of the round without evaluation.
    pub seconds: f64,
    /// Virtual seconds from the beginning of the run to the end of the round; over gRPC, seconds of all rounds so far.
    #[serde(default)]
    pub virtual_seconds: f64,
    /// Why the round closed, e.g. `all reported`, `deadline`.
    pub closed_by: String,
}

/// One scheme under one seed, summed up. The field names are a stable interface.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunSummary {
    /// Scheme as configured, e.g. `int4+ef`.
    pub scheme: String,
    /// What the run's experiment differs in from the others of a sweep; empty without one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub variant: String,
    /// Seed of the run.
    pub seed: u64,
    /// Rounds done.
    pub rounds: u64,
    /// Accuracy after the last round, in [0, 1].
    #[serde(with = "nullable")]
    pub final_accuracy: f64,
    /// Mean accuracy after each of the last five rounds.
    #[serde(with = "nullable")]
    pub mean_last5_accuracy: f64,
    /// Mean payload bytes of an update, header and all.
    pub uplink_bytes_per_update: f64,
    /// 8 x payload bytes / coordinates.
    pub bits_per_coordinate: f64,
    /// Payload bytes sent by clients over the run.
    pub uplink_bytes_total: u64,
    /// Payload bytes sent to clients over the run.
    pub downlink_bytes_total: u64,
    /// SHA-256 of the final parameters as little-endian f32, in hexadecimal.
    pub model_hash: String,
    /// Median wall-clock seconds of a round, evaluation excluded.
    #[serde(with = "nullable")]
    pub round_seconds_median: f64,
    /// Peak resident memory of the process so far; null where the system does not tell.
    pub peak_rss_bytes: Option<u64>,
    /// What was measured of the last model, beside its accuracy.
    #[serde(default, skip_serializing_if = "After::is_empty")]
    pub after: After,
}

/// What an experiment's `[evaluate]` asks for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct After {
    /// The last model in integers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub quantised: Vec<QuantisedRow>,
    /// The last model on the samples that clients kept back, as it is and fine-tuned by each of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own: Option<OwnRow>,
}

impl After {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The last model in integers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QuantisedRow {
    /// Widths, e.g. `int8`.
    pub format: String,
    /// Top-1 accuracy on the test part, in [0, 1].
    #[serde(with = "nullable")]
    pub accuracy: f64,
}

/// Top-1 accuracies of clients on their own samples, every client counting alike.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OwnRow {
    /// Clients that kept samples back.
    pub clients: u64,
    /// Of the last model.
    #[serde(with = "nullable")]
    pub global_mean: f64,
    /// What a tenth of the clients does not reach.
    #[serde(with = "nullable")]
    pub global_p10: f64,
    /// Of what each client made of it for itself.
    #[serde(with = "nullable")]
    pub own_mean: f64,
    /// What a tenth of the clients does not reach.
    #[serde(with = "nullable")]
    pub own_p10: f64,
}

impl RunSummary {
    /// The scheme, and what else tells it apart.
    #[must_use]
    pub fn name(&self) -> String {
        if self.variant.is_empty() { self.scheme.clone() } else { format!("{} {}", self.scheme, self.variant) }
    }

    /// The sums of `rows`, with the model they ended in.
    #[must_use]
    pub fn of(
        rows: &[RoundRow],
        (codecs, seed): (Codecs, Seed),
        coordinates: usize,
        global: &[f32],
        peak_rss_bytes: Option<u64>,
    ) -> Self {
        let sent: u64 = rows.iter().map(|row| row.counted + row.uncounted).sum();
        let uplink_bytes_total: u64 = rows.iter().map(|row| row.uplink_bytes).sum();
        let uplink_bytes_per_update = uplink_bytes_total as f64 / sent.max(1) as f64;
        let last = &rows[rows.len().saturating_sub(5)..];
        Self {
            scheme: codecs.to_string(),
            variant: String::new(),
            seed: seed.0,
            rounds: rows.len() as u64,
            final_accuracy: rows.last().map_or(f64::NAN, |row| row.accuracy),
            mean_last5_accuracy: last.iter().map(|row| row.accuracy).sum::<f64>() / last.len() as f64,
            uplink_bytes_per_update,
            bits_per_coordinate: 8.0 * uplink_bytes_per_update / coordinates as f64,
            uplink_bytes_total,
            downlink_bytes_total: rows.iter().map(|row| row.downlink_bytes).sum(),
            model_hash: model_file::hash(global),
            round_seconds_median: median(rows.iter().map(|row| row.seconds).collect()),
            peak_rss_bytes,
            after: After::default(),
        }
    }
}

/// The median, NaN of nothing.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[n / 2],
        n => (values[n / 2 - 1] + values[n / 2]) / 2.0,
    }
}

/// What the clients with one kind of link did in a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ClassRow {
    /// The kind of link.
    pub class: String,
    /// Clients that have it.
    pub clients: u64,
    /// Times that one of them was selected.
    pub selected: u64,
    /// Updates of theirs that counted.
    pub counted: u64,
    /// Updates that did not: late, or of a round that was abandoned.
    pub uncounted: u64,
    /// Rounds that waited for one of them at the end.
    pub last: u64,
    /// Seconds from assignment to the update's arrival, summed.
    pub seconds: f64,
    /// Payload bytes of their updates.
    pub uplink_bytes: u64,
    /// Payload bytes of models sent to them.
    pub downlink_bytes: u64,
    /// Bytes on the socket that they sent.
    pub spent_up: u64,
    /// Bytes on the socket that they received.
    pub spent_down: u64,
    /// What all of them may send in the run; none, if any number.
    pub budget_up: Option<u64>,
    /// What all of them may receive in the run.
    pub budget_down: Option<u64>,
    /// The highest share of a cap, for a round, a day or the run, that one of them has used.
    pub fullest: Option<f64>,
    /// Energy of their radios by bytes on the socket, in joules: a proxy.
    pub joules: f64,
}

/// A finished (or interrupted) run with its curve.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunResult {
    /// The sums.
    pub summary: RunSummary,
    /// Every round, in order.
    pub rounds: Vec<RoundRow>,
    /// By kind of link, where there are links.
    #[serde(default)]
    pub classes: Vec<ClassRow>,
}

/// All runs of one experiment and what is needed to make them again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Name of the experiment.
    pub name: String,
    /// What was trained on, in words: data set, clients, partition.
    pub data: String,
    /// Model with its number of parameters, in words.
    pub model: String,
    /// Number of coordinates of an update.
    pub coordinates: u64,
    /// The command that makes this again.
    pub command: String,
    /// The resolved experiment as TOML.
    pub experiment: String,
    /// Version, processor and threads it ran on, in words.
    pub machine: String,
    /// The accuracy whose cost is asked for, if one is.
    #[serde(default)]
    pub target_accuracy: Option<f64>,
    /// Whether every planned run reached its last round.
    pub complete: bool,
    /// Runs in order of scheme, then seed.
    pub runs: Vec<RunResult>,
}

/// JSON has no NaN: what was not measured is null there.
mod nullable {
    use serde::{Deserialize, Deserializer, Serializer};

    #[allow(clippy::trivially_copy_pass_by_ref)] // the signature is serde's
    pub(super) fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        if value.is_finite() { serializer.serialize_f64(*value) } else { serializer.serialize_none() }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
    }
}
