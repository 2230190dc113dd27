//! What the tests of the network share: a coordinator that follows a script, a network that breaks, and a small trainer.
#![allow(dead_code, unreachable_pub, unused_imports)] // every test file uses its own part of it

pub mod authority;
pub mod coordinator;
pub mod network;
pub mod trainer;

use std::{path::Path, sync::Arc};

use nibble_client::{
    agent::{Agent, AgentConfig, Training},
    link::{Credentials, Dial, Link},
    state::Store,
};
use nibble_seed::{ClientId, Seed};

pub use coordinator::{Coordinator, Script};
pub use network::{Cut, Network};
pub use trainer::Toy;

/// The client that all of these tests are about.
pub const CLIENT: ClientId = ClientId(3);

/// An agent that trains inline, in the state of `dir`.
pub fn agent(dir: &Path, dial: Arc<dyn Dial>) -> Agent {
    agent_that_trains(Training::Inline, dir, dial)
}

/// An agent in the state of `dir`.
pub fn agent_that_trains(training: Training, dir: &Path, dial: Arc<dyn Dial>) -> Agent {
    let address = "http://127.0.0.1:1".parse().unwrap();
    let link = Link::with_dial(address, Credentials::Insecure(CLIENT), dial).unwrap();
    let mut config = AgentConfig::new(Seed(7));
    config.training = training;
    Agent::new(config, link, Store::open(dir).unwrap(), Toy::source, trainer::SAMPLES.to_vec())
}
