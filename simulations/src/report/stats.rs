//! What the runs say together: per scheme means and spreads over seeds, and differences to fp32 paired by seed.
//!
//! A scheme is summed up over the runs that got furthest; a shorter run of the same scheme is left out, since a mean over
//! runs of differing length would mix rounds. Absent on purpose: any value that no run measured.

use crate::results::{Comparison, RoundRow, RunResult};

/// The name of the scheme that others are compared with.
pub(super) const BASELINE: &str = "fp32";

/// A mean over seeds and how far the seeds are apart.
#[derive(Clone, Copy, Debug)]
pub(super) struct Estimate {
    /// Finite values it is made from; the rest are left out.
    pub(super) n: usize,
    /// NaN if `n` is 0.
    pub(super) mean: f64,
    /// Smallest and largest value.
    pub(super) min: f64,
    pub(super) max: f64,
    /// Sample standard deviation (divisor n - 1); NaN below two values.
    pub(super) deviation: f64,
}

impl Estimate {
    pub(super) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let values: Vec<f64> = values.into_iter().filter(|v| v.is_finite()).collect();
        let n = values.len();
        let mean = values.iter().sum::<f64>() / n as f64;
        let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
        Estimate {
            n,
            mean,
            min: values.iter().copied().fold(f64::NAN, f64::min),
            max: values.iter().copied().fold(f64::NAN, f64::max),
            deviation: if n < 2 { f64::NAN } else { (squares / (n - 1) as f64).sqrt() },
        }
    }

    /// Lower and upper end of the spread: one standard deviation from three values on, min and max below.
    pub(super) fn band(&self) -> (f64, f64) {
        if self.n < 3 { (self.min, self.max) } else { (self.mean - self.deviation, self.mean + self.deviation) }
    }

    /// Half the width of the 95 % interval of the mean (Student's t); NaN below two values.
    pub(super) fn margin(&self) -> f64 {
        if self.n < 2 { f64::NAN } else { student_t(self.n - 1) * self.deviation / (self.n as f64).sqrt() }
    }

    /// Whether the 95 % interval of the mean leaves zero out.
    pub(super) fn differs_from_zero(&self) -> bool {
        self.mean.abs() > self.margin()
    }
}

/// Mean over the runs of a scheme after one more round.
#[derive(Clone, Copy, Debug)]
pub(super) struct Point {
    /// Rounds done, from 1.
    pub(super) rounds: u64,
    /// Payload bytes all clients sent up to here.
    pub(super) uplink_bytes: f64,
    /// Payload bytes sent to all clients up to here.
    pub(super) downlink_bytes: f64,
    pub(super) virtual_seconds: f64,
    pub(super) accuracy: Estimate,
    pub(super) nmse: Estimate,
}

/// What it took to reach an accuracy for the first time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target {
    /// Virtual seconds.
    pub(super) seconds: Estimate,
    /// Payload bytes of all clients, in each direction.
    pub(super) uplink_bytes: Estimate,
    pub(super) downlink_bytes: Estimate,
}

impl Target {
    fn of(accuracy: f64, runs: &[&RunResult]) -> Self {
        let reached = |run: &&RunResult| {
            let rounds = 1 + run.rounds.iter().position(|row| row.accuracy >= accuracy)?;
            let rows = &run.rounds[..rounds];
            let sum = |of: fn(&RoundRow) -> u64| rows.iter().map(of).sum::<u64>() as f64;
            Some([rows[rounds - 1].virtual_seconds, sum(|row| row.uplink_bytes), sum(|row| row.downlink_bytes)])
        };
        let found: Vec<[f64; 3]> = runs.iter().filter_map(reached).collect();
        let over = |at: usize| Estimate::of(found.iter().map(|found| found[at]));
        Self { seconds: over(0), uplink_bytes: over(1), downlink_bytes: over(2) }
    }
}

