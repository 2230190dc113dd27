//! The drawing: accuracy of the global model against all the bytes that clients have sent, one curve per scheme.
//!
//! Bytes are on a log axis, since schemes differ by factors. The key stands beside the curves, best scheme first, so that
//! no label lies on a curve. Colours are Okabe and Ito's (2008), told apart by colour-blind readers; yellow is darkened for
//! white paper, fp32 is grey, and an eighth scheme starts over with dashes.

use plotters::coord::Shift;
use plotters::element::{Circle, DashedPathElement, PathElement, Polygon};
use plotters::prelude::{DrawingArea, DrawingAreaErrorKind, DrawingBackend};
use plotters::style::text_anchor::HPos;
use plotters::style::{Color, RGBColor, ShapeStyle, WHITE};

use super::super::stats::{Overview, Point, Scheme};
use super::super::units::{factor, fixed, percent, visible};
use super::super::words::spread_words;
use super::lettering::{Label, Weight};
use super::scale::{Span, byte_ticks, linear_ticks};

/// Size on a page, in CSS pixels.
pub(super) const WIDTH: u32 = 920;
pub(super) const HEIGHT: u32 = 520;
/// Drawing units per pixel.
pub(super) const SCALE: u32 = 4;

/// Colours of schemes other than fp32, in order; the page's style sheet has the same.
pub(in super::super) const COLORS: [RGBColor; 7] = [
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0xd5, 0x5e, 0x00),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0xcc, 0x79, 0xa7),
    RGBColor(0xe6, 0x9f, 0x00),
    RGBColor(0x56, 0xb4, 0xe9),
    RGBColor(0xa8, 0x93, 0x00),
];
const NEUTRAL: RGBColor = RGBColor(0x55, 0x5b, 0x61);
const TEXT: RGBColor = RGBColor(0x1a, 0x1d, 0x21);
const QUIET: RGBColor = RGBColor(0x5f, 0x66, 0x6d);
const GRID: RGBColor = RGBColor(0xe4, 0xe7, 0xea);

/// The plot inside its axes, and the key's left edge, in pixels.
const LEFT: f64 = 58.0;
const RIGHT: f64 = 644.0;
const TOP: f64 = 84.0;
const BOTTOM: f64 = 456.0;
const KEY: f64 = 670.0;
const KEY_PITCH: f64 = 42.0;
const KEY_ROWS: usize = 22;

type Drawn<DB> = Result<(), DrawingAreaErrorKind<<DB as DrawingBackend>::ErrorType>>;

/// Place of a scheme in the order of colours; `None` is fp32, which is grey.
pub(in super::super) fn color_places(overview: &Overview<'_>) -> Vec<Option<usize>> {
    let mut next = 0..;
    overview.schemes.iter().map(|s| if s.is_baseline() { None } else { next.next() }).collect()
}

