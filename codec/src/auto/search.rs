//! The search for the step that meets a number of bytes. Steps are in half octaves.
//!
//! What a step will take is *estimated* from some of the coordinates, for as many steps as it likes; what all coordinates or
//! a payload took at one step says how far off estimates are. Absent on purpose: how anything is estimated or written.

use super::encode::{COUNTED, FAR};

/// Times that a step is written before the best that fits is taken.
const TRIES: usize = 12;
/// A payload this close below its budget is good enough.
const SLACK: f64 = 0.001;
/// Bytes that are not worth another try, if they are no larger a share of the budget.
const FEW: f64 = 8.0;
const FEW_SHARE: f64 = 0.004;
/// Bytes that chance adds to a chunk or takes from it: those of the states of its lanes that are no whole words.
const CHANCE: f64 = 1.5;
/// Shares of a budget that chance adds besides, or takes: where all coordinates were counted, and where only some were.
const SURE: f64 = 1e-4;
const UNSURE: f64 = 4e-4;
/// Half octaves between a step that fits and one that does not, where another between them would be of no use.
const JUMP: f64 = 1e-4;
/// Half octaves that are gone at once, at most.
const FARTHEST: f64 = 4.0;
/// Logarithm of how many times as many bytes half an octave more takes: at the least and at the highest rates.
const STEEPEST: f64 = -0.5;
const FLATTEST: f64 = -0.02;

pub(super) struct Search {
    budget: f64,
    /// Bytes below it that are aimed at.
    caution: f64,
    finest: f64,
    /// The least step that fits, and the largest that does not.
    fits: f64,
    exceeds: f64,
    /// Bytes that are not symbols, when last seen.
    side: f64,
    /// Bytes of symbols over those estimated, when last seen.
    over: f64,
    tries: usize,
    /// How far to go where it is not known how far is enough.
    stride: f64,
    /// Where it is, and bytes of symbols that are expected there.
    pub(super) at: f64,
    symbols: f64,
    /// Logarithm of how many times as many bytes half an octave more takes, when last seen.
    slope: f64,
    /// The same over a long way, on which classes change.
    rough_slope: f64,
}

impl Search {
    /// A search from `at` on, where bytes are thought to have this slope, for a payload of so many coordinates in so many chunks.
    pub(super) fn new(
        budget: f64,
        (coordinates, chunks): (usize, usize),
        finest: f64,
        (at, rough_slope): (f64, f64),
    ) -> Self {
        let share = if coordinates <= COUNTED { SURE } else { UNSURE };
        let caution = 1.5 * CHANCE * libm::sqrt(chunks as f64) + budget * share;
        let caution = caution.min(slack(budget) / 2.0);
        Self {
            budget,
            caution,
            finest,
            fits: f64::INFINITY,
            exceeds: f64::NEG_INFINITY,
            side: 0.0,
            over: 1.0,
            tries: 0,
            stride: 0.5,
            at: at.max(finest),
            symbols: 0.0,
            slope: STEEPEST,
            rough_slope: if rough_slope < 0.0 { rough_slope.clamp(STEEPEST, FLATTEST) } else { STEEPEST },
        }
    }

    /// Notes what is estimated for where it is: bytes that are not symbols, bytes of symbols, and the slope of these.
    pub(super) fn planned(&mut self, side: f64, symbols: f64, slope: f64) {
        self.side = side;
        self.symbols = self.over * symbols;
        self.slope = if slope < 0.0 { slope.clamp(STEEPEST, FLATTEST) } else { STEEPEST };
    }

    /// Notes what all coordinates take, where something was estimated.
    pub(super) fn counted(&mut self, symbols: f64) {
        if self.symbols > 1.0 && symbols > 1.0 {
            self.over *= symbols / self.symbols;
            self.symbols = symbols;
        }
    }

    /// Moves to the step that is expected to meet the budget, or halfway to where it must be if that did not help.
    pub(super) fn advance(&mut self) {
        let goal = self.budget - self.caution - self.side;
        let is_known = goal > 0.0 && self.symbols > 0.0;
        let off = if is_known { libm::log(goal / self.symbols) } else { 0.0 };
        let way = if (off / self.slope).abs() < FAR { off / self.slope } else { off / self.rough_slope };
        let step = (self.at + way.clamp(-FARTHEST, FARTHEST)).max(self.finest);
        let inside = is_known && step > self.exceeds && step < self.fits && self.tries < TRIES / 2;
        let to = match (inside, self.fits.is_finite(), self.exceeds.is_finite()) {
            (true, ..) | (_, false, false) => step,
            (_, true, true) => (self.fits + self.exceeds) / 2.0,
            (_, true, false) => (self.fits - self.stride).max(self.finest),
            (_, false, true) => self.exceeds + self.stride,
        };
        if !inside && self.tries > 0 {
            self.stride *= 4.0;
        }
        self.symbols *= libm::exp((to - self.at) * self.slope);
        self.at = to;
    }

    /// Notes what was written. Whether it is as many bytes as there may be, or nearly.
    pub(super) fn wrote(&mut self, side: f64, symbols: f64) -> bool {
        self.tries += 1;
        self.side = side;
        self.counted(symbols);
        let left = self.budget - side - symbols;
        if left >= 0.0 {
            self.fits = self.fits.min(self.at);
        } else {
            self.exceeds = self.exceeds.max(self.at);
        }
        left >= 0.0 && (left <= slack(self.budget) || self.at <= self.finest)
    }

    /// Whether there are no more tries, or sizes jump.
    pub(super) fn is_over(&self) -> bool {
        self.tries >= TRIES || self.fits - self.exceeds < JUMP
    }
}

/// Bytes below a budget that are near enough.
fn slack(budget: f64) -> f64 {
    (budget * SLACK).max((budget * FEW_SHARE).clamp(1.0, FEW))
}

/// Where a falling function reaches `goal`, in half octaves, `low` at least.
pub(super) fn bisect(f: impl Fn(f64) -> f64, goal: f64, mut low: f64) -> f64 {
    /// To a thousandth of half an octave.
    const HALVINGS: usize = 18;
    let mut high = 199.0;
    if f(low) <= goal {
        return low;
    }
    for _ in 0..HALVINGS {
        let middle = (low + high) / 2.0;
        if f(middle) > goal { low = middle } else { high = middle }
    }
    high
}
