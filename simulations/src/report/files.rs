//! The files a program reads: every round as CSV, every run as JSON; and how any file of the report gets onto the disk.

use std::io::Write as _;
use std::path::Path;

use serde::Serialize;

use super::ReportError;
use crate::results::{Comparison, RunSummary};

/// Columns of `rounds.csv`: the run, then the fields of `RoundRow` by their names, then what a sweep calls it.
const COLUMNS: [&str; 16] = [
    "scheme",
    "seed",
    "round",
    "accuracy",
    "loss",
    "train_loss",
    "selected",
    "counted",
    "uncounted",
    "uplink_bytes",
    "downlink_bytes",
    "update_nmse",
    "seconds",
    "virtual_seconds",
    "closed_by",
    "variant",
];

/// Columns of `clients.csv`: the run, then the fields of `ClassRow` by their names.
const CLIENT_COLUMNS: [&str; 18] = [
    "scheme",
    "variant",
    "seed",
    "class",
    "clients",
    "selected",
    "counted",
    "uncounted",
    "last",
    "seconds",
    "uplink_bytes",
    "downlink_bytes",
    "spent_up",
    "spent_down",
    "budget_up",
    "budget_down",
    "fullest",
    "joules",
];

/// `{ "results": [RunSummary...] }`, indented. A value that is not finite is `null`.
pub fn summary_json(comparison: &Comparison) -> Result<String, ReportError> {
    #[derive(Serialize)]
    struct Summary<'a> {
        /// Whether every planned run reached its last round.
        complete: bool,
        results: Vec<&'a RunSummary>,
    }
    let summary =
        Summary { complete: comparison.complete, results: comparison.runs.iter().map(|r| &r.summary).collect() };
    Ok(serde_json::to_string_pretty(&summary)? + "\n")
}

/// Every round of every run under one header.
pub(super) fn rounds_csv(comparison: &Comparison) -> Result<Vec<u8>, ReportError> {
    let mut writer = csv::WriterBuilder::new().has_headers(false).from_writer(Vec::new());
    writer.write_record(COLUMNS)?;
    for run in &comparison.runs {
        for row in &run.rounds {
            writer.serialize((&run.summary.scheme, run.summary.seed, row, &run.summary.variant))?;
        }
    }
    writer.into_inner().map_err(|e| ReportError::Csv(e.into_error().into()))
}

/// What clients did in every run, by kind of link; none, where there are no links and budgets.
pub(super) fn clients_csv(comparison: &Comparison) -> Result<Option<Vec<u8>>, ReportError> {
    if comparison.runs.iter().all(|run| run.classes.is_empty()) {
        return Ok(None);
    }
    let mut writer = csv::WriterBuilder::new().has_headers(false).from_writer(Vec::new());
    writer.write_record(CLIENT_COLUMNS)?;
    for run in &comparison.runs {
        for class in &run.classes {
            writer.serialize((&run.summary.scheme, &run.summary.variant, run.summary.seed, class))?;
        }
    }
    writer.into_inner().map(Some).map_err(|e| ReportError::Csv(e.into_error().into()))
}

/// Removes the file if it is there.
pub(super) fn remove(path: &Path) -> Result<(), ReportError> {
    match std::fs::remove_file(path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(ReportError::Io { path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}

/// Writes beside the target and renames, so a reader sees the old file or the new one, never a part.
pub(super) fn write_atomically(path: &Path, content: &[u8]) -> Result<(), ReportError> {
    let at = |source| ReportError::Io { path: path.to_owned(), source };
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    builder.prefix(".report-");
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666)); // the umask has the last word
    let mut file = builder.tempfile_in(folder).map_err(at)?;
    file.write_all(content).map_err(at)?;
    file.as_file().sync_all().map_err(at)?;
    file.persist(path).map_err(|e| at(e.error))?;
    Ok(())
}
