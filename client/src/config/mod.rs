//! The client's configuration: from a TOML file and overrides to a validated description of what to run.
//!
//! [`Raw`] is the file, key by key; [`Config`] is what it means. Everything is checked before a connection is made.

mod error;
mod overrides;
mod raw;
mod source;
mod validated;

pub use error::ConfigError;
pub use overrides::Override;
pub use raw::{Data, Raw, Share};
pub use source::Source;
pub use validated::{Config, Coordinator};

#[cfg(test)]
mod tests;
