//! What attackers can do, and what they cannot.

use proptest::{collection::vec, prelude::*};

use super::*;

const COORDINATES: usize = 5;

fn layout() -> Layout {
    Layout::new([("a", vec![COORDINATES])]).unwrap()
}

/// What `keys` make of these updates.
fn of(keys: &Keys, updates: &[Vec<f32>]) -> Vec<f64> {
    let layout = layout();
    let payloads: Vec<_> = updates.iter().map(|update| payload(&layout, update)).collect();
    aggregate(keys, &layout, &payloads, &(0..updates.len()).collect::<Vec<_>>(), 2)
}

fn distance(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(x, y)| (x - y) * (x - y)).sum::<f64>().sqrt()
}

fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().copied().map(f64::from).collect()
}

/// Nine honest updates, and where the first of two attackers comes in.
fn honest() -> impl Strategy<Value = Vec<Vec<f32>>> {
    vec(vec(-100.0f32..100.0, COORDINATES), 9)
}

/// Values from far beyond what is honest to the greatest there are.
fn far() -> impl Strategy<Value = Vec<f32>> {
    vec(prop_oneof![1e30f32..=f32::MAX, -f32::MAX..=-1e30], COORDINATES)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn two_of_eleven_far_out_carry_no_coordinate_beyond_the_honest_ones(
        honest in honest(), attackers in vec(far(), 2), place in 0..9usize,
    ) {
        let mut updates = honest.clone();
        updates.insert(place, attackers[0].clone());
        updates.push(attackers[1].clone());
        for rule in ["median", "trimmed-mean", "krum", "multi-krum", "bulyan"] {
            for (index, value) in of(&unbounded(rule, 2), &updates).into_iter().enumerate() {
                let column = honest.iter().map(|update| f64::from(update[index]));
                let (low, high) = column.fold((f64::MAX, f64::MIN), |(low, high), x| (low.min(x), high.max(x)));
                prop_assert!((low..=high).contains(&value), "{rule}: {value} is not within {low}..={high}");
            }
        }
    }

    #[test]
    fn two_of_eleven_far_out_carry_the_geometric_median_no_farther_than_its_bound(
        honest in honest(), attackers in vec(far(), 2),
    ) {
        let updates = [honest.clone(), attackers].concat();
        let centre: Vec<f64> = (0..COORDINATES).map(|i| honest.iter().map(|x| f64::from(x[i])).sum::<f64>() / 9.0).collect();
        let farthest = honest.iter().map(|x| distance(&wide(x), &centre)).fold(0.0, f64::max);
        // Pillutla et al. 2022, lemma 1 of the appendix: with a share ρ of attackers, 2 (1 − ρ) / (1 − 2ρ) times the farthest.
        let most = 2.0 * 9.0 / 7.0 * farthest;
        for rule in ["geometric-median", "centered-clipping"] {
            let moved = distance(&of(&unbounded(rule, 2), &updates), &centre);
            // Clipping may go on from there, three times, by at most the median distance.
            let most = if rule == "geometric-median" { most } else { most + 3.0 * (most + farthest) };
            prop_assert!(moved <= most * 1.001, "{rule}: {moved} instead of at most {most}");
        }
    }

    #[test]
    fn under_the_bound_no_rule_moves_farther_than_three_times_the_longest_honest_update(
        honest in honest(), attackers in vec(far(), 2),
    ) {
        let longest = honest.iter().map(|x| distance(&wide(x), &[0.0; COORDINATES])).fold(0.0, f64::max);
        let updates = [honest, attackers].concat();
        for rule in ["mean", "krum", "multi-krum", "geometric-median", "centered-clipping"] {
            let moved = distance(&of(&keys(rule, 2), &updates), &[0.0; COORDINATES]);
            prop_assert!(moved <= 3.0 * longest * 1.000_001, "{rule}: {moved}, the longest has {longest}");
        }
    }

    #[test]
    fn who_sent_which_update_does_not_matter(
        updates in vec(vec(-1.0f32..1.0, COORDINATES), 8..12), turn in 1..8usize,
    ) {
        let mut turned = updates.clone();
        turned.rotate_left(turn);
        let equal = Keys { weights: Some("equal".into()), ..keys("mean", 1) };
        // Bulyan's last choices are between pairs of closest neighbours, equal by nature: there the ClientId decides.
        let others = ["mean", "median", "trimmed-mean", "krum", "multi-krum", "geometric-median", "centered-clipping"];
        for keys in others.map(|rule| if rule == "mean" { equal.clone() } else { keys(rule, 1) }) {
            let off = distance(&of(&keys, &updates), &of(&keys, &turned));
            prop_assert!(off <= 1e-6, "{}: {off}", keys.rule);
        }
    }

    #[test]
    fn the_greatest_values_there_are_make_no_rule_panic_or_leave_the_numbers(
        updates in vec(vec(prop_oneof![
            Just(f32::MAX), Just(-f32::MAX), Just(0.0f32), Just(-0.0), Just(f32::MIN_POSITIVE), -1.0f32..1.0,
        ], COORDINATES), 7..10),
    ) {
        for rule in RULES {
            for keys in [keys(rule, 1), unbounded(rule, 1)] {
                let result = of(&keys, &updates);
                let most = f64::from(f32::MAX) * 1.000_001;
                prop_assert!(result.iter().all(|value| value.abs() <= most), "{keys:?}: {result:?}");
            }
        }
    }
}

#[test]
fn one_attacker_carries_the_mean_away_and_no_other_rule() {
    let mut updates = vec![vec![1.0f32; COORDINATES]; 6];
    updates.push(vec![-1e30; COORDINATES]);
    for rule in RULES {
        let moved = of(&unbounded(rule, 1), &updates)[0];
        match rule {
            "mean" => assert!(moved < -1e28, "{moved}"),
            _ => assert!((moved - 1.0).abs() < 1e-3, "{rule}: {moved}"),
        }
    }
}
