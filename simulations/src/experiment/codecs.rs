//! How one run's models and updates travel.

use std::{fmt, str::FromStr};

use nibble_codec::Scheme;
use nibble_server::policy::{Policy, PolicyError};

/// The policy of updates and the scheme of models. Written `UP` or `UP/DOWN`, e.g. `int4`, `auto:0.25@ascending/auto:1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Codecs {
    /// Of updates.
    pub up: Policy,
    /// Of the model's changes; without one the model goes out whole, in fp32.
    pub down: Option<Scheme>,
}

impl FromStr for Codecs {
    type Err = PolicyError;

    fn from_str(text: &str) -> Result<Self, PolicyError> {
        Ok(match text.split_once('/') {
            Some((up, down)) => Self { up: up.parse()?, down: Some(down.parse().map_err(PolicyError::Scheme)?) },
            None => Self { up: text.parse()?, down: None },
        })
    }
}

impl fmt::Display for Codecs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.down {
            Some(down) => f.pad(&format!("{}/{down}", self.up)),
            None => f.pad(&self.up.to_string()),
        }
    }
}
