//! Kinds of links: what the field calls them, and what they carry.

/// A kind of link. Rates are bits a second of what a socket sees; times are seconds.
#[derive(Clone, Debug, PartialEq)]
pub struct Kind {
    /// Towards the client.
    pub down: f64,
    /// From the client.
    pub up: f64,
    /// One way.
    pub latency: f64,
    /// Most that is added to the latency, uniformly.
    pub jitter: f64,
    /// Share of packets lost.
    pub loss: f64,
    /// Energy of the client's radio for a byte received, in microjoules: a proxy.
    pub joules_down: f64,
    /// For a byte sent.
    pub joules_up: f64,
    /// Training seconds for a sample; without it clients take the time that the experiment's `[availability]` says.
    pub seconds_per_sample: Option<f64>,
    /// When it is there.
    pub online: Option<Online>,
}

/// Recurring windows in which a link is there. Every client has its own offset.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Online {
    /// Seconds from the beginning of one window to that of the next.
    pub period: f64,
    /// Share of them that it is there.
    pub share: f64,
}

/// A kind that this program knows by name.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Profile {
    /// What it is called.
    pub name: &'static str,
    down: f64,
    up: f64,
    latency: f64,
    /// Microjoules a byte, received and sent.
    joules: (f64, f64),
    /// Where rates and latency are from.
    pub source: &'static str,
}

/// Microjoules a byte at these rates by the power model P = alpha * Mbit/s + beta (mW) of Huang et al., *A close
/// examination of performance and power characteristics of 4G LTE networks*, MobiSys 2012, table 4.
const fn modelled(down: f64, up: f64, alpha_down: f64, alpha_up: f64, beta: f64) -> (f64, f64) {
    ((alpha_down * down + beta) / down * 8e-3, (alpha_up * up + beta) / up * 8e-3)
}

/// Microjoules a byte of a narrow-band modem that takes 0.2 W to receive and 0.7 W to send: assumed.
const fn assumed(down: f64, up: f64) -> (f64, f64) {
    (0.2 / down * 8.0, 0.7 / up * 8.0)
}

/// All profiles, slowest first.
pub const PROFILES: [Profile; 7] = [
    Profile {
        name: "nb-iot",
        down: 26e3,
        up: 66e3,
        latency: 1.6,
        joules: assumed(0.026, 0.066),
        source: "3GPP release 13, category NB1, half duplex: peak rates",
    },
    Profile {
        name: "lte-m",
        down: 300e3,
        up: 375e3,
        latency: 0.1,
        joules: assumed(0.3, 0.375),
        source: "3GPP release 13, category M1, half duplex: peak rates",
    },
    Profile {
        name: "dsl",
        down: 1.5e6,
        up: 384e3,
        latency: 0.025,
        joules: (0.0, 0.0),
        source: "WebPageTest's profile DSL",
    },
    Profile {
        name: "3g",
        down: 1.6e6,
        up: 768e3,
        latency: 0.15,
        joules: modelled(1.6, 0.768, 122.12, 868.98, 817.88),
        source: "WebPageTest's profile 3G",
    },
    Profile {
        name: "lte",
        down: 12e6,
        up: 12e6,
        latency: 0.035,
        joules: modelled(12.0, 12.0, 51.97, 438.39, 1288.04),
        source: "WebPageTest's profile LTE",
    },
    Profile {
        name: "wifi",
        down: 30e6,
        up: 15e6,
        latency: 0.001,
        joules: modelled(30.0, 15.0, 137.01, 283.17, 132.86),
        source: "assumed: a shared access point of 802.11n",
    },
    Profile { name: "lan", down: 1e9, up: 1e9, latency: 0.0002, joules: (0.0, 0.0), source: "gigabit Ethernet" },
];

/// The profile of this name.
#[must_use]
pub fn named(name: &str) -> Option<&'static Profile> {
    PROFILES.iter().find(|profile| profile.name == name)
}

/// Bytes of a TCP segment's content on most paths.
const SEGMENT: f64 = 1460.0;

