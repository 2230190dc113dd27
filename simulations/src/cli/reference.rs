//! `reference`: our accuracy beside PyTorch's, round by round.

use nibble_sim::{
    error::SimError,
    reference::{EARLY_ROUNDS, compare, curves},
};

use super::{args::ReferenceArgs, compare::threads_of};

/// Most points between the two in each of the first rounds, and for the mlp between the means of the last five. The cnn
/// has eight times the parameters and carries rounding into its accuracy sooner.
fn tolerance(model: &str) -> f64 {
    if model == "cnn" { 1.0 } else { 0.3 }
}

pub(super) fn reference(args: &ReferenceArgs) -> Result<(), SimError> {
    let threads = threads_of(args.threads)?;
    let wanted = |setting: &str, model: &str| {
        args.settings.iter().any(|wanted| wanted.eq_ignore_ascii_case(setting)) && args.model == model
    };
    let chosen: Vec<_> = curves().into_iter().filter(|curve| wanted(&curve.setting, &curve.model)).collect();
    if chosen.is_empty() {
        return Err(SimError::Usage {
            problem: format!("there is no curve of {} under {}", args.model, args.settings.join(", ")),
            mend: "curves are: mlp under S1, S2, S3; cnn under S1, S2".into(),
        });
    }
    let mut worst: f64 = 0.0;
    for curve in chosen {
        let compared = compare(curve, args.rounds, threads)?;
        let (curve, early) = (&compared.curve, compared.early_points());
        say!("{} {} seed {}: {} rounds", curve.model, curve.setting, curve.seed, compared.ours.len());
        for (name, accuracies) in [("PyTorch", &curve.acc), ("Nibble", &compared.ours)] {
            let shown = accuracies.iter().take(EARLY_ROUNDS).map(|accuracy| format!("{:6.2}", 100.0 * accuracy));
            say!("  {name:8} {}", shown.collect::<Vec<_>>().join(" "));
        }
        say!("  largest difference in the first {EARLY_ROUNDS} rounds: {early:.2} points");
        worst = worst.max(early);
        if let Some(last5) = compared.last5_points() {
            say!("  mean of the last 5 rounds: {last5:+.2} points");
            // After many rounds only the IID setting is still free of noise larger than the tolerance.
            if curve.setting == "S1" {
                worst = worst.max(last5.abs());
            }
        }
    }
    let tolerance = tolerance(&args.model);
    if worst > tolerance {
        let problem = format!("the difference of {worst:.2} points exceeds {tolerance}");
        return Err(SimError::Reference { problem });
    }
    say!("within {tolerance} points of PyTorch");
    Ok(())
}
