//! The answer in a sentence, and what has to be said beside the numbers for them to be honest.
//!
//! Differences to fp32 are paired by seed. One is called real only if the 95 % interval of its mean leaves zero out;
//! with three seeds that takes a mean of about 2.5 standard deviations.

use std::cmp::Ordering;

use super::stats::{BASELINE, Estimate, Overview, Scheme};
use super::units::{factor, fixed, percent, plural, signed};
use crate::results::Comparison;

/// A scheme that loses no more than this many points is near enough to fp32 to be the headline.
const NEAR_POINTS: f64 = 1.0;

/// The answer in one to three sentences, the most important first.
pub(super) fn headline(comparison: &Comparison, overview: &Overview<'_>) -> Vec<String> {
    if overview.rounds == 0 {
        return vec!["No run has finished a round yet.".into()];
    }
    let mut sentences = match overview.baseline() {
        Some(_) if overview.schemes.len() > 1 => against_baseline(overview),
        _ => on_their_own(overview),
    };
    if let (false, Some(first)) = (comparison.complete, sentences.first_mut()) {
        first.insert_str(0, "So far: ");
    }
    sentences
}

/// What the reader must know before trusting a row, one sentence each.
pub(super) fn notes(comparison: &Comparison, overview: &Overview<'_>) -> Vec<String> {
    let mut notes = Vec::new();
    if !comparison.complete {
        notes.push("This comparison is not complete: not every planned run reached its last round.".into());
    }
    for s in &overview.schemes {
        if s.left_out > 0 {
            let (n, rounds) = (plural(s.left_out, "run"), plural(s.rounds as usize, "round"));
            notes.push(format!("{}: {n} that stopped before {rounds} left out.", s.name));
        }
        if s.rounds < overview.rounds {
            notes.push(format!("{}: only {} of {} rounds.", s.name, s.rounds, overview.rounds));
        }
        if s.accuracy.n < s.runs.len() {
            let (missing, all) = (s.runs.len() - s.accuracy.n, plural(s.runs.len(), "seed"));
            notes.push(format!("{}: {missing} of {all} ended without an accuracy.", s.name));
        }
        match (overview.baseline(), s.change) {
            (Some(_), None) if !s.is_baseline() => {
                notes.push(format!("{}: no run to pair with fp32 (same seed, same rounds).", s.name));
            }
            (Some(_), Some(change)) if change.n < s.runs.len() => {
                let all = plural(s.runs.len(), "seed");
                notes.push(format!("{}: {} of {all} paired with fp32.", s.name, change.n));
            }
            _ => {}
        }
    }
    notes
}

/// Who is not beaten both in accuracy and in bytes, from the fewest bytes on; nothing where all are.
pub(super) fn front(overview: &Overview<'_>) -> Option<String> {
    let mut front: Vec<_> = overview.schemes.iter().filter(|s| s.on_front).collect();
    if overview.schemes.len() < 3 || front.len() == overview.schemes.len() {
        return None;
    }
    front.sort_by(|a, b| a.all_bytes().total_cmp(&b.all_bytes()));
    let names: Vec<_> = front.iter().map(|s| s.name.as_str()).collect();
    Some(format!("Pareto front of accuracy and bytes in both directions: {}.", names.join(", ")))
}

/// What the figures for accuracy are, by how many seeds schemes have.
pub(super) fn spread_words(overview: &Overview<'_>) -> String {
    let two = overview.schemes.iter().any(|s| s.runs.len() == 2);
    match overview.seeds {
        0 => "No seed has a result.".into(),
        1 => "One seed: how far seeds differ is not known.".into(),
        2 => "Two seeds: min..max.".into(),
        n if two => format!("Mean ± sample standard deviation over {n} seeds, min..max over two."),
        n => format!("Mean ± sample standard deviation over {n} seeds."),
    }
}

