//! What clients did and spent, by kind of link: rows for the table and the page.

use super::stats::Scheme;
use super::units::{ABSENT, bytes, fixed, percent, plural, seconds, visible};
use crate::results::ClassRow;

/// Heads of the columns that are always there.
const HEAD: [&str; 8] = ["scheme", "links", "clients", "updates", "last", "takes", "up each", "down each"];
/// Heads of columns that are there where there are budgets, where those are for a run, and where energy is known.
const CAP: &str = "most of cap";
const LEFT: [&str; 2] = ["left each, up/down", "lasts"];
const ENERGY: &str = "energy each";

/// What has to be known to read them.
pub(super) const NOTE: &str = "Updates: that counted, of those asked for, in a run. Last: rounds that waited for one of them at the \
    end. Takes: from assignment to arrival. Bytes are those on the socket for each client in the run. Most of cap: the client \
    that came nearest to a cap of its budget, for a round, a day or the run. Left: of the budget for the run. Lasts: for as many \
    more rounds that is enough for the kind together, if they take what those before took. Energy: those bytes times the radio's energy for a byte, a proxy.";

/// What there is to show.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shown {
    /// Whether anything is capped.
    pub(super) caps: bool,
    /// Whether anything is for the whole run.
    of_run: bool,
    /// Whether any radio's energy is known.
    energy: bool,
    /// Whether there are several kinds of links in a run.
    pub(super) kinds: bool,
}

impl Shown {
    /// What there is in these; nothing without links and budgets.
    pub(super) fn of(schemes: &[Scheme<'_>]) -> Option<Self> {
        let runs = || schemes.iter().flat_map(|scheme| &scheme.runs);
        let classes = || runs().flat_map(|run| &run.classes);
        let shown = Self {
            caps: classes().any(|class| class.fullest.is_some()),
            of_run: classes().any(|class| class.budget_up.or(class.budget_down).is_some()),
            energy: classes().any(|class| class.joules > 0.0),
            kinds: runs().any(|run| run.classes.len() > 1),
        };
        classes().next().map(|_| shown)
    }

    /// Heads of the columns.
    pub(super) fn head(self) -> Vec<&'static str> {
        let left = LEFT.into_iter().filter(|_| self.of_run);
        HEAD.into_iter().chain(self.caps.then_some(CAP)).chain(left).chain(self.energy.then_some(ENERGY)).collect()
    }

    /// The rows of one scheme, without its name: means over its runs.
    pub(super) fn rows(self, scheme: &Scheme<'_>) -> Vec<Vec<String>> {
        let Some(first) = scheme.runs.first() else { return Vec::new() };
        first.classes.iter().map(|class| row(scheme, &class.class, self)).collect()
    }
}

fn row(scheme: &Scheme<'_>, name: &str, shown: Shown) -> Vec<String> {
    let of: Vec<&ClassRow> =
        scheme.runs.iter().flat_map(|run| &run.classes).filter(|class| class.class == name).collect();
    let runs = of.len() as f64;
    let sum = |value: fn(&ClassRow) -> f64| of.iter().map(|class| value(class)).sum::<f64>();
    let (clients, updates) = (sum(|class| class.clients as f64), sum(|class| (class.counted + class.uncounted) as f64));
    let fullest = of.iter().filter_map(|class| class.fullest).max_by(f64::total_cmp);
    let takes = sum(|class| class.seconds) / updates;
    let mut cells = vec![
        visible(name),
        fixed(clients / runs, 0),
        format!(
            "{} of {}",
            fixed(sum(|class| class.counted as f64) / runs, 0),
            fixed(sum(|class| class.selected as f64) / runs, 0)
        ),
        fixed(sum(|class| class.last as f64) / runs, 0),
        if takes > 0.0 { seconds(takes) } else { ABSENT.into() },
        bytes(sum(|class| class.spent_up as f64) / clients),
        bytes(sum(|class| class.spent_down as f64) / clients),
    ];
    if shown.caps {
        cells.push(fullest.map_or(ABSENT.into(), |share| format!("{} %", percent(share, 1))));
    }
    if shown.of_run {
        let budget =
            |of_class: fn(&ClassRow) -> Option<u64>| of.iter().map(|class| of_class(class)).sum::<Option<u64>>();
        let spent = [sum(|class| class.spent_up as f64), sum(|class| class.spent_down as f64)];
        let budgets = [budget(|class| class.budget_up), budget(|class| class.budget_down)];
        let left = [0, 1].map(|way| budgets[way].map(|all| (all as f64 - spent[way]).max(0.0)));
        let each = left.map(|left| left.map_or(ABSENT.into(), |left| bytes(left / clients)));
        cells.push(each.join(" / "));
        let lasts =
            |way: usize| left[way].filter(|_| spent[way] > 0.0).map(|left| left * scheme.rounds as f64 / spent[way]);
        let rounds = (0..2).filter_map(lasts).min_by(f64::total_cmp);
        cells.push(rounds.map_or(ABSENT.into(), |rounds| plural(rounds as usize, "round")));
    }
    if shown.energy {
        cells.push(format!("{} J", fixed(sum(|class| class.joules) / clients, 2)));
    }
    cells
}
