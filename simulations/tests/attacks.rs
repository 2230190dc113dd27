//! Attackers in whole rounds and runs: what the model becomes, against a direct computation from saved deltas; one hash; and
//! that attacks hurt.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use nibble_seed::ClientId;
use nibble_sim::{
    attacks::{Attackers, z_max},
    experiment::Experiment,
    federation::Federation,
    model_file,
};
use support::runs::{self, open, play};

const KINDS: [&str; 6] = ["sign-flip", "scaling", "gaussian", "alie", "inner-product", "label-flip"];

fn load(text: &str) -> (Experiment, Federation) {
    let experiment = runs::experiment(text);
    let federation = Federation::load(&experiment).unwrap();
    (experiment, federation)
}

#[test]
fn one_round_is_the_mean_of_what_the_formulas_say() {
    let directory = tempfile::tempdir().unwrap();
    // The first buffer of rounds that do not wait is a round of all nine.
    for (kind, strength, waits) in [
        ("sign-flip", 3.0, true),
        ("scaling", 4.0, true),
        ("inner-product", 2.0, true),
        ("alie", 1.5, true),
        ("alie", 0.0, true),
        ("sign-flip", 3.0, false),
        ("inner-product", 2.0, false),
        ("alie", 0.0, false),
    ] {
        let waiting = if waits { "" } else { "[asynchronous]\nconcurrency = 9\n" };
        let given = if strength > 0.0 { format!("strength = {strength}\n") } else { String::new() };
        let (experiment, federation) = load(&format!(
            "seeds = [3]\nrounds = 1\n[model]\nname = \"logreg\"\n[data]\nclients = 9\n[cohort]\nsize = 9\n\
                 [compression]\nuplink = [\"fp32\"]\n[aggregation]\nnorm_bound = \"off\"\n[attack]\nkind = \"{kind}\"\nfraction = 0.33\n{given}{waiting}"
        ));
        let state = directory.path().join(format!("{kind}-{strength}-{waits}"));
        let mut run = open(&experiment, &federation, 2, &state);
        let before = run.progress().global.clone();
        run.save_updates(&state.join("updates")).unwrap();
        run.step().unwrap();
        let attack = experiment.raw.attack.as_ref().unwrap();
        let attackers = Attackers::new(attack.kind, attack.fraction, attack.strength, 9, experiment.seeds[0]);
        let delta = |client| {
            let path = state.join(format!("updates/round-0-client-{client}.safetensors"));
            let (layout, values) = model_file::read(&path).unwrap();
            // Files hold tensors in an order of their own.
            let of = |name: &str| layout.tensors().iter().find(|tensor| tensor.name == name).unwrap();
            let tensors = federation.layout().tensors().iter().map(|tensor| of(&tensor.name));
            tensors.flat_map(|tensor| values[tensor.offset..][..tensor.len].to_vec()).collect::<Vec<_>>()
        };
        let deltas: Vec<_> = (0..9).map(delta).collect();
        let attacks = |client: usize| attackers.contains(ClientId(client as u64));
        assert_eq!((0..9).filter(|&client| attacks(client)).count(), 3);
        let samples: Vec<f64> = federation.assignment().clients.iter().map(|samples| samples.len() as f64).collect();
        let total: f64 = samples.iter().sum();
        // Three of nine: s = 5 - 3 = 2, and (9 - 3 - 2) / (9 - 3) = 2/3, whose quantile is 0.4307.
        let z = if strength > 0.0 { strength } else { 0.430_727_3 };
        assert!((z_max(9, 3) - 0.430_727_3).abs() < 1e-6);
        for (i, (&before, &after)) in before.iter().zip(&run.progress().global).enumerate() {
            let honest: Vec<f64> = (0..9).filter(|&c| !attacks(c)).map(|c| f64::from(deltas[c][i])).collect();
            let mean = honest.iter().sum::<f64>() / 6.0;
            let deviation = (honest.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 6.0).sqrt();
            let sent = |client: usize| match (attacks(client), kind) {
                (false, _) => f64::from(deltas[client][i]),
                (true, "sign-flip") => -strength * f64::from(deltas[client][i]),
                (true, "scaling") => strength * f64::from(deltas[client][i]),
                (true, "inner-product") => -strength * mean,
                (true, _) => mean + z * deviation,
            };
            let expected = f64::from(before) + (0..9).map(|c| samples[c] / total * sent(c)).sum::<f64>();
            assert!((f64::from(after) - expected).abs() < 1e-6, "{kind}, {i}: {after}, not {expected}");
        }
    }
}

#[test]
fn every_attack_ends_in_one_model_on_any_number_of_threads_and_resumed() {
    let mut models = Vec::new();
    for (kind, asynchronous) in
        KINDS.into_iter().flat_map(|kind| [(kind, ""), (kind, "[asynchronous]\nconcurrency = 12\n")])
    {
        let (experiment, federation) = load(&format!(
            "seeds = [5]\nrounds = 6\n[model]\nname = \"logreg\"\n[data]\nclients = 30\n[availability]\ndropout = 0.1\n\
                 [cohort]\nsize = 8\n[compression]\nuplink = [\"int4+ef/auto:1\"]\n[attack]\nkind = \"{kind}\"\n\
                 fraction = 0.3\n{asynchronous}"
        ));
        let (model, _) = play(&experiment, &federation, 1, &[]);
        assert_eq!(play(&experiment, &federation, 3, &[2, 4]).0, model, "{kind} {asynchronous}");
        assert!(!models.contains(&model), "{kind} {asynchronous} does what another does");
        models.push(model);
    }
}

#[test]
fn a_fifth_of_attackers_hurts_the_mean() {
    let accuracy = |attack: &str| {
        let (experiment, federation) = load(&format!(
            "seeds = [1]\nrounds = 15\n[model]\nname = \"logreg\"\n[data]\nclients = 20\npartition = {{ kind = \"iid\" }}\n\
                 [cohort]\nsize = 20\n[compression]\nuplink = [\"int8+ef\"]\n\
                 [aggregation]\nnorm_bound = \"off\"\n{attack}"
        ));
        play(&experiment, &federation, 2, &[]).1
    };
    let honest = accuracy("");
    assert!(honest > 0.85, "{honest}");
    // Each loses at least a third more than is asked for: 0.89, 0.13, 0.13, 0.89 and 0.034 of 0.888 with this seed.
    // Alie is not among them: it hides within a spread, and that hardly moves a mean.
    for (attack, lost) in [
        ("kind = \"sign-flip\"", 0.3),
        ("kind = \"scaling\"", 0.05),
        ("kind = \"gaussian\"\nstrength = 100", 0.05),
        ("kind = \"inner-product\"", 0.3),
        ("kind = \"label-flip\"", 0.015),
    ] {
        let attacked = accuracy(&format!("[attack]\n{attack}\n"));
        assert!(attacked < honest - lost, "{attack}: {attacked} of {honest}");
    }
}

#[test]
fn real_processes_do_not_attack() {
    let sandbox = support::Sandbox::new();
    sandbox.write("attack.toml", "[attack]\nkind = \"alie\"\n");
    let refused = sandbox.fails(&["compare", "attack.toml", "--transport", "grpc"], 2);
    assert!(refused.contains("attackers, which real processes do not play"), "{refused}");
    assert!(refused.contains("leave [attack] out, or use --transport memory"), "{refused}");
}
