//! A coordinator's process, followed by what it logs.

use std::{
    collections::{BTreeMap, VecDeque},
    io::{BufRead, BufReader},
    process::{Child, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::Duration,
};

use nibble_client::budget::{Account, Budget, Spent};
use nibble_seed::ClientId;
use serde::Deserialize;

use super::{files::Files, processes::Program};
use crate::{
    classes::{self, ALL},
    error::SimError,
    links::Fleet,
    results::{ClassRow, RoundRow},
};

/// How long a coordinator may take from its start to its port.
const START: Duration = Duration::from_secs(60);
/// Last lines of the log that are kept to be shown.
const LAST_LINES: usize = 5;

/// A running coordinator; killed when dropped.
pub(super) struct Coordinator {
    child: Child,
    lines: Receiver<String>,
    last: VecDeque<String>,
    ended: bool,
}

/// What a coordinator's log said.
pub(super) enum Said {
    /// Nothing of interest.
    Nothing,
    /// One more global model was judged.
    Evaluated,
    /// The process has ended well.
    Ended,
}

/// A line of the log.
#[derive(Deserialize)]
struct Line {
    fields: Fields,
}

#[derive(Deserialize)]
struct Fields {
    message: String,
    address: Option<String>,
}

/// Bytes of a client in a round as `nibble-server ledger --format json` prints them.
#[derive(Deserialize)]
struct Entry {
    client: Option<u64>,
    payload_up: u64,
    payload_down: u64,
    wire_up: u64,
    wire_down: u64,
}

/// A round as `nibble-server rounds --format json` prints it.
#[derive(Deserialize)]
struct Round {
    round: u64,
    closed: Option<String>,
    selected: u64,
    cohort: Vec<u64>,
    #[serde(default)]
    arrived_seconds: BTreeMap<u64, f64>,
    uncounted: BTreeMap<u64, String>,
    accepted: u64,
    rejected: u64,
    discarded: u64,
    seconds: Option<f64>,
    accuracy: Option<f64>,
    loss: Option<f64>,
    train_loss: Option<f64>,
    nmse: Option<f64>,
    payload_bytes_up: u64,
    payload_bytes_down: u64,
}

impl Round {
    /// Whose update was the last of those that count.
    fn last(&self) -> Option<u64> {
        let counted = self.arrived_seconds.iter().filter(|(client, _)| !self.uncounted.contains_key(client));
        counted.max_by(|a, b| a.1.total_cmp(b.1)).map(|(client, _)| *client)
    }
}

impl Coordinator {
    pub(super) fn start(server: &Program, files: &Files) -> Result<Self, SimError> {
        let config = files.config();
        let mut command = server.leashed();
        command
            .args(["serve", "--until-finished", "--until-stdin-closes", "--log-format", "json", "--config"])
            .arg(&config);
        command.env("RUST_LOG", "info").stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(SimError::io("nibble-server"))?;
        let (sender, lines) = channel();
        if let Some(log) = child.stderr.take() {
            thread::spawn(move || {
                for line in BufReader::new(log).lines().map_while(Result::ok) {
                    if sender.send(line).is_err() {
                        return; // nobody listens any more
                    }
                }
            });
        }
        Ok(Self { child, lines, last: VecDeque::new(), ended: false })
    }

    /// Waits for the port to be open.
    pub(super) fn address(&mut self) -> Result<String, SimError> {
        loop {
            let line = self.next(START)?.ok_or_else(|| self.failed("it did not open its port in time"))?;
            if let Ok(Line { fields: Fields { message, address: Some(address) } }) = serde_json::from_str(&line)
                && message == "listening"
            {
                return Ok(address);
            }
        }
    }

    /// Reads on, at most for `wait`.
    pub(super) fn listen(&mut self, wait: Duration) -> Result<Said, SimError> {
        let Some(line) = self.next(wait)? else {
            return Ok(if self.ended { Said::Ended } else { Said::Nothing });
        };
        match serde_json::from_str::<Line>(&line) {
            Ok(line) if line.fields.message == "the model is evaluated" => Ok(Said::Evaluated),
            _ => Ok(Said::Nothing),
        }
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// The rounds that have ended and were judged, in order.
    pub(super) fn rounds(&self, server: &Program, files: &Files) -> Result<Vec<RoundRow>, SimError> {
        let config = files.config().display().to_string();
        let json = server.output(&["rounds", "--format", "json", "--config", &config])?;
        let rounds: Vec<Round> =
            serde_json::from_str(&json).map_err(|error| SimError::io("nibble-server rounds")(error.into()))?;
        // An abandoned round makes no model: that of the round before stands.
        let (mut accuracy, mut loss) = (None, None);
        let mut rows = Vec::new();
        // A model that a kill left unjudged never is, once a later one was; until then its judgement is waited for.
        let judged = rounds.iter().rposition(|round| round.accuracy.is_some());
        for (index, round) in rounds.into_iter().enumerate() {
            let Some(closed) = round.closed else { break };
            if round.accepted > 0 {
                if !self.ended && judged.is_none_or(|judged| index > judged) {
                    break;
                }
                (accuracy, loss) = (round.accuracy, round.loss);
            }
            let number = |value: Option<f64>| value.unwrap_or(f64::NAN);
            let before = rows.last().map_or(0.0, |row: &RoundRow| row.virtual_seconds);
            rows.push(RoundRow {
                round: round.round,
                accuracy: number(accuracy),
                loss: number(loss),
                train_loss: number(round.train_loss),
                selected: round.selected,
                counted: round.accepted,
                uncounted: round.rejected + round.discarded,
                uplink_bytes: round.payload_bytes_up,
                downlink_bytes: round.payload_bytes_down,
                update_nmse: number(round.nmse),
                seconds: number(round.seconds),
                virtual_seconds: before + round.seconds.unwrap_or_default(),
                closed_by: closed,
            });
        }
        Ok(rows)
    }

    /// Adds what clients did and spent to what is known of their kinds of links.
    pub(super) fn tally(
        &self,
        (server, files): (&Program, &Files),
        fleet: Option<&Fleet>,
        budgets: &[Budget],
        classes: &mut [ClassRow],
    ) -> Result<(), SimError> {
        let config = files.config().display().to_string();
        let print = |what: &str| server.output(&[what, "--format", "json", "--config", &config]);
        let wrong = |error: serde_json::Error| SimError::io("nibble-server")(error.into());
        let rounds: Vec<Round> = serde_json::from_str(&print("rounds")?).map_err(wrong)?;
        let entries: Vec<Entry> = serde_json::from_str(&print("ledger")?).map_err(wrong)?;
        for (client, budget) in (0..).zip(budgets) {
            let name = fleet.map_or(ALL, |fleet| fleet.name(ClientId(client)));
            let Some(row) = classes.iter_mut().find(|row| row.class == name) else { continue };
            for round in rounds.iter().filter(|round| round.cohort.contains(&client)) {
                let counted = !round.uncounted.contains_key(&client);
                row.selected += 1;
                row.counted += u64::from(counted);
                row.uncounted += u64::from(!counted);
                row.seconds += round.arrived_seconds.get(&client).copied().unwrap_or_default();
                row.last += u64::from(round.last() == Some(client));
            }
            let (mut up, mut down) = (0, 0);
            for entry in entries.iter().filter(|entry| entry.client == Some(client)) {
                (up, down) = (up + entry.wire_up, down + entry.wire_down);
                row.uplink_bytes += entry.payload_up;
                row.downlink_bytes += entry.payload_down;
            }
            let (joules_down, joules_up) = fleet.map_or((0.0, 0.0), |fleet| fleet.kind(ClientId(client)).microjoules());
            row.spent_up += up;
            row.spent_down += down;
            row.joules += (up as f64 * joules_up + down as f64 * joules_down) * 1e-6;
            // What was spent in a round or on a day only the client knows; the run's is the ledger's.
            let of_run = |run| Spent { run, ..Spent::default() };
            classes::fill(row, budget, &Account { up: of_run(up), down: of_run(down), ..Account::default() });
        }
        Ok(())
    }

    /// The next line of the log; `None` if there was none in time, or if the process has ended well.
    fn next(&mut self, wait: Duration) -> Result<Option<String>, SimError> {
        match self.lines.recv_timeout(wait) {
            Ok(line) => {
                self.last.truncate(LAST_LINES - 1);
                self.last.push_front(line.clone());
                Ok(Some(line))
            }
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => {
                let status = self.child.wait().map_err(SimError::io("nibble-server"))?;
                if !status.success() {
                    return Err(self.failed(&status.to_string()));
                }
                self.ended = true;
                Ok(None)
            }
        }
    }

    fn failed(&self, status: &str) -> SimError {
        let said = self.last.iter().rev().cloned().collect::<Vec<_>>().join("\n");
        SimError::Process { what: "the coordinator".into(), status: status.into(), said }
    }
}

impl Drop for Coordinator {
    fn drop(&mut self) {
        // One that has ended cannot be killed, and that is all that can go wrong.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
