//! Figures as SVG and PNG: what [`figure`], [`front`] and [`rates`] draw, on plotters' two backends.
//!
//! Text in the PNG is set in a subset of Inter that is part of the program, so it needs no font of the system. Both are
//! drawn on a grid [`SCALE`] times finer than a page's pixel; the bitmap is then halved, since plotters does not smooth
//! thick lines.

pub(super) mod figure;
pub(super) mod front;
mod lettering;
pub(super) mod pen;
pub(super) mod rates;
mod scale;

use std::fmt::Display;

use plotters::coord::Shift;
use plotters::prelude::{
    BitMapBackend, DrawingArea, DrawingAreaErrorKind, DrawingBackend, IntoDrawingArea, SVGBackend,
};

use super::ReportError;
use lettering::Label;
use pen::{HEIGHT, SCALE, WIDTH};

/// Drawn pixels per pixel of the PNG, in each direction.
const SHRINK: u32 = 2;

/// What can be drawn.
pub(super) trait Figure {
    /// What it is called.
    const NAME: &'static str;

    /// Draws all but the text, which is returned: SVG and bitmap set it each in their own way.
    fn draw<DB: DrawingBackend>(
        &self,
        area: &DrawingArea<DB, Shift>,
    ) -> Result<Vec<Label>, DrawingAreaErrorKind<DB::ErrorType>>;
}

pub(super) fn svg<F: Figure>(figure: &F) -> Result<String, ReportError> {
    let mut text = String::new();
    let grid = (WIDTH * SCALE, HEIGHT * SCALE);
    {
        let root = SVGBackend::with_string(&mut text, grid).into_drawing_area();
        let labels = figure.draw(&root).map_err(|e| failed(F::NAME, &e))?;
        lettering::as_text(&root, &labels).and_then(|()| root.present()).map_err(|e| failed(F::NAME, &e))?;
    }
    // The grid stays the viewBox; the size on a page is the figure's own.
    let drawn = format!("width=\"{}\" height=\"{}\" viewBox", grid.0, grid.1);
    let shown = format!("width=\"{WIDTH}\" height=\"{HEIGHT}\" viewBox");
    Ok(text.replacen(&drawn, &shown, 1))
}

pub(super) fn png<F: Figure>(figure: &F) -> Result<Vec<u8>, ReportError> {
    let grid = (WIDTH * SCALE, HEIGHT * SCALE);
    let mut pixels = vec![255u8; (3 * grid.0 * grid.1) as usize];
    let labels = {
        let root = BitMapBackend::with_buffer(&mut pixels, grid).into_drawing_area();
        let labels = figure.draw(&root).map_err(|e| failed(F::NAME, &e))?;
        root.present().map_err(|e| failed(F::NAME, &e))?;
        labels
    };
    lettering::as_pixels(&mut pixels, grid.0 as usize, &labels).map_err(|e| failed(F::NAME, &e))?;
    encode(&shrink(&pixels, grid.0 as usize), grid.0 / SHRINK, grid.1 / SHRINK).map_err(|e| failed(F::NAME, &e))
}

fn encode(rgb: &[u8], width: u32, height: u32) -> Result<Vec<u8>, png::EncodingError> {
    let mut out = Vec::new();
    let mut encoder = png::Encoder::new(&mut out, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::High);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(rgb)?;
    writer.finish()?;
    Ok(out)
}

/// Means over `SHRINK` x `SHRINK` squares of RGB pixels.
fn shrink(rgb: &[u8], width: usize) -> Vec<u8> {
    let n = SHRINK as usize;
    let mut out = Vec::with_capacity(rgb.len() / (n * n));
    for rows in rgb.chunks_exact(3 * width * n) {
        for x in 0..width / n {
            for channel in 0..3 {
                let at = |dy: usize, dx: usize| u32::from(rows[3 * (dy * width + n * x + dx) + channel]);
                let sum: u32 = (0..n).flat_map(|dy| (0..n).map(move |dx| at(dy, dx))).sum();
                out.push((sum / (SHRINK * SHRINK)) as u8);
            }
        }
    }
    out
}

fn failed(figure: &'static str, reason: &dyn Display) -> ReportError {
    ReportError::Figure { figure, reason: reason.to_string() }
}
