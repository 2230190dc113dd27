//! What the levels cost, on real digits: the differences that tell a codec that works from one that pretends.

mod support;

use support::{Sandbox, json};

#[test]
fn two_bits_to_nearest_lose_feedback_wins_back_and_stochastic_rounding_never_lost() {
    let sandbox = Sandbox::new();
    let schemes = "fp32,int8,int4+ef,int2,int2:tensor,int2:tensor:nearest,int2:tensor:nearest+ef";
    let iid = "data.partition={ kind = \"iid\" }";
    let args = ["compare", "--schemes", schemes, "--seeds", "0,1", "--rounds", "25", "--format", "json"];
    let results = json(&sandbox.ok(&[&args[..], &["--set", iid, "--set", "local.epochs=2"]].concat()));
    let mean = |scheme: &str| {
        let runs = results["results"].as_array().unwrap().iter().filter(|run| run["scheme"] == scheme);
        let accuracies: Vec<_> = runs.map(|run| 100.0 * run["mean_last5_accuracy"].as_f64().unwrap()).collect();
        assert_eq!(accuracies.len(), 2, "{scheme}");
        accuracies.iter().sum::<f64>() / 2.0
    };
    let fp32 = mean("fp32");
    // Measured: fp32 86.8; int8 and int4 within 0.05 of it; int2 within 0.3; nearest -48, with feedback -21.
    assert!(fp32 > 84.0, "{fp32}");
    for (scheme, most) in [("int8", 0.1), ("int4+ef", 0.1), ("int2", 0.5), ("int2:tensor", 0.7)] {
        assert!((mean(scheme) - fp32).abs() < most, "{scheme}: {} beside {fp32}", mean(scheme));
    }
    let (nearest, fed_back) = (mean("int2:tensor:nearest"), mean("int2:tensor:nearest+ef"));
    assert!(nearest < fp32 - 20.0, "{nearest} beside {fp32}");
    assert!(fed_back > nearest + 10.0, "{fed_back} beside {nearest}");
}
