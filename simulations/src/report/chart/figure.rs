//! The drawing: accuracy of the global model against all the bytes that clients have sent, one curve per scheme.
//!
//! Bytes are on a log axis, since schemes differ by factors. The key stands beside the curves, best scheme first, so that
//! no label lies on a curve. fp32 is grey.

use plotters::coord::Shift;
use plotters::element::Polygon;
use plotters::prelude::{DrawingArea, DrawingAreaErrorKind, DrawingBackend};
use plotters::style::text_anchor::HPos;
use plotters::style::{Color, WHITE};

use super::super::stats::{Overview, Point, Scheme};
use super::super::units::{factor, fixed, percent, visible};
use super::super::words::spread_words;
use super::Figure;
use super::lettering::{Label, Weight};
use super::pen::{BOTTOM, Drawn, GRID, KEY, KEY_PITCH, LEFT, Pen, QUIET, RIGHT, TEXT, TOP, color, grid};
use super::scale::{Span, byte_ticks, linear_ticks};

const KEY_ROWS: usize = 22;

/// Place of a scheme in the order of colours; `None` is fp32, which is grey if there is but one.
pub(in super::super) fn color_places(overview: &Overview<'_>) -> Vec<Option<usize>> {
    let mut next = 0..;
    let alone = overview.schemes.iter().filter(|s| s.is_baseline()).count() == 1;
    overview.schemes.iter().map(|s| if alone && s.is_baseline() { None } else { next.next() }).collect()
}

/// The figure.
pub(in super::super) struct AccuracyVsBytes<'a>(pub(in super::super) &'a Overview<'a>);

impl Figure for AccuracyVsBytes<'_> {
    const NAME: &'static str = "accuracy_vs_bytes";

    fn draw<DB: DrawingBackend>(
        &self,
        area: &DrawingArea<DB, Shift>,
    ) -> Result<Vec<Label>, DrawingAreaErrorKind<DB::ErrorType>> {
        let overview = self.0;
        let mut pen = Pen { area, labels: Vec::new() };
        area.fill(&WHITE)?;
        pen.text("Accuracy against bytes sent", (LEFT, 24.0), 19.0, TEXT, Weight::Semibold, HPos::Left);
        let under = format!("Top-1 accuracy on the test part, %. {}", spread_words(overview));
        pen.text(&under, (LEFT, 49.0), 13.0, QUIET, Weight::Regular, HPos::Left);

        let points = || overview.schemes.iter().flat_map(|s| &s.curve).filter(|p| drawable(p));
        let ends = points().flat_map(|p| [p.accuracy.band().0, p.accuracy.band().1]);
        let axes = Axes::over(points().map(|p| p.uplink_bytes.log2()), ends);
        pen.axes(&axes, "Payload bytes sent by all clients so far (log scale)")?;
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
}

/// A point has a place only with an accuracy, and with bytes whose logarithm exists.
fn drawable(point: &Point) -> bool {
    point.accuracy.n > 0 && point.uplink_bytes > 0.0
}

/// Bytes to the right, percent upwards.
pub(super) struct Axes {
    log2_bytes: Span,
    percent: Span,
}

impl Axes {
    /// Axes that hold these.
    pub(super) fn over(log2_bytes: impl Iterator<Item = f64>, shares: impl Iterator<Item = f64>) -> Axes {
        Axes {
            log2_bytes: Span::over(log2_bytes).widened(0.02),
            percent: Span::over(shares.map(|share| 100.0 * share)).widened(0.04),
        }
    }

    pub(super) fn x(&self, log2_bytes: f64) -> f64 {
        LEFT + (RIGHT - LEFT) * self.log2_bytes.part(log2_bytes)
    }

    pub(super) fn y(&self, percent: f64) -> f64 {
        BOTTOM - (BOTTOM - TOP) * self.percent.part(percent)
    }

    fn place(&self, point: &Point, share: f64) -> (f64, f64) {
        (self.x(point.uplink_bytes.log2()), self.y(100.0 * share))
    }
}

impl<DB: DrawingBackend> Pen<'_, DB> {
    pub(super) fn axes(&mut self, axes: &Axes, across: &str) -> Drawn<DB> {
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
        let middle = (LEFT + RIGHT) / 2.0;
        self.text(across, (middle, BOTTOM + 44.0), 13.0, QUIET, Weight::Regular, HPos::Center);
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

    pub(super) fn key(&mut self, order: &[(&Scheme<'_>, Option<usize>)]) -> Drawn<DB> {
        let rows = order.len().clamp(1, KEY_ROWS);
        let pitch = KEY_PITCH.min((BOTTOM - TOP) / rows as f64);
        let text = KEY + 38.0;
        for (row, (scheme, place)) in order.iter().take(KEY_ROWS).enumerate() {
            let y = TOP + 8.0 + pitch * row as f64;
            self.stroke(&[(KEY, y), (KEY + 24.0, y)], *place)?;
            self.dot((KEY + 24.0, y), 4.0, color(*place))?;
            self.text(&short(&scheme.name), (text, y), 14.0, TEXT, Weight::Semibold, HPos::Left);
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
