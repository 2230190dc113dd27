//! What the agent may do within its budget, and what it waits for.

use std::time::Duration;

use nibble_proto::v1;
use tokio::time::sleep;

use super::{
    Agent, AgentError,
    purse::{self, ASSIGNMENT, CALL, Exhausted, PINGS, Purse},
};

/// How long a client waits for an outcome that it has no bytes left to ask for.
pub(super) const ROUND_IS_SPENT: Duration = Duration::from_secs(60);

/// Whether there are bytes for something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Affordable {
    /// They are set aside.
    Now,
    /// There may be by now: it is to be tried again.
    Later,
    /// The budget for the run is spent.
    Never,
}

impl Agent {
    /// Sets bytes aside for a check-in, or waits until there may be some.
    pub(super) async fn afford_check_in(&mut self, is_pending: bool) -> Result<Affordable, AgentError> {
        if !is_pending {
            self.begin_round();
        }
        let Some(purse) = &mut self.purse else { return Ok(Affordable::Now) };
        match purse.set_aside(CALL, ASSIGNMENT)? {
            Ok(()) => return Ok(Affordable::Now),
            Err(Exhausted::Run) => {
                tracing::warn!(pending = is_pending, "the budget for the run is spent");
                return Ok(Affordable::Never);
            }
            Err(Exhausted::Day(seconds)) => {
                tracing::info!(seconds, "the budget for the day is spent: waiting for the next");
                sleep(Duration::from_secs(seconds)).await;
            }
            Err(Exhausted::Round) => {
                tracing::info!("the budget for the round is spent: asking for the outcome later");
                sleep(ROUND_IS_SPENT).await;
                self.begin_round();
            }
        }
        Ok(Affordable::Later)
    }

    /// What is spent from now on counts for another round.
    fn begin_round(&mut self) {
        self.purse.iter_mut().for_each(Purse::begin_round);
    }

    /// The coordinator allows this much. Without a purse nobody counts.
    pub(super) fn is_allowed(&mut self, budget: Option<v1::Budget>) {
        match &mut self.purse {
            Some(purse) => purse.is_allowed(budget.unwrap_or_default().into()),
            None if budget.is_some() => tracing::warn!("the coordinator sets a budget, and this client keeps none"),
            None => {}
        }
    }

    /// What may be spent, for the coordinator.
    pub(super) fn allowance(&self) -> Option<v1::Allowance> {
        self.purse.as_ref().and_then(Purse::allowance)
    }

    /// Sets bytes aside for frames and the messages around them; says why not.
    pub(super) fn afford(
        &mut self,
        what: &str,
        frames: [u64; 2],
        training: bool,
    ) -> Result<Result<(), String>, AgentError> {
        let Some(purse) = &mut self.purse else { return Ok(Ok(())) };
        let needed = [0, 1].map(|way| CALL[way] + purse::framed(frames[way]));
        let why = |cap| {
            format!("{what} takes {} bytes, more than the budget for the {cap} leaves", needed.iter().sum::<u64>())
        };
        Ok(purse.set_aside(needed, if training { PINGS } else { [0; 2] })?.map_err(|exhausted| match exhausted {
            Exhausted::Round => why("round"),
            Exhausted::Day(_) => why("day"),
            Exhausted::Run => why("run"),
        }))
    }
}
