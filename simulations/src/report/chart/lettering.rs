//! Text of the figure: as `<text>` in an SVG, as pixels of the built-in font in a bitmap.
//!
//! plotters can set bitmap text too, but it leaves out the side bearings of glyphs, and words run together.

use ab_glyph::{Font, FontRef, Glyph, InvalidFont, PxScale, ScaleFont, point};
use plotters::coord::Shift;
use plotters::prelude::{DrawingArea, DrawingAreaErrorKind, DrawingBackend};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{FontStyle, IntoFont, RGBColor, TextStyle};

use super::pen::SCALE;

const REGULAR: &[u8] = include_bytes!("../../../assets/font/Inter-400-subset.ttf");
const SEMIBOLD: &[u8] = include_bytes!("../../../assets/font/Inter-600-subset.ttf");
/// Fonts for the SVG's viewer to try.
const FAMILY: &str = "Inter, Helvetica, Arial, sans-serif";
/// From the middle of a small letter down to its foot, in em: half of Inter's x-height.
const HALF_X: f64 = 0.273;

#[derive(Clone, Copy, Debug)]
pub(in super::super) enum Weight {
    Regular,
    Semibold,
}

/// One line of text, centred on `at` from top to bottom. Places and sizes are in pixels of the figure.
#[derive(Clone)]
pub(in super::super) struct Label {
    pub(super) text: String,
    pub(super) at: (f64, f64),
    /// Of the em.
    pub(super) size: f64,
    pub(super) color: RGBColor,
    pub(super) weight: Weight,
    pub(super) anchor: HPos,
}

pub(super) fn as_text<DB: DrawingBackend>(
    area: &DrawingArea<DB, Shift>,
    labels: &[Label],
) -> Result<(), DrawingAreaErrorKind<DB::ErrorType>> {
    let unit = f64::from(SCALE);
    for label in labels {
        let weight = match label.weight {
            Weight::Regular => FontStyle::Normal,
            Weight::Semibold => FontStyle::Bold,
        };
        let font = (FAMILY, 1.24 * label.size * unit, weight).into_font(); // plotters' size is the line, 1.24 em
        let style = TextStyle::from(font).color(&label.color).pos(Pos::new(label.anchor, VPos::Center));
        let at = ((label.at.0 * unit).round() as i32, (label.at.1 * unit).round() as i32);
        area.draw_text(&label.text, &style, at)?;
    }
    Ok(())
}

/// Lays text over rows of RGB pixels, `width` to a row.
pub(super) fn as_pixels(rgb: &mut [u8], width: usize, labels: &[Label]) -> Result<(), InvalidFont> {
    let regular = FontRef::try_from_slice(REGULAR)?;
    let semibold = FontRef::try_from_slice(SEMIBOLD)?;
    for label in labels {
        let font = match label.weight {
            Weight::Regular => &regular,
            Weight::Semibold => &semibold,
        };
        for glyph in set(font, label) {
            let Some(outline) = font.outline_glyph(glyph) else { continue };
            let corner = outline.px_bounds().min;
            outline.draw(|x, y, cover| {
                let (x, y) = (f64::from(corner.x) + f64::from(x), f64::from(corner.y) + f64::from(y));
                if x >= 0.0 && y >= 0.0 && (x as usize) < width {
                    blend(rgb, 3 * (y as usize * width + x as usize), label.color, cover);
                }
            });
        }
    }
    Ok(())
}

/// The glyphs of a label, each at its place on the bitmap.
fn set(font: &FontRef<'_>, label: &Label) -> Vec<Glyph> {
    let unit = f64::from(SCALE);
    let em = (label.size * unit) as f32;
    // ab_glyph measures a font by its height, not by its em.
    let scale = PxScale::from(em * font.height_unscaled() / font.units_per_em().unwrap_or(1.0));
    let scaled = font.as_scaled(scale);
    let advance = |c: char| scaled.h_advance(scaled.glyph_id(c));
    let length: f32 = label.text.chars().map(advance).sum();
    let start = (label.at.0 * unit) as f32;
    let mut x = match label.anchor {
        HPos::Left => start,
        HPos::Center => start - length / 2.0,
        HPos::Right => start - length,
    };
    let foot = ((label.at.1 + HALF_X * label.size) * unit) as f32;
    let mut glyphs = Vec::with_capacity(label.text.len());
    for c in label.text.chars() {
        glyphs.push(scaled.glyph_id(c).with_scale_and_position(scale, point(x, foot)));
        x += advance(c);
    }
    glyphs
}

fn blend(rgb: &mut [u8], at: usize, color: RGBColor, cover: f32) {
    let Some(pixel) = rgb.get_mut(at..at + 3) else { return };
    let cover = cover.clamp(0.0, 1.0);
    for (under, over) in pixel.iter_mut().zip([color.0, color.1, color.2]) {
        *under = (f32::from(*under) * (1.0 - cover) + f32::from(over) * cover).round() as u8;
    }
}