impl Profile {
    /// What links of this profile are like.
    #[must_use]
    pub fn kind(&self) -> Kind {
        Kind {
            down: self.down,
            up: self.up,
            latency: self.latency,
            jitter: 0.0,
            loss: 0.0,
            joules_down: self.joules.0,
            joules_up: self.joules.1,
            seconds_per_sample: None,
            online: None,
        }
    }
}

impl Kind {
    /// Energy of a byte received and of one sent.
    #[must_use]
    pub fn microjoules(&self) -> (f64, f64) {
        (self.joules_down, self.joules_up)
    }

    /// Rates that TCP reaches, down and up: where packets are lost, at most what its congestion control makes of them,
    /// MSS / RTT * sqrt(3 / (2 p)) (Mathis et al. 1997, *The macroscopic behavior of the TCP congestion avoidance
    /// algorithm*).
    #[must_use]
    pub fn rates(&self) -> (f64, f64) {
        let round_trip = 2.0 * self.latency + self.jitter;
        let most = 8.0 * SEGMENT / round_trip * (1.5 / self.loss).sqrt();
        let within = |rate: f64| if self.loss > 0.0 { rate.min(most) } else { rate };
        (within(self.down), within(self.up))
    }
}

impl Online {
    /// When a client with this offset (a share of the period) has been online for `needed` seconds from `from` on.
    #[must_use]
    pub fn after(self, offset: f64, from: f64, needed: f64) -> f64 {
        let (length, phase) = (self.period * self.share, (from / self.period + offset).fract() * self.period);
        let (mut now, mut left) = (from, length - phase);
        if left <= 0.0 {
            (now, left) = (now + self.period - phase, length);
        }
        if needed <= left {
            return now + needed;
        }
        // What is left of this window, then whole ones, then a part of one; a window's end is not yet the next one.
        let rest = needed - left;
        let whole = (rest / length).ceil() - 1.0;
        now + left + (self.period - length) * (whole + 1.0) + rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_packets_slow_tcp_down_on_long_ways() {
        let lossy = |latency, loss| Kind { latency, loss, ..PROFILES[6].kind() }.rates();
        assert_eq!(lossy(0.05, 0.0), (1e9, 1e9));
        // 1 % on 100 ms: 1460 bytes * 12.25 / 0.1 s.
        let (down, _) = lossy(0.05, 0.01);
        assert!((down - 8.0 * 1460.0 * 150f64.sqrt() / 0.1).abs() < 1.0, "{down}");
        let slow = Kind { loss: 0.01, ..PROFILES[0].kind() };
        assert!(slow.rates().0 <= 26e3);
    }

    #[test]
    fn a_transfer_goes_on_in_the_next_window() {
        // Ten seconds of every hundred.
        let online = Online { period: 100.0, share: 0.1 };
        for (from, needed, expected) in [
            (0.0, 4.0, 4.0),
            (0.0, 10.0, 10.0),
            (0.0, 11.0, 101.0),
            (5.0, 5.0, 10.0),
            (5.0, 6.0, 101.0),
            (50.0, 3.0, 103.0),
            (50.0, 0.0, 100.0),
            (0.0, 30.0, 210.0),
            (2.0, 29.0, 301.0),
        ] {
            let found = online.after(0.0, from, needed);
            assert!((found - expected).abs() < 1e-9, "{needed} from {from}: {found}, not {expected}");
        }
        assert!((online.after(0.5, 0.0, 1.0) - 51.0).abs() < 1e-9);
    }

    #[test]
    fn energy_follows_its_source() {
        let joules = |name: &str| named(name).unwrap().kind();
        // 12 Mbit/s up: 438.39 * 12 + 1288.04 = 6548.7 mW for 1.5 MB/s.
        assert!((joules("lte").joules_up - 6548.72e-3 / 1.5).abs() < 1e-6, "{}", joules("lte").joules_up);
        assert!((joules("nb-iot").joules_up - 0.7e6 / (66e3 / 8.0)).abs() < 1e-6, "{}", joules("nb-iot").joules_up);
    }
}
