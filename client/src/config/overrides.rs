//! `--set a.b=v`: single keys from the command line.

use std::str::FromStr;

use toml::{Table, Value};

/// One key with its new value.
#[derive(Clone, Debug, PartialEq)]
pub struct Override {
    path: Vec<String>,
    value: Value,
}

impl Override {
    /// The dotted key.
    #[must_use]
    pub fn key(&self) -> String {
        self.path.join(".")
    }

    /// Sets the key in `table`, making the tables on its way.
    pub(super) fn apply(&self, table: &mut Table) -> Result<(), String> {
        let Some((last, way)) = self.path.split_last() else { return Ok(()) };
        let table = way.iter().try_fold(table, |table, key| {
            let next = table.entry(key).or_insert_with(|| Value::Table(Table::new()));
            next.as_table_mut().ok_or_else(|| format!("{key} is not a table in {}", self.key()))
        })?;
        table.insert(last.clone(), self.value.clone());
        Ok(())
    }
}

impl FromStr for Override {
    type Err = String;

    /// `a.b=v` with `v` as in TOML; what is not TOML is taken as a string, so an address needs no quotes.
    fn from_str(text: &str) -> Result<Self, String> {
        let (key, value) = text.split_once('=').ok_or_else(|| format!("{text:?} is not of the form key=value"))?;
        let path: Vec<_> = key.split('.').map(|part| part.trim().to_owned()).collect();
        if path.iter().any(String::is_empty) {
            return Err(format!("{key:?} is not a key; keys look like data.dataset"));
        }
        let parsed = format!("value = {value}").parse::<Table>().ok().and_then(|mut table| table.remove("value"));
        Ok(Self { path, value: parsed.unwrap_or_else(|| Value::String(value.trim().into())) })
    }
}
