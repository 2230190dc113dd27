//! What the tests of the network share: a coordinator that follows a script, a network that breaks, and a small trainer.
#![allow(dead_code, unreachable_pub, unused_imports)] // every test file uses its own part of it

pub mod authority;
pub mod coordinator;
pub mod network;
pub mod trainer;

use std::{path::Path, sync::Arc};

use nibble_client::{
    Assignment, Participant,
    agent::{Agent, AgentConfig, Training},
    link::{Credentials, Dial, Link},
    state::Store,
};
use nibble_codec::{Outcome, Payload, Residual};
use nibble_learning::{SgdConfig, Trainer};
use nibble_proto::v1;
use nibble_seed::{ClientId, RoundId, Seed};

pub use coordinator::{Coordinator, Deltas, Script};
pub use network::{Cut, Network};
pub use trainer::Toy;

/// The client that all of these tests are about.
pub const CLIENT: ClientId = ClientId(3);

/// What the core alone makes of a script: the payload of every round, and the residual after the last.
pub fn core(script: &Script, trainer: Box<dyn Trainer>, samples: &[u32]) -> (Vec<Vec<u8>>, Vec<f32>) {
    let mut participant = Participant::new(trainer).unwrap();
    let (sgd, layout) = (SgdConfig { batch: 2, ..SgdConfig::default() }, script.layout());
    let (mut payloads, mut residual) = (Vec::new(), Residual::default());
    for (round, outcome) in (0..).zip(&script.outcomes) {
        let (rounding, order) = (script.rounding(round), script.order(round));
        let assignment = Assignment {
            round: RoundId(round),
            scheme: script.scheme(),
            rounding,
            order,
            samples,
            sgd: &sgd,
            measure: false,
            control: None,
        };
        let update = participant.perform(&script.model(round), &assignment, residual, Vec::new()).unwrap();
        let payload = Payload::parse(&update.payload, &layout).unwrap();
        let accepted = *outcome == v1::Outcome::Accepted;
        let settlement = if accepted { Outcome::Accepted(&payload) } else { Outcome::Returned };
        residual = update.intent.map_or_else(Residual::default, |intent| intent.settle(settlement).unwrap());
        payloads.push(update.payload);
    }
    (payloads, residual.into_values())
}

/// Holds what arrived, and what is left in `state`, against the core.
pub fn check(expected: &(Vec<Vec<u8>>, Vec<f32>), coordinator: &Coordinator, state: &Path) {
    let arrived: Vec<_> = coordinator.log().arrived.values().map(|(payload, _)| payload.clone()).collect();
    assert!(arrived == expected.0, "the payloads are those of the core, bit for bit");
    let (summary, vector) = Store::peek(state).unwrap().unwrap();
    assert!(summary.pending.is_none() && vector == expected.1, "the residual is that of the core, bit for bit");
}

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
