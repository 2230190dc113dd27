//! What a researcher reads after a comparison: a table, files for programs, a figure and a page.
//!
//! Everything is made from one [`Comparison`]; nothing is measured here, and no clock is read, so the same results give
//! the same report. Sizes are in binary units (1 KiB = 1024 bytes), accuracies in percent, differences in points.

mod after;
mod chart;
mod clients;
mod files;
mod page;
mod payload;
mod stats;
mod table;
mod units;
mod words;

use std::path::{Path, PathBuf};

pub use files::summary_json;
pub use table::table;

use crate::{codec_eval::CodecRow, results::Comparison};
use chart::{figure::AccuracyVsBytes, front::Front, rates::Rates};
use stats::Overview;

/// How text for a terminal is made. The caller knows whether there is one and what `NO_COLOR` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Text alone.
    Plain,
    /// With ANSI colours.
    Color,
}

/// Why a report could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// A file or the folder could not be written.
    #[error("cannot write {}: {source}", path.display())]
    Io {
        /// What was being written.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Rounds could not be put into `rounds.csv`.
    #[error("cannot make rounds.csv: {0}")]
    Csv(#[from] csv::Error),
    /// Results could not be put into JSON.
    #[error("cannot put the results into JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// The figure could not be drawn.
    #[error("cannot draw the figure {figure}: {reason}")]
    Figure {
        /// Name of the file.
        figure: &'static str,
        /// What the drawing library said.
        reason: String,
    },
}

/// The answer to "what does each scheme cost in accuracy and save in bytes" in one to three sentences.
pub fn headline(comparison: &Comparison) -> String {
    units::visible(&words::headline(comparison, &Overview::of(comparison)).join(" "))
}

/// Writes `rounds.csv`, `summary.json`, where there are links or budgets `clients.csv`, `accuracy_vs_bytes` and, of three schemes
/// or more, `pareto` as `.svg` and `.png`, and `report.html` into `dir`, which is made if it is not there. Each file is replaced as a whole or not at all.
pub fn write(comparison: &Comparison, dir: &Path) -> Result<(), ReportError> {
    std::fs::create_dir_all(dir).map_err(|source| ReportError::Io { path: dir.to_owned(), source })?;
    let overview = Overview::of(comparison);
    let (figure, front) = (AccuracyVsBytes(&overview), Front::of(&overview));
    let svg = chart::svg(&figure)?;
    let front_svg = front.as_ref().map(chart::svg).transpose()?;
    let page = page::html(comparison, &overview, (&svg, front_svg.as_deref()))?;
    // What an earlier comparison left and this one has not goes.
    let files: [(&str, Option<Vec<u8>>); 8] = [
        ("rounds.csv", Some(files::rounds_csv(comparison)?)),
        ("summary.json", Some(summary_json(comparison)?.into_bytes())),
        ("accuracy_vs_bytes.png", Some(chart::png(&figure)?)),
        ("report.html", Some(page.into_bytes())),
        ("accuracy_vs_bytes.svg", Some(svg.into_bytes())),
        ("pareto.png", front.as_ref().map(chart::png).transpose()?),
        ("pareto.svg", front_svg.map(String::into_bytes)),
        ("clients.csv", files::clients_csv(comparison)?),
    ];
    files.into_iter().try_for_each(|(name, content)| match content {
        Some(content) => files::write_atomically(&dir.join(name), &content),
        None => files::remove(&dir.join(name)),
    })
}

/// Writes the figure of error against rate to `path`, as its ending says: `svg` or `png`.
///
/// # Errors
/// If the ending is another, or the file cannot be written.
pub fn write_rates(title: &str, rows: &[CodecRow], path: &Path) -> Result<(), ReportError> {
    let figure = Rates::new(title, rows);
    let content = match path.extension().and_then(|ending| ending.to_str()) {
        Some("svg") => chart::svg(&figure)?.into_bytes(),
        Some("png") => chart::png(&figure)?,
        _ => {
            let reason = format!("{} ends in neither .svg nor .png", path.display());
            return Err(ReportError::Figure { figure: "rates", reason });
        }
    };
    files::write_atomically(path, &content)
}
