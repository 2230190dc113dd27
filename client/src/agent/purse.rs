//! What this client may spend, kept through crashes.
//!
//! Before each step that takes bytes, as many are set aside, on disk, and the meter lets no more through; after it, those
//! that really moved are counted. So a crash at any instant counts at least what was spent, and no cap is ever exceeded.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use nibble_proto::v1::{self, Allowance};
use rustls_pki_types::UnixTime;
use serde::{Deserialize, Serialize};

use crate::{
    budget::{Account, Budget, Caps},
    link::Meter,
    state::{StateError, replace},
};

/// Budgets, and what is left of them.
#[derive(Debug)]
pub struct Purse {
    /// The configuration's.
    own: Budget,
    path: PathBuf,
    kept: Kept,
    meter: Arc<Meter>,
    now: fn() -> UnixTime,
}

/// What is on disk.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Kept {
    run: String,
    /// What the configuration and the coordinator allow, the lower of both, when it was last kept.
    budget: Budget,
    /// What the coordinator last said that it allows.
    #[serde(default)]
    allowed: Budget,
    account: Account,
    /// Bytes that may have been spent beyond that, up and down.
    aside: [u64; 2],
}

/// A cap that leaves too little for what is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exhausted {
    /// Until the next round.
    Round,
    /// For so many seconds.
    Day(u64),
    /// For good.
    Run,
}

/// What a new connection may take, up and down: handshake, certificates, HTTP/2's settings.
const CONNECT: [u64; 2] = [1500, 3500];
/// What pings may take while a client trains.
pub(super) const PINGS: [u64; 2] = [4096, 4096];
/// What an assignment may take that names many tensors.
pub(super) const ASSIGNMENT: [u64; 2] = [0, 65_536];
/// What the messages of a call take, up and down.
pub(super) const CALL: [u64; 2] = [600, 700];

const DAY_SECONDS: u64 = 86_400;

/// Bytes of frames on the socket.
pub(super) fn framed(bytes: u64) -> u64 {
    bytes + bytes / 200 + 40
}

impl Purse {
    /// The purse in the state directory `dir`, by the clock `now`.
    ///
    /// # Errors
    /// If what was spent cannot be read.
    pub fn open(dir: &Path, own: Budget, meter: Arc<Meter>, now: fn() -> UnixTime) -> Result<Self, StateError> {
        let path = dir.join("spent.json");
        let mut kept = read(&path)?.unwrap_or_default();
        // What a crash left set aside counts as spent.
        let [up, down] = std::mem::take(&mut kept.aside);
        kept.account.spend(up, down);
        kept.budget = own.and(kept.allowed);
        Ok(Self { own, path, kept, meter, now })
    }

    /// What the client of a state directory may spend, and what it has; none, if it never ran.
    ///
    /// # Errors
    /// If that cannot be read.
    pub fn peek(dir: &Path) -> Result<Option<(Budget, Account)>, StateError> {
        let mut kept = read(&dir.join("spent.json"))?;
        if let Some(Kept { account, aside: [up, down], .. }) = &mut kept {
            account.spend(*up, *down);
        }
        Ok(kept.map(|kept| (kept.budget, kept.account)))
    }

    /// What may be spent now, up and down.
    fn left(&self) -> [Option<u64>; 2] {
        let (Budget { up, down }, account) = (self.kept.budget, &self.kept.account);
        [up.left(&account.up), down.left(&account.down)]
    }

    /// What a coordinator may plan with: what is left but for one new connection, which may be needed at any time. None, if
    /// nothing is capped.
    pub(super) fn allowance(&self) -> Option<Allowance> {
        let (Budget { up, down }, account) = (self.kept.budget, &self.kept.account);
        let plan = |left: Option<u64>, way: usize| left.map(|bytes| bytes.saturating_sub(CONNECT[way]));
        let [up_now, down_now] = self.left();
        (!self.kept.budget.is_none()).then(|| Allowance {
            up: plan(up_now, 0),
            down: plan(down_now, 1),
            up_in_run: plan(up.left_of_run(&account.up), 0),
            down_in_run: plan(down.left_of_run(&account.down), 1),
            renews_in_s: (up.day.is_some() || down.day.is_some()).then(|| self.day_ends_in() as u32),
        })
    }

