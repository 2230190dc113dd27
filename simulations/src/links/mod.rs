//! Links of virtual clients: who has which kind, and how long a round takes over it.
//!
//! A client's part in a round is what the protocol makes of it: the assignment comes down; if there is a model to fetch,
//! a request goes up and the model comes down; training; the update goes up. Bytes are those of the socket
//! (`nibble_server::wire`), rates those that TCP reaches. The same figures shape real sockets under `--transport grpc`.
//!
//! Absent on purpose: cells that clients share, and slow starts of TCP: a connection lasts.

mod kind;
mod trace;

use std::{collections::BTreeMap, time::Duration};

use nibble_seed::{ClientId, Purpose, RoundId, Seed};

use crate::{
    error::SimError,
    experiment::{Define, Experiment, Links, Windows},
};

pub use kind::{Kind, Online, PROFILES, Profile, named};
pub(crate) use trace::check;
pub use trace::read;

/// Links of all clients of a run.
#[derive(Clone, Debug)]
pub struct Fleet {
    kinds: Vec<(String, Kind)>,
    /// Which kind each client has.
    of: Vec<usize>,
    /// A share of a period, by which each client's windows come earlier.
    offsets: Vec<f64>,
    spread: f64,
    seed: Seed,
}

/// What a client carries, and does, in a round.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Whether it fetches a model.
    pub fetches: bool,
    /// Bytes on the socket towards it.
    pub down: u64,
    /// Bytes on the socket from it.
    pub up: u64,
    /// Samples that it trains on, all passes counted.
    pub samples: u64,
    /// How long it trains where its kind does not say.
    pub trains: Duration,
}

/// Links of the experiment's clients, if it has links.
pub(crate) fn fleet(experiment: &Experiment, seed: Seed) -> Result<Option<Fleet>, SimError> {
    let raw = &experiment.raw;
    let Some(links) = &raw.links else { return Ok(None) };
    let trace = || links.trace.clone().unwrap_or_default();
    let unusable = |problem| SimError::File { path: trace(), problem, mend: "see docs/experiments.md".into() };
    Fleet::new(links, raw.data.clients, seed).map(Some).map_err(unusable)
}

impl Fleet {
    /// Draws the links of so many clients, by the run's seed.
    ///
    /// # Errors
    /// If a trace cannot be read.
    pub fn new(links: &Links, clients: usize, seed: Seed) -> Result<Self, String> {
        let drawn = |client: u64, i| f64::from(seed.derive(Purpose::Links, 0, client).unit_at(i));
        let (kinds, of) = match &links.trace {
            Some(path) => {
                let rows = read(path)?;
                let pick = |client| ((drawn(client, 0) * rows.len() as f64) as usize).min(rows.len() - 1);
                let of = (0..clients as u64).map(pick).collect();
                (rows.into_iter().map(|kind| ("trace".into(), kind)).collect(), of)
            }
            None => {
                let shares = links.shares();
                let total: f64 = shares.values().sum();
                let pick = |client| {
                    let mut left = total * drawn(client, 0);
                    let found = shares.values().position(|share| {
                        left -= *share;
                        left < 0.0
                    });
                    found.unwrap_or(shares.len() - 1)
                };
                let of = (0..clients as u64).map(pick).collect();
                (shares.keys().filter_map(|name| Some((name.clone(), links.kind(name)?))).collect(), of)
            }
        };
        let kinds: Vec<(String, Kind)> = kinds;
        let windows = links.online.map(Online::from);
        let kinds = kinds.into_iter().map(|(name, kind)| (name, Kind { online: kind.online.or(windows), ..kind }));
        let offsets = (0..clients as u64).map(|client| drawn(client, 1)).collect();
        Ok(Self { kinds: kinds.collect(), of, offsets, spread: links.spread, seed })
    }

    /// A client's link.
    #[must_use]
    pub fn kind(&self, client: ClientId) -> &Kind {
        &self.kinds[self.of[client.0 as usize]].1
    }

    /// What a client's kind of link is called.
    #[must_use]
    pub fn name(&self, client: ClientId) -> &str {
        &self.kinds[self.of[client.0 as usize]].0
    }

    /// When a client's update arrives that is assigned its part in a round `now`.
    #[must_use]
    pub fn arrival(&self, round: RoundId, client: ClientId, now: Duration, load: Load) -> Duration {
        let kind = self.kind(client);
        let mut stream = self.seed.derive(Purpose::Links, round.0 + 1, client.0).stream();
        // Box-Muller; 1 - u is never 0.
        let (radius, angle) =
            ((-2.0 * (1.0 - stream.next_unit()).ln()).sqrt(), std::f64::consts::TAU * stream.next_unit());
        let slower = (self.spread * radius * angle.cos()).exp();
        let (down_rate, up_rate) = kind.rates();
        let mut latency = || kind.latency + kind.jitter * stream.next_unit();
        let fetching = if load.fetches { latency() + latency() } else { 0.0 };
        let down = latency() + fetching + 8.0 * load.down as f64 * slower / down_rate;
        let up = latency() + 8.0 * load.up as f64 * slower / up_rate;
        let trains = kind.seconds_per_sample.map_or(load.trains.as_secs_f64(), |each| each * load.samples as f64);
        let has_model = self.after(client, now.as_secs_f64(), down);
        let sent = self.after(client, has_model + trains, up);
        Duration::from_secs_f64(sent.clamp(0.0, 1e12))
    }

