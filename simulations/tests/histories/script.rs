//! What happens in a history: everything is drawn from its seed.

use std::time::Duration;

use nibble_seed::{Purpose, Seed, Stream};
use nibble_server::round::{Buffer, RoundConfig};

use crate::model::Size;

/// When everything is made whole again, if the run has not ended by then.
pub(crate) const HEALED: Duration = Duration::from_secs(60);
/// Faults begin before this, in seconds.
const FAULTS: f64 = 45.0;

/// Something that goes wrong, or right again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// Nothing passes between a client and the coordinator; what is under way is lost.
    Part(u64),
    /// Nothing passes from a client to the coordinator.
    PartUp(u64),
    /// Nothing passes from the coordinator to a client.
    PartDown(u64),
    /// Everything passes again.
    Mend(u64),
    /// What is sent waits, and is neither lost nor delivered.
    Hold(u64),
    /// What waited is delivered at once.
    Release(u64),
    /// A client's process is gone from one instant to the next; its state is not.
    Crash(u64),
    /// The same, and its peer hears nothing of it: the machine went down, not the process alone.
    Vanish(u64),
    /// A client's process starts.
    Start(u64),
    /// The coordinator's process is gone; its state is not.
    CrashCoordinator,
    /// The same, and no client hears of it.
    VanishCoordinator,
    /// The coordinator is asked to stop, and stops in order.
    StopCoordinator,
    /// The coordinator's process starts.
    StartCoordinator,
    /// A client's state is copied; so many seconds later another process starts on the copy, and sends what is pending there.
    Double(u64, u64),
}

/// A whole history.
#[derive(Clone, Debug)]
pub(crate) struct History {
    pub(crate) seed: u64,
    pub(crate) clients: u64,
    pub(crate) rounds: u64,
    pub(crate) scheme: &'static str,
    pub(crate) size: Size,
    pub(crate) round: RoundConfig,
    /// The fewest updates that the rounds close with.
    pub(crate) quorum: usize,
    /// Shortest time a message takes.
    pub(crate) fastest: Duration,
    /// Longest time a message to or from each client takes.
    pub(crate) slowest: Vec<Duration>,
    /// Chance of a message to break its link, losing all that is under way on it.
    pub(crate) fail_rate: f64,
    /// Chance of a message to mend a link that broke so.
    pub(crate) repair_rate: f64,
    /// How long clients let their check-ins be held.
    pub(crate) hold: Duration,
    /// What happens when, in order of time.
    pub(crate) faults: Vec<(Duration, Fault)>,
}

impl Fault {
    /// What kind it is.
    pub(crate) fn kind(self) -> String {
        let words = format!("{self:?}");
        words.split('(').next().unwrap_or_default().into()
    }
}

impl History {
    /// The history of `seed`.
    pub(crate) fn of(seed: u64) -> Self {
        let mut dice = Dice(Seed(seed).derive(Purpose::Selection, u64::MAX, 0).stream());
        let clients = 3 + dice.below(2);
        let lossy = dice.chance(0.4);
        let (round, quorum) = dice.round(clients as usize);
        // One in twelve, whatever else is drawn.
        let size = if seed % 12 == 7 { Size::LARGE } else { Size::SMALL };
        Self {
            seed,
            clients,
            rounds: 3 + dice.below(4),
            size,
            scheme: dice.one_of(&["fp32", "fp32", "int4+ef", "int4+ef", "int8:dithered", "int2+ef"]),
            round,
            quorum,
            fastest: Duration::from_millis(10 + dice.below(90)),
            slowest: (0..clients).map(|_| Duration::from_millis(100 + dice.below(1_400))).collect(),
            fail_rate: if lossy { dice.between(0.002, 0.05) } else { 0.0 },
            repair_rate: dice.between(0.1, 0.8),
            hold: Duration::from_secs(2 + dice.below(19)),
            // Transfers are short beside the rest of a round: more faults, to break off some.
            faults: dice.faults(clients, if size == Size::LARGE { 3 } else { 1 }),
        }
    }
}

