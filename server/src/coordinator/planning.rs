//! Who can afford the open round, and how the updates of those who can are coded.

use std::time::Duration;

use nibble_codec::Scheme;
use nibble_seed::{ClientId, RoundId};
use tracing::info;

use super::{Asks, Coordinator, CoordinatorError, Instruction};
use crate::{
    Round,
    models::ModelName,
    policy::{Member, Situation},
    round::Event,
    store::Allowance,
    wire,
};

/// A client that is there for a round.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ready {
    /// When it was last heard of.
    pub(super) seen: Duration,
    /// The model that it has.
    pub(super) held: Option<ModelName>,
    /// What it may spend.
    allowance: Allowance,
}

/// Longest time that a client which cannot afford a round is told to stay away.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

impl Ready {
    pub(super) fn new(seen: Duration, asks: &Asks) -> Self {
        Self { seen, held: asks.held, allowance: asks.allowance }
    }
}

impl Coordinator {
    /// Tells a round that was opened, and any that opens then, of everyone who is ready or known to have nothing left.
    pub(super) fn offer_all(&mut self) -> Result<(), CoordinatorError> {
        while std::mem::take(&mut self.opened) {
            for client in self.ready.keys().copied().collect::<Vec<_>>() {
                self.offer(client)?;
            }
            let unable = self.unable.iter().filter(|(_, ready)| self.scheme_for(ready).is_none());
            for client in unable.map(|(client, _)| *client).collect::<Vec<_>>() {
                self.tell(Event::Unable(client))?;
            }
            self.hand_out()?;
        }
        Ok(())
    }

    /// Lets a round that does not wait give those who are there something to do.
    pub(super) fn hand_out(&mut self) -> Result<(), CoordinatorError> {
        if self.closing.is_some() || self.parts.plan.round.buffer().is_none() {
            return Ok(());
        }
        self.tell(Event::Tick).map(drop)
    }

    /// Tells the open round of a client that is ready. One that cannot afford it is told when to come back.
    pub(super) fn offer(&mut self, client: ClientId) -> Result<(), CoordinatorError> {
        let Some(ready) = self.ready.get(&client).copied() else { return Ok(()) };
        self.unable.remove(&client);
        let selecting = self.round.as_ref().is_some_and(Round::is_selecting);
        if !selecting || self.scheme_for(&ready).is_some() {
            return self.tell(Event::CheckIn(client)).map(drop);
        }
        let Allowance { up, down, renews_in, .. } = ready.allowance;
        info!(%client, may_send = up, may_receive = down, "a client cannot afford the round");
        self.ready.remove(&client);
        if let Some(waiting) = self.waiting.remove(&client) {
            let pause = renews_in.unwrap_or(LONGEST_PAUSE).min(LONGEST_PAUSE);
            self.answer(waiting.reply, Instruction::Wait(pause));
        }
        if renews_in.is_some() {
            return Ok(()); // it is waited for
        }
        self.unable.insert(client, ready);
        self.tell(Event::Unable(client)).map(drop)
    }

    /// Remembers of a client that was given its part in a round what it will have left; it may not come to say so.
    pub(super) fn foresee(&mut self, client: ClientId, ready: &Ready, scheme: Scheme) {
        let mut left = ready.allowance;
        if left.renews_in.is_some() || left.up_in_run.or(left.down_in_run).is_none() {
            return;
        }
        let after = |before: Option<u64>, taken: u64| before.map(|bytes| bytes.saturating_sub(taken));
        left.up_in_run = after(left.up_in_run, wire::up(scheme.coding.payload_bytes(&self.parts.plan.layout)));
        left.down_in_run = after(left.down_in_run, self.bytes_down(ready));
        left.up = [left.up, left.up_in_run].into_iter().flatten().min();
        left.down = [left.down, left.down_in_run].into_iter().flatten().min();
        self.unable.insert(client, Ready { allowance: left, ..*ready });
    }

    /// Bytes on the socket that bring a client the model, and what comes with it.
    fn bytes_down(&self, ready: &Ready) -> u64 {
        let path = self.path(ready.held, self.served.name);
        let frames = path.map(|path| path.base_bytes + path.frame_bytes.iter().sum::<u64>());
        let control = self.control.as_ref().map_or(0, |control| control.model.frame_bytes);
        wire::down(frames.unwrap_or(self.served.frame_bytes) + control, &self.parts.plan.layout)
    }

    /// The scheme of a client's update in a round that it has for itself; none, if it cannot afford one, or the model.
    pub(super) fn scheme_for(&self, ready: &Ready) -> Option<Scheme> {
        let round = self.round.as_ref()?.id();
        if ready.allowance.down.is_some_and(|most| self.bytes_down(ready) > most) {
            return None;
        }
        self.parts.plan.policy.plan(&self.situation(round, ready.allowance))
    }

    /// The schemes of a cohort's updates. Only who can afford the round was offered it; whoever is mistaken in that will
    /// decline.
    pub(super) fn schemes_for(&self, round: RoundId, cohort: &[(ClientId, Ready)]) -> Vec<Scheme> {
        let plan = &self.parts.plan;
        let member = |(client, ready): &(ClientId, Ready)| {
            let able = self.scheme_for(ready).is_some();
            let allowance = if able { ready.allowance } else { Allowance::default() };
            Member {
                situation: self.situation(round, allowance),
                weight: plan.aggregation.weight(&self.knowledge, *client),
            }
        };
        let members: Vec<_> = cohort.iter().map(member).collect();
        let schemes = plan.policy.plan_cohort(plan.cohort_uplink_bytes, &members).into_iter();
        schemes.map(|scheme| scheme.expect("whoever may spend any number of bytes can afford the round")).collect()
    }

    fn situation(&self, round: RoundId, allowance: Allowance) -> Situation<'_> {
        let plan = &self.parts.plan;
        Situation {
            layout: &plan.layout,
            round: round.0,
            rounds: plan.rounds,
            participation: plan.round.selected() as f64 / plan.round.candidates() as f64,
            losses: &self.losses,
            may_send: allowance.up,
            left: allowance.up_in_run,
        }
    }

    /// Adds what an ended round taught of its cohort, if cohorts are chosen by that, or share bytes by it.
    pub(super) fn learn(&mut self, round: RoundId) -> Result<(), CoordinatorError> {
        let plan = &self.parts.plan;
        if !plan.round.rule().is_uniform() || plan.cohort_uplink_bytes.is_some() {
            self.parts.store.learn(&plan.name, round, &mut self.knowledge)?;
        }
        Ok(())
    }

    /// Reads how training went so far, if that decides on anything.
    pub(super) fn look_back(&mut self) -> Result<(), CoordinatorError> {
        let plan = &self.parts.plan;
        if plan.policy.scheme().is_none() {
            self.losses = self.parts.store.losses(&plan.name)?;
        }
        Ok(())
    }
}
