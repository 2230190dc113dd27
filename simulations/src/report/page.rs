//! The page `report.html`: one file that opens without a network.
//!
//! Layout, style and script are in `assets/`; here their places are filled. Every text from the results is escaped on its
//! way in, and a content security policy in the page forbids it to load anything.

use super::chart::figure::color_places;
use super::payload;
use super::stats::{Estimate, Overview, Scheme};
use super::table::{target_cells, target_head, with_spread};
use super::units::{ABSENT, bytes, count, factor, fixed, percent, plural, seconds, signed};
use super::words::{front, headline, notes, spread_words};
use super::{
    ReportError, after,
    clients::{NOTE, Shown},
};
use crate::results::{Comparison, RunResult};

const TEMPLATE: &str = include_str!("../../assets/report.html");
const STYLE: &str = include_str!("../../assets/report.css");
const SCRIPT: &str = include_str!("../../assets/report.js");
const UPLOT_STYLE: &str = include_str!("../../assets/uplot/uPlot.min.css");
const UPLOT_SCRIPT: &str = include_str!("../../assets/uplot/uPlot.iife.min.js");

/// The whole page; of the SVGs the first is shown on paper and where scripts do not run, the other, if there is one, always.
pub(super) fn html(
    comparison: &Comparison,
    overview: &Overview<'_>,
    (figure, pareto): (&str, Option<&str>),
) -> Result<String, ReportError> {
    let data = payload::json(overview)?;
    Ok(fill(TEMPLATE, |place| match place {
        "name" => escape(&comparison.name),
        "headline" => answer(&headline(comparison, overview)),
        "extent" => escape(&extent(overview)),
        "notes" => note_list(&notes(comparison, overview)),
        "hidden" => if overview.rounds == 0 { "hidden" } else { "" }.into(),
        "spread" => escape(&spread_words(overview)),
        "front" => front(overview).map_or_else(String::new, |text| escape(&text)),
        "schemes" => each(overview, scheme_row),
        "bars" => bars(overview),
        "target" => target(comparison, overview),
        "clients" => clients_section(overview) + &after_section(overview),
        "figure" => figure.into(),
        "pareto" => pareto.map_or_else(String::new, |svg| format!("<div class=\"card drawn\">{svg}</div>")),
        "data" => escape(&comparison.data),
        "model" => escape(&comparison.model),
        "update" => escape(&update(comparison)),
        "machine" => escape(&comparison.machine),
        "command" => escape(&comparison.command),
        "experiment" => escape(&comparison.experiment),
        "run_count" => escape(&plural(comparison.runs.len(), "run")),
        "runs" => comparison.runs.iter().map(run_row).collect(),
        "curves" => data.clone(),
        "style" => STYLE.into(),
        "script" => SCRIPT.into(),
        "uplot_style" => UPLOT_STYLE.into(),
        "uplot_script" => UPLOT_SCRIPT.into(),
        _ => String::new(),
    }))
}

/// Replaces every `{{place}}` of the template, once: what is filled in is not looked at again.
fn fill(template: &str, value: impl Fn(&str) -> String) -> String {
    let mut out = String::with_capacity(2 * template.len());
    let mut rest = template;
    while let Some((before, (place, after))) = rest.split_once("{{").and_then(|(b, r)| Some((b, r.split_once("}}")?))) {
        out += before;
        out += &value(place.trim());
        rest = after;
    }
    out + rest
}

/// Text as HTML text or attribute value; control characters other than line ends and tabs become visible.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\'' => out += "&#39;",
            '\n' | '\t' => out.push(c),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// The first sentence large, the others below it; figures stay with their signs at a line's end.
fn answer(sentences: &[String]) -> String {
    let held = |text: &str| escape(text).replace(" %", "&nbsp;%").replace("± ", "±&nbsp;");
    let mut parts = sentences.iter().map(|s| held(s));
    let first = parts.next().unwrap_or_default();
    let rest: Vec<String> = parts.collect();
    format!("<p class=\"headline\">{first}</p>\n<p class=\"second\">{}</p>", rest.join(" "))
}

fn extent(overview: &Overview<'_>) -> String {
    let schemes = plural(overview.schemes.len(), "scheme");
    let (seeds, rounds) = (plural(overview.seeds, "seed"), plural(overview.rounds as usize, "round"));
    format!("{schemes}, {seeds} each, {rounds}")
}

fn update(comparison: &Comparison) -> String {
    let raw = bytes(4.0 * comparison.coordinates as f64);
    format!("{} coordinates, {raw} as raw fp32", count(comparison.coordinates))
}

