//! The drawing: error of one encoding against bits a coordinate, both on log axes, one curve for each family of schemes.

use plotters::coord::Shift;
use plotters::prelude::{DrawingArea, DrawingAreaErrorKind, DrawingBackend};
use plotters::style::WHITE;
use plotters::style::text_anchor::HPos;

use super::Figure;
use super::lettering::{Label, Weight};
use super::pen::{BOTTOM, Drawn, GRID, KEY, KEY_PITCH, LEFT, Pen, QUIET, RIGHT, TEXT, TOP, color};
use super::scale::Span;
use crate::codec_eval::CodecRow;

/// The figure.
pub(in super::super) struct Rates<'a> {
    title: &'a str,
    /// Name, and points (bits, NMSE) by bits.
    families: Vec<(String, Vec<(f64, f64)>)>,
}

impl<'a> Rates<'a> {
    pub(in super::super) fn new(title: &'a str, rows: &[CodecRow]) -> Self {
        let mut families: Vec<(String, Vec<(f64, f64)>)> = Vec::new();
        for row in rows.iter().filter(|row| row.nmse > 0.0 && row.bits_per_coordinate > 0.0) {
            let (name, point) = (family(&row.scheme), (row.bits_per_coordinate, row.nmse));
            match families.iter_mut().find(|(known, _)| *known == name) {
                Some((_, points)) => points.push(point),
                None => families.push((name, vec![point])),
            }
        }
        families.iter_mut().for_each(|(_, points)| points.sort_by(|a, b| a.0.total_cmp(&b.0)));
        Self { title, families }
    }
}

/// A scheme without its rate: `auto`, `plan:nearest`, `int`, `int:dithered`, `fp`.
fn family(scheme: &str) -> String {
    let mut parts = scheme.split(':');
    let name = parts.next().unwrap_or_default();
    let kept = match name {
        "auto" | "plan" => {
            parts.next();
            name
        }
        _ => name.trim_end_matches(|c: char| c.is_ascii_digit()),
    };
    std::iter::once(kept).chain(parts).collect::<Vec<_>>().join(":")
}

impl Figure for Rates<'_> {
    const NAME: &'static str = "rates";

    fn draw<DB: DrawingBackend>(
        &self,
        area: &DrawingArea<DB, Shift>,
    ) -> Result<Vec<Label>, DrawingAreaErrorKind<DB::ErrorType>> {
        let mut pen = Pen { area, labels: Vec::new() };
        area.fill(&WHITE)?;
        pen.text(self.title, (LEFT, 24.0), 19.0, TEXT, Weight::Semibold, HPos::Left);
        let under = "NMSE of one encoding (log scale). Lower is better; below the dark line an update is more signal than noise.";
        pen.text(under, (LEFT, 49.0), 13.0, QUIET, Weight::Regular, HPos::Left);
        let points = || self.families.iter().flat_map(|(_, points)| points);
        let x = Span::over(points().map(|point| point.0.log2())).widened(0.03);
        let y = Span::over(points().map(|point| point.1.log10())).widened(0.04);
        let place = |point: &(f64, f64)| {
            let right = x.part(point.0.log2());
            (LEFT + (RIGHT - LEFT) * right, BOTTOM - (BOTTOM - TOP) * y.part(point.1.log10()))
        };
        axes(&mut pen, x, y, &place)?;
        for (at, (_, points)) in self.families.iter().enumerate() {
            let places: Vec<_> = points.iter().map(place).collect();
            pen.stroke(&places, Some(at))?;
            places.iter().try_for_each(|&dot| pen.dot(dot, 3.5, color(Some(at))))?;
        }
        for (at, (name, _)) in self.families.iter().enumerate() {
            let row = TOP + 8.0 + KEY_PITCH * 0.6 * at as f64;
            pen.stroke(&[(KEY, row), (KEY + 24.0, row)], Some(at))?;
            pen.dot((KEY + 24.0, row), 3.5, color(Some(at)))?;
            pen.text(name, (KEY + 38.0, row), 14.0, TEXT, Weight::Semibold, HPos::Left);
        }
        Ok(pen.labels)
    }
}

fn axes<DB: DrawingBackend>(
    pen: &mut Pen<'_, DB>,
    x: Span,
    y: Span,
    place: &impl Fn(&(f64, f64)) -> (f64, f64),
) -> Drawn<DB> {
    for decade in y.from.ceil() as i32..=y.to.floor() as i32 {
        let (_, at) = place(&(1.0, 10f64.powi(decade)));
        pen.line(&[(LEFT, at), (RIGHT, at)], if decade == 0 { QUIET } else { GRID }, 1.0)?;
        let text = if (-3..=3).contains(&decade) { 10f64.powi(decade).to_string() } else { format!("1e{decade}") };
        pen.text(&text, (LEFT - 10.0, at), 13.0, QUIET, Weight::Regular, HPos::Right);
    }
    for power in x.from.ceil() as i32..=x.to.floor() as i32 {
        let bits = f64::from(power).exp2();
        let (at, _) = place(&(bits, 1.0));
        pen.line(&[(at, TOP), (at, BOTTOM)], GRID, 1.0)?;
        pen.text(&bits.to_string(), (at, BOTTOM + 18.0), 13.0, QUIET, Weight::Regular, HPos::Center);
    }
    let middle = (LEFT + RIGHT) / 2.0;
    let what = "Bits a coordinate, everything counted (log scale)";
    pen.text(what, (middle, BOTTOM + 44.0), 13.0, QUIET, Weight::Regular, HPos::Center);
    pen.line(&[(LEFT, BOTTOM), (RIGHT, BOTTOM)], QUIET, 1.0)
}

#[cfg(test)]
mod tests {
    use super::family;

    #[test]
    fn a_family_is_a_scheme_without_its_rate() {
        let cases = [
            ("auto:0.5", "auto"),
            ("auto:64KiB", "auto"),
            ("plan:64KiB:nearest", "plan:nearest"),
            ("int4", "int"),
            ("int2:tensor:nearest", "int:tensor:nearest"),
            ("fp16", "fp"),
            ("bf16", "bf"),
        ];
        for (scheme, expected) in cases {
            assert_eq!(family(scheme), expected);
        }
    }
}
