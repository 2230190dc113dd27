//! What is measured of a run's last model: in integers, and on what each client kept back, before and after fine-tuning.
//!
//! Fine-tuning is what Wang, Mathews, Kiddon, Eichner, Beaufays, Ramage ("Federated evaluation of on-device
//! personalization", 2019) measure: every client trains the model on its own samples, with the run's settings and its base
//! learning rate, and is evaluated on samples of its own that nobody trained on. Nothing of it reaches the model.

use nibble_learning::{LearningError, SgdConfig, Task, Trainer};
use nibble_seed::{Purpose, Seed};

use crate::{
    engine::Workers,
    error::SimError,
    experiment::Experiment,
    federation::Federation,
    results::{After, OwnRow, QuantisedRow},
};

/// Training samples, evenly spread over the data set, whose activations say how far integers have to reach.
const CALIBRATION: usize = 256;

/// Measures what `experiment` asks for of the model `global`, which is empty if no round has ended.
///
/// # Errors
/// If the model cannot be evaluated, or a client cannot train it.
pub(crate) fn measure(
    experiment: &Experiment,
    federation: &Federation,
    global: &[f32],
    seed: Seed,
    threads: usize,
) -> Result<After, SimError> {
    let epochs = experiment.raw.evaluate.as_ref().map_or(0, |keys| keys.fine_tune_epochs);
    if global.is_empty() || (experiment.quantised.is_empty() && epochs == 0) {
        return Ok(After::default());
    }
    let mut workers = Workers::new(federation, threads)?;
    let (training, test) = (federation.dataset().train.len(), federation.dataset().test.len());
    let count = CALIBRATION.min(training);
    let calibration: Vec<u32> = (0..count).map(|i| (i * training / count) as u32).collect();
    let mut after = After::default();
    for &format in &experiment.quantised {
        let evaluation =
            workers.over(test, |trainer, range| trainer.evaluate_quantised(global, format, &calibration, range))?;
        after.quantised.push(QuantisedRow { format: format.to_string(), accuracy: evaluation.accuracy() });
    }
    if epochs > 0 {
        after.own = Some(fine_tune(experiment, federation, global, (seed, epochs), &mut workers)?);
    }
    Ok(after)
}

fn fine_tune(
    experiment: &Experiment,
    federation: &Federation,
    global: &[f32],
    (seed, epochs): (Seed, u32),
    workers: &mut Workers,
) -> Result<OwnRow, SimError> {
    let sgd = SgdConfig { epochs, steps: None, ..experiment.sgd.clone() };
    let (samples, held) = (&federation.assignment().clients, federation.held_out());
    let clients: Vec<usize> = (0..held.len()).filter(|&client| !held[client].is_empty()).collect();
    let accuracies = workers.each(&clients, |participant, &client| {
        let trainer = participant.trainer();
        // A round of its own, past the last.
        let order = seed.derive(Purpose::BatchOrder, experiment.raw.rounds, client as u64);
        let task = Task { samples: &samples[client], sgd: &sgd, order, hook: None };
        both(trainer, global, task, &held[client]).map_err(SimError::Evaluation)
    })?;
    let ([global_mean, global_p10], [own_mean, own_p10]) =
        (spread(accuracies.iter().map(|both| both[0])), spread(accuracies.iter().map(|both| both[1])));
    Ok(OwnRow { clients: clients.len() as u64, global_mean, global_p10, own_mean, own_p10 })
}

/// Accuracy on a client's own samples of the global model, and of what it makes of it.
fn both(trainer: &mut dyn Trainer, global: &[f32], task: Task<'_>, held: &[u32]) -> Result<[f64; 2], LearningError> {
    let before = trainer.evaluate_on(global, held)?;
    let mut own = vec![0.0; global.len()];
    trainer.train(global, task, &mut own)?;
    own.iter_mut().zip(global).for_each(|(own, global)| *own += global);
    Ok([before.accuracy(), trainer.evaluate_on(&own, held)?.accuracy()])
}

/// Mean, and the least value that a tenth of them does not exceed (the nearest rank); NaN of nothing.
pub(crate) fn spread(values: impl Iterator<Item = f64>) -> [f64; 2] {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let rank = values.len().div_ceil(10).max(1);
    [values.iter().sum::<f64>() / values.len() as f64, values.get(rank - 1).copied().unwrap_or(f64::NAN)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::{Override, Source};

    fn measured(sets: &[&str], threads: usize) -> After {
        let overrides = sets.iter().map(|set| set.parse::<Override>().unwrap()).collect();
        let experiment = Source { file: None, overrides }.load().unwrap();
        let federation = Federation::load(&experiment).unwrap();
        let mut trainer = federation.trainer();
        let (start, all): (_, Vec<u32>) = (trainer.init(Seed(1)), (0..2000).collect());
        let mut model = vec![0.0; start.len()];
        let sgd = SgdConfig { lr: 0.05, ..SgdConfig::default() };
        let task = Task { samples: &all, sgd: &sgd, order: Seed(2), hook: None };
        trainer.train(&start, task, &mut model).unwrap();
        model.iter_mut().zip(&start).for_each(|(model, start)| *model += start);
        measure(&experiment, &federation, &model, Seed(3), threads).unwrap()
    }

    #[test]
    fn fine_tuning_helps_clients_that_are_alike_in_themselves_and_threads_change_nothing() {
        let sets = [
            "model.name=logreg",
            "data.clients=20",
            "data.partition={ kind = \"dirichlet\", alpha = 0.1 }",
            "data.holdout=0.3",
            "evaluate.fine_tune_epochs=2",
            "evaluate.quantised=[\"int8\", \"int4-weights\"]",
        ];
        let after = measured(&sets, 1);
        assert_eq!(after, measured(&sets, 3));
        let own = after.own.unwrap();
        assert!(own.clients > 10 && own.own_mean > own.global_mean + 0.02, "{own:?}");
        assert!(own.own_p10 <= own.own_mean && own.global_p10 <= own.global_mean);
        let names: Vec<_> = after.quantised.iter().map(|row| row.format.as_str()).collect();
        assert_eq!(names, ["int8", "int4-weights"]);
        assert!(after.quantised.iter().all(|row| row.accuracy > 0.5), "{:?}", after.quantised);
    }

    #[test]
    fn what_is_not_asked_for_is_not_there() {
        assert_eq!(measured(&["model.name=logreg"], 1), After::default());
    }

    #[test]
    fn a_tenth_is_the_nearest_rank() {
        assert_eq!(spread((1..=20).map(f64::from)), [10.5, 2.0]);
        assert_eq!(spread([3.0, 1.0].into_iter()), [2.0, 1.0]);
        assert!(spread(std::iter::empty()).iter().all(|value| value.is_nan()));
    }
}
