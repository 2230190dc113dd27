//! Control variates in memory: the server's for a round, and clients' as accepted updates move them.

use std::{collections::BTreeMap, sync::Mutex};

use nibble_client::{Control, Gain};
use nibble_codec::Payload;
use nibble_seed::{ClientId, RoundId};
use nibble_server::{round::Outcome, strategy};

use super::{
    Run,
    round::{Sent, lock},
};
use crate::error::SimError;

impl Run<'_> {
    /// Codes the server's control variate for the clients of a round, where they are sent one.
    pub(super) fn publish_control(&mut self, round: RoundId) -> Result<(), SimError> {
        let Some(control) = self.experiment.strategy.control() else { return Ok(()) };
        let layout = self.federation.layout();
        let published = control.publish(layout, &self.progress.memories, (self.seed, round));
        self.control = published.map_err(|error| SimError::Downlink { round, error })?;
        Ok(())
    }

    /// Bytes of its frame.
    pub(super) fn control_bytes(&self) -> u64 {
        self.control.as_ref().map_or(0, |published| published.frame.len() as u64)
    }

    /// Moves the control variate of every client whose update was accepted.
    pub(super) fn move_controls(
        &mut self,
        round: RoundId,
        control: &strategy::Control,
        receipts: &[(ClientId, Outcome)],
        sent: &BTreeMap<ClientId, Sent>,
    ) -> Result<(), SimError> {
        let accepted: Vec<_> =
            receipts.iter().filter(|(_, outcome)| *outcome == Outcome::Accepted).map(|(client, _)| *client).collect();
        let (layout, lr) = (self.federation.layout(), self.experiment.sgd_in(round).lr);
        let server = self.control.as_ref().map_or(&[][..], |published| &published.values);
        let kept = Mutex::new(&mut self.kept);
        self.workers.each(&accepted, |_, client| {
            let Sent { payload, report, .. } = &sent[client];
            let own = lock(&kept).take(*client)?;
            let control = (gain(control.gain), report.steps, lr);
            let moved = Control { own: &own, server }.after(control, &Payload::trust(payload, layout)?, layout)?;
            lock(&kept).put(*client, moved)
        })?;
        Ok(())
    }
}

/// As clients are told it.
fn gain(gain: strategy::Gain) -> Gain {
    match gain {
        strategy::Gain::PerStep => Gain::PerStep,
        strategy::Gain::Times(times) => Gain::Times(times),
    }
}
