//! The coordinator's configuration: raw keys, checked once into what the rest of the program takes for granted.
//!
//! Everything is read and checked before a port is bound. `docs/deploy.md` lists every key.

mod budget;
mod raw;
mod validated;

use std::{fs, path::Path};

pub use raw::{Data, Raw};
pub use validated::{Initial, Settings, SettingsError, TlsSettings};

impl Settings {
    /// Reads and checks a configuration file; `overrides` are `key.path=value` in TOML.
    ///
    /// # Errors
    /// With file, line and mend, if it cannot be read, a key is unknown, or a rule is broken.
    pub fn load(file: &Path, overrides: &[String]) -> Result<Self, SettingsError> {
        let text = fs::read_to_string(file).map_err(|error| SettingsError::File { file: file.into(), error })?;
        let syntax =
            |place: String| move |error: toml::de::Error| SettingsError::Syntax { place, error: error.to_string() };
        // Read as it stands first: only then do errors show the line.
        let raw: Raw = toml::from_str(&text).map_err(syntax(file.display().to_string()))?;
        let raw = match overrides {
            [] => raw,
            _ => {
                let mut table: toml::Table = toml::from_str(&text).map_err(syntax(file.display().to_string()))?;
                for each in overrides {
                    set(&mut table, each)?;
                }
                Raw::deserialize_from(table).map_err(syntax("--set".into()))?
            }
        };
        let base = file.parent().filter(|base| !base.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Settings::check(&raw, base).map_err(|error| error.found_in(file, &text))
    }
}

/// Applies `a.b=v`.
fn set(table: &mut toml::Table, assignment: &str) -> Result<(), SettingsError> {
    let wrong = |error: String| SettingsError::Syntax { place: format!("--set {assignment}"), error };
    let (path, value) = assignment.split_once('=').ok_or_else(|| wrong("write it as KEY=VALUE".into()))?;
    let value = match toml::from_str::<toml::Table>(&format!("value = {value}")) {
        Ok(mut parsed) => parsed.remove("value").ok_or_else(|| wrong("no value".into()))?,
        Err(_) => toml::Value::String(value.into()),
    };
    let (parents, key) = path.rsplit_once('.').map_or((None, path), |(parents, key)| (Some(parents), key));
    let mut at = table;
    for parent in parents.into_iter().flat_map(|parents| parents.split('.')) {
        let entry = at.entry(parent).or_insert_with(|| toml::Value::Table(toml::Table::new()));
        at = entry.as_table_mut().ok_or_else(|| wrong(format!("{parent} is not a table")))?;
    }
    at.insert(key.into(), value);
    Ok(())
}

#[cfg(test)]
mod tests;
