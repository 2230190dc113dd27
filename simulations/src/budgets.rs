//! What virtual clients may spend.

use nibble_client::budget::{Budget, Caps};
use nibble_seed::ClientId;

use crate::{
    experiment::{self, Experiment},
    links::Fleet,
};

/// What a client may spend; nothing is capped where no budget is given.
pub(crate) fn of(experiment: &Experiment, fleet: Option<&Fleet>, client: ClientId) -> Budget {
    let Some(budget) = &experiment.raw.budget else { return Budget::default() };
    let mut caps = budget.caps(fleet, client);
    if let Some(class) = fleet.and_then(|fleet| budget.classes.get(fleet.name(client))) {
        caps = caps.and(class.caps(fleet, client));
    }
    caps
}

impl experiment::Budget {
    fn caps(&self, fleet: Option<&Fleet>, client: ClientId) -> Budget {
        let carried = |seconds: f64| (fleet?.kind(client).rates().1 * seconds / 8.0).floor().into();
        let carried = self.uplink_seconds_per_round.and_then(carried).map(|bytes: f64| bytes as u64);
        let round = [self.uplink_bytes_per_round, carried].into_iter().flatten().min();
        Budget {
            up: Caps { round, day: self.uplink_bytes_per_day, run: self.uplink_bytes },
            down: Caps {
                round: self.downlink_bytes_per_round,
                day: self.downlink_bytes_per_day,
                run: self.downlink_bytes,
            },
        }
    }

    /// Whether it caps what clients send, of whatever class.
    #[must_use]
    pub fn caps_updates(&self) -> bool {
        let caps = |budget: &Self| {
            let seconds = budget.uplink_seconds_per_round.is_some();
            seconds
                || [budget.uplink_bytes, budget.uplink_bytes_per_round, budget.uplink_bytes_per_day]
                    .iter()
                    .any(Option::is_some)
        };
        caps(self) || self.classes.values().any(caps)
    }
}
