//! A run computed again from what its store says, by the book and without any network.

use std::collections::{BTreeMap, BTreeSet};

use nibble_client::{Assignment, Participant};
use nibble_codec::{Layout, Outcome, Payload, Residual, Scheme};
use nibble_learning::SgdConfig;
use nibble_seed::{Purpose, RoundId, Seed};
use sha2::{Digest, Sha256};

use crate::{model, script::History};

/// A client as it should be.
struct Client {
    participant: Participant,
    residual: Residual,
    /// All that it ever learnt, and what of it was taken over.
    learnt: Vec<f64>,
    accepted: Vec<f64>,
}

/// A run as it should be.
pub(crate) struct Replay {
    seed: Seed,
    scheme: Scheme,
    layout: Layout,
    /// The current model.
    pub(crate) global: Vec<f32>,
    clients: BTreeMap<u64, Client>,
    /// The decoded updates of the current round that count, by client, with their samples and what age leaves of them.
    counted: BTreeMap<u64, (u64, f64, Vec<f32>)>,
}

impl Replay {
    pub(crate) fn new(history: &History) -> Self {
        let client = || {
            let zeros = vec![0.0; history.size.layout().coordinates()];
            Client {
                participant: Participant::new(model::Formula::boxed(history.size)).expect("the tensors make a layout"),
                residual: Residual::default(),
                learnt: zeros.clone(),
                accepted: zeros,
            }
        };
        let seed = Seed(history.seed);
        let clients = (0..history.clients).map(|number| (number, client())).collect();
        let scheme = history.scheme.parse().expect("a scheme that there is");
        Self {
            seed,
            scheme,
            layout: history.size.layout(),
            global: history.size.initial(seed),
            clients,
            counted: BTreeMap::new(),
        }
    }

    /// A client's part in a round. Gives the SHA-256 of its payload.
    pub(crate) fn take_part(
        &mut self,
        round: RoundId,
        cohort: &BTreeSet<u64>,
        number: u64,
        accepted: bool,
    ) -> [u8; 32] {
        let seeds = model::seeds(self.seed, round, cohort, number);
        let global = self.global.clone();
        self.train(round, &global, seeds, number, accepted.then_some(1.0))
    }

    /// A client's part where rounds do not wait: from `global`, the model of `round`, and if the update counts, as much of it as
    /// `counts` says.
    pub(crate) fn take_part_from(
        &mut self,
        round: RoundId,
        global: &[f32],
        number: u64,
        counts: Option<f64>,
    ) -> [u8; 32] {
        let rounding = self.seed.derive(Purpose::Rounding, round.0, number + 1);
        let seeds = (rounding, self.seed.derive(Purpose::BatchOrder, round.0, number));
        self.train(round, global, seeds, number, counts)
    }

    fn train(
        &mut self,
        round: RoundId,
        global: &[f32],
        (rounding, order): (Seed, Seed),
        number: u64,
        counts: Option<f64>,
    ) -> [u8; 32] {
        let accepted = counts.is_some();
        let (samples, sgd) = (model::samples(number), SgdConfig { batch: 1, ..SgdConfig::default() });
        let scheme = self.scheme;
        let assignment =
            Assignment { round, scheme, rounding, order, samples: &samples, sgd: &sgd, measure: false, control: None };
        let client = self.clients.get_mut(&number).expect("one of the clients");
        let residual = std::mem::take(&mut client.residual);
        let update = client.participant.perform(global, &assignment, residual, Vec::new());
        let update = update.expect("the formula gives finite numbers");
        add(&mut client.learnt, &model::delta(global, order));
        let payload = Payload::parse(&update.payload, &self.layout).expect("it was just made");
        if let Some(scale) = counts {
            let mut decoded = vec![0.0; self.layout.coordinates()];
            payload.decode(&mut decoded).expect("it has the layout's length");
            add(&mut client.accepted, &decoded);
            self.counted.insert(number, (update.report.samples, scale, decoded));
        }
        let outcome = if accepted { Outcome::Accepted(&payload) } else { Outcome::Returned };
        if let Some(intent) = update.intent {
            client.residual = intent.settle(outcome).expect("the payload is of this layout");
        }
        Sha256::digest(&update.payload).into()
    }

    /// The round ends: the sample-weighted mean of what counts, in the order of the clients and in f64, is added.
    pub(crate) fn end_round(&mut self) {
        let counted = std::mem::take(&mut self.counted);
        let total = counted.values().map(|(samples, ..)| *samples as f64).sum::<f64>();
        let mut mean = vec![0.0; self.global.len()];
        for (samples, scale, decoded) in counted.values() {
            let weight = *samples as f64 / total * scale;
            mean.iter_mut().zip(decoded).for_each(|(mean, value)| *mean += weight * f64::from(*value));
        }
        for (global, mean) in self.global.iter_mut().zip(mean) {
            *global = (f64::from(*global) + mean) as f32;
        }
    }

    /// What a client should have left over.
    pub(crate) fn residual(&self, client: u64) -> &[f32] {
        self.clients[&client].residual.values()
    }

    /// The largest difference, over coordinates, of what a client learnt and what was accepted of it or is in `residual`.
    pub(crate) fn lost_mass(&self, client: u64, residual: &[f32]) -> f64 {
        let Client { learnt, accepted, .. } = &self.clients[&client];
        let terms = learnt.iter().zip(accepted).zip(residual);
        terms.map(|((learnt, accepted), left)| (learnt - accepted - f64::from(*left)).abs()).fold(0.0, f64::max)
    }
}

fn add(sum: &mut [f64], values: &[f32]) {
    sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += f64::from(*value));
}
