//! What a client may spend, and what it has: bytes on the socket, in each direction, for a round, a day and a run.
//!
//! Absent on purpose: sockets. The agent counts real ones, the simulator plans for virtual ones.

use serde::{Deserialize, Serialize};

/// Most bytes in one direction. Without a number, any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caps {
    /// In a round, from one assignment to the next.
    pub round: Option<u64>,
    /// In a day.
    pub day: Option<u64>,
    /// In a run.
    pub run: Option<u64>,
}

/// Most bytes in both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    /// Sent.
    pub up: Caps,
    /// Received.
    pub down: Caps,
}

/// Bytes spent in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spent {
    /// In this round.
    pub round: u64,
    /// On this day.
    pub day: u64,
    /// In this run.
    pub run: u64,
}

/// What a client has spent in both directions, and when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// The day that is counted, of any epoch.
    pub today: u64,
    /// Sent.
    pub up: Spent,
    /// Received.
    pub down: Spent,
    /// Rounds of the run that it was given a part in.
    #[serde(default)]
    pub rounds: u64,
}

impl Caps {
    /// Whether nothing is capped.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// The lower of both caps, each.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let lower = |a: Option<u64>, b: Option<u64>| [a, b].into_iter().flatten().min();
        Self { round: lower(self.round, other.round), day: lower(self.day, other.day), run: lower(self.run, other.run) }
    }

    /// Bytes that may still be spent now; none, if any number.
    #[must_use]
    pub fn left(&self, spent: &Spent) -> Option<u64> {
        let left = |cap: Option<u64>, spent: u64| cap.map(|cap| cap.saturating_sub(spent));
        [left(self.round, spent.round), left(self.day, spent.day), left(self.run, spent.run)]
            .into_iter()
            .flatten()
            .min()
    }

    /// Bytes that may still be spent in the run.
    #[must_use]
    pub fn left_of_run(&self, spent: &Spent) -> Option<u64> {
        self.run.map(|cap| cap.saturating_sub(spent.run))
    }
}

impl Budget {
    /// Rounds that what is left of the caps for the run is enough for, if they take what those before took; nothing where no run is
    /// capped, or it had none.
    #[must_use]
    pub fn rounds_left(&self, account: &Account) -> Option<f64> {
        let lasts = |(caps, spent): (&Caps, &Spent)| {
            let left = caps.left_of_run(spent).filter(|_| spent.run > 0 && account.rounds > 0)?;
            Some(left as f64 * account.rounds as f64 / spent.run as f64)
        };
        [(&self.up, &account.up), (&self.down, &account.down)].into_iter().filter_map(lasts).min_by(f64::total_cmp)
    }

    /// Whether nothing is capped.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.up.is_none() && self.down.is_none()
    }

    /// The lower of both budgets, each cap.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { up: self.up.and(other.up), down: self.down.and(other.down) }
    }
}

impl Account {
    /// Begins a new day, if it is one.
    pub fn on(&mut self, today: u64) {
        if today != self.today {
            (self.today, self.up.day, self.down.day) = (today, 0, 0);
        }
    }

    /// Begins a new round.
    pub fn begin_round(&mut self) {
        (self.up.round, self.down.round) = (0, 0);
    }

    /// Counts bytes.
    pub fn spend(&mut self, up: u64, down: u64) {
        for (spent, bytes) in [(&mut self.up, up), (&mut self.down, down)] {
            spent.round += bytes;
            spent.day += bytes;
            spent.run += bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_lasts_as_long_as_the_direction_that_ends_first() {
        let of_run = |run| Caps { run: Some(run), ..Caps::default() };
        let budget = Budget { up: of_run(1000), down: of_run(500) };
        let mut account = Account::default();
        assert_eq!(budget.rounds_left(&account), None, "nothing was begun");
        for _ in 0..2 {
            account.rounds += 1;
            account.spend(100, 100);
        }
        assert_eq!(budget.rounds_left(&account), Some(3.0));
        assert_eq!(Budget { down: Caps::default(), ..budget }.rounds_left(&account), Some(8.0));
        assert_eq!(Budget::default().rounds_left(&account), None);
    }

    #[test]
    fn the_nearest_cap_decides_and_days_and_rounds_begin_anew() {
        let caps = Caps { round: Some(100), day: Some(150), run: Some(220) };
        let mut account = Account::default();
        account.on(3);
        assert_eq!(caps.left(&account.up), Some(100));
        account.spend(90, 0);
        assert_eq!(caps.left(&account.up), Some(10));
        account.begin_round();
        assert_eq!(caps.left(&account.up), Some(60));
        account.spend(60, 1);
        account.begin_round();
        assert_eq!(caps.left(&account.up), Some(0));
        account.on(3);
        assert_eq!(caps.left(&account.up), Some(0));
        account.on(4);
        assert_eq!((caps.left(&account.up), caps.left_of_run(&account.up)), (Some(70), Some(70)));
        assert_eq!(Caps::default().left(&account.up), None);
        assert_eq!(account.down, Spent { round: 0, day: 0, run: 1 });
    }
}
