//! The report of made-up comparisons: what its files say, that they are well formed, and that odd data does no harm.

#![allow(clippy::unwrap_used, reason = "helpers of tests, which clippy does not see as such")]

mod odd;
mod sample;

use std::fs;
use std::path::Path;

use nibble_sim::report::{Style, headline, summary_json, table, write};
use nibble_sim::results::{ClassRow, Comparison, RoundRow};
use sample::{LEVELS, comparison};

/// What every report has.
pub(crate) const FILES: [&str; 5] =
    ["rounds.csv", "summary.json", "accuracy_vs_bytes.svg", "accuracy_vs_bytes.png", "report.html"];

/// The text of a file of the report on `comparison`.
pub(crate) fn written(comparison: &Comparison, file: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    write(comparison, dir.path()).unwrap();
    fs::read_to_string(dir.path().join(file)).unwrap()
}

/// Width, height and RGB pixels.
pub(crate) fn decoded(path: &Path) -> (u32, u32, Vec<u8>) {
    let file = std::io::BufReader::new(fs::File::open(path).unwrap());
    let mut reader = png::Decoder::new(file).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let frame = reader.next_frame(&mut pixels).unwrap();
    (frame.width, frame.height, pixels)
}

#[test]
fn the_table_is_aligned_and_complete() {
    let expected = "\
┌─────────┬──────────────┬──────────────┬────────────┬────────────┬──────────┬────────┬────────┐
│ scheme  │   accuracy % │  vs fp32, pt │ per update │ bits/coord │   uplink │ saving │  round │
├─────────┼──────────────┼──────────────┼────────────┼────────────┼──────────┼────────┼────────┤
│ fp32    │ 84.90 ± 0.36 │            – │    808 KiB │      32.00 │  158 MiB │   1.0× │ 600 ms │
│ int8+ef │ 84.82 ± 0.47 │ −0.07 ± 0.16 │    205 KiB │       8.13 │ 40.1 MiB │   3.9× │ 600 ms │
│ int4+ef │ 84.67 ± 0.30 │ −0.23 ± 0.07 │    104 KiB │       4.13 │ 20.4 MiB │   7.7× │ 600 ms │
│ int2+ef │ 83.06 ± 0.41 │ −1.84 ± 0.06 │   53.8 KiB │       2.13 │ 10.5 MiB │  15.0× │ 600 ms │
│ int2    │ 76.13 ± 0.50 │ −8.77 ± 0.42 │   53.8 KiB │       2.13 │ 10.5 MiB │  15.0× │ 600 ms │
└─────────┴──────────────┴──────────────┴────────────┴────────────┴──────────┴────────┴────────┘
Mean ± sample standard deviation over 3 seeds.
Pareto front of accuracy and bytes in both directions: int2+ef, int4+ef, int8+ef, fp32.
";
    assert_eq!(table(&comparison(&LEVELS, 3, 20), Style::Plain), expected);
}

#[test]
fn two_seeds_show_their_range_within_100_columns() {
    let text = table(&comparison(&LEVELS[..3], 2, 20), Style::Plain);
    assert!(text.contains("│ −0.22..+0.10 │"), "{text}");
    assert!(text.contains("min..max"), "{text}");
    assert!(text.lines().all(|l| l.chars().count() <= 100), "{text}");
}

#[test]
fn a_target_has_its_price_where_it_was_reached() {
    let mut comparison = comparison(&LEVELS[..2], 3, 20);
    comparison.target_accuracy = Some(0.7);
    // Rounds of the sample end after 1, 2, ... virtual seconds.
    let reached = |run: usize| {
        let rounds = &comparison.runs[run].rounds;
        rounds.iter().position(|row| row.accuracy >= 0.7).unwrap() as f64 + 1.0
    };
    let mean = (reached(0) + reached(1) + reached(2)) / 3.0;
    let text = table(&comparison, Style::Plain);
    assert!(text.contains("to 70 %: time") && text.contains(&format!("{mean:.2} s")), "{mean}\n{text}");
    assert!(written(&comparison, "report.html").contains("How long it takes to 70&nbsp;%"));
    comparison.target_accuracy = Some(0.99);
    let text = table(&comparison, Style::Plain);
    assert!(text.contains("0 of 3"), "{text}");
    comparison.target_accuracy = None;
    assert!(!table(&comparison, Style::Plain).contains(": time"));
    assert!(!written(&comparison, "report.html").contains("How long it takes"));
}

