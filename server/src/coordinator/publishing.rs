//! What clients are given of the global model: all of it, or, where its changes are compressed, versions and the frames
//! between them.

use std::collections::BTreeSet;

use nibble_codec::{Coding, PayloadId};
use nibble_proto::crash;
use nibble_seed::{Purpose, RoundId};

use super::{Coordinator, CoordinatorError, DeltaPath, ModelRef, Parts, Plan};
use crate::{
    Round,
    broadcast::Broadcast,
    models::{Chain, DeltaFrame, ModelError, ModelName, Models},
    strategy::Published,
};

/// The server's control variate, as the clients of the open round have it.
pub(super) struct SentControl {
    /// Where it is, and its name: it is kept as models are.
    pub(super) model: ModelRef,
    pub(super) values: Vec<f32>,
}

impl Coordinator {
    /// Makes the global model ready for the clients of a round: what that gives them is on disk, and in the open
    /// transaction.
    pub(super) fn publish(&mut self, round: RoundId) -> Result<(), CoordinatorError> {
        let Some(broadcast) = &mut self.broadcast else {
            self.served = self.newest;
            return Ok(());
        };
        let plan = &self.parts.plan;
        let id = PayloadId { round, seed: plan.seed.derive(Purpose::Broadcast, round.0, 0) };
        let published = broadcast.publish(&plan.layout, &self.global, id).map_err(ModelError::from)?;
        let Some(frame) = published else { return Ok(()) };
        let models = &self.parts.models;
        let frame = models.put_delta(&frame)?;
        let (name, whole) = models.put(&plan.layout, round, broadcast.held())?;
        crash::point("frame-written");
        self.parts.store.add_frame(&plan.name, broadcast.version(), &frame, &name)?;
        models.extend_chain(frame, name);
        self.served = ModelRef { name, frame_bytes: whole };
        Ok(())
    }

    /// Makes the server's control variate ready for the clients of a round, where they are sent one. It follows from what is
    /// remembered, so that a coordinator that starts again makes the same.
    pub(super) fn publish_control(&mut self, round: RoundId) -> Result<(), CoordinatorError> {
        let plan = &self.parts.plan;
        let published = match plan.strategy.control() {
            Some(control) => control.publish(&plan.layout, &self.memories, (plan.seed, round)),
            None => Ok(None),
        };
        self.control = match published.map_err(ModelError::from)? {
            None => None,
            Some(Published { frame, values }) => {
                let name = self.parts.models.put_frame(&values, &frame)?;
                Some(SentControl { model: ModelRef { name, frame_bytes: frame.len() as u64 }, values })
            }
        };
        Ok(())
    }

    /// Name of the control variate that clients are sent.
    pub(super) fn control_name(&self) -> Option<ModelName> {
        self.control.as_ref().map(|control| control.model.name)
    }

    /// The model that clients of a round, which may have closed, start from.
    pub(super) fn model_of(&self, round: RoundId) -> Result<ModelRef, CoordinatorError> {
        if self.round.as_ref().is_none_or(|open| open.id() == round) {
            return Ok(self.served);
        }
        let row = self.parts.store.round(&self.parts.plan.name, round)?;
        let missing = || CoordinatorError::Resume { round, problem: "it is not in the store".into() };
        Ok(ModelRef { name: row.ok_or_else(missing)?.model, ..self.served })
    }

    /// Rounds whose clients still train, and the oldest of which an update is needed; `next` if there is none.
    pub(super) fn under_way(&self, next: RoundId) -> (BTreeSet<RoundId>, RoundId) {
        let carried = self.round.as_ref().map(Round::carried);
        let flying: BTreeSet<_> =
            carried.iter().flat_map(|carried| carried.flying.values().map(|flight| flight.round)).collect();
        let received = carried.iter().flat_map(|carried| carried.received.iter().map(|(counted, _)| counted.round));
        let counted = self.closing.iter().flatten().map(|counted| counted.round);
        let oldest = received.chain(counted).chain(flying.iter().copied()).chain([next]).min();
        (flying, oldest.unwrap_or(next))
    }

    /// The way to a model that clients start from, where its changes are compressed.
    pub(super) fn path(&self, held: Option<ModelName>, model: ModelName) -> Option<DeltaPath> {
        let broadcast = self.broadcast.as_ref()?;
        let initial_seed = self.parts.plan.initial_seed;
        self.parts.models.with_chain(|chain| {
            let known = held.and_then(|held| chain.version_of(&held));
            // Whoever knows the architecture makes the first model itself; others are sent one to start from, as is
            // whoever has a version from which no frames lead on: no version is newer than the newest.
            let have = known.or(initial_seed.map(|_| 0)).unwrap_or(u64::MAX);
            let to = chain.version_of(&model)?;
            let path = broadcast.path_to(have, to);
            let frame_bytes = |version: &u64| chain.frame(*version).map(|frame| frame.bytes);
            Some(DeltaPath {
                base: *chain.name(path.from)?,
                base_bytes: if path.whole { keyframe_bytes(&self.parts) } else { 0 },
                initial_seed: initial_seed.filter(|_| path.from == 0 && !path.whole),
                anchor_frames: path.versions.iter().filter(|version| **version <= broadcast.kept_at(to)).count() as u32,
                frame_bytes: path.versions.iter().map(frame_bytes).collect::<Option<_>>()?,
            })
        })
    }
}

/// What clients have, after the frames that the store remembers; nothing where the model goes out whole.
pub(super) async fn resume(
    plan: &Plan,
    models: &Models,
    first: ModelName,
    steps: Vec<(DeltaFrame, ModelName)>,
) -> Result<Option<(Broadcast, ModelName)>, CoordinatorError> {
    let Some(downlink) = plan.downlink else { return Ok(None) };
    let held = steps.last().map_or(first, |(_, name)| *name);
    let kept = downlink.span.anchor(steps.len() as u64);
    let anchor = kept.checked_sub(1).map_or(first, |step| steps[step as usize].1);
    let bytes = steps.iter().map(|(frame, _)| frame.bytes).collect();
    models.set_chain(Chain::new(downlink.span, first, steps));
    let models = (models.fetch(&plan.layout, &anchor).await?, models.fetch(&plan.layout, &held).await?);
    Ok(Some((Broadcast::new(downlink, &plan.layout, models, bytes), held)))
}

/// Bytes of a whole model.
pub(super) fn keyframe_bytes(parts: &Parts) -> u64 {
    Coding::Fp32.payload_bytes(&parts.plan.layout)
}
