//! What was measured of the last models, beside their accuracy: rows for the table and the page.

use super::{
    stats::{Estimate, Scheme},
    table::with_spread,
    units::{ABSENT, percent, visible},
};
use crate::results::{OwnRow, RunResult};

/// A column: its head, and what it shows of a run.
type Column = (String, Box<dyn Fn(&RunResult) -> f64>);

/// What has to be known to read it.
pub(super) const NOTE: &str = "Accuracies of the last model, in %: in integers of the widths named, on the test part; and the mean and the 10th \
    percentile over clients on samples that they kept back, of the global model and of what each client made of it for itself.";

/// Heads and rows, the schemes' names first; nothing where nothing was measured.
pub(super) fn rows(schemes: &[Scheme<'_>]) -> Option<(Vec<String>, Vec<Vec<String>>)> {
    let columns = columns(schemes);
    if columns.is_empty() {
        return None;
    }
    let head = std::iter::once("scheme".into()).chain(columns.iter().map(|(head, _)| head.clone())).collect();
    let cell = |scheme: &Scheme<'_>, (_, of): &Column| {
        let estimate = Estimate::of(scheme.runs.iter().map(|run| of(run)));
        if estimate.n == 0 { ABSENT.into() } else { with_spread(&estimate, |value| percent(value, 2)) }
    };
    let row = |scheme: &Scheme<'_>| {
        let name = std::iter::once(visible(&scheme.name));
        name.chain(columns.iter().map(|column| cell(scheme, column))).collect()
    };
    Some((head, schemes.iter().map(row).collect()))
}

fn columns(schemes: &[Scheme<'_>]) -> Vec<Column> {
    let runs = || schemes.iter().flat_map(|scheme| &scheme.runs);
    let mut formats: Vec<&str> = Vec::new();
    for row in runs().flat_map(|run| &run.summary.after.quantised) {
        if !formats.contains(&row.format.as_str()) {
            formats.push(&row.format);
        }
    }
    let mut columns: Vec<Column> = Vec::new();
    for format in formats.into_iter().map(String::from) {
        let head = format!("in {format}");
        let of = move |run: &RunResult| {
            let row = run.summary.after.quantised.iter().find(|row| row.format == format);
            row.map_or(f64::NAN, |row| row.accuracy)
        };
        columns.push((head, Box::new(of)));
    }
    if runs().any(|run| run.summary.after.own.is_some()) {
        columns.extend([
            own("global, own data", |row| row.global_mean),
            own("10th pct", |row| row.global_p10),
            own("own model", |row| row.own_mean),
            own("10th pct", |row| row.own_p10),
        ]);
    }
    columns
}

fn own(head: &str, of: fn(&OwnRow) -> f64) -> Column {
    (head.into(), Box::new(move |run| run.summary.after.own.as_ref().map_or(f64::NAN, of)))
}
