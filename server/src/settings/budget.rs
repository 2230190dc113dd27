//! The keys of what devices may spend, those of a client's own configuration, with the same meaning.
//!
//! Absent on purpose: what a budget does ([`budget`](crate::budget)).

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{SettingsError, validated::broken};
use crate::budget::{Budget, Budgets, Caps};

/// Most bytes on the socket of a device, TLS included. Each at least 16,384; default: any number.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Keys {
    /// Sent in the run.
    pub uplink_bytes: Option<u64>,
    /// Sent in a round.
    pub uplink_bytes_per_round: Option<u64>,
    /// Sent in a day, from midnight to midnight UTC.
    pub uplink_bytes_per_day: Option<u64>,
    /// Received in the run.
    pub downlink_bytes: Option<u64>,
    /// Received in a round.
    pub downlink_bytes_per_round: Option<u64>,
    /// Received in a day.
    pub downlink_bytes_per_day: Option<u64>,
    /// Budgets of devices of this name, in place of that of all; a name may end in `*`. Default: none.
    pub devices: BTreeMap<String, Self>,
}

/// What a device may need to learn its budget: a handshake, a check-in and the answer.
const LEAST: u64 = 16_384;

impl Keys {
    /// Checks every rule.
    pub(super) fn check(&self) -> Result<Budgets, SettingsError> {
        let mut named = BTreeMap::new();
        for (name, keys) in &self.devices {
            let key = format!("budget.devices.{name:?}");
            if !keys.devices.is_empty() {
                return Err(broken(&key, "devices have no devices", "list them all under budget.devices"));
            }
            named.insert(name.clone(), keys.budget(&key)?);
        }
        Ok(Budgets::new(self.budget("budget")?, named))
    }

    fn budget(&self, table: &str) -> Result<Budget, SettingsError> {
        let caps = [
            ("uplink_bytes", self.uplink_bytes),
            ("uplink_bytes_per_round", self.uplink_bytes_per_round),
            ("uplink_bytes_per_day", self.uplink_bytes_per_day),
            ("downlink_bytes", self.downlink_bytes),
            ("downlink_bytes_per_round", self.downlink_bytes_per_round),
            ("downlink_bytes_per_day", self.downlink_bytes_per_day),
        ];
        for (key, bytes) in caps {
            if let Some(bytes) = bytes.filter(|bytes| *bytes < LEAST) {
                let problem = format!("{bytes} bytes may be spent before a device has heard of it");
                return Err(broken(
                    &format!("{table}.{key}"),
                    problem,
                    format!("set it to {LEAST} or more, or leave it out"),
                ));
            }
        }
        let [up, up_round, up_day, down, down_round, down_day] = caps.map(|(_, bytes)| bytes);
        Ok(Budget {
            up: Caps { round: up_round, day: up_day, run: up },
            down: Caps { round: down_round, day: down_day, run: down },
        })
    }
}
