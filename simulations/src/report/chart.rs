//! The figure `accuracy_vs_bytes` as SVG and PNG: what [`figure`] draws, on plotters' two backends.
//!
//! Text is set in a subset of Inter that is part of the program, so the PNG needs no font of the system. Both are drawn on
//! a grid [`SCALE`] times finer than a page's pixel; the bitmap is then halved, since plotters does not smooth thick lines.

pub(super) mod figure;
mod scale;

use plotters::prelude::{BitMapBackend, IntoDrawingArea, SVGBackend};
use plotters::style::{FontStyle, register_font};

use super::ReportError;
use super::stats::Overview;
use figure::{FONT, HEIGHT, SCALE, WIDTH};

const REGULAR: &[u8] = include_bytes!("../../assets/font/Inter-400-subset.ttf");
const SEMIBOLD: &[u8] = include_bytes!("../../assets/font/Inter-600-subset.ttf");
const SVG: &str = "accuracy_vs_bytes.svg";
const PNG: &str = "accuracy_vs_bytes.png";
/// Drawn pixels per pixel of the PNG, in each direction.
const SHRINK: u32 = 2;

pub(super) fn svg(overview: &Overview<'_>) -> Result<String, ReportError> {
    register_fonts(SVG)?;
    let mut text = String::new();
    let grid = (WIDTH * SCALE, HEIGHT * SCALE);
    {
        let root = SVGBackend::with_string(&mut text, grid).into_drawing_area();
        figure::draw(&root, overview).and_then(|()| root.present()).map_err(|e| failed(SVG, e))?;
    }
    // The grid stays the viewBox; the size on a page is the figure's own.
    let drawn = format!("width=\"{}\" height=\"{}\" viewBox", grid.0, grid.1);
    let shown = format!("width=\"{WIDTH}\" height=\"{HEIGHT}\" viewBox");
    Ok(text.replacen(&drawn, &shown, 1))
}

pub(super) fn png(overview: &Overview<'_>) -> Result<Vec<u8>, ReportError> {
    register_fonts(PNG)?;
    let grid = (WIDTH * SCALE, HEIGHT * SCALE);
    let mut pixels = vec![255u8; (3 * grid.0 * grid.1) as usize];
    {
        let root = BitMapBackend::with_buffer(&mut pixels, grid).into_drawing_area();
        figure::draw(&root, overview).and_then(|()| root.present()).map_err(|e| failed(PNG, e))?;
    }
    encode(&shrink(&pixels, grid.0 as usize), grid.0 / SHRINK, grid.1 / SHRINK).map_err(|e| failed(PNG, e))
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

fn register_fonts(figure: &'static str) -> Result<(), ReportError> {
    for (style, bytes) in [(FontStyle::Normal, REGULAR), (FontStyle::Bold, SEMIBOLD)] {
        register_font(FONT, style, bytes).map_err(|_| failed(figure, "the built-in font is damaged"))?;
    }
    Ok(())
}

fn failed(figure: &'static str, reason: impl ToString) -> ReportError {
    ReportError::Figure { figure, reason: reason.to_string() }
}
