//! The table for the terminal: one row per scheme, at most 100 columns at usual name lengths.

use super::Style;
use super::stats::{Estimate, Overview, Scheme};
use super::units::{ABSENT, bytes, factor, fixed, percent, seconds, signed, visible};
use super::words::{notes, spread_words};
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
    let rows: Vec<[String; 8]> = overview.schemes.iter().map(cells).collect();
    let mut widths = HEAD.map(|h| h.chars().count());
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut out = String::new();
    let rule = |left: char, cross: char, right: char| {
        let dashes: Vec<String> = widths.iter().map(|w| "─".repeat(w + 2)).collect();
        paint(&format!("{left}{}{right}", dashes.join(&cross.to_string())), DIM, style) + "\n"
    };
    out += &rule('┌', '┬', '┐');
    out += &line(&HEAD.map(String::from), &widths, [BOLD; 8], style);
    out += &rule('├', '┼', '┤');
    for (row, scheme) in rows.iter().zip(&overview.schemes) {
        let mut inks = [""; 8];
        inks[2] = ink(scheme.change);
        out += &line(row, &widths, inks, style);
    }
    out += &rule('└', '┴', '┘');
    for text in std::iter::once(spread_words(&overview)).chain(notes(comparison, &overview)) {
        out += &paint(&visible(&text), DIM, style);
        out.push('\n');
    }
    out
}

fn cells(s: &Scheme<'_>) -> [String; 8] {
    [
        visible(s.name),
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

fn line(cells: &[String; 8], widths: &[usize; 8], inks: [&str; 8], style: Style) -> String {
    let bar = paint("│", DIM, style);
    let mut out = bar.clone();
    for (column, (cell, &width)) in cells.iter().zip(widths).enumerate() {
        let padded = if column == 0 { format!(" {cell:<width$} ") } else { format!(" {cell:>width$} ") };
        out += &paint(&padded, inks[column], style);
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
