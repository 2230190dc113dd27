//! FedNova and q-FedAvg against their papers in numpy (`strategy/vectors/generate.py`).

use nibble_seed::ClientId;

use crate::aggregation::{Columns, Combination, Facts, Rule, geometry::Products};

#[test]
fn updates_weigh_what_the_papers_say() {
    let vectors: serde_json::Value = serde_json::from_str(include_str!("../../strategy/vectors/vectors.json")).unwrap();
    let floats = |name: &str| -> Vec<f64> {
        vectors["weighings"][name].as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect()
    };
    let told = floats("samples").into_iter().zip(floats("steps")).zip(floats("losses"));
    let facts: Vec<_> = (0..)
        .zip(told)
        .map(|(client, ((samples, steps), loss))| Facts {
            client: ClientId(client),
            samples: samples as u64,
            steps: steps as u64,
            loss: Some(loss),
            age: 0,
        })
        .collect();
    for (rule, name) in [
        (Rule::FedNova { momentum: 0.0 }, "fednova"),
        (Rule::FedNova { momentum: 0.9 }, "fednova, momentum 0.9"),
        (Rule::QFedAvg { q: 0.0, lr: 0.1 }, "qfedavg, q 0"),
        (Rule::QFedAvg { q: 2.0, lr: 0.1 }, "qfedavg, q 2"),
    ] {
        let Combination { shares, columns } = rule.combine(&facts, &Products::default(), &floats("norms"));
        assert_eq!(columns, Columns::Sum);
        for (found, expected) in shares.iter().zip(floats(name)) {
            assert!((found - expected).abs() < 1e-12 * expected.abs().max(1.0), "{name}: {found}, not {expected}");
        }
    }
}

#[test]
fn a_loss_that_is_0_missing_or_no_number_weighs_something_finite() {
    let facts = |loss| Facts { client: ClientId(0), samples: 1, steps: 1, loss, age: 0 };
    for loss in [Some(0.0), None, Some(f64::INFINITY), Some(-1.0)] {
        let rule = Rule::QFedAvg { q: 0.5, lr: 0.1 };
        let shares = rule.combine(&[facts(loss), facts(Some(1.0))], &Products::default(), &[0.0, 1e30]).shares;
        assert!(shares.iter().all(|share| share.is_finite()), "{loss:?}: {shares:?}");
    }
}
