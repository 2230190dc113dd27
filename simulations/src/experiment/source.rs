//! Where an experiment comes from: a file (or none) and overrides; and the place to name when something is wrong.

use std::{fs, path::PathBuf};

use toml::{Table, de::DeTable};

use super::{Experiment, ExperimentError, Override, Raw};

/// The experiment that runs when none is named.
const BUILT_IN: &str = include_str!("../../experiments/levels.toml");

/// An experiment file with overrides, before it is read.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// The file; without one, the built-in comparison of levels.
    pub file: Option<PathBuf>,
    /// Keys that replace those of the file, in order.
    pub overrides: Vec<Override>,
}

impl Source {
    /// Reads and validates.
    ///
    /// # Errors
    /// If the file cannot be read or is not TOML, a key is unknown or has the wrong type, or a rule is broken. The error
    /// names the file and line, or the override.
    pub fn load(&self) -> Result<Experiment, ExperimentError> {
        let text = match &self.file {
            Some(file) => {
                fs::read_to_string(file).map_err(|error| ExperimentError::File { file: file.clone(), error })?
            }
            None => BUILT_IN.to_owned(),
        };
        // The file alone first: its errors then show the line.
        let from_file: Raw = toml::from_str(&text)
            .map_err(|error| ExperimentError::Syntax { place: self.file_name(), error: error.to_string() })?;
        let raw = if self.overrides.is_empty() { from_file } else { self.overridden(&text)? };
        Experiment::try_from(raw).map_err(|error| self.place(&text, error))
    }

    fn overridden(&self, text: &str) -> Result<Raw, ExperimentError> {
        let syntax = |place: String, error: String| ExperimentError::Syntax { place, error };
        let mut table: Table =
            text.parse().map_err(|error: toml::de::Error| syntax(self.file_name(), error.to_string()))?;
        let mut raw = Raw::default();
        for set in &self.overrides {
            set.apply(&mut table).map_err(|error| syntax(set.place(), error))?;
            raw = table.clone().try_into().map_err(|error: toml::de::Error| syntax(set.place(), error.to_string()))?;
        }
        Ok(raw)
    }

    /// Adds to a broken rule the place of the key it is about.
    fn place(&self, text: &str, error: ExperimentError) -> ExperimentError {
        let ExperimentError::Rule { key, problem, mend, .. } = error else { return error };
        let place = match self.overrides.iter().rfind(|set| set.key() == key) {
            Some(set) => set.place(),
            None => match line_of(text, &key) {
                Some(line) => format!("{}:{line}: {key}", self.file_name()),
                None => format!("{}: {key} (by default)", self.file_name()),
            },
        };
        ExperimentError::Rule { place: Some(place), key, problem, mend }
    }

    fn file_name(&self) -> String {
        self.file.as_ref().map_or_else(|| "built-in experiment".into(), |file| file.display().to_string())
    }
}

/// The line, from 1, on which the dotted `key` stands in `text`.
fn line_of(text: &str, key: &str) -> Option<usize> {
    let document = DeTable::parse(text).ok()?;
    let mut table = document.get_ref();
    let mut parts = key.split('.').peekable();
    while let Some(part) = parts.next() {
        let (name, value) = table.get_key_value(part)?;
        if parts.peek().is_none() {
            return Some(
                text[..name.span().start].lines().count().max(1)
                    + usize::from(text[..name.span().start].ends_with('\n')),
            );
        }
        table = value.get_ref().as_table()?;
    }
    None
}
