//! Experiments: from a TOML file and overrides to a validated description of what to run.
//!
//! [`Raw`] is the file, key by key; [`Experiment`] is what it means, with every cross-field rule checked.

mod clients;
mod codecs;
mod overrides;
mod raw;
mod source;
mod sweep;
mod validated;

pub use codecs::Codecs;
pub use overrides::Override;
pub use raw::{
    Attack, Availability, Budget, Cohort, Compression, Data, Define, Evaluate, Links, ModelChoice, Raw, Windows,
};
pub use source::Source;
pub use sweep::{Sweep, Variant};
pub use validated::{Experiment, ExperimentError};

#[cfg(test)]
mod tests;
