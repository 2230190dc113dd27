//! The registered data sets: what they are, whose they are, and whether they are on this machine.

use std::path::PathBuf;

use super::{embedded, idx, source::Places};

/// A registered data set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name to ask for.
    pub name: &'static str,
    /// What a sample is.
    pub description: &'static str,
    /// Samples of the training part.
    pub train_samples: usize,
    /// Samples of the test part.
    pub test_samples: usize,
    /// Number of classes.
    pub classes: usize,
    /// Whose it is, and the licence.
    pub licence: &'static str,
    /// Where it is.
    pub found: Found,
}

/// Where a registered data set is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Part of the program.
    Embedded,
    /// In this directory.
    Directory(PathBuf),
    /// Not on this machine: to be fetched.
    Missing,
}

const REGISTERED: [Entry; 3] = [
    Entry {
        name: embedded::NAME,
        description: "handwritten digits, 28 x 28 grey: the first 10,000 of MNIST's training part, shuffled",
        train_samples: 8_000,
        test_samples: 2_000,
        classes: 10,
        licence: "LeCun, Cortes, Burges; CC BY-SA 3.0",
        found: Found::Embedded,
    },
    Entry {
        name: "fashion-mnist",
        description: "articles of clothing, 28 x 28 grey",
        train_samples: 60_000,
        test_samples: 10_000,
        classes: 10,
        licence: "Zalando SE (Xiao, Rasul, Vollgraf 2017); MIT",
        found: Found::Missing,
    },
    Entry {
        name: "mnist",
        description: "handwritten digits, 28 x 28 grey",
        train_samples: 60_000,
        test_samples: 10_000,
        classes: 10,
        licence: "LeCun, Cortes, Burges; CC BY-SA 3.0",
        found: Found::Missing,
    },
];

/// All registered data sets, looked up in `places`.
#[must_use]
pub fn catalogue(places: &Places) -> Vec<Entry> {
    let look_up = |mut entry: Entry| {
        if entry.found == Found::Missing {
            let place = places.candidates(entry.name).find(|directory| idx::is_complete(directory));
            entry.found = place.map_or(Found::Missing, Found::Directory);
        }
        entry
    };
    REGISTERED.map(look_up).to_vec()
}

/// Whether a name is registered.
pub(super) fn is_registered(name: &str) -> bool {
    REGISTERED.iter().any(|entry| entry.name == name)
}

/// Registered names, comma-separated.
pub(super) fn names() -> String {
    REGISTERED.map(|entry| entry.name).join(", ")
}
