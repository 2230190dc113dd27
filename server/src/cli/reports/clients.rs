//! `clients`: every device, what it spent in a run, and what it has left.

use std::collections::BTreeMap;

use anyhow::Result;
use nibble_server::store::{Bytes, Device, Store};
use serde::Serialize;

use super::{any, date, size};
use crate::cli::{
    args::{Format, Report},
    print, print_json, settings,
};

/// A device, and what it did and spent in a run.
#[derive(Serialize)]
pub(super) struct Client {
    pub(super) client: u64,
    pub(super) name: String,
    /// Bytes on the socket in the run, as the ledger has them.
    sent_bytes: u64,
    received_bytes: u64,
    /// Rounds of the run that it was selected for.
    pub(super) rounds: u64,
    /// What it had left when it last checked in, of its own caps and the coordinator's: for a round, and for the run; null for
    /// any number.
    may_send_bytes: Option<u64>,
    may_receive_bytes: Option<u64>,
    pub(super) may_send_in_run_bytes: Option<u64>,
    pub(super) may_receive_in_run_bytes: Option<u64>,
    /// Rounds of its own that what is left for the run is enough for, if they go on as those before.
    pub(super) rounds_left: Option<f64>,
    enrolled_unix: u64,
    revoked_unix: Option<u64>,
    seen_unix: Option<u64>,
    certificate_ends_unix: Option<u64>,
}

pub(in crate::cli) fn clients(command: &Report) -> Result<()> {
    let settings = settings(&command.config.config, &command.config.set)?;
    let store = Store::look_at(&settings.state)?;
    let run = command.run.clone().unwrap_or(settings.run);
    let clients = described(&store, &run)?;
    if command.format == Format::Json {
        return print_json(&clients);
    }
    let day = |unix: Option<u64>| unix.map_or_else(|| "-".into(), date);
    let mut text = format!(
        "{:>6}  {:24} {:17} {:17} {:17} {:>9} {:>9} {:>9} {:>9} {:>11} {}\n",
        "client",
        "name",
        "enrolled",
        "last seen",
        "certificate to",
        "sent",
        "left",
        "received",
        "left",
        "rounds left",
        ""
    );
    for client in &clients {
        text += &format!(
            "{:>6}  {:24} {:17} {:17} {:17} {:>9} {:>9} {:>9} {:>9} {:>11} {}\n",
            client.client,
            client.name,
            date(client.enrolled_unix),
            day(client.seen_unix),
            day(client.certificate_ends_unix),
            size(client.sent_bytes),
            any(client.may_send_in_run_bytes),
            size(client.received_bytes),
            any(client.may_receive_in_run_bytes),
            client.rounds_left.map_or_else(|| "-".into(), |rounds| format!("{:.0}", rounds.floor())),
            client.revoked_unix.map_or_else(String::new, |at| format!("revoked {}", date(at))),
        );
    }
    print(&text)
}

/// Every device, and what it did and spent in a run.
pub(super) fn described(store: &Store, run: &str) -> Result<Vec<Client>> {
    let (mut moved, mut turns) = (BTreeMap::<_, Bytes>::new(), BTreeMap::<_, u64>::new());
    for row in store.ledger(run)? {
        *moved.entry(row.client).or_default() += row.bytes;
    }
    for row in store.rounds(run)? {
        store.cohort(run, row.round)?.into_iter().for_each(|client| *turns.entry(client).or_default() += 1);
    }
    let describe = |device: Device| {
        let bytes = moved.get(&Some(device.client)).copied().unwrap_or_default();
        let (rounds, left) = (turns.get(&device.client).copied().unwrap_or_default(), device.allowance);
        let lasts = |left: Option<u64>, spent: u64| {
            let left = left.filter(|_| rounds > 0 && spent > 0)?;
            Some(left as f64 * rounds as f64 / spent as f64)
        };
        let rounds_left = [lasts(left.up_in_run, bytes.wire_up), lasts(left.down_in_run, bytes.wire_down)];
        Client {
            client: device.client.0,
            name: device.name,
            sent_bytes: bytes.wire_up,
            received_bytes: bytes.wire_down,
            rounds,
            may_send_bytes: left.up,
            may_receive_bytes: left.down,
            may_send_in_run_bytes: left.up_in_run,
            may_receive_in_run_bytes: left.down_in_run,
            rounds_left: least(rounds_left),
            enrolled_unix: device.enrolled.as_secs(),
            revoked_unix: device.revoked.map(|time| time.as_secs()),
            seen_unix: device.seen.map(|time| time.as_secs()),
            certificate_ends_unix: device.not_after_unix,
        }
    };
    Ok(store.devices()?.into_iter().map(describe).collect())
}

/// The least of those that there are.
pub(super) fn least(numbers: impl IntoIterator<Item = Option<f64>>) -> Option<f64> {
    numbers.into_iter().flatten().min_by(f64::total_cmp)
}
