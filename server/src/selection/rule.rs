//! The rules as a configuration names them: `selection = "weighted"`, or a table with a rule's own keys.

use std::{fmt, ops::Deref};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{
        Error, MapAccess, Visitor,
        value::{MapAccessDeserializer, MapDeserializer},
    },
};

use super::{AvailabilityAware, Oort, PowerOfChoice, Select, Uniform, Weighted};

/// How a cohort is chosen among those available. In TOML: a name, or `{ rule = "oort", alpha = 1.0 }`.
// `remote` leaves the derived code to the implementations below, which also take a bare name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self", tag = "rule", rename_all = "kebab-case")]
#[expect(missing_docs, reason = "each says what it is")]
pub enum Rule {
    Uniform(Uniform),
    Weighted(Weighted),
    PowerOfChoice(PowerOfChoice),
    Oort(Oort),
    AvailabilityAware(AvailabilityAware),
}

impl Deref for Rule {
    type Target = dyn Select;

    fn deref(&self) -> &Self::Target {
        match self {
            Self::Uniform(it) => it,
            Self::Weighted(it) => it,
            Self::PowerOfChoice(it) => it,
            Self::Oort(it) => it,
            Self::AvailabilityAware(it) => it,
        }
    }
}

/// A rule that cannot work.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SelectionError {
    /// Fewer candidates than are to be selected among them.
    #[error("power-of-choice has {candidates} candidates, but {selected} clients are to be selected among them")]
    Candidates {
        /// The candidates.
        candidates: usize,
        /// Clients to select, over-selection included.
        selected: usize,
    },
    /// A key out of its range.
    #[error("{key} is {found}, but it must be {expected}")]
    Range {
        /// The key.
        key: &'static str,
        /// Its value.
        found: f64,
        /// Its range.
        expected: &'static str,
    },
}

impl Default for Rule {
    fn default() -> Self {
        Self::Uniform(Uniform {})
    }
}

impl Rule {
    /// Whether it is the default, which knows nothing of clients.
    #[must_use]
    pub fn is_uniform(&self) -> bool {
        *self == Self::Uniform(Uniform {})
    }
}

impl Serialize for Rule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for Rule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NameOrTable)
    }
}

struct NameOrTable;

impl<'de> Visitor<'de> for NameOrTable {
    type Value = Rule;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a rule, or a table such as { rule = \"oort\" }")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Rule, E> {
        Rule::deserialize(MapDeserializer::new([("rule", name)].into_iter()))
    }

    fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<Rule, A::Error> {
        Rule::deserialize(MapAccessDeserializer::new(table))
    }
}
