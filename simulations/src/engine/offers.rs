//! Who is offered a round: clients that can afford it and are online, and how their updates are coded.

use std::time::Duration;

use nibble_codec::Scheme;
use nibble_seed::{ClientId, RoundId};
use nibble_server::{
    policy::{Member, Situation},
    wire,
};

use super::Run;

const DAY_SECONDS: f64 = 86_400.0;

impl Run<'_> {
    /// Clients that can afford a round; where too few can today, those who can tomorrow, which it then is.
    pub(super) fn able(&mut self, round: RoundId, whole: u64) -> Vec<ClientId> {
        let today = self.today();
        let mut able = self.affordable(round, whole, today);
        if able.len() < self.experiment.round.selected() {
            let tomorrow = self.affordable(round, whole, today + 1);
            if tomorrow.len() > able.len() {
                able = tomorrow;
                self.progress.clock = Duration::from_secs_f64((today + 1) as f64 * DAY_SECONDS);
            }
        }
        let today = self.today();
        self.accounts.values_mut().for_each(|account| account.on(today));
        able
    }

    /// Clients that can afford a round on a day, and are not under way.
    pub(super) fn affordable(&self, round: RoundId, whole: u64, day: u64) -> Vec<ClientId> {
        let clients = (0..self.experiment.raw.data.clients as u64).map(ClientId);
        let losses = self.losses();
        let is_able = |client: &ClientId| {
            let can_send = |situation: Situation<'_>| self.codecs.up.plan(&situation).is_some();
            !self.under_way.is_busy(*client)
                && self.situation(round, *client, (whole, day), &losses).is_some_and(can_send)
        };
        clients.filter(is_able).collect()
    }

    pub(super) fn today(&self) -> u64 {
        (self.progress.clock.as_secs_f64() / DAY_SECONDS) as u64
    }

    /// Lets time pass until enough clients are online; gives those who are.
    pub(super) fn wait_for(&mut self, able: Vec<ClientId>) -> Vec<ClientId> {
        let Some(fleet) = &self.fleet else { return able };
        let wanted = self.experiment.round.selected().min(able.len());
        let (now, online) = fleet.gather(&able, wanted, self.progress.clock);
        self.progress.clock = now;
        online
    }

    /// What a client can do in a round on a day, given mean losses of the rounds before; nothing, if it cannot afford the
    /// model.
    fn situation<'a>(
        &'a self,
        round: RoundId,
        client: ClientId,
        (whole, day): (u64, u64),
        losses: &'a [f64],
    ) -> Option<Situation<'a>> {
        let budget = &self.budgets[client.0 as usize];
        let mut account = self.accounts.get(&client).copied().unwrap_or_default();
        account.on(day);
        account.begin_round();
        let model = wire::down(self.model_bytes(client, whole), self.federation.layout());
        if budget.down.left(&account.down).is_some_and(|left| left < model) {
            return None;
        }
        let raw = &self.experiment.raw;
        Some(Situation {
            layout: self.federation.layout(),
            round: round.0,
            rounds: raw.rounds,
            participation: self.experiment.round.selected() as f64 / raw.data.clients as f64,
            losses,
            may_send: budget.up.left(&account.up),
            left: budget.up.left_of_run(&account.up),
        })
    }

    /// Mean training losses of the rounds that counted anybody, if updates are coded by them.
    fn losses(&self) -> Vec<f64> {
        match self.codecs.up.scheme() {
            Some(_) => Vec::new(),
            None => self.progress.rows.iter().filter(|row| row.counted > 0).map(|row| row.train_loss).collect(),
        }
    }

    /// The schemes of a cohort's updates in a round.
    pub(super) fn schemes(&self, round: RoundId, cohort: &[ClientId], whole: u64) -> Vec<Scheme> {
        let (losses, day) = (self.losses(), self.today());
        let member = |&client: &ClientId| {
            let situation = self.situation(round, client, (whole, day), &losses);
            let situation = situation.expect("only who can afford the model checks in");
            Member { situation, weight: self.experiment.aggregation.weight(&self.knowledge, client) }
        };
        let members: Vec<_> = cohort.iter().map(member).collect();
        let schemes = self.codecs.up.plan_cohort(self.experiment.raw.cohort.uplink_bytes, &members);
        schemes.into_iter().map(|scheme| scheme.expect("only who can afford an update checks in")).collect()
    }

    /// Bytes that bring a client the model, and what comes with it.
    pub(super) fn model_bytes(&self, client: ClientId, whole: u64) -> u64 {
        let version = || self.versions.get(&client).copied().unwrap_or(0);
        let model = self.broadcast.as_ref().map_or(whole, |broadcast| broadcast.path(version()).bytes);
        model + self.control_bytes()
    }
}
