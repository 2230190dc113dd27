//! Results in the files of other tools: what `rounds.csv` holds, for TensorBoard and, behind the feature `parquet`, as a
//! Parquet table.

#[cfg(feature = "parquet")]
mod parquet;
mod tensorboard;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use crate::{error::SimError, results::RoundRow};

/// A round of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The run's scheme.
    pub scheme: String,
    /// What else tells the run apart in a sweep.
    pub variant: String,
    /// The run's seed.
    pub seed: u64,
    /// The round.
    pub round: RoundRow,
}

/// What of a row is not the round itself.
#[derive(Deserialize)]
struct Key {
    scheme: String,
    seed: u64,
    #[serde(default)]
    variant: String,
}

/// All rounds in the results directory `results`.
///
/// # Errors
/// If it holds no `rounds.csv` that can be read.
pub fn read(results: &Path) -> Result<Vec<Row>, SimError> {
    let path = results.join("rounds.csv");
    let mend = "give the directory that compare or run wrote its results to";
    let wrong =
        |error: csv::Error| SimError::File { path: path.clone(), problem: error.to_string(), mend: mend.into() };
    let mut reader = csv::Reader::from_path(&path).map_err(wrong)?;
    let header = reader.headers().map_err(wrong)?.clone();
    let row = |record: Result<csv::StringRecord, csv::Error>| {
        let record = record?;
        let Key { scheme, seed, variant } = record.deserialize(Some(&header))?;
        Ok(Row { scheme, variant, seed, round: record.deserialize(Some(&header))? })
    };
    reader.records().map(row).collect::<Result<_, _>>().map_err(wrong)
}

/// A measured column: its name, and what it holds.
type Column = (&'static str, fn(&RoundRow) -> f64);

/// The measured columns.
const COLUMNS: [Column; 12] = [
    ("accuracy", |row| row.accuracy),
    ("loss", |row| row.loss),
    ("train_loss", |row| row.train_loss),
    ("selected", |row| row.selected as f64),
    ("counted", |row| row.counted as f64),
    ("uncounted", |row| row.uncounted as f64),
    ("uplink_bytes", |row| row.uplink_bytes as f64),
    ("downlink_bytes", |row| row.downlink_bytes as f64),
    ("update_nmse", |row| row.update_nmse),
    ("seconds", |row| row.seconds),
    ("virtual_seconds", |row| row.virtual_seconds),
    ("round", |row| row.round as f64),
];

/// Writes an event file for every run into a directory of its own under `out`; gives the directories.
///
/// # Errors
/// If they cannot be written.
pub fn tensorboard(rows: &[Row], out: &Path) -> Result<Vec<PathBuf>, SimError> {
    let mut runs: BTreeMap<String, Vec<&RoundRow>> = BTreeMap::new();
    let plain = |c: char| if c.is_ascii_alphanumeric() || "+-.@=".contains(c) { c } else { '-' };
    for row in rows {
        let gap = if row.variant.is_empty() { "" } else { "-" };
        let name = format!("{}{gap}{}-seed{}", row.scheme, row.variant, row.seed).chars().map(plain).collect();
        runs.entry(name).or_default().push(&row.round);
    }
    let write = |(name, rows): (String, Vec<&RoundRow>)| {
        let dir = out.join(name);
        std::fs::create_dir_all(&dir).map_err(SimError::io(&dir))?;
        // TensorBoard takes every file for one whose name has `tfevents` in it.
        crate::files::write_whole(&dir.join("events.out.tfevents.0.nibble"), &tensorboard::events(&rows))?;
        Ok(dir)
    };
    runs.into_iter().map(write).collect()
}

/// Writes all rows as one table to `path`.
///
/// # Errors
/// If it cannot be written.
#[cfg(feature = "parquet")]
pub fn parquet(rows: &[Row], path: &Path) -> Result<(), SimError> {
    let bytes = parquet::table(rows).map_err(|error| SimError::io(path)(std::io::Error::other(error)))?;
    crate::files::write_whole(path, &bytes)
}
