//! When a round selects, counts and closes.

use std::time::Duration;

use super::Buffer;
use crate::{error::RoundConfigError, selection::Rule};

/// The validated windows of a round.
#[derive(Clone, Debug, PartialEq)]
pub struct RoundConfig {
    cohort: usize,
    selected: usize,
    quorum: usize,
    candidates: usize,
    selection_window: Option<Duration>,
    deadline: Option<Duration>,
    rule: Rule,
    buffer: Option<Buffer>,
}

impl RoundConfig {
    /// A round that wants `cohort` updates and closes with exactly that many.
    ///
    /// # Errors
    /// If the cohort is empty.
    pub fn new(cohort: usize) -> Result<Self, RoundConfigError> {
        if cohort == 0 {
            return Err(RoundConfigError::NoCohort);
        }
        let config = Self {
            cohort,
            selected: cohort,
            quorum: cohort,
            candidates: cohort,
            selection_window: None,
            deadline: None,
            rule: Rule::default(),
            buffer: None,
        };
        Ok(config)
    }

    /// Selects a fraction more clients than updates are wanted; the last to report are discarded.
    ///
    /// # Errors
    /// If the fraction is negative, not a number, or above 10.
    pub fn over_select(mut self, fraction: f64) -> Result<Self, RoundConfigError> {
        if !(0.0..=10.0).contains(&fraction) {
            return Err(RoundConfigError::OverSelect { found: fraction });
        }
        self.selected = (self.cohort as f64 * (1.0 + fraction)).ceil() as usize;
        self.candidates = self.candidates.max(self.selected);
        Ok(self)
    }

    /// Lets the round close with as few as `quorum` updates when no more come or time is up.
    ///
    /// # Errors
    /// If the quorum is 0 or above the cohort.
    pub fn quorum(mut self, quorum: usize) -> Result<Self, RoundConfigError> {
        if !(1..=self.cohort).contains(&quorum) {
            return Err(RoundConfigError::Quorum { quorum, cohort: self.cohort });
        }
        self.quorum = quorum;
        Ok(self)
    }

    /// Ends collecting this long after the cohort was assigned.
    ///
    /// # Errors
    /// If the duration is 0.
    pub fn deadline(mut self, deadline: Duration) -> Result<Self, RoundConfigError> {
        if deadline.is_zero() {
            return Err(RoundConfigError::Deadline);
        }
        self.deadline = Some(deadline);
        Ok(self)
    }

    /// Selects once `candidates` clients are available (raised to the clients to select), or, if `window` is given, when
    /// it ends, with however many there are then.
    #[must_use]
    pub fn select_among(mut self, candidates: usize, window: Option<Duration>) -> Self {
        self.candidates = candidates.max(self.selected);
        self.selection_window = window;
        self
    }

    /// Selects by this rule instead of uniformly. Over-selection comes first: the rule is held against what it gives.
    ///
    /// # Errors
    /// If one of the rule's keys is out of its range.
    pub fn select_by(mut self, rule: Rule) -> Result<Self, RoundConfigError> {
        rule.check(self.selected)?;
        self.rule = rule;
        Ok(self)
    }

    /// Waits for nobody: clients train `buffer.concurrency` at a time, and the first updates that come are the cohort's.
    #[must_use]
    pub fn buffered(self, buffer: Buffer) -> Self {
        Self { buffer: Some(buffer), ..self }
    }

    /// How work is handed out, where rounds do not wait.
    #[must_use]
    pub fn buffer(&self) -> Option<Buffer> {
        self.buffer
    }

    /// How the cohort is chosen among those available.
    #[must_use]
    pub fn rule(&self) -> &Rule {
        &self.rule
    }

    /// Updates wanted.
    #[must_use]
    pub fn cohort(&self) -> usize {
        self.cohort
    }

    /// Clients assigned: the cohort and its over-selection.
    #[must_use]
    pub fn selected(&self) -> usize {
        self.selected
    }

    pub(super) fn fewest(&self) -> usize {
        self.quorum
    }

    /// Clients that must be there before some are selected.
    #[must_use]
    pub fn candidates(&self) -> usize {
        self.candidates
    }

    pub(super) fn selection_end(&self, opened: Duration) -> Option<Duration> {
        self.selection_window.map(|window| opened + window)
    }

    pub(super) fn collecting_end(&self, assigned: Duration) -> Option<Duration> {
        self.deadline.map(|deadline| assigned + deadline)
    }
}