    /// The coordinator allows this much, from now on.
    pub(super) fn is_allowed(&mut self, budget: Budget) {
        self.kept.allowed = budget;
        self.kept.budget = self.own.and(budget);
    }

    /// A new round begins, of this run.
    pub(super) fn begin_round(&mut self) {
        self.count();
        self.kept.account.begin_round();
    }

    /// A part in a round of this run is given. What was spent before the first run was heard of is the first one's.
    pub(super) fn is_of(&mut self, run: &str) {
        if self.kept.run != run {
            let before = std::mem::replace(&mut self.kept.run, run.into());
            if !before.is_empty() {
                let account = &mut self.kept.account;
                (account.up.run, account.down.run, account.rounds) = (0, 0, 0);
            }
        }
        self.kept.account.rounds += 1;
    }

    /// Sets bytes aside for a step that takes `needed` and may take `more`, and for a new connection.
    pub(super) fn set_aside(&mut self, needed: [u64; 2], more: [u64; 2]) -> Result<Result<(), Exhausted>, StateError> {
        self.count();
        self.kept.account.on((self.now)().as_secs() / DAY_SECONDS);
        if let Some(exhausted) = self.lacks(needed) {
            return Ok(Err(exhausted));
        }
        let [up, down] = self.left();
        let wanted = |way: usize| needed[way].saturating_add(more[way] + CONNECT[way]);
        let aside = |way: usize, left: Option<u64>| left.map_or(0, |left| left.min(wanted(way)));
        self.kept.aside = [aside(0, up), aside(1, down)];
        if !self.kept.budget.is_none() {
            self.keep()?;
        }
        self.meter.restart([up.and(Some(self.kept.aside[0])), down.and(Some(self.kept.aside[1]))]);
        Ok(Ok(()))
    }

    /// Counts what moved since bytes were last set aside, and keeps it.
    pub(super) fn settle(&mut self) -> Result<(), StateError> {
        self.count();
        self.keep()
    }

    fn count(&mut self) {
        // Nothing more passes until bytes are set aside again, but where nothing is capped.
        let closed = |capped: bool| capped.then_some(0);
        let [up, down] =
            self.meter.restart([closed(!self.kept.budget.up.is_none()), closed(!self.kept.budget.down.is_none())]);
        self.kept.account.spend(up, down);
        self.kept.aside = [0, 0];
    }

    fn day_ends_in(&self) -> u64 {
        DAY_SECONDS - (self.now)().as_secs() % DAY_SECONDS
    }

    /// The cap that leaves less than `needed`, the one that lasts longest if there are several.
    fn lacks(&self, needed: [u64; 2]) -> Option<Exhausted> {
        let Account { up, down, .. } = self.kept.account;
        let ways = [(self.kept.budget.up, up, needed[0]), (self.kept.budget.down, down, needed[1])];
        let short = |cap: Option<u64>, spent: u64, needed: u64| cap.is_some_and(|cap| spent + needed > cap);
        if ways.iter().any(|(caps, spent, needed)| short(caps.run, spent.run, *needed)) {
            return Some(Exhausted::Run);
        }
        if ways.iter().any(|(caps, spent, needed)| short(caps.day, spent.day, *needed)) {
            return Some(Exhausted::Day(self.day_ends_in()));
        }
        ways.iter().any(|(caps, spent, needed)| short(caps.round, spent.round, *needed)).then_some(Exhausted::Round)
    }

    fn keep(&self) -> Result<(), StateError> {
        let json = serde_json::to_vec(&self.kept).expect("numbers and a name are JSON");
        replace(&self.path, &json)
    }
}

