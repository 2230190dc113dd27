//! `--set a.b=v`: single keys of an experiment from the command line.

use std::str::FromStr;

use toml::{Table, Value};

/// One key with its new value.
#[derive(Clone, Debug, PartialEq)]
pub struct Override {
    path: Vec<String>,
    value: Value,
    /// The flag that stands for the key, where it was not `--set`.
    flag: Option<&'static str>,
}

impl Override {
    /// The key `path`, dotted, set to `value`.
    #[must_use]
    pub fn new(path: &str, value: impl Into<Value>) -> Self {
        Self { path: path.split('.').map(String::from).collect(), value: value.into(), flag: None }
    }

    /// The same as given by `flag`, which errors then name.
    #[must_use]
    pub fn by(self, flag: &'static str) -> Self {
        Self { flag: Some(flag), ..self }
    }

    /// What the user typed to set it.
    #[must_use]
    pub fn place(&self) -> String {
        self.flag.map_or_else(|| format!("--set {}", self.key()), String::from)
    }

    /// The dotted key.
    #[must_use]
    pub fn key(&self) -> String {
        self.path.join(".")
    }

    /// Sets the key in `table`, making the tables on its way.
    ///
    /// # Errors
    /// If something on the way is not a table; the text says what.
    pub fn apply(&self, table: &mut Table) -> Result<(), String> {
        let Some((last, way)) = self.path.split_last() else { return Ok(()) };
        let mut table = table;
        for key in way {
            let next = table.entry(key.clone()).or_insert_with(|| Value::Table(Table::new()));
            table = next.as_table_mut().ok_or_else(|| format!("{key} is not a table in {}", self.key()))?;
        }
        table.insert(last.clone(), self.value.clone());
        Ok(())
    }
}

impl FromStr for Override {
    type Err = String;

    /// `a.b=v` with `v` as in TOML; what is not TOML is taken as a string, so `model.name=cnn` needs no quotes.
    fn from_str(text: &str) -> Result<Self, String> {
        let (key, value) = text.split_once('=').ok_or_else(|| format!("{text:?} is not of the form key=value"))?;
        if key.split('.').any(|part| part.trim().is_empty()) {
            return Err(format!("{key:?} is not a key; keys look like local.lr"));
        }
        let parsed = format!("value = {value}").parse::<Table>().ok().and_then(|mut table| table.remove("value"));
        Ok(Self::new(key.trim(), parsed.unwrap_or_else(|| Value::String(value.trim().into()))))
    }
}