#[test]
fn only_a_sure_difference_is_coloured() {
    let plain = table(&comparison(&LEVELS, 3, 20), Style::Plain);
    assert!(!plain.contains('\u{1b}'));
    let color = table(&comparison(&LEVELS, 3, 20), Style::Color);
    assert!(color.contains("\u{1b}[31m −8.77 ± 0.42 \u{1b}[0m"), "{color}");
    assert!(
        color.contains(" −0.07 ± 0.16 ") && !color.contains("[31m −0.07") && !color.contains("[32m −0.07"),
        "{color}"
    );
}

#[test]
fn the_headline_is_computed() {
    assert_eq!(
        headline(&comparison(&LEVELS, 3, 20)),
        "int4+ef sends 7.7× fewer bytes than fp32 and ends 0.23 points below it (± 0.16 at 95 %, 3 seeds). \
         int2+ef saves most, 15.0×, but ends 1.8 points below fp32 (± 0.1 at 95 %, 3 seeds)."
    );
    assert_eq!(
        headline(&comparison(&LEVELS[..2], 3, 20)),
        "int8+ef sends 3.9× fewer bytes than fp32 and ends within 0.1 points of it, a difference inside the spread of \
         3 seeds."
    );
}

#[test]
fn a_loser_is_called_one() {
    let fat = ("padded", 40.0, 0.05, 0.1);
    let text = headline(&comparison(&[LEVELS[0], fat], 3, 20));
    assert!(
        text.starts_with("padded sends 1.2× more bytes than fp32 and ends 7.0 points") && text.contains("below it"),
        "{text}"
    );
}

#[test]
fn the_csv_has_every_round_under_the_names_of_its_fields() {
    let comparison = comparison(&LEVELS, 2, 3);
    let text = written(&comparison, "rounds.csv");
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let header = reader.headers().unwrap().clone();
    assert_eq!((&header[0], &header[1]), ("scheme", "seed"));
    let mut rows = comparison.runs.iter().flat_map(|r| r.rounds.iter().map(move |row| (&r.summary, row)));
    for record in reader.records() {
        let record = record.unwrap();
        let (summary, row) = rows.next().unwrap();
        assert_eq!((&record[0], &record[1]), (summary.scheme.as_str(), summary.seed.to_string().as_str()));
        let read: RoundRow = record.deserialize(Some(&header)).unwrap();
        assert_eq!(&read, row);
    }
    assert!(rows.next().is_none());
    let fields = serde_json::to_value(&comparison.runs[0].rounds[0]).unwrap();
    assert_eq!(header.len(), 2 + fields.as_object().unwrap().len() + 1, "and the variant");
}

#[test]
fn the_json_is_the_summaries() {
    let comparison = comparison(&LEVELS[..2], 2, 3);
    let text = written(&comparison, "summary.json");
    assert_eq!(text, summary_json(&comparison).unwrap());
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    let summaries: Vec<_> = comparison.runs.iter().map(|r| &r.summary).collect();
    assert_eq!(value, serde_json::json!({ "complete": true, "results": summaries }));
}

#[test]
fn the_svg_is_well_formed_and_names_every_scheme() {
    let svg = written(&comparison(&LEVELS, 3, 20), "accuracy_vs_bytes.svg");
    let document = roxmltree::Document::parse(&svg).unwrap();
    let texts: Vec<String> = document
        .descendants()
        .filter(|n| n.has_tag_name("text"))
        .filter_map(|n| n.text())
        .map(|t| t.trim().into())
        .collect();
    for (scheme, ..) in LEVELS {
        assert!(texts.iter().any(|t| t == scheme), "{texts:?}");
    }
    assert_eq!(document.root_element().attribute("width"), Some("920"));
}

#[test]
fn what_is_left_of_budgets_is_shown_and_how_long_it_lasts() {
    let mut comparison = comparison(&LEVELS[..1], 2, 20);
    for run in &mut comparison.runs {
        // Eight tenths of what may be sent and half of what may be received took twenty rounds.
        run.classes = vec![ClassRow {
            class: "all".into(),
            clients: 2,
            spent_up: 1600,
            spent_down: 3000,
            budget_up: Some(2000),
            budget_down: Some(6000),
            fullest: Some(0.9),
            ..ClassRow::default()
        }];
    }
    for text in [table(&comparison, Style::Plain), written(&comparison, "report.html")] {
        assert!(text.contains("200 B / 1.46 KiB") && text.contains("5 rounds"), "{text}");
    }
    for run in &mut comparison.runs {
        (run.classes[0].budget_up, run.classes[0].budget_down) = (None, None);
    }
    assert!(!table(&comparison, Style::Plain).contains("lasts"), "caps for a round or a day last for ever");
}

