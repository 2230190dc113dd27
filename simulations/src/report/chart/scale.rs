//! Where a value lies on an axis and which values are labelled.

use super::super::units::bytes;

/// A stretch of values, linear.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Span {
    pub(super) from: f64,
    pub(super) to: f64,
}

impl Span {
    /// The smallest span that holds all finite `values`, widened if it is a point; 0..1 if there are none.
    pub(super) fn over(values: impl IntoIterator<Item = f64>) -> Span {
        let finite = values.into_iter().filter(|v| v.is_finite());
        let (from, to) = finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(v), b.max(v)));
        match (from, to) {
            (a, b) if a > b => Span { from: 0.0, to: 1.0 },
            (a, b) if a == b => Span { from: a - 0.5, to: b + 0.5 },
            (from, to) => Span { from, to },
        }
    }

    /// Position in [0, 1] for values inside.
    pub(super) fn part(&self, value: f64) -> f64 {
        (value - self.from) / (self.to - self.from)
    }

    pub(super) fn widened(self, share: f64) -> Span {
        let more = share * (self.to - self.from);
        Span { from: self.from - more, to: self.to + more }
    }

    fn holds(&self, value: f64) -> bool {
        (self.from..=self.to).contains(&value)
    }
}

/// At most nine round values of a linear axis, with their labels.
pub(super) fn linear_ticks(span: Span) -> Vec<(f64, String)> {
    let raw = (span.to - span.from) / 8.0;
    let power = 10f64.powf(raw.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|m| m * power).into_iter().find(|s| *s >= raw).unwrap_or(raw);
    let decimals = (-step.log10().floor()).clamp(0.0, 6.0) as usize;
    let first = (span.from / step).ceil();
    (0..9)
        .map(|i| (first + f64::from(i)) * step)
        .filter(|v| span.holds(*v))
        .map(|v| (v, format!("{:.decimals$}", if v == 0.0 { 0.0 } else { v })))
        .collect()
}

/// Powers of two (of 2, 4, 16, ... as many as fit) of an axis in log2 of bytes.
pub(super) fn byte_ticks(log2: Span) -> Vec<(f64, String)> {
    let step = [1.0, 2.0, 4.0, 5.0, 10.0].into_iter().find(|s| (log2.to - log2.from) / s <= 7.5).unwrap_or(20.0);
    let first = (log2.from / step).ceil();
    let ticks = (0..8).map(|i| (first + f64::from(i)) * step).filter(|v| log2.holds(*v));
    ticks.map(|v| (v, plain(&bytes(v.exp2())))).collect()
}

/// `1.00 MiB` as `1 MiB`: a tick is exact.
fn plain(label: &str) -> String {
    label.replacen(".00 ", " ", 1).replacen(".0 ", " ", 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        let labels = |ticks: Vec<(f64, String)>| ticks.into_iter().map(|t| t.1).collect::<Vec<_>>();
        assert_eq!(labels(linear_ticks(Span { from: 8.0, to: 73.0 })), ["10", "20", "30", "40", "50", "60", "70"]);
        assert_eq!(
            labels(linear_ticks(Span { from: -0.02, to: 0.03 })),
            ["-0.02", "-0.01", "0.00", "0.01", "0.02", "0.03"]
        );
        assert_eq!(
            labels(byte_ticks(Span { from: 17.5, to: 23.0 })),
            ["256 KiB", "512 KiB", "1 MiB", "2 MiB", "4 MiB", "8 MiB"]
        );
        assert_eq!(
            labels(byte_ticks(Span { from: 18.0, to: 26.0 })),
            ["256 KiB", "1 MiB", "4 MiB", "16 MiB", "64 MiB"]
        );
    }

    #[test]
    fn a_span_is_never_empty() {
        assert_eq!(Span::over([f64::NAN]), Span { from: 0.0, to: 1.0 });
        assert_eq!(Span::over([3.0, 3.0]), Span { from: 2.5, to: 3.5 });
        assert_eq!(Span::over([3.0, f64::INFINITY, 1.0]), Span { from: 1.0, to: 3.0 });
    }
}
