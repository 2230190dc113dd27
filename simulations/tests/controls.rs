//! SCAFFOLD and FedDyn, both ends and real payloads, against the papers' pseudocode in numpy
//! (`server/src/strategy/vectors/generate.py`) on clients with quadratic losses.
#![allow(clippy::unwrap_used)]

use std::{collections::BTreeMap, ops::Range};

use nibble_client::{Assignment, Control, Gain, Participant};
use nibble_codec::{Payload, Residual};
use nibble_learning::{Evaluation, LearningError, SgdConfig, Task, TensorSpec, TrainReport, Trainer};
use nibble_seed::{ClientId, RoundId, Seed};
use nibble_server::{
    Aggregate, Contribution, Facts, aggregation,
    strategy::{self, Around, Folding, Keys},
};

/// One client's loss, 1/2 (y - b)^T A (y - b), whose gradient steps are exact.
struct Quadratic {
    tensors: Vec<TensorSpec>,
    a: Vec<f64>,
    b: Vec<f64>,
}

impl Trainer for Quadratic {
    fn tensors(&self) -> &[TensorSpec] {
        &self.tensors
    }

    fn init(&self, _: Seed) -> Vec<f32> {
        vec![0.0; self.a.len()]
    }

    fn train(&mut self, global: &[f32], mut task: Task<'_>, delta: &mut [f32]) -> Result<TrainReport, LearningError> {
        let (mut y, steps) = (global.to_vec(), task.sgd.steps_on(task.samples.len()));
        for step in 0..steps {
            let slope = |i: usize| (self.a[i] * (f64::from(y[i]) - self.b[i])) as f32;
            let mut gradient: Vec<_> = (0..y.len()).map(slope).collect();
            if let Some(hook) = &mut task.hook {
                hook.on_step(step, &y, &mut gradient);
            }
            for ((y, gradient), global) in y.iter_mut().zip(gradient).zip(global) {
                *y -= task.sgd.lr * (gradient + task.sgd.proximal * (*y - global));
            }
        }
        delta.iter_mut().zip(y.iter().zip(global)).for_each(|(delta, (y, global))| *delta = y - global);
        Ok(TrainReport { samples: task.samples.len() as u64, steps, mean_loss: 0.0 })
    }

    fn evaluate(&mut self, _: &[f32], _: Range<usize>) -> Result<Evaluation, LearningError> {
        Ok(Evaluation::default())
    }
}

fn floats(value: &serde_json::Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect()
}

fn indices(value: &serde_json::Value) -> Vec<usize> {
    value.as_array().unwrap().iter().map(|value| value.as_u64().unwrap() as usize).collect()
}

