//! What the page's script draws: curves per scheme, as JSON that is safe inside a `<script>` element.

use serde::Serialize;

use super::ReportError;
use super::chart::figure::color_places;
use super::stats::{Estimate, Overview, Point, Scheme};

/// One scheme's curves, one entry per round. What is not finite is `null`.
#[derive(Serialize)]
struct Curve<'a> {
    name: &'a str,
    /// Place in the order of colours; `null` for fp32.
    place: Option<usize>,
    /// Rounds done, from 1.
    rounds: Vec<u64>,
    /// Payload bytes all clients sent up to here, mean over seeds.
    up: Vec<f64>,
    /// Payload bytes sent to all clients up to here.
    down: Vec<f64>,
    /// Virtual seconds up to here.
    seconds: Vec<f64>,
    /// In percent.
    accuracy: Band,
    nmse: Band,
}

#[derive(Serialize)]
struct Band {
    mean: Vec<f64>,
    low: Vec<f64>,
    high: Vec<f64>,
}

pub(super) fn json(overview: &Overview<'_>) -> Result<String, ReportError> {
    let curves: Vec<Curve<'_>> =
        overview.schemes.iter().zip(color_places(overview)).map(|(scheme, place)| curve(scheme, place)).collect();
    Ok(inert(&serde_json::to_string(&curves)?))
}

fn curve<'a>(scheme: &'a Scheme<'_>, place: Option<usize>) -> Curve<'a> {
    Curve {
        name: &scheme.name,
        place,
        rounds: scheme.curve.iter().map(|p| p.rounds).collect(),
        up: scheme.curve.iter().map(|p| p.uplink_bytes.round()).collect(),
        down: scheme.curve.iter().map(|p| p.downlink_bytes.round()).collect(),
        seconds: scheme.curve.iter().map(|p| short(p.virtual_seconds)).collect(),
        accuracy: band(&scheme.curve, 100.0, |p| p.accuracy),
        nmse: band(&scheme.curve, 1.0, |p| p.nmse),
    }
}

fn band(points: &[Point], unit: f64, of: fn(&Point) -> Estimate) -> Band {
    let each = |value: fn(&Estimate) -> f64| points.iter().map(|p| short(unit * value(&of(p)))).collect();
    Band { mean: each(|e| e.mean), low: each(|e| e.band().0), high: each(|e| e.band().1) }
}

/// Six digits: more than a screen shows.
fn short(value: f64) -> f64 {
    format!("{value:.5e}").parse().unwrap_or(f64::NAN)
}

/// The same JSON without a character that HTML or old JavaScript could read as its own. They occur in strings only.
fn inert(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => out += &format!("\\u{:04x}", u32::from(c)),
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_cannot_end_its_script() {
        let hostile = "</script><!--<script>&\u{2028}\"\\";
        let safe = inert(&serde_json::to_string(hostile).unwrap());
        assert!(!safe.contains(['<', '>', '&', '\u{2028}']));
        assert_eq!(serde_json::from_str::<String>(&safe).unwrap(), hostile);
    }

    #[test]
    fn six_digits_are_kept() {
        assert_eq!(short(71.234_567_8), 71.2346);
        assert!(short(f64::NAN).is_nan());
    }
}