    /// The first moment from `from` on at which at least `wanted` of these clients are online, or, if that never comes, at
    /// which most are; with those who are.
    #[must_use]
    pub fn gather(&self, clients: &[ClientId], wanted: usize, from: Duration) -> (Duration, Vec<ClientId>) {
        let start = from.as_secs_f64();
        let comes = |client: &ClientId| self.after(*client, start, 0.0);
        let mut moments: Vec<f64> = clients.iter().map(comes).collect();
        moments.sort_by(f64::total_cmp);
        moments.dedup();
        let mut best = (from, Vec::new());
        for moment in moments {
            let is_online = |client: &ClientId| self.after(*client, moment, 0.0) <= moment;
            let online: Vec<_> = clients.iter().copied().filter(is_online).collect();
            if online.len() > best.1.len() {
                best = (Duration::from_secs_f64(moment).max(from), online);
            }
            if best.1.len() >= wanted {
                break;
            }
        }
        best
    }

    fn after(&self, client: ClientId, from: f64, needed: f64) -> f64 {
        match self.kind(client).online {
            Some(online) => online.after(self.offsets[client.0 as usize], from, needed),
            None => from + needed,
        }
    }
}

impl Links {
    /// Shares of the kinds.
    #[must_use]
    pub fn shares(&self) -> BTreeMap<String, f64> {
        let alone = self.profile.iter().map(|name| (name.clone(), 1.0));
        self.profiles.clone().into_iter().chain(alone).collect()
    }

    /// The kind of this name: one that the experiment defines, else a profile.
    #[must_use]
    pub fn kind(&self, name: &str) -> Option<Kind> {
        self.define.get(name).map(Kind::from).or_else(|| named(name).map(Profile::kind))
    }
}

impl From<&Define> for Kind {
    fn from(define: &Define) -> Self {
        Self {
            down: define.down_bits_per_second,
            up: define.up_bits_per_second,
            latency: define.latency_seconds,
            jitter: define.jitter_seconds,
            loss: define.loss,
            joules_down: define.microjoules_per_byte_down,
            joules_up: define.microjoules_per_byte_up,
            seconds_per_sample: define.seconds_per_sample,
            online: define.online.map(Online::from),
        }
    }
}

impl From<Windows> for Online {
    fn from(windows: Windows) -> Self {
        Self { period: windows.period_seconds, share: windows.share }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links(profiles: &[(&str, f64)], spread: f64) -> Links {
        let profiles = profiles.iter().map(|&(name, share)| (name.into(), share)).collect();
        Links { profiles, spread, ..Links::default() }
    }

    fn load(down: u64, up: u64) -> Load {
        Load { fetches: down > 0, down, up, samples: 100, trains: Duration::from_secs(2) }
    }

    #[test]
    fn a_round_is_its_messages_transfers_and_training() {
        let fleet = Fleet::new(&links(&[("lte-m", 1.0)], 0.0), 5, Seed(1)).unwrap();
        let takes = |load| fleet.arrival(RoundId(0), ClientId(3), Duration::from_secs(10), load).as_secs_f64();
        let transfers = 8.0 * 75e3 / 300e3 + 8.0 * 37.5e3 / 375e3;
        assert!((takes(load(75_000, 37_500)) - (10.0 + 0.4 + transfers + 2.0)).abs() < 1e-6);
        // A model that the client has is not asked for.
        let transfers = 8.0 * 37.5e3 / 375e3;
        assert!((takes(load(0, 37_500)) - (10.0 + 0.2 + transfers + 2.0)).abs() < 1e-6);
    }

    #[test]
    fn clients_keep_their_kind_and_rounds_differ() {
        let fleet = Fleet::new(&links(&[("lan", 3.0), ("nb-iot", 1.0)], 0.5), 1000, Seed(1)).unwrap();
        let takes = |round, client| fleet.arrival(RoundId(round), ClientId(client), Duration::ZERO, load(0, 66_000));
        let slow = (0..1000).filter(|&client| takes(0, client).as_secs_f64() > 3.5).collect::<Vec<_>>();
        // A quarter of 1,000: deviation 14; 5 of them.
        assert!((slow.len() as f64 - 250.0).abs() < 70.0, "{}", slow.len());
        assert!(slow.iter().all(|&client| fleet.name(ClientId(client)) == "nb-iot"));
        assert!(
            slow.iter().all(|&client| takes(7, client).as_secs_f64() > 3.5 && takes(7, client) != takes(0, client))
        );
    }

    #[test]
    fn jitter_speed_and_windows_of_a_kind_of_ones_own() {
        let define = Define {
            down_bits_per_second: 1e9,
            up_bits_per_second: 1e9,
            latency_seconds: 1.0,
            jitter_seconds: 0.5,
            seconds_per_sample: Some(0.1),
            online: Some(Windows { period_seconds: 1000.0, share: 0.5 }),
            ..Define::default()
        };
        let mine = Links { define: [("mine".into(), define)].into(), ..links(&[("mine", 1.0)], 0.0) };
        let fleet = Fleet::new(&mine, 400, Seed(2)).unwrap();
        let clients: Vec<_> = (0..400).map(ClientId).collect();
        let (now, online) = fleet.gather(&clients, 100, Duration::ZERO);
        // Half of 400: deviation 10; 5 of them.
        assert!(now.is_zero() && online.len().abs_diff(200) < 50, "{now:?}, {}", online.len());
        let takes = |client| (fleet.arrival(RoundId(0), client, now, load(10, 10)) - now).as_secs_f64();
        assert!(online.iter().all(|&client| takes(client) > 14.0));
        // Four ways of 1 to 1.5 s and ten of training; who goes offline meanwhile needs another half period.
        let direct = online.iter().filter(|&&client| takes(client) < 16.01).count();
        assert!(direct > online.len() * 9 / 10 && direct < online.len(), "{direct} of {}", online.len());
        let (later, all) = fleet.gather(&clients[..2], 2, Duration::from_secs(5000));
        assert!(all.len() <= 2 && later >= Duration::from_secs(5000));
    }
}
