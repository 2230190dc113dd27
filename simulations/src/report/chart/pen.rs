//! What figures are drawn with, and their colours: Okabe and Ito's (2008), told apart by colour-blind readers; yellow is
//! darkened for white paper, an eighth curve starts over with dashes.

use plotters::coord::Shift;
use plotters::element::{Circle, DashedPathElement, PathElement};
use plotters::prelude::{DrawingArea, DrawingAreaErrorKind, DrawingBackend};
use plotters::style::text_anchor::HPos;
use plotters::style::{Color, RGBColor, ShapeStyle, WHITE};

use super::lettering::{Label, Weight};

/// Size on a page, in CSS pixels.
pub(super) const WIDTH: u32 = 920;
pub(super) const HEIGHT: u32 = 520;
/// Drawing units per pixel.
pub(super) const SCALE: u32 = 4;

/// Colours of curves, in order; the page's style sheet has the same.
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
pub(super) const TEXT: RGBColor = RGBColor(0x1a, 0x1d, 0x21);
pub(super) const QUIET: RGBColor = RGBColor(0x5f, 0x66, 0x6d);
pub(super) const GRID: RGBColor = RGBColor(0xe4, 0xe7, 0xea);

/// The plot inside its axes, and the key's left edge, in pixels.
pub(super) const LEFT: f64 = 58.0;
pub(super) const RIGHT: f64 = 644.0;
pub(super) const TOP: f64 = 84.0;
pub(super) const BOTTOM: f64 = 456.0;
pub(super) const KEY: f64 = 670.0;
pub(super) const KEY_PITCH: f64 = 42.0;

pub(super) type Drawn<DB> = Result<(), DrawingAreaErrorKind<<DB as DrawingBackend>::ErrorType>>;

pub(super) struct Pen<'a, DB: DrawingBackend> {
    pub(super) area: &'a DrawingArea<DB, Shift>,
    pub(super) labels: Vec<Label>,
}

impl<DB: DrawingBackend> Pen<'_, DB> {
    pub(super) fn stroke(&self, points: &[(f64, f64)], place: Option<usize>) -> Drawn<DB> {
        if place.is_none_or(|p| p < COLORS.len()) {
            return self.line(points, color(place), 2.2);
        }
        let style = ShapeStyle::from(color(place)).stroke_width((2.2 * f64::from(SCALE)) as u32);
        let (dash, gap) = ((6 * SCALE) as i32, (3 * SCALE) as i32);
        self.area.draw(&DashedPathElement::new(points.iter().copied().map(grid), dash, gap, style))
    }

    pub(super) fn line(&self, points: &[(f64, f64)], color: RGBColor, width: f64) -> Drawn<DB> {
        let style = ShapeStyle::from(color).stroke_width((width * f64::from(SCALE)) as u32);
        self.area.draw(&PathElement::new(points.iter().copied().map(grid).collect::<Vec<_>>(), style))
    }

    pub(super) fn dot(&self, at: (f64, f64), radius: f64, color: RGBColor) -> Drawn<DB> {
        self.area.draw(&Circle::new(grid(at), ((radius + 1.2) * f64::from(SCALE)) as i32, WHITE.filled()))?;
        self.area.draw(&Circle::new(grid(at), (radius * f64::from(SCALE)) as i32, color.filled()))
    }

    pub(super) fn text(
        &mut self,
        text: &str,
        at: (f64, f64),
        size: f64,
        color: RGBColor,
        weight: Weight,
        anchor: HPos,
    ) {
        self.labels.push(Label { text: text.into(), at, size, color, weight, anchor });
    }
}

pub(super) fn color(place: Option<usize>) -> RGBColor {
    place.map_or(NEUTRAL, |p| COLORS[p % COLORS.len()])
}

pub(super) fn grid((x, y): (f64, f64)) -> (i32, i32) {
    ((x * f64::from(SCALE)).round() as i32, (y * f64::from(SCALE)).round() as i32)
}
