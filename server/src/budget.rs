//! What the coordinator lets devices spend: most bytes on the socket, for all of them or by their names.
//!
//! Devices are told, and stop at their own sockets what exceeds it. Beside that no work is handed out to one that the
//! coordinator's own count shows to have nothing left for the run.
//!
//! Absent on purpose: what was spent (the ledger's).

use std::collections::BTreeMap;

use crate::store::Allowance;

/// Most bytes in one direction. Without a number, any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Caps {
    /// In a round, from one assignment to the next.
    pub round: Option<u64>,
    /// In a day.
    pub day: Option<u64>,
    /// In the run.
    pub run: Option<u64>,
}

/// Most bytes in both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Budget {
    /// What a device sends.
    pub up: Caps,
    /// What it receives.
    pub down: Caps,
}

/// Who may spend what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Budgets {
    all: Budget,
    /// By a device's name, or the beginning of names, with a `*` behind it.
    named: BTreeMap<String, Budget>,
}

impl Budgets {
    /// `all`, and other budgets for devices of these names.
    #[must_use]
    pub fn new(all: Budget, named: BTreeMap<String, Budget>) -> Self {
        Self { all, named }
    }

    /// The budget of a device: that of its name, else of the longest beginning that fits, else that of all.
    #[must_use]
    pub fn of(&self, name: &str) -> Budget {
        let fits = |key: &str| key.strip_suffix('*').is_some_and(|beginning| name.starts_with(beginning));
        let longest = || self.named.iter().filter(|(key, _)| fits(key)).max_by_key(|(key, _)| key.len());
        *self.named.get(name).or_else(|| longest().map(|(_, budget)| budget)).unwrap_or(&self.all)
    }
}

impl Budget {
    /// Whether nothing is capped.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// What a device that says it may spend this much may spend at most, having spent so many bytes in the run, up and down.
    #[must_use]
    pub fn limit(&self, says: Allowance, spent: [u64; 2]) -> Allowance {
        let least = |caps: [Option<u64>; 4]| caps.into_iter().flatten().min();
        let of_run = |caps: Caps, spent: u64| caps.run.map(|cap| cap.saturating_sub(spent));
        let [up, down] = [of_run(self.up, spent[0]), of_run(self.down, spent[1])];
        Allowance {
            up: least([says.up, self.up.round, self.up.day, up]),
            down: least([says.down, self.down.round, self.down.day, down]),
            up_in_run: least([says.up_in_run, up, None, None]),
            down_in_run: least([says.down_in_run, down, None, None]),
            ..says
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_run(bytes: u64) -> Budget {
        Budget { up: Caps { run: Some(bytes), ..Caps::default() }, ..Budget::default() }
    }

    #[test]
    fn the_name_that_fits_best_decides() {
        let named = [("pump-*", 1), ("pump-7", 2), ("pump-7*", 3), ("p*", 4)];
        let named = named.map(|(name, bytes)| (name.to_owned(), of_run(bytes))).into();
        let budgets = Budgets::new(of_run(5), named);
        for (name, bytes) in [("pump-1", 1), ("pump-7", 2), ("pump-70", 3), ("pine", 4), ("valve", 5)] {
            assert_eq!(budgets.of(name), of_run(bytes), "{name}");
        }
    }

    #[test]
    fn what_is_less_decides() {
        let budget = Budget {
            up: Caps { round: Some(50), day: None, run: Some(100) },
            down: Caps { round: None, day: Some(30), run: Some(40) },
        };
        let says = Allowance { up: Some(20), down_in_run: Some(5), ..Allowance::default() };
        let may = |up, down, up_in_run, down_in_run| Allowance { up, down, up_in_run, down_in_run, renews_in: None };
        assert_eq!(budget.limit(says, [0, 0]), may(Some(20), Some(30), Some(100), Some(5)));
        assert_eq!(budget.limit(Allowance::default(), [70, 0]), may(Some(30), Some(30), Some(30), Some(40)));
        assert_eq!(budget.limit(says, [101, 39]), may(Some(0), Some(1), Some(0), Some(1)));
        assert_eq!(Budget::default().limit(says, [7, 7]), says);
    }
}
