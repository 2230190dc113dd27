//! What attackers send in place of what they learnt: crafted, and coded like everything else.

use std::{collections::BTreeMap, sync::Mutex};

use nibble_client::ClientError;
use nibble_codec::{Encoder, Layout, Payload, PayloadId, Scheme};
use nibble_seed::{ClientId, RoundId};

use super::{
    Run,
    round::{Assigned, Sent, lock},
};
use crate::{attacks::Attackers, error::SimError};

impl Run<'_> {
    /// Whether a client keeps what its update left out.
    pub(super) fn keeps_residual(&self, client: ClientId) -> bool {
        self.codecs.up.feedback() && !self.attackers.as_ref().is_some_and(|attackers| attackers.crafts(client))
    }

    /// Attackers that act together look at what the honest send, tile by tile, and send what they make of it. Where
    /// nobody honest takes part there is nothing to look at, and what they learnt stands. `assigned` are theirs and others' parts,
    /// each of its round.
    pub(super) fn plot(
        &mut self,
        assigned: &[(RoundId, Assigned)],
        sent: &mut BTreeMap<ClientId, Sent>,
    ) -> Result<(), SimError> {
        let crafts = |client| self.attackers.as_ref().is_some_and(|attackers: &Attackers| attackers.crafts(client));
        let (attackers, honest): (Vec<_>, Vec<_>) = sent.iter().partition(|(client, _)| crafts(**client));
        let plot = self.attackers.as_ref().and_then(|all| all.together(attackers.len(), sent.len()));
        let Some(plot) = plot.filter(|_| !attackers.is_empty() && !honest.is_empty()) else { return Ok(()) };
        let layout = self.federation.layout();
        let payloads = honest.iter().map(|(_, sent)| Payload::trust(&sent.payload, layout));
        let payloads = payloads.collect::<Result<Vec<_>, _>>()?;
        let mut crafted = vec![0.0; layout.coordinates()];
        let (mut rest, mut tiles) = (&mut crafted[..], Vec::new());
        for chunk in 0..layout.chunks() {
            let (tile, after) = rest.split_at_mut(layout.chunk_range(chunk).len());
            rest = after;
            tiles.push((chunk, Mutex::new(tile)));
        }
        let fold = |chunk: usize, tile: &Mutex<&mut [f32]>| plot.tile(&payloads, chunk, &mut lock(tile));
        self.workers.each(&tiles, |_, (chunk, tile)| Ok(fold(*chunk, tile)?))?;
        let tasks: Vec<_> =
            assigned.iter().filter(|(_, task)| crafts(task.client) && sent.contains_key(&task.client)).collect();
        let coded = self.workers.each(&tasks, |_, &&(round, ref task)| {
            let coded = encode(layout, task, round, &crafted, Vec::new());
            coded.map_err(|error| SimError::Client { round, client: task.client, error })
        })?;
        for ((_, task), (payload, nmse)) in tasks.into_iter().zip(coded) {
            if let Some(sent) = sent.get_mut(&task.client) {
                (sent.payload, sent.nmse) = (payload, nmse);
            }
        }
        Ok(())
    }
}

impl Sent {
    /// The same report with `crafted` as the update.
    pub(super) fn replaced(
        self,
        layout: &Layout,
        task: &Assigned,
        round: RoundId,
        crafted: &[f32],
    ) -> Result<Self, SimError> {
        let coded = encode(layout, task, round, crafted, self.payload);
        let (payload, nmse) = coded.map_err(|error| SimError::Client { round, client: task.client, error })?;
        Ok(Self { payload, nmse, ..self })
    }
}

/// The payload of a vector that no training gave, and its error; `buffer` spares an allocation.
fn encode(
    layout: &Layout,
    task: &Assigned,
    round: RoundId,
    vector: &[f32],
    buffer: Vec<u8>,
) -> Result<(Vec<u8>, f64), ClientError> {
    // How much the loss minds errors is measured in training, and nothing to an attacker.
    let scheme = Scheme { feedback: false, sensitive: false, ..task.scheme };
    let mut payload = buffer;
    let id = PayloadId { round, seed: task.rounding };
    Encoder::new(scheme).encode(layout, vector, id, &mut payload)?;
    let nmse = Payload::trust(&payload, layout)?.nmse(vector)?;
    Ok((payload, nmse))
}
