//! The table for the terminal: one row per scheme, at most 100 columns at usual name lengths.

use super::stats::{Estimate, Overview, Scheme};
use super::units::{ABSENT, bytes, factor, fixed, percent, seconds, signed, visible};
use super::words::{front, notes, spread_words};
use super::{Style, after, clients::Shown};
use crate::results::Comparison;

const HEAD: [&str; 8] =
    ["scheme", "accuracy %", "vs fp32, pt", "per update", "bits/coord", "uplink", "saving", "round"];
const BOLD: &str = "1";
const DIM: &str = "2";
const RED: &str = "31";
const GREEN: &str = "32";

/// One row per scheme, then what has to be known to read it. Ends with a newline.
///
/// Accuracy is top-1 on the test part after the last round; `vs fp32` is in points (hundredths), paired by seed. Figures
/// after ± are the sample standard deviation over seeds; with two seeds the range `min..max` is shown. `saving` is bytes
/// of an fp32 update over bytes of this one. A difference is coloured only if its 95 % interval leaves zero out.
pub fn table(comparison: &Comparison, style: Style) -> String {
    let overview = Overview::of(comparison);
    let rows = overview.schemes.iter().map(|scheme| (cells(scheme).to_vec(), ink(scheme.change)));
    let mut out = drawn(&HEAD, &rows.collect::<Vec<_>>(), style);
    if let Some(accuracy) = comparison.target_accuracy {
        let head = target_head(accuracy);
        let rows: Vec<_> = overview.schemes.iter().map(|scheme| (target_cells(scheme), "")).collect();
        out += &drawn(&head.each_ref().map(String::as_str), &rows, style);
    }
    let schemes = &overview.schemes;
    if let Some(shown) = Shown::of(schemes).filter(|shown| shown.caps || shown.kinds) {
        let named = |scheme: &Scheme<'_>| {
            let name = visible(&scheme.name);
            let rows = shown.rows(scheme).into_iter();
            rows.map(|row| ([vec![name.clone()], row].concat(), "")).collect::<Vec<_>>()
        };
        out += &drawn(&shown.head(), &schemes.iter().flat_map(named).collect::<Vec<_>>(), style);
    }
    let after = after::rows(schemes);
    if let Some((head, rows)) = &after {
        let head: Vec<_> = head.iter().map(String::as_str).collect();
        out += &drawn(&head, &rows.iter().map(|row| (row.clone(), "")).collect::<Vec<_>>(), style);
    }
    for text in std::iter::once(spread_words(&overview)).chain(front(&overview)).chain(notes(comparison, &overview)) {
        out += &paint(&visible(&text), DIM, style);
        out.push('\n');
    }
    out
}

/// The lines of a table. An ink is that of a row's third cell.
fn drawn(head: &[&str], rows: &[(Vec<String>, &str)], style: Style) -> String {
    let mut widths: Vec<usize> = head.iter().map(|h| h.chars().count()).collect();
    for (row, _) in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let rule = |left: char, cross: char, right: char| {
        let dashes: Vec<String> = widths.iter().map(|w| "─".repeat(w + 2)).collect();
        paint(&format!("{left}{}{right}", dashes.join(&cross.to_string())), DIM, style) + "\n"
    };
    let mut out = rule('┌', '┬', '┐');
    out += &line(&head.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>(), &widths, |_| BOLD, style);
    out += &rule('├', '┼', '┤');
    for (row, ink) in rows {
        out += &line(row, &widths, |column| if column == 2 { ink } else { "" }, style);
    }
    out + &rule('└', '┴', '┘')
}

pub(super) fn target_head(accuracy: f64) -> [String; 7] {
    let to = format!("to {} %", percent(accuracy, 1).trim_end_matches(".0"));
    [
        "scheme".into(),
        "downlink".into(),
        "virtual time".into(),
        format!("{to}: time ± 95 %"),
        "bytes up".into(),
        "bytes down".into(),
        "seeds".into(),
    ]
}

/// What it took to reach the target: means over the seeds that did, with their 95 % intervals.
pub(super) fn target_cells(s: &Scheme<'_>) -> Vec<String> {
    let of = |value: Option<Estimate>, show: fn(f64) -> String| match value {
        None => ABSENT.into(),
        Some(value) if value.n < 2 => show(value.mean),
        Some(value) => format!("{} ± {}", show(value.mean), show(value.margin())),
    };
    let target = s.target.filter(|target| target.seconds.n > 0);
    vec![
        visible(&s.name),
        bytes(s.downlink_bytes),
        seconds(s.virtual_seconds),
        of(target.map(|target| target.seconds), seconds),
        of(target.map(|target| target.uplink_bytes), bytes),
        of(target.map(|target| target.downlink_bytes), bytes),
        format!("{} of {}", s.target.map_or(0, |target| target.seconds.n), s.runs.len()),
    ]
}

fn cells(s: &Scheme<'_>) -> [String; 8] {
    [
        visible(&s.name),
        with_spread(&s.accuracy, |v| percent(v, 2)),
        s.change.map_or(ABSENT.into(), |change| with_spread(&change, |v| signed(v, 2))),
        bytes(s.bytes_per_update),
        fixed(s.bits_per_coordinate, 2),
        bytes(s.uplink_bytes),
        factor(s.saving),
        seconds(s.round_seconds),
    ]
}

/// `71.23`, `70.98..71.48` (whose middle is the mean) or `71.23 ± 0.41`, by the number of seeds.
pub(super) fn with_spread(estimate: &Estimate, show: impl Fn(f64) -> String) -> String {
    match estimate.n {
        0 | 1 => show(estimate.mean),
        2 => format!("{}..{}", show(estimate.min), show(estimate.max)),
        _ => format!("{} ± {}", show(estimate.mean), show(estimate.deviation).trim_start_matches('+')),
    }
}

fn line<'a>(cells: &[String], widths: &[usize], ink: impl Fn(usize) -> &'a str, style: Style) -> String {
    let bar = paint("│", DIM, style);
    let mut out = bar.clone();
    for (column, (cell, &width)) in cells.iter().zip(widths).enumerate() {
        let padded = if column == 0 { format!(" {cell:<width$} ") } else { format!(" {cell:>width$} ") };
        out += &paint(&padded, ink(column), style);
        out += &bar;
    }
    out + "\n"
}

fn ink(change: Option<Estimate>) -> &'static str {
    match change {
        Some(c) if c.differs_from_zero() => {
            if c.mean < 0.0 {
                RED
            } else {
                GREEN
            }
        }
        _ => "",
    }
}

fn paint(text: &str, code: &str, style: Style) -> String {
    match style {
        Style::Color if !code.is_empty() => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
        _ => text.into(),
    }
}
