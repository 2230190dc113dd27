//! How far a comparison is: bars with ETA on a terminal, a line a run elsewhere.

use std::{io::IsTerminal, time::Duration};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use nibble_sim::{
    clock::Stopwatch,
    compare::Observer,
    results::{RoundRow, RunSummary},
};

/// Reports to stderr.
pub(super) struct Reporter {
    bars: Option<Bars>,
    run: Option<(String, Stopwatch)>,
}

/// Two bars: all runs, and the rounds of the current one.
struct Bars {
    all: ProgressBar,
    run: ProgressBar,
}

impl Reporter {
    pub(super) fn new() -> Self {
        Self { bars: std::io::stderr().is_terminal().then(Bars::new), run: None }
    }

    /// Takes the bars away.
    pub(super) fn finish(&self) {
        if let Some(bars) = &self.bars {
            bars.run.finish_and_clear();
            bars.all.finish_and_clear();
        }
    }
}

impl Bars {
    fn new() -> Self {
        let bars = MultiProgress::new();
        let bar = |template: &str| {
            let style = ProgressStyle::with_template(template).expect("a template of this program");
            let bar = bars.add(ProgressBar::new(0));
            bar.set_style(style.progress_chars("━╸─"));
            bar
        };
        Self {
            all: bar("{prefix:>22} {bar:30.cyan/dim} {pos:>4}/{len} rounds  {elapsed_precise}  ETA {eta_precise}"),
            run: bar("{prefix:>22} {bar:30.green/dim} {pos:>4}/{len} rounds  {msg}  ETA {eta}"),
        }
    }
}

impl Observer for Reporter {
    fn run_begins(&mut self, index: usize, runs: usize, name: &str, done: u64, rounds: u64) {
        if let Some(bars) = &self.bars {
            bars.all.set_length(runs as u64 * rounds);
            bars.all.set_position(index as u64 * rounds + done);
            bars.all.set_prefix(format!("run {} of {runs}", index + 1));
            bars.run.reset();
            bars.run.set_length(rounds);
            bars.run.set_position(done);
            bars.run.set_prefix(name.to_owned());
            bars.run.set_message("");
            // Not before there is something to show.
            for bar in [&bars.all, &bars.run] {
                bar.enable_steady_tick(Duration::from_millis(250));
            }
        } else if done > 0 {
            eprintln!("{name}: goes on after round {done} of {rounds}");
        }
        self.run = Some((name.to_owned(), Stopwatch::start()));
    }

    fn round_ended(&mut self, row: &RoundRow) {
        if let Some(bars) = &self.bars {
            bars.all.inc(1);
            bars.run.inc(1);
            bars.run.set_message(format!("accuracy {:.1} %", 100.0 * row.accuracy));
        }
    }

    fn run_ended(&mut self, summary: &RunSummary) {
        if let (None, Some((name, stopwatch))) = (&self.bars, &self.run) {
            let (accuracy, seconds) = (100.0 * summary.final_accuracy, stopwatch.elapsed().as_secs_f64());
            eprintln!("{name}: {accuracy:.1} % after {} rounds, {seconds:.1} s", summary.rounds);
        }
    }
}
