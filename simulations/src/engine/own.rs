//! What clients have of the model for themselves: kept between their rounds, in memory and on disk as residuals are.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Mutex, PoisonError},
};

use nibble_learning::Evaluation;
use nibble_seed::{ClientId, Seed};

use super::{run::Run, vectors::Vectors};
use crate::{after, error::SimError, federation::Federation, results::OwnRow};

/// The personal tensors of all clients. A client that has not trained yet has those of the first model.
pub(super) struct Own {
    first: Vec<f32>,
    kept: Vectors,
}

impl Own {
    /// Those that a checkpoint names, below `dir`; `None` if the model is shared altogether.
    pub(super) fn restore(
        federation: &Federation,
        seed: Seed,
        dir: &Path,
        cap_bytes: u64,
        files: &BTreeMap<u64, u64>,
    ) -> Result<Option<Self>, SimError> {
        let Some(first) = federation.own_init(seed) else { return Ok(None) };
        Ok(Some(Self { first, kept: Vectors::restore(dir.join("own"), cap_bytes, files)? }))
    }

    pub(super) fn get(&self, client: ClientId) -> Result<Vec<f32>, SimError> {
        let kept = self.kept.get(client)?;
        Ok(if kept.is_empty() { self.first.clone() } else { kept })
    }

    pub(super) fn put(&mut self, client: ClientId, own: Vec<f32>) -> Result<(), SimError> {
        self.kept.put(client, own)
    }

    pub(super) fn save_all(&mut self) -> Result<BTreeMap<u64, u64>, SimError> {
        self.kept.save_all()
    }

    pub(super) fn checkpointed(&mut self, files: &BTreeMap<u64, u64>) -> Result<(), SimError> {
        self.kept.checkpointed(files)
    }
}

impl Run<'_> {
    /// The global model with what each client has for itself, on the samples that the client kept back: every client
    /// that has any, in order. `None` if the model is shared altogether.
    pub(super) fn evaluate_own(&mut self) -> Result<Option<Vec<Evaluation>>, SimError> {
        let Some(own) = &mut self.own else { return Ok(None) };
        let (own, global, held) = (Mutex::new(own), &self.progress.global, self.federation.held_out());
        let clients: Vec<usize> = (0..held.len()).filter(|&client| !held[client].is_empty()).collect();
        let evaluations = self.workers.each(&clients, |participant, &client| {
            let mut own = own.lock().unwrap_or_else(PoisonError::into_inner).get(ClientId(client as u64))?;
            participant.trainer().swap_own(&mut own);
            participant.trainer().evaluate_on(global, &held[client]).map_err(SimError::Evaluation)
        })?;
        Ok(Some(evaluations))
    }

    /// How good that is, client by client.
    ///
    /// # Errors
    /// If it cannot be evaluated.
    pub fn own_accuracies(&mut self) -> Result<Option<OwnRow>, SimError> {
        let Some(evaluations) = self.evaluate_own()? else { return Ok(None) };
        let [own_mean, own_p10] = after::spread(evaluations.iter().map(Evaluation::accuracy));
        let clients = evaluations.len() as u64;
        Ok(Some(OwnRow { clients, global_mean: f64::NAN, global_p10: f64::NAN, own_mean, own_p10 }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        experiment::{Experiment, Override, Source},
        results::RunResult,
    };

    fn experiment(sets: &[&str]) -> Experiment {
        let common = [
            "rounds=4",
            "model.name=mlp",
            "data.clients=12",
            "cohort.size=5",
            "data.partition={ kind = \"pathological\", classes_per_client = 2 }",
            "data.holdout=0.25",
        ];
        let overrides = common.iter().chain(sets).map(|set| set.parse::<Override>().unwrap()).collect();
        Source { file: None, overrides }.load().unwrap()
    }

    /// Plays a run, interrupted after each of its rounds if asked to.
    fn play(experiment: &Experiment, threads: usize, interrupted: bool) -> (RunResult, Option<OwnRow>) {
        let federation = Federation::load(experiment).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let open = || {
            let codecs = "int4+ef".parse().unwrap();
            Run::open(experiment, &federation, (codecs, Seed(3)), threads, dir.path()).unwrap()
        };
        let mut run = open();
        while !run.is_done() {
            run.step().unwrap();
            if interrupted {
                run.checkpoint().unwrap();
                run = open();
            }
        }
        let own = run.own_accuracies().unwrap();
        (run.result(), own)
    }

    #[test]
    fn what_is_personal_costs_no_bytes_serves_its_client_and_survives_interruptions() {
        let personal = experiment(&["local.personal=[\"fc3\"]"]);
        let (alone, own) = play(&personal, 1, false);
        let shared = play(&experiment(&[]), 1, false).0;
        let others = [
            play(&personal, 3, false),
            play(&personal, 2, true),
            play(&experiment(&["local.personal=[\"fc3\"]", "compression.residual_memory_mib=0"]), 1, true),
        ];
        for (other, other_own) in others {
            assert_eq!(other.summary.model_hash, alone.summary.model_hash);
            let accuracies = |run: &RunResult| run.rounds.iter().map(|row| row.accuracy).collect::<Vec<_>>();
            let means = |own: &Option<OwnRow>| own.as_ref().map(|own| (own.own_mean, own.own_p10));
            assert_eq!((accuracies(&other), means(&other_own)), (accuracies(&alone), means(&own)));
        }
        // fc3 has 2,010 of 199,210 parameters, and an update 4 bits and some for each.
        let saved = shared.summary.uplink_bytes_per_update - alone.summary.uplink_bytes_per_update;
        assert!((1_005.0..1_200.0).contains(&saved), "{saved}");
        let own = own.unwrap();
        assert_eq!(own.clients, 12);
        assert!(own.own_mean > 0.8, "two classes are told apart at once: {own:?}");
        assert!(alone.summary.final_accuracy > shared.summary.final_accuracy + 0.2, "{:?}", shared.summary);
    }

    #[test]
    fn a_tensor_that_is_none_is_named() {
        let error = Federation::load(&experiment(&["local.personal=[\"fc4\"]"])).err().unwrap().to_string();
        assert!(error.contains("local.personal") && error.contains("`fc4`") && error.contains("fc3.weight"), "{error}");
    }
}
