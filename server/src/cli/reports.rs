//! `status`, `rounds`, `clients`, `ledger`: read from the store, also while a coordinator serves.

mod clients;

use std::collections::BTreeMap;

use anyhow::Result;
use nibble_seed::RoundId;
use nibble_server::{
    models::hex,
    round::Outcome,
    store::{Bytes, Report as Row, ReportKind, RoundRow, RunRow, Store},
};
use serde::Serialize;

pub(super) use self::clients::clients;
use self::clients::{Client, described, least};
use super::{
    Mistake,
    args::{Format, Report},
    print, print_json, settings,
};

/// How a run stands.
#[derive(Serialize)]
struct Status {
    run: String,
    state: &'static str,
    rounds_ended: u64,
    rounds: u64,
    open_round: Option<u64>,
    open_round_state: Option<String>,
    model_sha256: String,
    accuracy: Option<f64>,
    clients: usize,
    /// Devices that were assigned their part and have not sent it.
    training: usize,
    payload_bytes_up: u64,
    payload_bytes_down: u64,
    wire_bytes_up: u64,
    wire_bytes_down: u64,
    /// Devices with a cap for the run, what they have left together, and for how many rounds of its own that is enough for the
    /// one that it lasts least.
    capped: usize,
    left_bytes_up: Option<u64>,
    left_bytes_down: Option<u64>,
    rounds_left: Option<f64>,
}

/// A round and what came of it.
#[derive(Serialize)]
struct Round {
    round: u64,
    state: String,
    closed: Option<String>,
    selected: usize,
    cohort: Vec<u64>,
    accepted: usize,
    /// Of those, how many were assigned in earlier rounds, where rounds do not wait.
    older: usize,
    rejected: usize,
    discarded: usize,
    missing: usize,
    /// Seconds from the first assignment to the fixed counted set.
    seconds: Option<f64>,
    closed_unix: Option<f64>,
    accuracy: Option<f64>,
    loss: Option<f64>,
    train_loss: Option<f64>,
    nmse: Option<f64>,
    payload_bytes_up: u64,
    payload_bytes_down: u64,
    model_sha256: Option<String>,
    /// Seconds from the assignments to each client's update.
    arrived_seconds: BTreeMap<u64, f64>,
    /// Who did not count, and why.
    uncounted: BTreeMap<u64, String>,
}

#[derive(Serialize)]
struct Entry {
    round: u64,
    client: Option<u64>,
    payload_up: u64,
    payload_down: u64,
    message_up: u64,
    message_down: u64,
    wire_up: u64,
    wire_down: u64,
}

/// The store and the run that a command is about.
fn look(command: &Report) -> Result<(Store, RunRow, u64)> {
    let settings = settings(&command.config.config, &command.config.set)?;
    let store = Store::look_at(&settings.state)?;
    let name = command.run.clone().unwrap_or(settings.run);
    let run = store.run(&name)?.ok_or_else(|| {
        let known: Vec<_> = store.runs().unwrap_or_default().into_iter().map(|run| run.name).collect();
        let known = if known.is_empty() { "none was started yet".into() } else { known.join(", ") };
        Mistake(format!("there is no run {name:?}; there is: {known}"))
    })?;
    let rounds = run.config.parse::<toml::Table>().ok().and_then(|config| config["run"]["rounds"].as_integer());
    Ok((store, run, rounds.unwrap_or_default().cast_unsigned()))
}

pub(super) fn status(command: &Report) -> Result<()> {
    let (store, run, rounds) = look(command)?;
    let all = store.rounds(&run.name)?;
    let open = all.iter().find(|row| row.new_model.is_none() && row.closed.is_none());
    let total = total(&store, &run.name)?;
    let clients = described(&store, &run.name)?;
    let left = |of: fn(&Client) -> Option<u64>| clients.iter().filter_map(of).reduce(|a, b| a.saturating_add(b));
    let is_capped = |client: &&Client| client.may_send_in_run_bytes.or(client.may_receive_in_run_bytes).is_some();
    let status = Status {
        state: if run.ended.is_some() { "over" } else { "going on" },
        rounds_ended: all.len() as u64 - u64::from(open.is_some()),
        rounds,
        open_round: open.map(|row| row.round.0),
        open_round_state: open.map(|row| row.state.to_string()),
        model_sha256: hex(&all.iter().rev().find_map(|row| row.new_model).unwrap_or(run.initial_model)),
        accuracy: all.iter().rev().find(|row| row.new_model.is_some()).and_then(|row| row.accuracy),
        clients: clients.len(),
        capped: clients.iter().filter(is_capped).count(),
        left_bytes_up: left(|client| client.may_send_in_run_bytes),
        left_bytes_down: left(|client| client.may_receive_in_run_bytes),
        rounds_left: least(clients.iter().map(|client| client.rounds_left)),
        training: training(&store, &run, open)?,
        payload_bytes_up: total.payload_up,
        payload_bytes_down: total.payload_down,
        wire_bytes_up: total.wire_up,
        wire_bytes_down: total.wire_down,
        run: run.name,
    };
    if command.format == Format::Json {
        return print_json(&status);
    }
    let mut text = format!("run        {} ({})\n", status.run, status.state);
    text += &format!("rounds     {} of {} ended\n", status.rounds_ended, status.rounds);
    if let (Some(round), Some(state)) = (status.open_round, &status.open_round_state) {
        text += &format!("open       round {round}, {state}\n");
    }
    text += &format!("model      {}\n", status.model_sha256);
    text += &status.accuracy.map_or_else(String::new, |accuracy| format!("accuracy   {:.2} %\n", 100.0 * accuracy));
    text += &format!("devices    {}, {} training\n", status.clients, status.training);
    text += &format!("payloads   {} up, {} down\n", size(total.payload_up), size(total.payload_down));
    text += &format!("on sockets {} up, {} down\n", size(total.wire_up), size(total.wire_down));
    if status.capped > 0 {
        let [up, down] = [status.left_bytes_up, status.left_bytes_down].map(any);
        text += &format!("budgets    {} devices capped, {up} up and {down} down left in all", status.capped);
        text += &status.rounds_left.map_or_else(String::new, |rounds| {
            format!("; the first is through after {:.0} more of its rounds", rounds.floor())
        });
        text.push('\n');
    }
    print(&text)
}