/// One scheme over its seeds.
#[derive(Debug)]
pub(super) struct Scheme<'a> {
    /// The scheme, and what else tells its runs from others of a sweep.
    pub(super) name: String,
    /// The latter alone.
    pub(super) variant: &'a str,
    /// The runs it is summed up from, all of them `rounds` long.
    pub(super) runs: Vec<&'a RunResult>,
    /// Runs of this scheme that stopped earlier.
    pub(super) left_out: usize,
    pub(super) rounds: u64,
    /// Shares in [0, 1].
    pub(super) accuracy: Estimate,
    pub(super) last5_accuracy: Estimate,
    /// Accuracy against the baseline in points (hundredths), paired by seed over runs of equal length.
    pub(super) change: Option<Estimate>,
    pub(super) bytes_per_update: f64,
    pub(super) bits_per_coordinate: f64,
    pub(super) uplink_bytes: f64,
    /// Bytes of an fp32 update over bytes of an update of this scheme.
    pub(super) saving: f64,
    pub(super) round_seconds: f64,
    /// Payload bytes to clients over the run.
    pub(super) downlink_bytes: f64,
    /// Virtual seconds of the run.
    pub(super) virtual_seconds: f64,
    /// Whether no other is as accurate with fewer bytes.
    pub(super) on_front: bool,
    /// What it took to reach the target accuracy; of fewer values than there are runs where not all did.
    pub(super) target: Option<Target>,
    pub(super) curve: Vec<Point>,
}

impl Scheme<'_> {
    /// Payload bytes of a run in both directions.
    pub(super) fn all_bytes(&self) -> f64 {
        self.uplink_bytes + self.downlink_bytes
    }

    pub(super) fn is_baseline(&self) -> bool {
        self.runs.first().is_some_and(|run| run.summary.scheme == BASELINE)
    }
}

/// All schemes in order of their first run.
#[derive(Debug)]
pub(super) struct Overview<'a> {
    pub(super) schemes: Vec<Scheme<'a>>,
    /// Rounds of the longest run.
    pub(super) rounds: u64,
    /// Most seeds any scheme is summed up from.
    pub(super) seeds: usize,
}

impl<'a> Overview<'a> {
    pub(super) fn of(comparison: &'a Comparison) -> Self {
        let mut names: Vec<String> = Vec::new();
        for run in &comparison.runs {
            if !names.contains(&run.summary.name()) {
                names.push(run.summary.name());
            }
        }
        let mut schemes: Vec<Scheme<'a>> = {
            let scheme = |name| scheme(name, &comparison.runs, comparison.target_accuracy);
            names.into_iter().map(scheme).collect()
        };
        compare(&mut schemes);
        find_front(&mut schemes);
        Overview {
            rounds: schemes.iter().map(|s| s.rounds).max().unwrap_or(0),
            seeds: schemes.iter().map(|s| s.runs.len()).max().unwrap_or(0),
            schemes,
        }
    }

    pub(super) fn baseline(&self) -> Option<&Scheme<'a>> {
        self.schemes.iter().find(|s| s.is_baseline())
    }
}

fn scheme(name: String, runs: &[RunResult], target: Option<f64>) -> Scheme<'_> {
    let of_scheme: Vec<&RunResult> = runs.iter().filter(|r| r.summary.name() == name).collect();
    let rounds = of_scheme.iter().map(|r| r.summary.rounds).max().unwrap_or(0);
    let kept: Vec<&RunResult> = of_scheme.iter().copied().filter(|r| r.summary.rounds == rounds).collect();
    let over = |value: fn(&RunResult) -> f64| Estimate::of(kept.iter().map(|r| value(r)));
    Scheme {
        name,
        variant: of_scheme.first().map_or("", |run| &run.summary.variant),
        on_front: false,
        left_out: of_scheme.len() - kept.len(),
        rounds,
        accuracy: over(|r| r.summary.final_accuracy),
        last5_accuracy: over(|r| r.summary.mean_last5_accuracy),
        change: None,
        bytes_per_update: over(|r| r.summary.uplink_bytes_per_update).mean,
        bits_per_coordinate: over(|r| r.summary.bits_per_coordinate).mean,
        uplink_bytes: over(|r| r.summary.uplink_bytes_total as f64).mean,
        saving: f64::NAN,
        round_seconds: over(|r| r.summary.round_seconds_median).mean,
        downlink_bytes: over(|r| r.summary.downlink_bytes_total as f64).mean,
        virtual_seconds: over(|r| r.rounds.last().map_or(0.0, |row| row.virtual_seconds)).mean,
        target: target.map(|accuracy| Target::of(accuracy, &kept)),
        curve: curve(&kept),
        runs: kept,
    }
}

