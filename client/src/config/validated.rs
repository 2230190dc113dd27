//! What a configuration means, with every rule checked.

use std::{path::PathBuf, time::Duration};

use nibble_learning::data::DataConfig;
use nibble_seed::{ClientId, Seed};

use super::{
    ConfigError, Raw, Share,
    raw::{self, default_seed},
};
use crate::{
    budget::{Budget, Caps},
    link::{Address, Shape},
};

const LONGEST_HOLD_SECONDS: f64 = 300.0;

/// A validated configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Whom to call, and as whom.
    pub coordinator: Coordinator,
    /// Directory of the identity, the residual and the pending update.
    pub state: PathBuf,
    /// Longest time that a check-in is held.
    pub hold: Duration,
    /// What is trained on.
    pub data: DataConfig,
    /// The part of the training samples that this client has; without it, all of them.
    pub share: Option<Share>,
    /// Seed of the partition and of the test split.
    pub seed: Seed,
    /// What may be spent.
    pub budget: Budget,
    /// How slow the link is made.
    pub shape: Option<Shape>,
    /// Least time that training for a round takes.
    pub training: Duration,
}

/// Whom to call, and as whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Coordinator {
    /// Over TLS, with the identity in the state directory.
    Secure(Address),
    /// In plaintext on this machine, as the client of this number.
    Insecure(Address, ClientId),
}

impl Coordinator {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> &Address {
        match self {
            Self::Secure(address) | Self::Insecure(address, _) => address,
        }
    }
}

impl TryFrom<Raw> for Config {
    type Error = ConfigError;

    fn try_from(raw: Raw) -> Result<Self, ConfigError> {
        let coordinator = coordinator(&raw)?;
        let state = raw.state.filter(|state| !state.as_os_str().is_empty()).ok_or_else(|| {
            let mend = "set it to a directory that belongs to this client alone, e.g. state = \"/var/lib/nibble\"";
            ConfigError::rule("state", "there is no place to keep the residual", mend)
        })?;
        let hold = raw.hold_seconds.unwrap_or(20.0);
        if !(0.0..=LONGEST_HOLD_SECONDS).contains(&hold) {
            let problem = format!("a check-in cannot be held for {hold} seconds");
            return Err(ConfigError::rule("hold_seconds", problem, "set it from 0 to 300"));
        }
        let seed = Seed(raw.data.share.as_ref().map_or(default_seed(), |share| share.seed));
        let data = DataConfig {
            dataset: raw.data.dataset,
            label: raw.data.label,
            owner: raw.data.owner,
            test_fraction: raw.data.test_fraction,
            test: raw.data.test,
        };
        let share = raw.data.share.map(check_share).transpose()?;
        let budget = check_budget(raw.budget.unwrap_or_default())?;
        let shape = raw.shape.map(check_shape).transpose()?;
        let training = raw.shape.map_or(0.0, |shape| shape.training_seconds);
        let [hold, training] = [hold, training].map(Duration::from_secs_f64);
        Ok(Self { coordinator, state, hold, data, share, seed, budget, shape, training })
    }
}

fn coordinator(raw: &Raw) -> Result<Coordinator, ConfigError> {
    let mend = "set it to the coordinator's address, e.g. server = \"https://coordinator.example:7443\"";
    let server = raw.server.as_ref().ok_or_else(|| ConfigError::rule("server", "there is no server to call", mend))?;
    let address: Address = server.parse().map_err(|error: crate::link::AddressError| {
        ConfigError::rule(
            "server",
            error.to_string(),
            "give scheme, host and port, e.g. https://coordinator.example:7443",
        )
    })?;
    match (address.is_secure(), raw.insecure_client) {
        (true, None) => Ok(Coordinator::Secure(address)),
        (false, Some(client)) => Ok(Coordinator::Insecure(address, ClientId(client))),
        (true, Some(_)) => Err(ConfigError::rule(
            "insecure_client",
            "a number is no identity over https://",
            "remove it and enroll this device, or call an insecure coordinator on this machine by http://",
        )),
        (false, None) => Err(ConfigError::rule(
            "insecure_client",
            "an insecure coordinator must be told which client this is",
            "set it to this client's number, from 0",
        )),
    }
}

fn check_budget(raw: raw::Budget) -> Result<Budget, ConfigError> {
    for (key, bytes) in [
        ("budget.uplink_bytes", raw.uplink_bytes),
        ("budget.uplink_bytes_per_round", raw.uplink_bytes_per_round),
        ("budget.uplink_bytes_per_day", raw.uplink_bytes_per_day),
        ("budget.downlink_bytes", raw.downlink_bytes),
        ("budget.downlink_bytes_per_round", raw.downlink_bytes_per_round),
        ("budget.downlink_bytes_per_day", raw.downlink_bytes_per_day),
    ] {
        if bytes == Some(0) {
            let mend = "set the most bytes that this client may spend, or leave the key out";
            return Err(ConfigError::rule(key, "a budget of 0 bytes lets nothing through", mend));
        }
    }
    let up = Caps { round: raw.uplink_bytes_per_round, day: raw.uplink_bytes_per_day, run: raw.uplink_bytes };
    let down = Caps { round: raw.downlink_bytes_per_round, day: raw.downlink_bytes_per_day, run: raw.downlink_bytes };
    Ok(Budget { up, down })
}

fn check_shape(raw: raw::Shape) -> Result<Shape, ConfigError> {
    for (key, rate) in
        [("shape.down_bits_per_second", raw.down_bits_per_second), ("shape.up_bits_per_second", raw.up_bits_per_second)]
    {
        if !(rate > 0.0 && rate <= 1e12) {
            return Err(ConfigError::rule(key, format!("{rate} is no rate"), "set it above 0"));
        }
    }
    for (key, seconds) in [
        ("shape.latency_seconds", raw.latency_seconds),
        ("shape.jitter_seconds", raw.jitter_seconds),
        ("shape.training_seconds", raw.training_seconds),
    ] {
        if !(0.0..=3600.0).contains(&seconds) {
            let problem = format!("{seconds} seconds are too long, or no time");
            return Err(ConfigError::rule(key, problem, "set it from 0 to 3600"));
        }
    }
    let [latency, jitter] = [raw.latency_seconds, raw.jitter_seconds].map(Duration::from_secs_f64);
    Ok(Shape { down: raw.down_bits_per_second, up: raw.up_bits_per_second, latency, jitter })
}

fn check_share(share: Share) -> Result<Share, ConfigError> {
    if !(0.0..1.0).contains(&share.holdout) {
        let problem = format!("{} is no share of the samples to keep back", share.holdout);
        return Err(ConfigError::rule("data.share.holdout", problem, "set it from 0 to below 1, e.g. 0.2"));
    }
    if share.index < share.clients {
        return Ok(share);
    }
    let problem = format!("there is no part {} of {}", share.index, share.clients);
    Err(ConfigError::rule("data.share.index", problem, "count parts from 0, to below data.share.clients"))
}
