//! How the rest of the process talks to the coordinator: bounded, and answered one by one.

use std::time::Duration;

use nibble_seed::{ClientId, RoundId};
use tokio::sync::{mpsc, oneshot};

use super::{Admission, Instruction, Sent, UpdateRef};
use crate::{budget::Budget, models::ModelName, round::Outcome, store::Allowance};

/// Commands that may wait; those who send more wait themselves.
const QUEUE: usize = 1024;

/// What a client says of itself when it checks in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asks {
    /// The update it has no outcome of yet.
    pub pending: Option<UpdateRef>,
    /// The model it has.
    pub held: Option<ModelName>,
    /// What it says it may spend.
    pub allowance: Allowance,
    /// What it is let spend.
    pub budget: Budget,
    /// Longest time to hold the answer.
    pub hold: Duration,
}

/// Something asked of the coordinator.
#[derive(Debug)]
pub enum Command {
    /// A client is ready, or asks for the outcome of its update. The answer may take as long as it says.
    CheckIn {
        /// Who.
        client: ClientId,
        /// What it says and wants.
        asks: Asks,
        /// Where the answer goes.
        reply: oneshot::Sender<Instruction>,
    },
    /// A client wants to send an update.
    Admit {
        /// Who.
        client: ClientId,
        /// Which.
        update: UpdateRef,
        /// Where the answer goes.
        reply: oneshot::Sender<Admission>,
    },
    /// An update lies in the spool.
    Arrived {
        /// The update.
        sent: Sent,
        /// Where the answer goes: `None` while it is undecided.
        reply: oneshot::Sender<Option<Outcome>>,
    },
    /// An update came that cannot be used.
    Refused {
        /// The update, whose payload was thrown away.
        sent: Sent,
        /// Why it cannot be used.
        problem: String,
        /// Where the answer goes.
        reply: oneshot::Sender<Option<Outcome>>,
    },
    /// A client will send nothing.
    Declined {
        /// Who.
        client: ClientId,
        /// Of which run.
        run: String,
        /// For which round.
        round: RoundId,
        /// Why.
        reason: String,
        /// Told when it is noted.
        reply: oneshot::Sender<()>,
    },
}

/// The coordinator has stopped, or is stopping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the coordinator is stopping; try again later")]
pub struct Stopped;

/// A way to the coordinator.
#[derive(Clone, Debug)]
pub struct Handle(mpsc::Sender<Command>);

impl Handle {
    /// A handle, and the queue for the coordinator to read.
    #[must_use]
    pub fn new() -> (Self, mpsc::Receiver<Command>) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        (Self(sender), receiver)
    }

    /// Sends what `command` makes of the place for the answer, and waits for the answer.
    ///
    /// # Errors
    /// If the coordinator has stopped.
    pub async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, Stopped> {
        let (reply, answer) = oneshot::channel();
        self.0.send(command(reply)).await.map_err(|_| Stopped)?;
        answer.await.map_err(|_| Stopped)
    }
}