fn is_asynchronous(run: &RunRow) -> bool {
    run.config.parse::<toml::Table>().is_ok_and(|config| config.contains_key("asynchronous"))
}

/// Devices that are waited for.
fn training(store: &Store, run: &RunRow, open: Option<&RoundRow>) -> Result<usize> {
    let flights = store.flights(&run.name)?;
    let is_waited_for = |round: RoundId| open.is_some_and(|open| open.round == round || is_asynchronous(run));
    Ok(flights.values().filter(|(flight, _)| is_waited_for(flight.round)).count())
}

pub(super) fn rounds(command: &Report) -> Result<()> {
    let (store, run, _) = look(command)?;
    let mut by_round: BTreeMap<u64, Bytes> = BTreeMap::new();
    for row in store.ledger(&run.name)? {
        *by_round.entry(row.round.0).or_default() += row.bytes;
    }
    // There, who has sent nothing when a round closes goes on.
    let asynchronous = is_asynchronous(&run);
    let mut rounds = Vec::new();
    for row in store.rounds(&run.name)? {
        let reports = store.reports(&run.name, row.round)?;
        let cohort = store.cohort(&run.name, row.round)?;
        let count =
            |is: fn(&Outcome) -> bool| reports.iter().filter(|report| report.outcome.as_ref().is_some_and(is)).count();
        let counted = store.updates_in(&run.name, row.round)?;
        let accepted: Vec<_> = counted.iter().map(|(_, report)| report).filter(|report| is_accepted(report)).collect();
        let mean = |of: fn(&Row) -> Option<f64>| {
            let values: Vec<_> = accepted.iter().filter_map(|report| of(report)).collect();
            (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
        };
        let silent = cohort.iter().filter(|client| !reports.iter().any(|report| report.client == **client));
        let over = row.closed.is_some() && !asynchronous;
        let silent: Vec<_> =
            silent.filter(|_| over).map(|client| (client.0, "had sent nothing when it closed".to_owned())).collect();
        let bytes = by_round.get(&row.round.0).copied().unwrap_or_default();
        rounds.push(Round {
            round: row.round.0,
            state: row.state.to_string(),
            closed: row.why,
            selected: cohort.len(),
            cohort: cohort.iter().map(|client| client.0).collect(),
            accepted: accepted.len(),
            older: counted.iter().filter(|(of, report)| *of != row.round && is_accepted(report)).count(),
            rejected: count(|outcome| matches!(outcome, Outcome::Rejected(_))),
            discarded: count(|outcome| matches!(outcome, Outcome::Discarded(_))),
            missing: silent.len() + reports.iter().filter(|report| report.digest.is_none()).count(),
            seconds: row.closed.map(|closed| closed.saturating_sub(row.assigned.unwrap_or(row.opened)).as_secs_f64()),
            closed_unix: row.closed.map(|closed| closed.as_secs_f64()),
            accuracy: row.accuracy,
            loss: row.loss,
            train_loss: mean(|report| report.metrics.map(|metrics| metrics.train_loss)),
            nmse: mean(|report| report.metrics.map(|metrics| metrics.nmse)),
            payload_bytes_up: bytes.payload_up,
            payload_bytes_down: bytes.payload_down,
            model_sha256: row.new_model.map(|model| hex(&model)),
            arrived_seconds: reports
                .iter()
                .filter(|report| report.digest.is_some())
                .map(|report| (report.client.0, report.at.saturating_sub(row.assigned.unwrap_or(row.opened))))
                .map(|(client, took)| (client, took.as_secs_f64()))
                .collect(),
            uncounted: reports.iter().filter_map(uncounted).chain(silent).collect(),
        });
    }
    if command.format == Format::Json {
        return print_json(&rounds);
    }
    let mut text = format!(
        "{:>5} {:>24} {:>8} {:>8} {:>8} {:>9} {:>9} {:>10} {:>10}\n",
        "round", "closed by", "selected", "accepted", "missing", "accuracy", "seconds", "up", "down"
    );
    for round in &rounds {
        let dash = || "-".to_owned();
        text += &format!(
            "{:>5} {:>24} {:>8} {:>8} {:>8} {:>9} {:>9} {:>10} {:>10}\n",
            round.round,
            round.closed.as_ref().unwrap_or(&round.state),
            round.selected,
            round.accepted,
            round.missing,
            round.accuracy.map_or_else(dash, |accuracy| format!("{:.2} %", 100.0 * accuracy)),
            round.seconds.map_or_else(dash, |seconds| format!("{seconds:.2}")),
            size(round.payload_bytes_up),
            size(round.payload_bytes_down),
        );
        for (client, why) in &round.uncounted {
            text += &format!("{:>5} client {client}: {why}\n", "");
        }
    }
    print(&text)
}

fn is_accepted(report: &Row) -> bool {
    report.outcome == Some(Outcome::Accepted)
}

/// Why a report did not count.
fn uncounted(report: &Row) -> Option<(u64, String)> {
    let detail = || report.detail.clone().unwrap_or_default();
    let why = match (&report.outcome, report.kind) {
        (_, ReportKind::Lost) => format!("declined: {}", detail()),
        (_, ReportKind::GivenUp) => "given up: nothing came in time".into(),
        (Some(Outcome::Accepted) | None, _) => return None,
        (Some(Outcome::Rejected(reason)), _) => format!("rejected: {reason}"),
        (Some(Outcome::Discarded(reason)), _) => format!("discarded: {reason}"),
    };
    Some((report.client.0, why))
}

pub(super) fn ledger(command: &Report) -> Result<()> {
    let (store, run, _) = look(command)?;
    let entries: Vec<_> = store
        .ledger(&run.name)?
        .into_iter()
        .map(|row| Entry {
            round: row.round.0,
            client: row.client.map(|client| client.0),
            payload_up: row.bytes.payload_up,
            payload_down: row.bytes.payload_down,
            message_up: row.bytes.message_up,
            message_down: row.bytes.message_down,
            wire_up: row.bytes.wire_up,
            wire_down: row.bytes.wire_down,
        })
        .collect();
    if command.format == Format::Json {
        return print_json(&entries);
    }
    let mut text = format!(
        "{:>5} {:>6} {:>12} {:>12} {:>12} {:>12} {:>12} {:>12}\n",
        "round", "client", "payload up", "message up", "wire up", "payload down", "message down", "wire down"
    );
    let mut row = |round: String, client: String, b: &Entry| {
        text += &format!(
            "{round:>5} {client:>6} {:>12} {:>12} {:>12} {:>12} {:>12} {:>12}\n",
            b.payload_up, b.message_up, b.wire_up, b.payload_down, b.message_down, b.wire_down
        );
    };
    for entry in &entries {
        let client = entry.client.map_or_else(|| "?".into(), |client| client.to_string());
        row(entry.round.to_string(), client, entry);
    }
    let all = total(&store, &run.name)?;
    let sum = Entry {
        round: 0,
        client: None,
        payload_up: all.payload_up,
        payload_down: all.payload_down,
        message_up: all.message_up,
        message_down: all.message_down,
        wire_up: all.wire_up,
        wire_down: all.wire_down,
    };
    row("all".into(), "all".into(), &sum);
    for Client { client, may_send_in_run_bytes: up, may_receive_in_run_bytes: down, .. } in
        described(&store, &run.name)?
    {
        if up.or(down).is_some() {
            let [up, down] = [up, down].map(|left| left.map_or_else(|| "-".into(), |bytes| bytes.to_string()));
            text +=
                &format!("{:>5} {client:>6} {:>12} {:>12} {up:>12} {:>12} {:>12} {down:>12}\n", "left", "", "", "", "");
        }
    }
    print(&text)
}

fn total(store: &Store, run: &str) -> Result<Bytes> {
    let mut total = Bytes::default();
    store.ledger(run)?.into_iter().for_each(|row| total += row.bytes);
    Ok(total)
}

fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{:.1} KiB", bytes as f64 / 1024.0),
        _ => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    }
}

/// Bytes that are capped, or a dash.
fn any(bytes: Option<u64>) -> String {
    bytes.map_or_else(|| "-".into(), size)
}

fn date(unix: u64) -> String {
    let time =
        time::OffsetDateTime::from_unix_timestamp(unix.cast_signed()).unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
    let (date, hour, minute) = (time.date(), time.hour(), time.minute());
    format!("{date} {hour:02}:{minute:02}")
}
