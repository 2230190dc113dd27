//! Comparisons that are small, broken off, hostile or full of holes.

use nibble_sim::report::{Style, headline, table, write};
use nibble_sim::results::Comparison;

use crate::sample::{LEVELS, Level, comparison, run};
use crate::{FILES, decoded, written};

const HOSTILE: &str = "</script><!--<img src=x onerror=\"alert('1')\">&{{data}}\u{1b}[31m\u{0}]]>";

/// Writes everything and checks what must hold for any data: files, well-formed figure, JSON in the page.
fn survives(comparison: &Comparison) -> String {
    let dir = tempfile::tempdir().unwrap();
    write(comparison, dir.path()).unwrap();
    assert!(FILES.iter().all(|f| dir.path().join(f).is_file()));
    let svg = std::fs::read_to_string(dir.path().join("accuracy_vs_bytes.svg")).unwrap();
    roxmltree::Document::parse(&svg).unwrap();
    decoded(&dir.path().join("accuracy_vs_bytes.png"));
    let page = std::fs::read_to_string(dir.path().join("report.html")).unwrap();
    let (_, data) = page.split_once("id=\"data\">").unwrap();
    let curves: serde_json::Value = serde_json::from_str(data.split_once("</script>").unwrap().0).unwrap();
    assert!(curves.is_array());
    let text = table(comparison, Style::Color) + &headline(comparison);
    assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
    assert!(!page.contains(">NaN") && !page.contains(":NaN"));
    page
}

#[test]
fn one_seed_has_no_spread() {
    let one = comparison(&LEVELS, 1, 20);
    survives(&one);
    assert!(headline(&one).contains("one seed, so the spread is not known"), "{}", headline(&one));
    assert!(!table(&one, Style::Plain).contains('±'));
}

#[test]
fn one_scheme_is_not_compared() {
    let one = comparison(&LEVELS[2..3], 3, 20);
    survives(&one);
    assert_eq!(headline(&one), "int4+ef reaches 84.7 % accuracy after 20 rounds at 4.13 bits per coordinate.");
    let fp32 = comparison(&LEVELS[..1], 3, 20);
    survives(&fp32);
    assert_eq!(headline(&fp32), "fp32 reaches 84.9 % accuracy after 20 rounds at 32.00 bits per coordinate.");
}

#[test]
fn without_fp32_savings_are_against_raw_floats() {
    let without = comparison(&LEVELS[2..], 3, 20);
    survives(&without);
    assert!(table(&without, Style::Plain).contains("7.7×"));
    assert!(headline(&without).contains("the highest here."), "{}", headline(&without));
}

#[test]
fn one_round_is_a_dot_with_a_whisker() {
    survives(&comparison(&LEVELS, 3, 1));
    survives(&comparison(&LEVELS, 2, 1));
}

#[test]
fn a_broken_off_comparison_says_so_and_mixes_no_rounds() {
    let mut broken = comparison(&LEVELS[..3], 3, 20);
    broken.complete = false;
    broken.runs[5] = run(LEVELS[1], 3, 4); // int8+ef: one of three short
    broken.runs.truncate(6);
    broken.runs.push(run(LEVELS[2], 1, 7)); // int4+ef: all short
    let page = survives(&broken);
    let text = table(&broken, Style::Plain);
    for note in [
        "This comparison is not complete: not every planned run reached its last round.",
        "int8+ef: 1 run that stopped before 20 rounds left out.",
        "int4+ef: only 7 of 20 rounds.",
        "int4+ef: no run to pair with fp32 (same seed, same rounds).",
    ] {
        assert!(text.contains(note) && page.contains(note), "{text}");
    }
    assert!(headline(&broken).starts_with("So far: int8+ef sends 3.9×"), "{}", headline(&broken));
}

#[test]
fn nothing_run_yet_is_said() {
    let mut none = comparison(&[], 0, 0);
    none.complete = false;
    survives(&none);
    assert_eq!(headline(&none), "No run has finished a round yet.");
    survives(&comparison(&LEVELS, 2, 0));
}

#[test]
fn holes_are_shown_as_holes() {
    let mut holes = comparison(&LEVELS, 3, 5);
    for (i, r) in holes.runs.iter_mut().enumerate() {
        r.summary.round_seconds_median = f64::NAN;
        r.summary.peak_rss_bytes = None;
        r.rounds[i % 5].accuracy = f64::NAN;
        r.rounds[i % 5].update_nmse = f64::INFINITY;
        r.rounds[0].uplink_bytes = 0;
    }
    holes.runs[3].summary.final_accuracy = f64::NAN;
    let page = survives(&holes);
    assert!(page.contains("int8+ef: 1 of 3 seeds ended without an accuracy."));

    for r in &mut holes.runs {
        r.summary.final_accuracy = f64::NAN;
        r.summary.mean_last5_accuracy = f64::NEG_INFINITY;
        r.summary.uplink_bytes_per_update = 0.0;
        r.summary.bits_per_coordinate = f64::INFINITY;
        r.rounds.iter_mut().for_each(|row| row.accuracy = f64::NAN);
    }
    survives(&holes);
    holes.coordinates = 0;
    survives(&holes);
}

#[test]
fn extreme_numbers_have_a_place() {
    let mut extreme = comparison(&LEVELS[..2], 3, 5);
    for r in &mut extreme.runs {
        r.summary.uplink_bytes_total = u64::MAX;
        r.rounds.iter_mut().for_each(|row| row.uplink_bytes = u64::MAX);
        r.rounds[4].accuracy = 1e300;
        r.rounds[3].accuracy = -1e300;
    }
    survives(&extreme);
}

#[test]
fn many_schemes_keep_their_rows() {
    let names: Vec<String> = (0..30).map(|i| format!("scheme-{i}")).collect();
    let levels: Vec<Level> =
        names.iter().enumerate().map(|(i, n)| (&*n.clone().leak(), 1.0 + i as f64, 0.002 * i as f64, 0.01)).collect();
    let page = survives(&comparison(&levels, 2, 6));
    assert!(page.contains("scheme-29") && page.contains("dashed"));
    let svg = written(&comparison(&levels, 2, 6), "accuracy_vs_bytes.svg");
    assert!(svg.contains("and 8 more"));
}

#[test]
fn hostile_names_stay_text() {
    let hostile: Level = (HOSTILE, 4.0, 0.01, 0.1);
    let mut comparison = comparison(&[LEVELS[0], hostile], 3, 5);
    for field in [
        &mut comparison.name,
        &mut comparison.data,
        &mut comparison.model,
        &mut comparison.command,
        &mut comparison.experiment,
        &mut comparison.machine,
    ] {
        *field = HOSTILE.into();
    }
    comparison.runs.iter_mut().for_each(|r| r.summary.model_hash = HOSTILE.into());
    let page = survives(&comparison);
    assert!(!page.contains("<img") && !page.contains("<!--<") && !page.contains(['\u{0}', '\u{1b}']));
    assert_eq!(page.matches("</script>").count(), 3, "data, uPlot, the page's own");
    let text = table(&comparison, Style::Plain);
    assert!(!text.contains(['\u{0}', '\u{1b}']), "{text}");
    assert!(!headline(&comparison).contains('\u{1b}'), "{}", headline(&comparison));
}
