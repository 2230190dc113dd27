//! The search for the step that meets a number of bytes.

/// Times that a step is written before the best that fits is taken.
const TRIES: usize = 12;
/// Plans that are made for one that is written.
const PLANS: usize = 4;
/// A payload this close below its budget is good enough.
const SLACK: f64 = 0.001;
/// Halvings of an interval of steps: to a hundred-thousandth of half an octave.
const HALVINGS: usize = 24;
/// Bytes that are not worth another try, if they are no larger a share of the budget.
const FEW: f64 = 8.0;
const FEW_SHARE: f64 = 0.004;

/// Steps are in half octaves.
///
/// What a step will take is known three times: roughly from the fit, for any step; well from a plan, which looks at some
/// coordinates; and then it is written. Each corrects the one before.
pub(super) struct Search {
    budget: f64,
    finest: f64,
    /// The least step that fits, and the largest that does not.
    fits: f64,
    exceeds: f64,
    /// Bytes that are not symbols, when last seen.
    pub(super) side: f64,
    /// Bytes of symbols over those that the plan expects, and those over what the fit predicts, when last seen.
    over_plan: f64,
    over_fit: f64,
    tries: usize,
    /// How far to go where it is not known how far is enough.
    stride: f64,
    /// Plans since something was written.
    plans: usize,
    at: f64,
}

impl Search {
    pub(super) fn new(budget: f64, finest: f64) -> Self {
        let (fits, exceeds) = (f64::INFINITY, f64::NEG_INFINITY);
        let (over_plan, over_fit) = (1.0, 1.0);
        Self {
            budget,
            finest,
            fits,
            exceeds,
            side: 0.0,
            over_plan,
            over_fit,
            tries: 0,
            stride: 0.5,
            plans: 0,
            at: finest,
        }
    }

    /// What to aim at: at first the middle of what is good, as it is not known how far off plans are; and again if knowing it
    /// did not help, as then it is chance which coordinates have a symbol.
    fn goal(&self) -> f64 {
        self.budget * (1.0 - if self.tries == 1 { SLACK / 4.0 } else { SLACK / 2.0 })
    }

    /// Bytes below the budget that are near enough.
    fn slack(&self) -> f64 {
        (self.budget * SLACK).max((self.budget * FEW_SHARE).clamp(1.0, FEW))
    }

    /// The step to plan next, given bytes of symbols at any step, as the fit predicts them.
    pub(super) fn next(&mut self, predicted: impl Fn(f64) -> f64) -> f64 {
        let correction = self.over_plan * self.over_fit;
        let step = bisect(|step| self.side + correction * predicted(step), self.goal(), self.finest);
        let inside = step > self.exceeds && step < self.fits && self.tries < TRIES / 2;
        self.at = match (inside, self.fits.is_finite(), self.exceeds.is_finite()) {
            (true, ..) | (_, false, false) => step,
            (_, true, true) => (self.fits + self.exceeds) / 2.0,
            (_, true, false) => (self.fits - self.stride).max(self.finest),
            (_, false, true) => self.exceeds + self.stride,
        };
        if !inside {
            self.stride *= 4.0;
        }
        self.at
    }

    /// Whether the plan, whose symbols take so many bytes, is worth writing; else [`Search::next`] gives a better step.
    pub(super) fn expects(&mut self, planned: f64, predicted: f64) -> bool {
        self.plans += 1;
        if predicted > 1.0 {
            self.over_fit = planned / predicted;
        }
        let off = self.side + self.over_plan * planned - self.goal();
        off.abs() <= self.slack() || self.plans >= PLANS || self.at <= self.finest
    }

    /// Whether `bytes` are as many as there may be, or nearly.
    pub(super) fn is_good(&self, bytes: f64) -> bool {
        let left = self.budget - bytes;
        left >= 0.0 && (left <= self.slack() || self.at <= self.finest)
    }

    /// Whether there are no more tries.
    pub(super) fn is_over(&self) -> bool {
        self.tries >= TRIES
    }

    /// Notes what was written of the plan.
    pub(super) fn saw(&mut self, side: f64, symbols: f64, planned: f64) {
        (self.tries, self.plans) = (self.tries + 1, 0);
        if side + symbols <= self.budget {
            self.fits = self.fits.min(self.at);
        } else {
            self.exceeds = self.exceeds.max(self.at);
        }
        self.side = side;
        if planned > 1.0 {
            self.over_plan = symbols / planned;
        }
    }
}

/// Where a falling function reaches `goal`, in half octaves, `low` at least.
fn bisect(f: impl Fn(f64) -> f64, goal: f64, mut low: f64) -> f64 {
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
