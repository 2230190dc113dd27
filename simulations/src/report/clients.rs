//! What clients did and spent, by kind of link: rows for the table and the page.

use super::stats::Scheme;
use super::units::{ABSENT, bytes, fixed, percent, seconds, visible};
use crate::results::ClassRow;

/// Heads of the columns that are always there.
const HEAD: [&str; 8] = ["scheme", "links", "clients", "updates", "last", "takes", "up each", "down each"];
/// Heads of columns that are there where there are budgets, and where energy is known.
const CAP: &str = "most of cap";
const ENERGY: &str = "energy each";

/// What has to be known to read them.
pub(super) const NOTE: &str = "Updates: that counted, of those asked for, in a run. Last: rounds that waited for one of them at the \
    end. Takes: from assignment to arrival. Bytes are those on the socket for each client in the run. Most of cap: the client \
    that came nearest to a cap of its budget, for a round, a day or the run. Energy: those bytes times the radio's energy for a byte, a proxy.";

/// What there is to show.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shown {
    /// Whether anything is capped.
    pub(super) caps: bool,
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
            energy: classes().any(|class| class.joules > 0.0),
            kinds: runs().any(|run| run.classes.len() > 1),
        };
        classes().next().map(|_| shown)
    }

    /// Heads of the columns.
    pub(super) fn head(self) -> Vec<&'static str> {
        HEAD.into_iter().chain(self.caps.then_some(CAP)).chain(self.energy.then_some(ENERGY)).collect()
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
    if shown.energy {
        cells.push(format!("{} J", fixed(sum(|class| class.joules) / clients, 2)));
    }
    cells
}