impl History {
    /// The history of `seed` with rounds that do not wait.
    pub(crate) fn asynchronous(seed: u64) -> Self {
        let mut dice = Dice(Seed(seed).derive(Purpose::Selection, u64::MAX, 1).stream());
        let drawn = Self::of(seed);
        let cohort = 1 + dice.below(drawn.clients - 1) as usize;
        let quorum = 1 + dice.below(cohort as u64) as usize;
        let config = RoundConfig::new(cohort).and_then(|config| config.quorum(quorum));
        let mut config = config.expect("a quorum of 1 to the cohort").select_among(drawn.clients as usize, None);
        // Vanished clients come back, if late; a client that is given up is one that may come with its update later.
        if dice.chance(0.7) {
            config = config.deadline(Duration::from_secs(3 + dice.below(30))).expect("it is not 0");
        }
        let concurrency = 1 + dice.below(drawn.clients) as usize;
        let max_staleness = dice.chance(0.3).then(|| 1 + dice.below(3));
        let round = config.buffered(Buffer { concurrency, max_staleness });
        Self { rounds: 4 + dice.below(8), round, quorum, ..drawn }
    }
}

struct Dice(Stream);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0.next_u64() % bound
    }

    fn chance(&mut self, chance: f64) -> bool {
        self.0.next_unit() < chance
    }

    fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.0.next_unit()
    }

    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }

    /// Rounds that can end, as they never need more clients than there are; and their quorum.
    fn round(&mut self, clients: usize) -> (RoundConfig, usize) {
        let cohort = 2 + self.below(clients as u64 - 1) as usize;
        let quorum = 1 + self.below(cohort as u64) as usize;
        let config = RoundConfig::new(cohort).and_then(|config| config.quorum(quorum));
        let mut config = config.expect("a quorum of 1 to the cohort");
        if cohort < clients && self.chance(0.5) {
            let fraction = (clients - cohort) as f64 / cohort as f64;
            config = config.over_select(fraction * 0.999).expect("a fraction from 0 to 10");
        }
        if self.chance(0.6) {
            config = config.deadline(Duration::from_secs(3 + self.below(30))).expect("it is not 0");
        }
        let window = self.chance(0.4).then(|| Duration::from_secs(2 + self.below(15)));
        let candidates = config.selected() + self.below((clients - config.selected()) as u64 + 1) as usize;
        (config.select_among(candidates, window), quorum)
    }

    fn faults(&mut self, clients: u64, times: u64) -> Vec<(Duration, Fault)> {
        let mut faults = Vec::new();
        for _ in 0..times * (2 + self.below(7)) {
            let client = self.below(clients);
            let (begin, end) = match self.below(11) {
                0 => (Fault::Part(client), Some(Fault::Mend(client))),
                1 => (Fault::PartUp(client), Some(Fault::Mend(client))),
                2 => (Fault::PartDown(client), Some(Fault::Mend(client))),
                3 => (Fault::Hold(client), Some(Fault::Release(client))),
                4 => (Fault::Crash(client), Some(Fault::Start(client))),
                5 => (Fault::Vanish(client), Some(Fault::Start(client))),
                6 => (Fault::CrashCoordinator, Some(Fault::StartCoordinator)),
                7 => (Fault::VanishCoordinator, Some(Fault::StartCoordinator)),
                8 => (Fault::StopCoordinator, Some(Fault::StartCoordinator)),
                _ => (Fault::Double(client, self.one_of(&[0, 0, 1, 4, 15])), None),
            };
            // Early times are likelier: a run that nothing disturbs lasts for some ten seconds.
            let at = FAULTS * self.0.next_unit().powi(2);
            let lasts = self.between(0.1, 20.0);
            faults.push((Duration::from_secs_f64(at), begin));
            faults.extend(end.map(|end| (Duration::from_secs_f64(at + lasts), end)));
        }
        faults.sort();
        faults
    }
}
