//! Where a configuration comes from: a file (or none) and overrides; and the place to name when something is wrong.

use std::{fs, path::PathBuf};

use toml::{Table, de::DeTable};

use super::{Config, ConfigError, Override, Raw};

/// A configuration file with overrides, before it is read.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// The file; without one, every key has its default.
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
    pub fn load(&self) -> Result<Config, ConfigError> {
        let text = match &self.file {
            Some(file) => fs::read_to_string(file).map_err(|error| ConfigError::File { file: file.clone(), error })?,
            None => String::new(),
        };
        let syntax = |place: String, error: String| ConfigError::Syntax { place, error };
        // The file alone first: its errors then show the line.
        let mut raw: Raw = toml::from_str(&text).map_err(|error| syntax(self.file_name(), error.to_string()))?;
        let mut table: Table = toml::from_str(&text).map_err(|error| syntax(self.file_name(), error.to_string()))?;
        for set in &self.overrides {
            let place = || format!("--set {}", set.key());
            set.apply(&mut table).map_err(|error| syntax(place(), error))?;
            raw = table.clone().try_into().map_err(|error: toml::de::Error| syntax(place(), error.to_string()))?;
        }
        Config::try_from(raw).map_err(|error| self.place(&text, error))
    }

    /// Adds to a broken rule the place of the key it is about.
    fn place(&self, text: &str, error: ConfigError) -> ConfigError {
        let ConfigError::Rule { key, problem, mend, .. } = error else { return error };
        let place = if self.overrides.iter().any(|set| set.key() == key) {
            format!("--set {key}")
        } else {
            match line_of(text, key) {
                Some(line) => format!("{}:{line}: {key}", self.file_name()),
                None => format!("{}: {key} (not set)", self.file_name()),
            }
        };
        ConfigError::Rule { place: Some(place), key, problem, mend }
    }

    fn file_name(&self) -> String {
        self.file.as_ref().map_or_else(|| "no configuration file".into(), |file| file.display().to_string())
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
            return Some(text[..name.span().start].matches('\n').count() + 1);
        }
        table = value.get_ref().as_table()?;
    }
    None
}