fn against_baseline(overview: &Overview<'_>) -> Vec<String> {
    let measured = |s: &&Scheme<'_>| s.saving.is_finite() && !s.is_baseline();
    let candidates: Vec<(&Scheme<'_>, Estimate)> =
        overview.schemes.iter().filter(measured).filter_map(|s| Some((s, s.change?))).collect();
    let near = candidates.iter().filter(|(s, change)| change.mean >= -NEAR_POINTS && s.saving > 1.0);
    let closest = || candidates.iter().max_by(|a, b| a.1.mean.total_cmp(&b.1.mean));
    let Some((pick, change)) = near.max_by(|a, b| cheaper(a, b)).or_else(closest) else {
        return on_their_own(overview);
    };
    let mut sentences = vec![format!("{} {} and {}.", pick.name, volume(pick.saving), distance(change, "it"))];
    let most = candidates.iter().max_by(|a, b| cheaper(a, b));
    if let Some((most, change)) = most.filter(|(s, _)| s.saving > 1.05 * pick.saving) {
        let (saving, distance) = (factor(most.saving), distance(change, BASELINE));
        sentences.push(format!("{} saves most, {saving}, but {distance}.", most.name));
    }
    sentences
}

/// By saving as it is shown, then by accuracy.
fn cheaper(a: &(&Scheme<'_>, Estimate), b: &(&Scheme<'_>, Estimate)) -> Ordering {
    let shown = |s: &Scheme<'_>| (10.0 * s.saving).round();
    shown(a.0).total_cmp(&shown(b.0)).then(a.1.mean.total_cmp(&b.1.mean))
}

fn volume(saving: f64) -> String {
    match saving {
        s if s >= 1.005 => format!("sends {} fewer bytes than fp32", factor(s)),
        s if s > 0.995 => "sends as many bytes as fp32".into(),
        s => format!("sends {} more bytes than fp32", factor(1.0 / s)),
    }
}

/// How far a scheme ends from `other`, with what makes the figure sure or unsure.
fn distance(change: &Estimate, other: &str) -> String {
    let decimals = if change.mean.abs() < 1.0 { 2 } else { 1 };
    let points = fixed(change.mean.abs(), decimals);
    let seeds = plural(change.n, "seed");
    let side = if change.mean < 0.0 { "below" } else { "above" };
    if change.n < 2 {
        return format!("ends {points} points {side} {other} (one seed, so the spread is not known)");
    }
    let margin = fixed(change.margin(), decimals);
    if change.differs_from_zero() {
        return format!("ends {points} points {side} {other} (± {margin} at 95 %, {seeds})");
    }
    if change.mean.abs() <= NEAR_POINTS {
        let within = fixed((change.mean.abs() * 10.0).ceil().max(1.0) / 10.0, 1);
        return format!("ends within {within} points of {other}, a difference inside the spread of {seeds}");
    }
    format!("ends {points} points {side} {other}, though {seeds} differ too much to be sure (± {margin} at 95 %)")
}

fn on_their_own(overview: &Overview<'_>) -> Vec<String> {
    let with_accuracy = || overview.schemes.iter().filter(|s| s.accuracy.n > 0);
    let Some(best) = with_accuracy().max_by(|a, b| a.accuracy.mean.total_cmp(&b.accuracy.mean)) else {
        return vec!["No run ended with an accuracy.".into()];
    };
    let rank = if with_accuracy().count() > 1 { ", the highest here" } else { "" };
    let mut sentences = vec![format!("{} reaches {}{rank}.", best.name, reached(best))];
    let least = with_accuracy().max_by(|a, b| a.saving.total_cmp(&b.saving));
    if let Some(least) = least.filter(|s| s.name != best.name && s.saving.is_finite()) {
        let gap = signed(100.0 * (least.accuracy.mean - best.accuracy.mean), 1);
        let rate = bits(least);
        sentences.push(format!("{} sends least, {rate} per coordinate, and ends {gap} points from it.", least.name));
    }
    if overview.seeds == 1 {
        sentences.push("One seed: the spread is not known.".into());
    }
    sentences
}

fn reached(s: &Scheme<'_>) -> String {
    let accuracy = percent(s.accuracy.mean, 1);
    let rounds = plural(s.rounds as usize, "round");
    format!("{accuracy} % accuracy after {rounds} at {} per coordinate", bits(s))
}

fn bits(s: &Scheme<'_>) -> String {
    format!("{} bits", fixed(s.bits_per_coordinate, 2))
}