/// Fills in what needs a baseline: that of the same variant. Without one, savings are against 32 bits a coordinate.
fn compare(schemes: &mut [Scheme<'_>]) {
    let bases: Vec<_> = schemes.iter().filter(|s| s.is_baseline()).map(|s| (s.variant, s.runs.clone())).collect();
    for scheme in schemes.iter_mut() {
        let base = bases.iter().find(|(variant, _)| *variant == scheme.variant).map(|(_, runs)| &runs[..]);
        let full = base.map(|runs| Estimate::of(runs.iter().map(|run| run.summary.uplink_bytes_per_update)).mean);
        let raw = 32.0 / scheme.bits_per_coordinate;
        let saving = full.filter(|full| full.is_finite()).map_or(raw, |full| full / scheme.bytes_per_update);
        scheme.saving = if saving > 0.0 { saving } else { f64::NAN };
        if let Some(base) = base.filter(|_| !scheme.is_baseline()) {
            let differences: Vec<f64> = scheme.runs.iter().filter_map(|run| paired(run, base)).collect();
            scheme.change = Some(Estimate::of(differences)).filter(|e| e.n > 0);
        }
    }
}

/// Marks the Pareto front: who is not beaten both in final accuracy and in bytes of both directions.
fn find_front(schemes: &mut [Scheme<'_>]) {
    let points: Vec<_> = schemes.iter().map(|s| (s.accuracy.mean, s.all_bytes())).collect();
    for (scheme, (accuracy, bytes)) in schemes.iter_mut().zip(&points) {
        let beaten = points.iter().any(|(a, b)| a >= accuracy && b <= bytes && (a > accuracy || b < bytes));
        scheme.on_front = accuracy.is_finite() && !beaten;
    }
}

fn paired(run: &RunResult, base: &[&RunResult]) -> Option<f64> {
    let same = |b: &&&RunResult| b.summary.seed == run.summary.seed && b.summary.rounds == run.summary.rounds;
    let other = base.iter().find(same)?;
    Some(100.0 * (run.summary.final_accuracy - other.summary.final_accuracy))
}

fn curve(runs: &[&RunResult]) -> Vec<Point> {
    let rounds = runs.iter().map(|r| r.rounds.len()).min().unwrap_or(0);
    let mut moved = vec![[0.0; 2]; runs.len()];
    let mut points = Vec::with_capacity(rounds);
    for round in 0..rounds {
        for ([up, down], run) in moved.iter_mut().zip(runs) {
            *up += run.rounds[round].uplink_bytes as f64;
            *down += run.rounds[round].downlink_bytes as f64;
        }
        let over = |value: fn(&RoundRow) -> f64| Estimate::of(runs.iter().map(|r| value(&r.rounds[round])));
        points.push(Point {
            rounds: round as u64 + 1,
            uplink_bytes: Estimate::of(moved.iter().map(|[up, _]| *up)).mean,
            downlink_bytes: Estimate::of(moved.iter().map(|[_, down]| *down)).mean,
            virtual_seconds: over(|r| r.virtual_seconds).mean,
            accuracy: over(|r| r.accuracy),
            nmse: over(|r| r.update_nmse),
        });
    }
    points
}

/// 97.5 % quantile of Student's t; 2.0 beyond the table, where it is between 1.96 and 2.04.
fn student_t(degrees: usize) -> f64 {
    const T: [f64; 30] = [
        12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
        2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
    ];
    T.get(degrees.saturating_sub(1)).copied().unwrap_or(2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_estimate_is_the_textbook_one() {
        let e = Estimate::of([1.0, 2.0, 4.0, f64::NAN]);
        assert_eq!((e.n, e.min, e.max), (3, 1.0, 4.0));
        assert!((e.mean - 7.0 / 3.0).abs() < 1e-12);
        assert!((e.deviation - (7.0f64 / 3.0).sqrt()).abs() < 1e-12);
        assert!((e.margin() - 4.303 * e.deviation / 3f64.sqrt()).abs() < 1e-12);
        assert!(!e.differs_from_zero());
        assert!(Estimate::of([2.0, 2.1, 1.9]).differs_from_zero());
    }

    #[test]
    fn few_values_have_no_deviation() {
        assert!(Estimate::of([]).mean.is_nan());
        let one = Estimate::of([0.5]);
        assert_eq!(one.band(), (0.5, 0.5));
        assert!(one.deviation.is_nan() && !one.differs_from_zero());
        assert_eq!(Estimate::of([0.25, 0.75]).band(), (0.25, 0.75));
    }
}
