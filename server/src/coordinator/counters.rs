//! What operators watch: rounds, updates, waiting clients, bytes.

use std::time::Duration;

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

use crate::{
    round::{Outcome, Record},
    store::Bytes,
};

/// Says what each metric is. Call it once a recorder is installed.
pub fn describe_metrics() {
    describe_counter!("nibble_rounds_total", "Rounds that ended, by why");
    describe_counter!("nibble_updates_total", "Updates, by outcome");
    describe_counter!("nibble_bytes_total", "Bytes moved, by level and direction");
    describe_gauge!("nibble_round", "The open round");
    describe_gauge!("nibble_training_clients", "Clients that were assigned their part and are waited for");
    describe_gauge!("nibble_waiting_clients", "Clients whose call is held");
    describe_gauge!("nibble_ready_clients", "Clients that may be selected");
    describe_histogram!("nibble_round_seconds", "From opening a round to fixing its counted set");
    describe_histogram!("nibble_fold_seconds", "From a fixed counted set to a durable new model");
}

pub(super) fn round_ended(record: &Record) {
    counter!("nibble_rounds_total", "closed" => record.closed.to_string()).increment(1);
    histogram!("nibble_round_seconds").record((record.ended.saturating_sub(record.opened)).as_secs_f64());
    for outcome in record.outcomes.values() {
        let outcome = match outcome {
            Outcome::Accepted => "accepted",
            Outcome::Rejected(_) => "rejected",
            Outcome::Discarded(_) => "discarded",
        };
        counter!("nibble_updates_total", "outcome" => outcome).increment(1);
    }
    counter!("nibble_updates_total", "outcome" => "missing").increment(record.missing.len() as u64);
}

pub(super) fn folded(took: Duration) {
    histogram!("nibble_fold_seconds").record(took.as_secs_f64());
}

pub(super) fn moved(bytes: &Bytes) {
    for (level, up, down) in [
        ("payload", bytes.payload_up, bytes.payload_down),
        ("message", bytes.message_up, bytes.message_down),
        ("wire", bytes.wire_up, bytes.wire_down),
    ] {
        counter!("nibble_bytes_total", "level" => level, "direction" => "up").increment(up);
        counter!("nibble_bytes_total", "level" => level, "direction" => "down").increment(down);
    }
}

pub(super) fn now(round: u64, (training, waiting, ready): (usize, usize, usize)) {
    gauge!("nibble_round").set(round as f64);
    gauge!("nibble_training_clients").set(training as f64);
    gauge!("nibble_waiting_clients").set(waiting as f64);
    gauge!("nibble_ready_clients").set(ready as f64);
}
