//! The drawing: final accuracy against the bytes of a whole run, one point per scheme, and the Pareto front: those that no
//! other beats in both.
//!
//! Absent on purpose: who is on the front (the statistics').

use plotters::coord::Shift;
use plotters::prelude::{DrawingArea, DrawingAreaErrorKind, DrawingBackend};
use plotters::style::WHITE;
use plotters::style::text_anchor::HPos;

use super::super::stats::{Overview, Scheme};
use super::super::words::spread_words;
use super::Figure;
use super::figure::{Axes, color_places};
use super::lettering::{Label, Weight};
use super::pen::{LEFT, Pen, QUIET, TEXT, color};

/// Fewest schemes that have a front worth looking at.
const FEWEST: usize = 3;

/// The figure.
pub(in super::super) struct Front<'a> {
    overview: &'a Overview<'a>,
    /// Schemes that have a place, with that in the order of colours.
    points: Vec<(&'a Scheme<'a>, Option<usize>)>,
}

impl<'a> Front<'a> {
    /// The figure; none of too few schemes.
    pub(in super::super) fn of(overview: &'a Overview<'a>) -> Option<Self> {
        let all = overview.schemes.iter().zip(color_places(overview));
        let points: Vec<_> = all.filter(|(s, _)| s.accuracy.n > 0 && s.all_bytes() > 0.0).collect();
        (points.len() >= FEWEST).then_some(Self { overview, points })
    }
}

impl Figure for Front<'_> {
    const NAME: &'static str = "pareto";

    fn draw<DB: DrawingBackend>(
        &self,
        area: &DrawingArea<DB, Shift>,
    ) -> Result<Vec<Label>, DrawingAreaErrorKind<DB::ErrorType>> {
        let mut pen = Pen { area, labels: Vec::new() };
        area.fill(&WHITE)?;
        pen.text("What bytes buy", (LEFT, 24.0), 19.0, TEXT, Weight::Semibold, HPos::Left);
        let spread = spread_words(self.overview);
        let under =
            format!("Final accuracy, %. {spread} On the line: nobody is as accurate with fewer bytes (Pareto front).");
        pen.text(&under, (LEFT, 49.0), 13.0, QUIET, Weight::Regular, HPos::Left);

        let bytes = self.points.iter().map(|(s, _)| s.all_bytes().log2());
        let ends = self.points.iter().flat_map(|(s, _)| [s.accuracy.band().0, s.accuracy.band().1]);
        let axes = Axes::over(bytes, ends);
        pen.axes(&axes, "Payload bytes of a whole run, up and down (log scale)")?;
        let place = |scheme: &Scheme<'_>, share: f64| (axes.x(scheme.all_bytes().log2()), axes.y(100.0 * share));
        let mut front: Vec<_> = self.points.iter().filter(|(s, _)| s.on_front).map(|(s, _)| s).collect();
        front.sort_by(|a, b| a.all_bytes().total_cmp(&b.all_bytes()));
        let line: Vec<_> = front.iter().map(|scheme| place(scheme, scheme.accuracy.mean)).collect();
        // From one to the next nothing is better than the one before.
        let corners = line.windows(2).flat_map(|pair| [pair[0], (pair[1].0, pair[0].1)]);
        pen.line(&corners.chain(line.last().copied()).collect::<Vec<_>>(), QUIET, 1.5)?;
        for (scheme, at) in &self.points {
            let (low, high) = scheme.accuracy.band();
            pen.line(&[place(scheme, low), place(scheme, high)], color(*at), 1.5)?;
            pen.dot(place(scheme, scheme.accuracy.mean), if scheme.on_front { 6.0 } else { 4.0 }, color(*at))?;
        }
        let mut order = self.points.clone();
        order.sort_by(|a, b| b.0.accuracy.mean.total_cmp(&a.0.accuracy.mean));
        pen.key(&order)?;
        Ok(pen.labels)
    }
}