/// Plays the vectors' rounds; gives the model after each, and the server's control variate and the clients' in the end.
#[allow(clippy::type_complexity)]
fn play(
    keys: &Keys,
    scheme: &str,
    vectors: &serde_json::Value,
) -> (Vec<Vec<f32>>, Vec<f32>, BTreeMap<usize, Vec<f32>>) {
    let problem = &vectors["controls"];
    let unbounded = aggregation::Keys { norm_bound: aggregation::NormBound::Word("off".into()), ..Default::default() };
    let around = Around { aggregation: &unbounded, local: (0.1, 0.0), clients: (2, Some(4)), policies: &[] };
    let strategy = keys.check(around).unwrap();
    let aggregation = aggregation::Aggregation { rule: strategy.rule().unwrap(), norm_bound: None, staleness: 0.0 };
    let control = strategy.control().unwrap();
    let mut global: Vec<f32> = floats(&vectors["start"]).iter().map(|value| *value as f32).collect();
    let participant = |client: usize| {
        let tensors = vec![TensorSpec { name: "w".into(), shape: vec![5] }];
        let (a, b) = (floats(&problem["A"][client]), floats(&problem["b"][client]));
        Participant::new(Box::new(Quadratic { tensors, a, b })).unwrap()
    };
    let layout = participant(0).layout().clone();
    let steps = indices(&problem["steps"]);
    let mut memories = vec![0.0; strategy.memories() * global.len()];
    let (mut own, mut models) = (BTreeMap::<usize, Vec<f32>>::new(), Vec::new());
    for (round, cohort) in (0..).map(RoundId).zip(problem["rounds"].as_array().unwrap()) {
        let published = control.publish(&layout, &memories, (Seed(1), round)).unwrap();
        let server = published.as_ref().map_or(&[][..], |published| &published.values);
        let mut payloads = Vec::new();
        for client in indices(cohort) {
            let sgd = SgdConfig {
                batch: 1,
                lr: 0.1,
                steps: Some(steps[client] as u32),
                proximal: strategy.proximal(),
                ..SgdConfig::default()
            };
            let mine = own.remove(&client).unwrap_or_default();
            let correction = Control { own: &mine, server };
            let assignment = Assignment {
                round,
                scheme: scheme.parse().unwrap(),
                rounding: Seed(round.0 * 10 + client as u64),
                order: Seed(0),
                samples: &[0],
                sgd: &sgd,
                measure: false,
                control: Some(correction),
            };
            let residual = Residual::from_values(Vec::new(), &layout).unwrap();
            let update = participant(client).perform(&global, &assignment, residual, Vec::new()).unwrap();
            let gain = match control.gain {
                strategy::Gain::PerStep => Gain::PerStep,
                strategy::Gain::Times(times) => Gain::Times(times),
            };
            let payload = Payload::parse(&update.payload, &layout).unwrap();
            let moved = correction.after((gain, update.report.steps, 0.1), &payload, &layout).unwrap();
            own.insert(client, moved);
            payloads.push((client, update.payload));
        }
        let contribution = |(client, payload)| Contribution {
            facts: Facts {
                client: ClientId(client as u64),
                samples: 1,
                steps: steps[client] as u64,
                loss: None,
                age: 0,
            },
            chunks: Payload::parse(payload, &layout).unwrap(),
        };
        let contributions = payloads.iter().map(|(client, payload)| contribution((*client, payload))).collect();
        let aggregate = Aggregate::new(contributions).unwrap().under(&aggregation, &layout, 1).unwrap();
        let folding = Folding { aggregate: &aggregate, strategy, lr: 0.1, sent: server };
        for mut tile in strategy::tiles(&layout, aggregate.together(&layout, 1), &mut global, &mut memories) {
            folding.change(&mut tile, &mut Default::default()).unwrap();
        }
        models.push(global.clone());
    }
    (models, memories, own)
}

fn keys(name: &str) -> Keys {
    match name {
        "scaffold" => Keys { name: name.into(), lr: Some(0.7), control: Some("fp32".into()), ..Keys::default() },
        _ => Keys { name: name.into(), alpha: Some(0.3), ..Keys::default() },
    }
}

fn vectors() -> serde_json::Value {
    serde_json::from_str(include_str!("../../server/src/strategy/vectors/vectors.json")).unwrap()
}

#[test]
fn both_ends_together_do_what_the_papers_say() {
    let vectors = vectors();
    for name in ["scaffold", "feddyn"] {
        let (models, ..) = play(&keys(name), "fp32", &vectors);
        for (round, (model, expected)) in models.iter().zip(vectors["controls"][name].as_array().unwrap()).enumerate() {
            for (found, expected) in model.iter().zip(floats(expected)) {
                let near = (f64::from(*found) - expected).abs() <= 1e-5 * expected.abs().max(1.0);
                assert!(near, "{name}, round {round}: {found}, not {expected}");
            }
        }
    }
}

#[test]
fn the_servers_vector_stays_what_the_clients_make_of_it_whatever_payloads_leave_out() {
    let vectors = vectors();
    for name in ["scaffold", "feddyn"] {
        for scheme in ["int8", "int2", "auto:1", "int2+ef", "auto:0.1+ef"] {
            let keys = match name {
                "scaffold" => Keys { control: Some("int2".into()), ..keys(name) },
                _ => keys(name),
            };
            let (_, server, own) = play(&keys, scheme, &vectors);
            for coordinate in 0..5 {
                let mean = (0..4).map(|client| f64::from(own[&client][coordinate])).sum::<f64>() / 4.0;
                let near = (f64::from(server[coordinate]) - mean).abs() <= 1e-4 * mean.abs().max(1.0);
                assert!(near, "{name}, {scheme}: {} and {mean}", server[coordinate]);
            }
        }
    }
}