/// Draws all but the text, which is returned: SVG and bitmap set it each in their own way.
pub(super) fn draw<DB: DrawingBackend>(
    area: &DrawingArea<DB, Shift>,
    overview: &Overview<'_>,
) -> Result<Vec<Label>, DrawingAreaErrorKind<DB::ErrorType>> {
    let mut pen = Pen { area, labels: Vec::new() };
    area.fill(&WHITE)?;
    pen.text("Accuracy against bytes sent", (LEFT, 24.0), 19.0, TEXT, Weight::Semibold, HPos::Left);
    let under = format!("Top-1 accuracy on the test part, %. {}", spread_words(overview));
    pen.text(&under, (LEFT, 49.0), 13.0, QUIET, Weight::Regular, HPos::Left);

    let axes = Axes::over(overview);
    pen.axes(&axes)?;
    let mut order: Vec<(&Scheme<'_>, Option<usize>)> =
        overview.schemes.iter().zip(color_places(overview)).filter(|(s, _)| s.curve.iter().any(drawable)).collect();
    for (scheme, place) in &order {
        pen.band(&axes, scheme, *place)?;
    }
    for (scheme, place) in &order {
        pen.curve(&axes, scheme, *place)?;
    }
    order.sort_by(|a, b| b.0.accuracy.mean.total_cmp(&a.0.accuracy.mean));
    pen.key(&order)?;
    if order.is_empty() {
        let middle = ((LEFT + RIGHT) / 2.0, (TOP + BOTTOM) / 2.0);
        pen.text("No round has been finished.", middle, 14.0, QUIET, Weight::Regular, HPos::Center);
    }
    Ok(pen.labels)
}

/// A point has a place only with an accuracy, and with bytes whose logarithm exists.
fn drawable(point: &Point) -> bool {
    point.accuracy.n > 0 && point.uplink_bytes > 0.0
}

struct Axes {
    log2_bytes: Span,
    percent: Span,
}

impl Axes {
    fn over(overview: &Overview<'_>) -> Axes {
        let points = || overview.schemes.iter().flat_map(|s| &s.curve).filter(|p| drawable(p));
        let ends = points().flat_map(|p| [p.accuracy.band().0, p.accuracy.band().1]);
        Axes {
            log2_bytes: Span::over(points().map(|p| p.uplink_bytes.log2())).widened(0.02),
            percent: Span::over(ends.map(|share| 100.0 * share)).widened(0.04),
        }
    }

    fn x(&self, log2_bytes: f64) -> f64 {
        LEFT + (RIGHT - LEFT) * self.log2_bytes.part(log2_bytes)
    }

    fn y(&self, percent: f64) -> f64 {
        BOTTOM - (BOTTOM - TOP) * self.percent.part(percent)
    }

    fn place(&self, point: &Point, share: f64) -> (f64, f64) {
        (self.x(point.uplink_bytes.log2()), self.y(100.0 * share))
    }
}

struct Pen<'a, DB: DrawingBackend> {
    area: &'a DrawingArea<DB, Shift>,
    labels: Vec<Label>,
}

