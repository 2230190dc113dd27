//! What clients did and spent, by kind of link.

use std::collections::BTreeMap;

use nibble_client::budget::{Account, Budget, Caps, Spent};
use nibble_seed::ClientId;

use crate::{experiment::Experiment, links::Fleet, results::ClassRow};

/// The kind of clients where there are no links.
pub(crate) const ALL: &str = "all";

/// Kinds of clients, with what all of a kind may spend in the run, and nothing done yet. Without links there is one kind,
/// and without budgets none.
pub(crate) fn all(experiment: &Experiment, fleet: Option<&Fleet>, budgets: &[Budget]) -> Vec<ClassRow> {
    if fleet.is_none() && experiment.raw.budget.is_none() {
        return Vec::new();
    }
    let mut classes: BTreeMap<&str, ClassRow> = BTreeMap::new();
    for (client, budget) in (0..).map(ClientId).zip(budgets) {
        let class = fleet.map_or(ALL, |fleet| fleet.name(client));
        let row = classes.entry(class).or_insert_with(|| ClassRow {
            class: class.into(),
            budget_up: Some(0),
            budget_down: Some(0),
            ..ClassRow::default()
        });
        row.clients += 1;
        row.budget_up = row.budget_up.zip(budget.up.run).map(|(all, more)| all + more);
        row.budget_down = row.budget_down.zip(budget.down.run).map(|(all, more)| all + more);
    }
    classes.into_values().collect()
}

/// Notes how much of its caps, for the round, the day and the run, a client has used, if none used more of any.
pub(crate) fn fill(row: &mut ClassRow, budget: &Budget, account: &Account) {
    let share = |cap: Option<u64>, spent: u64| cap.map(|cap| spent as f64 / cap as f64);
    let shares = |caps: Caps, spent: Spent| {
        [share(caps.round, spent.round), share(caps.day, spent.day), share(caps.run, spent.run)]
    };
    let all = shares(budget.up, account.up).into_iter().chain(shares(budget.down, account.down));
    row.fullest = all.flatten().chain(row.fullest).max_by(f64::total_cmp);
}