fn note_list(notes: &[String]) -> String {
    if notes.is_empty() {
        return String::new();
    }
    let items: String = notes.iter().map(|n| format!("<li>{}</li>", escape(n))).collect();
    format!("<ul class=\"notes\" role=\"note\">{items}</ul>")
}

fn each(overview: &Overview<'_>, row: fn(&Scheme<'_>, &str) -> String) -> String {
    overview.schemes.iter().zip(color_places(overview)).map(|(s, place)| row(s, &dot_class(place))).collect()
}

fn dot_class(place: Option<usize>) -> String {
    place.map_or("s-base".into(), |p| format!("s{}{}", p % 7, if p < 7 { "" } else { " dashed" }))
}

fn scheme_row(s: &Scheme<'_>, dot: &str) -> String {
    let numbers = [
        with_spread(&s.accuracy, |v| percent(v, 2)),
        change(s.change),
        factor(s.saving),
        bytes(s.bytes_per_update),
        fixed(s.bits_per_coordinate, 2),
        bytes(s.uplink_bytes),
        percent(s.last5_accuracy.mean, 2),
        seconds(s.round_seconds),
    ];
    let cells: String = numbers.iter().map(|n| format!("<td>{n}</td>")).collect();
    format!("<tr><th scope=\"row\"><i class=\"dot {dot}\"></i>{}</th>{cells}</tr>\n", escape(&s.name))
}

/// How long and how many bytes it took to reach the accuracy that was asked for; nothing if none was.
fn target(comparison: &Comparison, overview: &Overview<'_>) -> String {
    let Some(accuracy) = comparison.target_accuracy.filter(|_| overview.rounds > 0) else { return String::new() };
    let to = format!("{}&nbsp;%", percent(accuracy, 1).trim_end_matches(".0"));
    let cells = |cells: &[String], open: &str, close: &str| -> String {
        cells.iter().map(|cell| format!("{open}{}{close}", escape(cell))).collect()
    };
    let head = cells(&target_head(accuracy).map(|name| capital(&name)), "<th scope=\"col\">", "</th>");
    let row = |s: &Scheme<'_>, dot: &str| {
        let rest = cells(&target_cells(s)[1..], "<td>", "</td>");
        format!("<tr><th scope=\"row\"><i class=\"dot {dot}\"></i>{}</th>{rest}</tr>\n", escape(&s.name))
    };
    let places = color_places(overview);
    let rows: String = overview.schemes.iter().zip(places).map(|(s, place)| row(s, &dot_class(place))).collect();
    format!(
        "<section aria-labelledby=\"target\">\n<h2 id=\"target\">How long it takes to {to}</h2>\n\
         <div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-labelledby=\"target\">\n<table>\n\
         <thead><tr>{head}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table>\n</div>\n\
         <p class=\"quiet small\">Downlink and virtual time are of the whole run; the rest is up to the first round that \
         reached {to}: means over the seeds that did, ± half of their 95&nbsp;% interval (Student’s t). Bytes are of all clients together.</p>\n</section>\n"
    )
}

/// What clients did and spent; nothing without links and budgets.
fn clients_section(overview: &Overview<'_>) -> String {
    let Some(shown) = Shown::of(&overview.schemes) else { return String::new() };
    let head = |name: &str| format!("<th scope=\"col\">{}</th>", escape(&capital(name)));
    let head: String = shown.head().into_iter().map(head).collect();
    let places = color_places(overview);
    let rows_of = |(s, place): (&Scheme<'_>, Option<usize>)| -> String {
        let dot = dot_class(place);
        let row = |cells: Vec<String>| {
            let cells: String = cells.iter().map(|cell| format!("<td>{}</td>", escape(cell))).collect();
            format!("<tr><th scope=\"row\"><i class=\"dot {dot}\"></i>{}</th>{cells}</tr>\n", escape(&s.name))
        };
        shown.rows(s).into_iter().map(row).collect()
    };
    let rows: String = overview.schemes.iter().zip(places).map(rows_of).collect();
    format!(
        "<section aria-labelledby=\"clients\">\n<h2 id=\"clients\">What clients did and spent, by link</h2>\n\
         <div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-labelledby=\"clients\">\n<table>\n\
         <thead><tr>{head}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table>\n</div>\n\
         <p class=\"quiet small\">{}</p>\n</section>\n",
        escape(NOTE)
    )
}

