//! From what a config names to samples: registered names, directories of IDX files, CSV files.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use nibble_seed::Seed;
use serde::{Deserialize, Serialize};

use super::{DataError, Dataset, catalogue, csv, embedded, idx};

/// Directories in which installed data sets lie, each in one of its name.
pub const SYSTEM_DIRECTORIES: [&str; 1] = ["/usr/share/datasets"];

const DEFAULT_TEST_FRACTION: f64 = 0.2;

/// Which data set, and how to read it. The last four are for CSV files only.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// A registered name, a directory of IDX files, or a file ending in `.csv`; paths as the process sees them.
    pub dataset: String,
    /// The label column. Default: `label`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The column that says who a sample belongs to, for the natural partition. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Fraction of the rows that become the test part, in (0, 1). Default: 0.2. Excludes `test`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_fraction: Option<f64>,
    /// A file of its own for the test part, with the same columns. Excludes `test_fraction`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<PathBuf>,
}

impl DataConfig {
    /// The data set of this name or path, everything else by default.
    #[must_use]
    pub fn named(dataset: &str) -> Self {
        Self { dataset: dataset.to_owned(), label: None, owner: None, test_fraction: None, test: None }
    }
}

/// Where registered data sets are looked for, in this order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// Directories like [`SYSTEM_DIRECTORIES`].
    pub system: Vec<PathBuf>,
    /// The user's cache, to which [`fetch`](super::fetch) downloads.
    pub cache: Option<PathBuf>,
}

impl Places {
    /// The default places; `lookup` reads an environment variable.
    #[must_use]
    pub fn from_environment(lookup: impl Fn(&str) -> Option<OsString>) -> Self {
        Self { system: SYSTEM_DIRECTORIES.map(PathBuf::from).to_vec(), cache: cache_directory(lookup).ok() }
    }

    /// Where a data set of this name may lie.
    pub(super) fn candidates(&self, name: &str) -> impl Iterator<Item = PathBuf> {
        self.system.iter().chain(&self.cache).map(move |place| place.join(name))
    }
}

/// `$NIBBLE_CACHE`, else `$XDG_CACHE_HOME/nibble`, else `$HOME/.cache/nibble`; `lookup` reads a variable.
///
/// # Errors
/// If none of the three is set; an empty one counts as not set.
pub fn cache_directory(lookup: impl Fn(&str) -> Option<OsString>) -> Result<PathBuf, DataError> {
    let set = |name| lookup(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("NIBBLE_CACHE")
        .or_else(|| Some(set("XDG_CACHE_HOME")?.join("nibble")))
        .or_else(|| Some(set("HOME")?.join(".cache/nibble")))
        .ok_or(DataError::NoCache)
}

/// Loads a data set into memory. `seed` draws the test part of a CSV file that has none.
///
/// # Errors
/// If there is no such data set, it is not on this machine, or its files are not as they should be.
pub fn load(config: &DataConfig, places: &Places, seed: Seed) -> Result<Dataset, DataError> {
    let path = Path::new(&config.dataset);
    let is_csv = path.extension().is_some_and(|end| end.eq_ignore_ascii_case("csv"));
    if is_csv {
        return load_csv(config, path, seed);
    }
    let options = [
        ("label", config.label.is_some()),
        ("owner", config.owner.is_some()),
        ("test_fraction", config.test_fraction.is_some()),
        ("test", config.test.is_some()),
    ];
    if let Some((option, _)) = options.into_iter().find(|(_, given)| *given) {
        return Err(DataError::OnlyCsv { option, dataset: config.dataset.clone() });
    }
    if config.dataset == embedded::NAME {
        return embedded::mnist_10k();
    }
    if catalogue::is_registered(&config.dataset) {
        return idx::directory(&config.dataset, &installed(&config.dataset, places)?);
    }
    if path.is_dir() {
        return idx::directory(&config.dataset, path);
    }
    Err(DataError::UnknownDataset { name: config.dataset.clone(), known: catalogue::names() })
}

fn load_csv(config: &DataConfig, path: &Path, seed: Seed) -> Result<Dataset, DataError> {
    let test = match (&config.test, config.test_fraction) {
        (Some(_), Some(_)) => return Err(DataError::TwoTestParts),
        (Some(path), None) => csv::TestPart::File(path),
        (None, fraction) => csv::TestPart::Fraction(fraction.unwrap_or(DEFAULT_TEST_FRACTION), seed),
    };
    let roles = csv::Roles { label: config.label.as_deref().unwrap_or("label"), owner: config.owner.as_deref() };
    csv::dataset(&config.dataset, path, roles, &test)
}

/// The first place that has the data set.
fn installed(name: &str, places: &Places) -> Result<PathBuf, DataError> {
    places.candidates(name).find(|directory| idx::is_complete(directory)).ok_or_else(|| {
        let looked: Vec<String> = places.candidates(name).map(|place| place.display().to_string()).collect();
        let looked = if looked.is_empty() { "no directory: none is known".to_owned() } else { looked.join(", ") };
        let or = if name == "fashion-mnist" { ", or install Debian's package dataset-fashion-mnist" } else { "" };
        DataError::NotHere { name: name.to_owned(), looked, or }
    })
}

#[cfg(test)]
mod tests;
