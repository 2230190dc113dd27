//! How long models and updates take over a client's link, in virtual time.

use std::time::Duration;

use nibble_seed::{ClientId, Purpose, RoundId, Seed};

use crate::experiment::Links;

/// A kind of link. Rates are bits a second, latency is seconds one way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Profile {
    /// What it is called.
    pub name: &'static str,
    /// Towards the client.
    pub down: f64,
    /// From the client.
    pub up: f64,
    /// Until the first byte arrives.
    pub latency: f64,
    /// Where the figures are from.
    pub source: &'static str,
}

const fn profile(name: &'static str, down: f64, up: f64, latency: f64, source: &'static str) -> Profile {
    Profile { name, down, up, latency, source }
}

/// All kinds, slowest first.
pub const PROFILES: [Profile; 7] = [
    profile("nb-iot", 26e3, 66e3, 1.6, "3GPP release 13, category NB1, half duplex: peak rates"),
    profile("lte-m", 300e3, 375e3, 0.1, "3GPP release 13, category M1, half duplex: peak rates"),
    profile("dsl", 1.5e6, 384e3, 0.025, "WebPageTest's profile DSL"),
    profile("3g", 1.6e6, 768e3, 0.15, "WebPageTest's profile 3G"),
    profile("lte", 12e6, 12e6, 0.035, "WebPageTest's profile LTE"),
    profile("wifi", 30e6, 15e6, 0.001, "assumed: a shared access point of 802.11n"),
    profile("lan", 1e9, 1e9, 0.0002, "gigabit Ethernet"),
];

/// The kind of this name.
#[must_use]
pub fn named(name: &str) -> Option<&'static Profile> {
    PROFILES.iter().find(|profile| profile.name == name)
}

/// How long a client takes to receive `down` bytes, and to send `up`, in a round; no time where no links are given.
pub(super) fn duration(
    links: Option<&Links>,
    seed: Seed,
    round: RoundId,
    client: ClientId,
    (down, up): (u64, u64),
) -> Duration {
    let Some((links, profile)) = links.and_then(|links| Some((links, of(links, seed, client)?))) else {
        return Duration::ZERO;
    };
    let mut stream = seed.derive(Purpose::Links, round.0 + 1, client.0).stream();
    // Box-Muller; 1 - u is never 0.
    let (radius, angle) = ((-2.0 * (1.0 - stream.next_unit()).ln()).sqrt(), std::f64::consts::TAU * stream.next_unit());
    let slower = (links.spread * radius * angle.cos()).exp();
    let seconds = |bytes: u64, rate: f64| profile.latency + 8.0 * bytes as f64 * slower / rate;
    Duration::from_secs_f64((seconds(down, profile.down) + seconds(up, profile.up)).clamp(0.0, 1e12))
}

/// The kind of link that a client has: of the mix, by its share.
fn of(links: &Links, seed: Seed, client: ClientId) -> Option<&'static Profile> {
    let total: f64 = links.profiles.values().sum();
    let mut left = total * f64::from(seed.derive(Purpose::Links, 0, client.0).unit_at(0));
    let drawn = links.profiles.iter().find(|(_, share)| {
        left -= **share;
        left < 0.0
    });
    drawn.or(links.profiles.last_key_value()).and_then(|(name, _)| named(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links(profiles: &[(&str, f64)], spread: f64) -> Links {
        Links { profiles: profiles.iter().map(|&(name, share)| (name.into(), share)).collect(), spread }
    }

    #[test]
    fn a_transfer_takes_latency_and_its_bits_over_the_rate() {
        let steady = links(&[("lte-m", 1.0)], 0.0);
        let takes = duration(Some(&steady), Seed(1), RoundId(0), ClientId(3), (75_000, 37_500));
        assert!((takes.as_secs_f64() - (0.1 + 2.0 + 0.1 + 0.8)).abs() < 1e-6, "{takes:?}");
        assert_eq!(duration(None, Seed(1), RoundId(0), ClientId(3), (75_000, 37_500)), Duration::ZERO);
    }

    #[test]
    fn clients_keep_their_kind_and_rounds_differ() {
        let mixed = links(&[("lan", 3.0), ("nb-iot", 1.0)], 0.5);
        let takes = |round, client| duration(Some(&mixed), Seed(1), RoundId(round), ClientId(client), (0, 66_000));
        let slow = (0..1000).filter(|&client| takes(0, client).as_secs_f64() > 1.0).collect::<Vec<_>>();
        // A quarter of 1,000: deviation 14; 5 of them.
        assert!((slow.len() as f64 - 250.0).abs() < 70.0, "{}", slow.len());
        assert!(
            slow.iter().all(|&client| takes(7, client).as_secs_f64() > 1.0 && takes(7, client) != takes(0, client))
        );
    }
}