/// What was measured of the last models; nothing if nothing was.
fn after_section(overview: &Overview<'_>) -> String {
    let Some((head, rows)) = after::rows(&overview.schemes) else { return String::new() };
    let head: String = head.iter().map(|name| format!("<th scope=\"col\">{}</th>", escape(&capital(name)))).collect();
    let row = |(cells, (s, place)): (&Vec<String>, (&Scheme<'_>, Option<usize>))| {
        let rest: String = cells[1..].iter().map(|cell| format!("<td>{}</td>", escape(cell))).collect();
        let dot = dot_class(place);
        format!("<tr><th scope=\"row\"><i class=\"dot {dot}\"></i>{}</th>{rest}</tr>\n", escape(&s.name))
    };
    let rows: String = rows.iter().zip(overview.schemes.iter().zip(color_places(overview))).map(row).collect();
    format!(
        "<section aria-labelledby=\"after\">\n<h2 id=\"after\">What else the last model is worth</h2>\n\
         <div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-labelledby=\"after\">\n<table>\n\
         <thead><tr>{head}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table>\n</div>\n\
         <p class=\"quiet small\">{}</p>\n</section>\n",
        escape(after::NOTE)
    )
}

fn capital(text: &str) -> String {
    let mut rest = text.chars();
    rest.next().map_or(String::new(), |first| first.to_uppercase().chain(rest).collect())
}

fn change(change: Option<Estimate>) -> String {
    let Some(change) = change else { return ABSENT.into() };
    let shown = with_spread(&change, |v| signed(v, 2));
    if change.n < 2 {
        return shown;
    }
    let class = match change.differs_from_zero() {
        true if change.mean < 0.0 => "worse",
        true => "better",
        false => "unclear",
    };
    let about = format!("± {} points at 95 %, {}", fixed(change.margin(), 2), plural(change.n, "pair"));
    format!("<span class=\"{class}\" title=\"{about}\">{shown}</span>")
}

fn bars(overview: &Overview<'_>) -> String {
    let most = overview.schemes.iter().map(|s| s.bytes_per_update).filter(|b| b.is_finite()).fold(0.0, f64::max);
    let bar = |(s, place): (&Scheme<'_>, Option<usize>)| {
        let share = 100.0 * s.bytes_per_update / most;
        let width = if share.is_finite() { share.clamp(0.0, 100.0) } else { 0.0 };
        let (name, dot) = (escape(&s.name), dot_class(place));
        let (size, rate) = (bytes(s.bytes_per_update), fixed(s.bits_per_coordinate, 2));
        format!(
            "<div class=\"bar\"><span>{name}</span><span class=\"track\"><i class=\"{dot}\" style=\"width:{width:.2}%\">\
             </i></span><span>{size}</span><span class=\"quiet\">{rate} bits</span></div>\n"
        )
    };
    overview.schemes.iter().zip(color_places(overview)).map(bar).collect()
}

fn run_row(run: &RunResult) -> String {
    let s = &run.summary;
    let numbers = [
        s.seed.to_string(),
        s.rounds.to_string(),
        percent(s.final_accuracy, 2),
        percent(s.mean_last5_accuracy, 2),
        bytes(s.uplink_bytes_per_update),
        bytes(s.uplink_bytes_total as f64),
        bytes(s.downlink_bytes_total as f64),
        seconds(s.round_seconds_median),
        s.peak_rss_bytes.map_or(ABSENT.into(), |b| bytes(b as f64)),
    ];
    let cells: String = numbers.iter().map(|n| format!("<td>{n}</td>")).collect();
    let (name, hash) = (escape(&s.scheme), escape(&s.model_hash));
    format!("<tr><th scope=\"row\">{name}</th>{cells}<td class=\"hash\"><code>{hash}</code></td></tr>\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_become_markup() {
        let hostile = "<img src=x onerror='a'>\"&\u{0}\u{1b}\n";
        assert_eq!(escape(hostile), "&lt;img src=x onerror=&#39;a&#39;&gt;&quot;&amp;\u{fffd}\u{fffd}\n");
    }

    #[test]
    fn a_value_is_not_filled_again() {
        assert_eq!(fill("{{a}} and {{ b }}, {{", |p| format!("<{p} {{{{a}}}}>")), "<a {{a}}> and <b {{a}}>, {{");
    }

    #[test]
    fn the_style_sheet_has_the_colors_of_the_figure() {
        for (place, c) in super::super::chart::pen::COLORS.iter().enumerate() {
            let rule = format!("--s{place}: #{:02x}{:02x}{:02x};", c.0, c.1, c.2);
            assert!(STYLE.contains(&rule), "{rule}");
        }
    }
}
