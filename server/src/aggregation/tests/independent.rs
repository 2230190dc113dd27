//! The vectors of `vectors/independent.py`, which wrote the rules from their papers on whole vectors.

use serde_json::Value;

use super::*;

#[test]
fn every_rule_makes_the_independent_result() {
    let all: Value = serde_json::from_str(include_str!("../vectors/rules.json")).unwrap();
    let cases = all["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 108, "twelve rules and variants, three sets, three bounds");
    let failed: Vec<_> = cases.iter().filter(|case| !agrees(case, &all["sets"])).map(|case| &case["name"]).collect();
    assert!(failed.is_empty(), "{failed:#?}");
}

fn agrees(case: &Value, sets: &Value) -> bool {
    let set = &sets[case["set"].as_str().unwrap()];
    let updates: Vec<Vec<f32>> = serde_json::from_value(set["updates"].clone()).unwrap();
    let samples: Vec<u64> = serde_json::from_value(set["samples"].clone()).unwrap();
    let expected: Vec<f64> = serde_json::from_value(case["expected"].clone()).unwrap();
    let keys: Keys = serde_json::from_value(case["keys"].clone()).unwrap();
    let layout = Layout::new([("a", vec![updates[0].len()])]).unwrap();
    let payloads: Vec<_> = updates.iter().map(|update| payload(&layout, update)).collect();
    let contribution = |index: usize| Contribution {
        facts: facts(index as u64, samples[index]),
        chunks: Payload::parse(&payloads[index], &layout).unwrap(),
    };
    let contributions = (0..updates.len()).map(contribution).collect();
    let aggregation = keys.check(updates.len()).unwrap();
    let found = all_of(&Aggregate::new(contributions).unwrap().under(&aggregation, &layout, 2).unwrap(), &layout);
    let length = |values: &[f64]| values.iter().map(|value| value * value).sum::<f64>().sqrt();
    let off: Vec<_> = found.iter().zip(&expected).map(|(found, expected)| found - expected).collect();
    length(&off) <= 1e-5 * length(&expected)
}
