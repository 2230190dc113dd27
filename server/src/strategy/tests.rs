//! Optimisers against the papers' pseudocode in numpy (`vectors/generate.py`), and keys that do not go together.

use nibble_codec::{Coding, Encoder, Layout, Payload, PayloadId};
use nibble_seed::{ClientId, RoundId, Seed};

use super::*;
use crate::{
    aggregation::{self, Aggregate, Contribution, Facts, Mean, MeanPerStep, NormBound, Rule, Weights},
    policy::Policy,
};

const AROUND: Around<'_> = Around { aggregation: &PLAIN, local: (0.1, 0.0), clients: (2, Some(8)), policies: &[] };
const PLAIN: aggregation::Keys = aggregation::Keys {
    rule: String::new(),
    weights: None,
    cut: None,
    attackers: None,
    keep: None,
    radius: None,
    iterations: None,
    norm_bound: aggregation::NormBound::Medians(3.0),
};

fn floats(value: &serde_json::Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect()
}

fn keys(name: &str) -> Keys {
    Keys { name: name.into(), ..Keys::default() }
}

fn strategy(keys: &Keys) -> Strategy {
    keys.check(Around { aggregation: &aggregation::Keys::default(), ..AROUND }).unwrap()
}

/// Changes a model by one round's only update.
fn fold(strategy: Strategy, layout: &Layout, update: &[f32], global: &mut [f32], memories: &mut [f32]) {
    let mut payload = Vec::new();
    let id = PayloadId { round: RoundId(0), seed: Seed(0) };
    Encoder::new(Coding::Fp32.into()).encode(layout, update, id, &mut payload).unwrap();
    let facts = Facts { client: ClientId(0), samples: 1, steps: 1, loss: None, age: 0 };
    let contribution = Contribution { facts, chunks: Payload::parse(&payload, layout).unwrap() };
    let aggregate = Aggregate::new(vec![contribution]).unwrap();
    let folding = Folding { aggregate: &aggregate, strategy, lr: 0.1, sent: &[] };
    let mut scratch = Default::default();
    for mut tile in tiles(layout, aggregate.together(layout, 1), global, memories) {
        folding.change(&mut tile, &mut scratch).unwrap();
    }
}

#[test]
fn every_optimizer_does_what_its_paper_says() {
    let vectors: serde_json::Value = serde_json::from_str(include_str!("vectors/vectors.json")).unwrap();
    let with_lr = |keys: Keys| Keys { lr: Some(0.1), ..keys };
    let all = [
        ("fedavg", keys("fedavg")),
        ("fedavgm", Keys { lr: Some(0.5), momentum: Some(0.9), ..keys("fedavgm") }),
        ("fedadagrad", with_lr(keys("fedadagrad"))),
        ("fedadam", with_lr(keys("fedadam"))),
        ("fedyogi", with_lr(keys("fedyogi"))),
    ];
    for (name, keys) in all {
        let strategy = strategy(&keys);
        let mut global: Vec<f32> = floats(&vectors["start"]).iter().map(|value| *value as f32).collect();
        let mut memories = vec![0.0f32; strategy.memories() * global.len()];
        let layout = Layout::new([("w", vec![global.len()])]).unwrap();
        let rounds = vectors["updates"].as_array().unwrap().iter().zip(vectors["optimizers"][name].as_array().unwrap());
        for (update, expected) in rounds {
            let update: Vec<_> = floats(update).iter().map(|value| *value as f32).collect();
            fold(strategy, &layout, &update, &mut global, &mut memories);
            for (found, expected) in global.iter().zip(floats(expected)) {
                let near = (f64::from(*found) - expected).abs() <= 1e-5 * expected.abs().max(1.0);
                assert!(near, "{name}: {found}, not {expected}");
            }
        }
    }
}

#[test]
fn a_model_of_several_chunks_has_all_of_them_changed_with_their_own_memories() {
    let layout = Layout::new([("w", vec![200_001])]).unwrap();
    let adam = strategy(&keys("fedadam"));
    let (mut global, mut memories) = (vec![0.0; 200_001], vec![0.0; 400_002]);
    let update: Vec<_> = (0..200_001u32).map(|at| (at % 7) as f32 - 3.0).collect();
    (0..2).for_each(|_| fold(adam, &layout, &update, &mut global, &mut memories));
    assert!(global[0] < 0.0 && global[3] == 0.0 && global[6] > 0.0, "{:?}", &global[..7]);
    for at in (0..200_001).skip(7) {
        assert_eq!(global[at], global[at % 7], "{at}");
        assert_eq!([memories[at], memories[200_001 + at]], [memories[at % 7], memories[200_001 + at % 7]], "{at}");
    }
}