#[test]
fn the_front_is_drawn_where_there_is_one() {
    let dir = tempfile::tempdir().unwrap();
    write(&comparison(&LEVELS, 3, 20), dir.path()).unwrap();
    let svg = fs::read_to_string(dir.path().join("pareto.svg")).unwrap();
    let document = roxmltree::Document::parse(&svg).unwrap();
    let dots = |radius: &str| {
        let is_such = |n: &roxmltree::Node<'_, '_>| n.has_tag_name("circle") && n.attribute("r") == Some(radius);
        document.descendants().filter(is_such).count()
    };
    // The four of the table's front, and int2; five more are the key's.
    assert_eq!((dots("24"), dots("16")), (4, 1 + 5));
    assert!(fs::read_to_string(dir.path().join("report.html")).unwrap().contains("What bytes buy"));
    assert!(dir.path().join("pareto.png").exists());
    write(&comparison(&LEVELS[..2], 3, 20), dir.path()).unwrap();
    assert!(!dir.path().join("pareto.svg").exists() && !dir.path().join("pareto.png").exists(), "of an earlier report");
}

#[test]
fn the_png_decodes_and_has_curves_and_text() {
    let dir = tempfile::tempdir().unwrap();
    write(&comparison(&LEVELS, 3, 20), dir.path()).unwrap();
    let (width, height, pixels) = decoded(&dir.path().join("accuracy_vs_bytes.png"));
    assert_eq!((width, height, pixels.len()), (1840, 1040, 3 * 1840 * 1040));
    let count = |color: [u8; 3]| pixels.as_chunks().0.iter().filter(|p| **p == color).count();
    assert!(count([0x00, 0x72, 0xb2]) > 1000, "first scheme's curve");
    assert!(count([0x1a, 0x1d, 0x21]) > 500, "title");
}

#[test]
fn the_page_loads_nothing() {
    let page = written(&comparison(&LEVELS, 3, 20), "report.html");
    for loader in ["src=", "url(", "@import", "import(", "fetch(", "XMLHttpRequest", "WebSocket", "<iframe", "<object"]
    {
        assert!(!page.contains(loader), "{loader}");
    }
    for link in page.match_indices("href=").map(|(at, _)| &page[at..]) {
        assert!(link.starts_with("href=\"data:,\""), "{}", &link[..40]);
    }
    let named = ["http://www.w3.org/", "https://github.com/leeoniya/uPlot"]; // a namespace, a licence comment
    for url in page.match_indices("http").map(|(at, _)| &page[at..]).filter(|u| u[4..].contains("://")) {
        let is_url = url.starts_with("http://") || url.starts_with("https://");
        assert!(!is_url || named.iter().any(|n| url.starts_with(n)), "{}", url.lines().next().unwrap());
    }
    assert!(page.contains("default-src 'none'"));
}

#[test]
fn the_page_has_no_place_left_unfilled() {
    let page = written(&comparison(&LEVELS, 3, 20), "report.html");
    let template = include_str!("../../assets/report.html");
    for place in template.split("{{").skip(1).filter_map(|rest| rest.split_once("}}")).map(|(place, _)| place) {
        assert!(!page.contains(&format!("{{{{{place}}}}}")), "{place}");
    }
    assert!(page.contains("<dd>nibble-sim 0.1.0, 2 cores, 2 threads</dd>"));
    assert!(page.contains("scheme = &quot;int4&quot;"));
}

#[test]
fn files_are_replaced_and_nothing_else_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let report = dir.path().join("a/b");
    write(&comparison(&LEVELS, 1, 2), &report).unwrap();
    write(&comparison(&LEVELS, 3, 20), &report).unwrap();
    let mut names: Vec<_> =
        fs::read_dir(&report).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    let mut expected = [&FILES[..], &["pareto.png", "pareto.svg"]].concat();
    expected.sort_unstable();
    assert_eq!(names, expected);
    assert_eq!(fs::read_to_string(report.join("rounds.csv")).unwrap().lines().count(), 1 + 5 * 3 * 20);
}

#[test]
fn an_error_names_the_path() {
    let dir = tempfile::tempdir().unwrap();
    let blocked = dir.path().join("taken");
    fs::write(&blocked, "a file").unwrap();
    let error = write(&comparison(&LEVELS, 1, 1), &blocked).unwrap_err().to_string();
    assert!(error.contains("taken"), "{error}");
    fs::create_dir_all(dir.path().join("out/report.html")).unwrap();
    let error = write(&comparison(&LEVELS, 1, 1), &dir.path().join("out")).unwrap_err().to_string();
    assert!(error.contains("report.html"), "{error}");
}
