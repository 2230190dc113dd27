//! What is written down of a round: what it taught of clients, the table of clients, and its row.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use nibble_seed::{ClientId, RoundId};
use nibble_server::{round::Outcome, selection::Heard, wire};

use super::{
    Run,
    round::{Outcomes, Sent},
};
use crate::{
    classes::{self, ALL},
    results::RoundRow,
};

/// A client's part in a round, as far as the table of clients goes.
pub(super) struct Turn {
    pub(super) client: ClientId,
    /// Bytes that brought it the model, if it was assigned.
    pub(super) downlink_bytes: Option<u64>,
    /// If its update came: how long that took, its bytes, whether it counted, and whether it was the last of those.
    pub(super) came: Option<(Duration, u64, bool, bool)>,
}

impl Run<'_> {
    /// Adds what the round taught of its cohort: who was assigned it, and the good updates that came before it closed.
    pub(super) fn learn(
        &mut self,
        outcomes: &Outcomes,
        sent: &BTreeMap<ClientId, Sent>,
        took: impl Fn(ClientId) -> Option<Duration>,
    ) {
        let Some(record) = &outcomes.record else { return };
        record.selected.iter().for_each(|&client| self.knowledge.selected(client, record.round));
        for (&client, outcome) in &record.outcomes {
            let (Some(Sent { report, .. }), false) = (sent.get(&client), matches!(outcome, Outcome::Rejected(_)))
            else {
                continue;
            };
            let heard = Heard { samples: report.samples, loss: Some(report.mean_loss), took: took(client) };
            self.knowledge.heard(client, heard);
        }
    }

    /// Adds to what is known of each kind of link.
    pub(super) fn tally(&mut self, Turn { client, downlink_bytes, came }: Turn) {
        let fleet = self.fleet.as_ref();
        let name = fleet.map_or(ALL, |fleet| fleet.name(client));
        let (joules_down, joules_up) = fleet.map_or((0.0, 0.0), |fleet| fleet.kind(client).microjoules());
        let Some(row) = self.progress.classes.iter_mut().find(|row| row.class == name) else { return };
        let account = self.accounts.get(&client).copied().unwrap_or_default();
        classes::fill(row, &self.budgets[client.0 as usize], &account);
        if let Some(bytes) = downlink_bytes {
            row.selected += 1;
            row.downlink_bytes += bytes;
            let down = wire::down(bytes, self.federation.layout());
            row.spent_down += down;
            row.joules += down as f64 * joules_down * 1e-6;
        }
        let Some((took, uplink_bytes, counted, last)) = came else { return };
        row.counted += u64::from(counted);
        row.uncounted += u64::from(!counted);
        row.last += u64::from(last);
        row.seconds += took.as_secs_f64();
        row.uplink_bytes += uplink_bytes;
        row.spent_up += wire::up(uplink_bytes);
        row.joules += wire::up(uplink_bytes) as f64 * joules_up * 1e-6;
    }

    /// Its row; accuracy and loss are not known yet.
    pub(super) fn account(
        &self,
        id: RoundId,
        outcomes: Outcomes,
        sent: &BTreeMap<ClientId, Sent>,
        downlink_bytes: u64,
        elapsed: Duration,
    ) -> RoundRow {
        let counted: BTreeSet<_> = outcomes.counted.iter().map(|counted| counted.client).collect();
        let mean = |of: &dyn Fn(&Sent) -> f64| {
            counted.iter().map(|client| of(&sent[client])).sum::<f64>() / counted.len() as f64
        };
        let record = outcomes.record;
        RoundRow {
            round: id.0,
            accuracy: f64::NAN,
            loss: f64::NAN,
            train_loss: mean(&|sent| sent.report.mean_loss),
            selected: record.as_ref().map_or(0, |record| record.selected.len() as u64),
            counted: counted.len() as u64,
            uncounted: (sent.len() - counted.len()) as u64,
            uplink_bytes: sent.values().map(|sent| sent.payload.len() as u64).sum(),
            downlink_bytes,
            update_nmse: mean(&|sent| sent.nmse),
            seconds: elapsed.as_secs_f64(),
            virtual_seconds: self.progress.clock.as_secs_f64(),
            closed_by: record.map_or_else(String::new, |record| record.closed.to_string()),
        }
    }
}
