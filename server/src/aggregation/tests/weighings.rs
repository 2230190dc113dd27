//! FedNova and q-FedAvg against their papers in numpy (`strategy/vectors/generate.py`), and what age does.

use nibble_codec::{Layout, Payload};
use nibble_seed::ClientId;

use super::{all_of, payload};
use crate::aggregation::{
    Aggregate, Aggregation, Columns, Combination, Contribution, Facts, FairMean, Known, Mean, MeanPerStep, Rule,
    Weights, geometry::Products,
};

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
        (Rule::FedNova(MeanPerStep { momentum: 0.0 }), "fednova"),
        (Rule::FedNova(MeanPerStep { momentum: 0.9 }), "fednova, momentum 0.9"),
        (Rule::QFedAvg(FairMean { q: 0.0, lr: 0.1 }), "qfedavg, q 0"),
        (Rule::QFedAvg(FairMean { q: 2.0, lr: 0.1 }), "qfedavg, q 2"),
    ] {
        let Combination { shares, columns } =
            rule.combine(&Known { facts: &facts, products: &Products::default(), norms: &floats("norms") });
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
        let rule = Rule::QFedAvg(FairMean { q: 0.5, lr: 0.1 });
        let (facts, products) = ([facts(loss), facts(Some(1.0))], Products::default());
        let shares = rule.combine(&Known { facts: &facts, products: &products, norms: &[0.0, 1e30] }).shares;
        assert!(shares.iter().all(|share| share.is_finite()), "{loss:?}: {shares:?}");
    }
}

#[test]
fn an_older_update_counts_less_and_is_measured_as_it_came() {
    let layout = Layout::new([("w", vec![2])]).unwrap();
    let updates = [[1.0, 2.0], [-3.0, 4.0], [0.5, 0.5], [60.0, 0.0]];
    let payloads: Vec<_> = updates.iter().map(|update| payload(&layout, update)).collect();
    let ages = [0, 3, 8, 0];
    let contributions = (0..).zip(&payloads).zip(ages).map(|((client, payload), age)| Contribution {
        facts: Facts { client: ClientId(client), samples: 1, steps: 1, loss: None, age },
        chunks: Payload::parse(payload, &layout).unwrap(),
    });
    let aggregation =
        Aggregation { rule: Rule::Mean(Mean { weights: Weights::Equal }), norm_bound: Some(2.0), staleness: 0.5 };
    let aggregate = Aggregate::new(contributions.collect()).unwrap().under(&aggregation, &layout, 1).unwrap();
    // Norms are √5, 5, √½ and 60, their median is (√5 + 5) / 2, and twice that is the bound.
    let bound = 5f64.sqrt() + 5.0;
    let scales: Vec<_> = aggregate.scales().map(|(_, scale)| scale).collect();
    for (found, expected) in scales.iter().zip([1.0, 0.5, 1.0 / 3.0, bound / 60.0]) {
        assert!((found - expected).abs() < 1e-12, "{scales:?}");
    }
    let mean = all_of(&aggregate, &layout);
    assert!((mean[1] - (2.0 + 0.5 * 4.0 + 0.5 / 3.0) / 4.0).abs() < 1e-6, "{mean:?}");
}