impl<DB: DrawingBackend> Pen<'_, DB> {
    fn axes(&mut self, axes: &Axes) -> Drawn<DB> {
        for (value, text) in linear_ticks(axes.percent) {
            let y = axes.y(value);
            self.line(&[(LEFT, y), (RIGHT, y)], GRID, 1.0)?;
            self.text(&text, (LEFT - 10.0, y), 13.0, QUIET, Weight::Regular, HPos::Right);
        }
        for (value, text) in byte_ticks(axes.log2_bytes) {
            let x = axes.x(value);
            self.line(&[(x, TOP), (x, BOTTOM)], GRID, 1.0)?;
            self.text(&text, (x, BOTTOM + 18.0), 13.0, QUIET, Weight::Regular, HPos::Center);
        }
        let (what, middle) = ("Payload bytes sent by all clients so far (log scale)", (LEFT + RIGHT) / 2.0);
        self.text(what, (middle, BOTTOM + 44.0), 13.0, QUIET, Weight::Regular, HPos::Center);
        self.line(&[(LEFT, BOTTOM), (RIGHT, BOTTOM)], QUIET, 1.0)
    }

    fn band(&self, axes: &Axes, scheme: &Scheme<'_>, place: Option<usize>) -> Drawn<DB> {
        let points: Vec<&Point> = scheme.curve.iter().filter(|p| drawable(p)).collect();
        let lower = points.iter().map(|p| axes.place(p, p.accuracy.band().0));
        let upper = points.iter().rev().map(|p| axes.place(p, p.accuracy.band().1));
        let outline: Vec<(i32, i32)> = lower.chain(upper).map(grid).collect();
        if scheme.accuracy.n < 2 || outline.len() < 6 {
            return self.whisker(axes, points.last().copied(), place);
        }
        self.area.draw(&Polygon::new(outline, color(place).mix(0.22)))
    }

    /// The spread of a curve too short to have a band.
    fn whisker(&self, axes: &Axes, last: Option<&Point>, place: Option<usize>) -> Drawn<DB> {
        let Some(point) = last.filter(|p| p.accuracy.n > 1) else { return Ok(()) };
        let (low, high) = point.accuracy.band();
        self.line(&[axes.place(point, low), axes.place(point, high)], color(place), 1.5)
    }

    fn curve(&self, axes: &Axes, scheme: &Scheme<'_>, place: Option<usize>) -> Drawn<DB> {
        let drawn = scheme.curve.iter().filter(|p| drawable(p));
        let points: Vec<(f64, f64)> = drawn.map(|p| axes.place(p, p.accuracy.mean)).collect();
        self.stroke(&points, place)?;
        points.last().map_or(Ok(()), |end| self.dot(*end, 4.0, color(place)))
    }

    fn key(&mut self, order: &[(&Scheme<'_>, Option<usize>)]) -> Drawn<DB> {
        let rows = order.len().clamp(1, KEY_ROWS);
        let pitch = KEY_PITCH.min((BOTTOM - TOP) / rows as f64);
        let text = KEY + 38.0;
        for (row, (scheme, place)) in order.iter().take(KEY_ROWS).enumerate() {
            let y = TOP + 8.0 + pitch * row as f64;
            self.stroke(&[(KEY, y), (KEY + 24.0, y)], *place)?;
            self.dot((KEY + 24.0, y), 4.0, color(*place))?;
            self.text(&short(scheme.name), (text, y), 14.0, TEXT, Weight::Semibold, HPos::Left);
            if pitch > 32.0 {
                self.text(&figures(scheme), (text, y + 17.0), 12.0, QUIET, Weight::Regular, HPos::Left);
            }
        }
        if order.len() > KEY_ROWS {
            let more = format!("and {} more", order.len() - KEY_ROWS);
            self.text(&more, (text, BOTTOM + 12.0), 12.0, QUIET, Weight::Regular, HPos::Left);
        }
        Ok(())
    }

    fn stroke(&self, points: &[(f64, f64)], place: Option<usize>) -> Drawn<DB> {
        if place.is_none_or(|p| p < COLORS.len()) {
            return self.line(points, color(place), 2.2);
        }
        let style = ShapeStyle::from(color(place)).stroke_width((2.2 * f64::from(SCALE)) as u32);
        let (dash, gap) = ((6 * SCALE) as i32, (3 * SCALE) as i32);
        self.area.draw(&DashedPathElement::new(points.iter().copied().map(grid), dash, gap, style))
    }

    fn line(&self, points: &[(f64, f64)], color: RGBColor, width: f64) -> Drawn<DB> {
        let style = ShapeStyle::from(color).stroke_width((width * f64::from(SCALE)) as u32);
        self.area.draw(&PathElement::new(points.iter().copied().map(grid).collect::<Vec<_>>(), style))
    }

    fn dot(&self, at: (f64, f64), radius: f64, color: RGBColor) -> Drawn<DB> {
        self.area.draw(&Circle::new(grid(at), ((radius + 1.2) * f64::from(SCALE)) as i32, WHITE.filled()))?;
        self.area.draw(&Circle::new(grid(at), (radius * f64::from(SCALE)) as i32, color.filled()))
    }

    fn text(&mut self, text: &str, at: (f64, f64), size: f64, color: RGBColor, weight: Weight, anchor: HPos) {
        self.labels.push(Label { text: text.into(), at, size, color, weight, anchor });
    }
}

fn figures(scheme: &Scheme<'_>) -> String {
    let accuracy = match scheme.accuracy.n {
        n if n < 3 => percent(scheme.accuracy.mean, 1),
        _ => format!("{} ± {}", percent(scheme.accuracy.mean, 1), fixed(100.0 * scheme.accuracy.deviation, 1)),
    };
    match scheme.saving {
        _ if scheme.is_baseline() => format!("{accuracy} %"),
        s if !s.is_finite() => format!("{accuracy} %"),
        s if s > 1.0 => format!("{accuracy} %, {} fewer bytes", factor(s)),
        s => format!("{accuracy} %, {} more bytes", factor(1.0 / s)),
    }
}

fn short(name: &str) -> String {
    const MOST: usize = 20;
    let shown: String = visible(name).chars().take(MOST).collect();
    if name.chars().count() > MOST { shown + "…" } else { shown }
}

fn color(place: Option<usize>) -> RGBColor {
    place.map_or(NEUTRAL, |p| COLORS[p % COLORS.len()])
}

fn grid((x, y): (f64, f64)) -> (i32, i32) {
    ((x * f64::from(SCALE)).round() as i32, (y * f64::from(SCALE)).round() as i32)
}