#[test]
fn keys_that_do_not_go_together_say_so() {
    let refused = |keys: Keys, aggregation: aggregation::Keys| {
        keys.check(Around { aggregation: &aggregation, ..AROUND }).unwrap_err().to_string()
    };
    let mean = aggregation::Keys::default;
    let robust = aggregation::Keys { rule: "median".into(), ..mean() };
    for (error, part) in [
        (refused(keys("fedsgd"), mean()), "there are fedavg, fedavgm"),
        (refused(Keys { mu: Some(0.1), ..keys("fedavg") }, mean()), "belongs to fedprox"),
        (refused(Keys { lr: Some(0.5), ..keys("qfedavg") }, mean()), "strategy.lr"),
        (refused(Keys { lr: Some(0.0), ..keys("fedadam") }, mean()), "set it above 0"),
        (refused(Keys { momentum: Some(1.0), ..keys("fedavgm") }, mean()), "below 1"),
        (refused(Keys { q: Some(-1.0), ..keys("qfedavg") }, mean()), "strategy.q"),
        (refused(Keys { mu: Some(1e-60), ..keys("fedprox") }, mean()), "strategy.mu"),
        (refused(keys("fednova"), robust.clone()), "leave aggregation.rule"),
    ] {
        assert!(error.contains(part), "{error}");
    }
    let adam = keys("fedadam").check(Around { aggregation: &robust, ..AROUND });
    assert_eq!(adam.unwrap().rule(), None, "an optimiser goes with every rule");
    let prox = Keys { mu: Some(0.5), ..keys("fedprox") }.check(Around { aggregation: &robust, ..AROUND }).unwrap();
    assert_eq!(prox, Strategy::FedProx(FedProx { server: FedAvg { lr: 1.0 }, mu: 0.5 }));
    let nova = keys("fednova").check(Around { aggregation: &mean(), local: (0.1, 0.9), ..AROUND }).unwrap();
    assert_eq!(nova.rule(), Some(Rule::FedNova(MeanPerStep { momentum: 0.9 })));
}

#[test]
fn control_variates_refuse_what_would_part_the_two_ends() {
    let unbounded = aggregation::Keys { norm_bound: NormBound::Word("off".into()), ..Default::default() };
    let around = Around { aggregation: &unbounded, ..AROUND };
    let scaffold = keys("scaffold").check(around).unwrap();
    assert_eq!(scaffold.rule(), Some(Rule::Mean(Mean { weights: Weights::Equal })));
    let downlink = "auto:1".parse().unwrap();
    assert_eq!(scaffold, Strategy::Scaffold(Scaffold { lr: 1.0, clients: 8, downlink }));
    let dynamic = Keys { alpha: Some(0.5), clients: Some(9), ..keys("feddyn") }.check(around).unwrap();
    assert_eq!(dynamic, Strategy::FedDyn(FedDyn { alpha: 0.5, clients: 9 }));
    assert_eq!((dynamic.proximal(), dynamic.control().unwrap().gain), (0.5, Gain::Times(0.5)));
    let bounded = aggregation::Keys::default();
    let weighed = aggregation::Keys { weights: Some("samples".into()), ..unbounded.clone() };
    let policies = |scheme: &str| [scheme.parse::<Policy>().unwrap()];
    let fed_back = policies("auto:0.1+ef");
    assert!(keys("scaffold").check(Around { policies: &fed_back, ..around }).is_ok());
    let sparse = policies("auto:0.5");
    for (keys, around, part) in [
        (keys("feddyn"), Around { policies: &sparse, ..around }, "write +ef"),
        (keys("scaffold"), Around { aggregation: &bounded, ..around }, "aggregation.norm_bound to \"off\""),
        (keys("feddyn"), Around { aggregation: &weighed, ..around }, "leave aggregation.rule"),
        (keys("scaffold"), Around { local: (0.1, 0.9), ..around }, "local.momentum"),
        (keys("feddyn"), Around { clients: (2, None), ..around }, "strategy.clients: feddyn must know"),
        (Keys { clients: Some(1), ..keys("feddyn") }, around, "1 clients in all, but a round selects 2"),
        (Keys { control: Some("int8+ef".into()), ..keys("scaffold") }, around, "strategy.control"),
        (Keys { control: Some("int9".into()), ..keys("scaffold") }, around, "strategy.control"),
        (Keys { control: Some("int8".into()), ..keys("feddyn") }, around, "belongs to scaffold"),
        (Keys { clients: Some(9), ..keys("fedavg") }, around, "belongs to scaffold, feddyn"),
    ] {
        let error = keys.check(around).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}