impl From<v1::Budget> for Budget {
    fn from(budget: v1::Budget) -> Self {
        let caps = |caps: Option<v1::Caps>| {
            let v1::Caps { round, day, run } = caps.unwrap_or_default();
            Caps { round, day, run }
        };
        Self { up: caps(budget.up), down: caps(budget.down) }
    }
}

impl Drop for Purse {
    fn drop(&mut self) {
        // What is still set aside counts as spent, if this fails.
        drop(self.settle());
    }
}

fn read(path: &Path) -> Result<Option<Kept>, StateError> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StateError::io("read", path)(error)),
    };
    let kept = serde_json::from_slice(&bytes).map_err(|error| StateError::io("understand", path)(error.into()))?;
    Ok(Some(kept))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noon() -> UnixTime {
        UnixTime::since_unix_epoch(std::time::Duration::from_secs(10 * DAY_SECONDS + 43_200))
    }

    fn open(dir: &Path, up: Caps) -> Purse {
        Purse::open(dir, Budget { up, down: Caps::default() }, Arc::default(), noon).unwrap()
    }

    #[test]
    fn a_crash_counts_what_was_set_aside_and_an_end_what_moved() {
        let dir = tempfile::tempdir().unwrap();
        let caps = Caps { run: Some(10_000), ..Caps::default() };
        let mut purse = open(dir.path(), caps);
        assert_eq!(purse.set_aside([1000, 0], [0; 2]).unwrap(), Ok(()));
        let aside = 1000 + CONNECT[0];
        assert_eq!(Purse::peek(dir.path()).unwrap().unwrap().1.up.run, aside);
        std::mem::forget(purse); // as a kill does
        let mut purse = open(dir.path(), caps);
        assert_eq!(purse.left()[0], Some(10_000 - aside));
        assert_eq!(purse.allowance().unwrap().up_in_run, Some(10_000 - aside - CONNECT[0]));
        assert_eq!(purse.set_aside([1000, 0], [0; 2]).unwrap(), Ok(()));
        drop(purse);
        assert_eq!(open(dir.path(), caps).left()[0], Some(10_000 - aside), "nothing had moved");
    }

    #[test]
    fn the_lower_cap_counts_and_the_coordinators_is_kept() {
        let (dir, of_run) = (tempfile::tempdir().unwrap(), |bytes| Caps { run: Some(bytes), ..Caps::default() });
        let mut purse = open(dir.path(), of_run(10_000));
        for (allowed, left) in [(4_000, 4_000), (20_000, 10_000), (6_000, 6_000)] {
            purse.is_allowed(Budget { up: of_run(allowed), ..Budget::default() });
            assert_eq!(purse.left(), [Some(left), None]);
        }
        drop(purse);
        let mut purse = open(dir.path(), Caps::default());
        assert_eq!(purse.left(), [Some(6_000), None], "after a restart, before anything was heard");
        purse.is_allowed(Budget::default());
        assert_eq!(purse.left(), [None, None]);
        assert_eq!(purse.allowance(), None);
    }

    #[test]
    fn what_is_short_says_for_how_long() {
        let dir = tempfile::tempdir().unwrap();
        let mut purse = open(dir.path(), Caps { round: Some(500), day: Some(600), run: Some(700) });
        assert_eq!(purse.set_aside([501, 0], [0; 2]).unwrap(), Err(Exhausted::Round));
        assert_eq!(purse.set_aside([601, 0], [0; 2]).unwrap(), Err(Exhausted::Day(43_200)));
        assert_eq!(purse.set_aside([701, 0], [0; 2]).unwrap(), Err(Exhausted::Run));
        assert_eq!(purse.set_aside([500, u64::MAX], [0; 2]).unwrap(), Ok(()));
        purse.kept.account.spend(300, 0);
        purse.is_of("the first run");
        assert_eq!(purse.kept.account.up.run, 300, "what it took to hear of it counts");
        purse.is_of("another run");
        assert_eq!(purse.kept.account.up.run, 0);
    }
}
