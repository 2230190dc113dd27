//! Calls of clients that have nothing to send: who is there, who waits, and when to come back.

use std::time::Duration;

use nibble_seed::ClientId;
use tokio::sync::oneshot;

use super::{Asks, Coordinator, CoordinatorError, Instruction, UpdateRef, actor::TICK, planning::Ready, reports::Fate};
use crate::{Round, round::Event};

/// A client is available this long after it was last heard of, unless it is on the line.
const AVAILABLE_FOR: Duration = Duration::from_secs(90);

/// A call that is held.
pub(super) struct Waiting {
    pub(super) until: Duration,
    /// The update whose outcome the client waits for.
    pub(super) pending: Option<UpdateRef>,
    /// What the client has, and may spend.
    pub(super) ready: Ready,
    pub(super) reply: oneshot::Sender<Instruction>,
}

impl Coordinator {
    pub(super) fn check_in(
        &mut self,
        client: ClientId,
        mut asks: Asks,
        reply: oneshot::Sender<Instruction>,
    ) -> Result<(), CoordinatorError> {
        let now = self.parts.clock.now();
        asks.allowance = asks.budget.limit(asks.allowance, self.spent.get(&client).copied().unwrap_or_default());
        self.seen.insert(client, (now, asks.allowance));
        if let Some(update) = asks.pending.clone() {
            match self.fate(client, &update)? {
                Fate::Decided(outcome) => self.answer(reply, Instruction::Receipt(update, outcome)),
                Fate::Wanted => self.answer(reply, Instruction::SendPending),
                Fate::Undecided => self.hold(client, asks, reply),
            }
            return Ok(());
        }
        let Some(round) = &self.round else {
            let finished = Instruction::Finished(self.parts.plan.name.clone());
            self.answer(reply, finished);
            return Ok(());
        };
        if let Some(assigned) = round.assignment(client) {
            let assignment = self.assignment(client, assigned, asks.held)?;
            self.answer(reply, Instruction::Assign(assignment));
            return Ok(());
        }
        let ready = Ready::new(now, &asks);
        self.hold(client, asks, reply);
        let pause = self.parts.plan.decline_pause;
        if self.declined.get(&client).is_some_and(|at| *at + pause > now) {
            return Ok(());
        }
        self.ready.insert(client, ready);
        self.offer(client)?;
        self.hand_out()
    }

    /// Keeps a call until there is something to say; one that is not to be held is told when to come back.
    fn hold(&mut self, client: ClientId, asks: Asks, reply: oneshot::Sender<Instruction>) {
        let now = self.parts.clock.now();
        let ready = Ready::new(now, &asks);
        let Asks { pending, hold, .. } = asks;
        if hold.is_zero() || self.draining {
            // One that stops is soon started again: nobody should still be asleep then.
            let pause = if self.draining { Duration::ZERO } else { self.pace(client) };
            return self.answer(reply, Instruction::Wait(pause));
        }
        let before = self.waiting.insert(client, Waiting { until: now + hold, pending, ready, reply });
        if let Some(Waiting { reply, .. }) = before {
            self.answer(reply, Instruction::Wait(Duration::from_secs(1))); // a newer call of the same client
        }
    }

    /// When a client that does not wait on the line had better come back: spread out, so that they do not come at once.
    pub(super) fn pace(&self, client: ClientId) -> Duration {
        let now = self.parts.clock.now();
        let round = self.round.as_ref();
        let until = match round.and_then(Round::deadline) {
            Some(deadline) => deadline.saturating_sub(now).clamp(Duration::from_secs(1), Duration::from_secs(60)),
            None => Duration::from_secs(if round.is_some_and(Round::is_selecting) { 1 } else { 5 }),
        };
        let spread = nibble_seed::Seed(client.0).unit_at(round.map_or(0, |round| round.id().0));
        until.mul_f32(1.0 + 0.25 * spread)
    }

    /// Clients that were not heard of for long are not available; gives those that were.
    pub(super) fn forget_absent(&mut self, now: Duration) -> Vec<ClientId> {
        let waiting = &self.waiting;
        let absent = |(client, ready): (&ClientId, &Ready)| {
            (!waiting.contains_key(client) && ready.seen + AVAILABLE_FOR < now).then_some(*client)
        };
        let absent: Vec<_> = self.ready.iter().filter_map(absent).collect();
        self.ready.retain(|client, _| !absent.contains(client));
        absent
    }

    /// Time passed: calls that were held long enough are answered, absent clients forgotten, the round told.
    pub(super) fn tick(&mut self) -> Result<(), CoordinatorError> {
        let now = self.parts.clock.now();
        let draining = self.draining;
        let over = |(client, waiting): (&ClientId, &Waiting)| {
            (draining || waiting.until <= now || waiting.reply.is_closed()).then_some(*client)
        };
        for client in self.waiting.iter().filter_map(over).collect::<Vec<_>>() {
            if let Some(Waiting { reply, .. }) = self.waiting.remove(&client) {
                self.answer(reply, Instruction::Wait(Duration::ZERO));
            }
        }
        for client in self.forget_absent(now) {
            if self.round.as_ref().is_some_and(Round::is_selecting) {
                self.tell(Event::Lost(client))?;
            }
        }
        let pause = self.parts.plan.decline_pause;
        let pardoned = self.declined.extract_if(.., |_, at| *at + pause <= now).map(|(client, _)| client);
        for client in pardoned.collect::<Vec<_>>() {
            if let Some(waiting) = self.waiting.get_mut(&client).filter(|waiting| waiting.pending.is_none()) {
                waiting.ready.seen = now;
                self.ready.insert(client, waiting.ready);
                self.offer(client)?;
            }
        }
        self.hand_out()?;
        if self.wake.is_some_and(|wake| wake <= now) {
            // A selection that ended early leaves a wake-up behind, in place of the later deadline.
            self.wake = self.round.as_ref().and_then(Round::deadline).filter(|deadline| *deadline > now);
            self.tell(Event::Tick)?;
        }
        if now.saturating_sub(self.ledger_written) >= TICK {
            self.write_ledger(now)?;
        }
        Ok(())
    }
}
