//! What clients are given of the global model: all of it, or, where its changes are compressed, versions and the frames
//! between them.

use nibble_codec::{Coding, PayloadId};
use nibble_seed::{Purpose, RoundId};

use super::{Coordinator, CoordinatorError, DeltaPath, ModelRef, Parts, Plan};
use crate::{
    broadcast::{Broadcast, Path},
    crash,
    models::{Chain, DeltaFrame, ModelError, ModelName, Models},
};

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
        let (name, whole) = models.put_here(&plan.layout, round, broadcast.held())?;
        crash::point("frame-written");
        self.parts.store.add_frame(&plan.name, broadcast.version(), &frame, &name)?;
        models.extend_chain(frame, name);
        self.served = ModelRef { name, frame_bytes: whole.len() as u64 };
        Ok(())
    }

    /// The delta frames that bring a client to the model that is served, if they are the shorter way.
    pub(super) fn path(&self, held: Option<ModelName>) -> Option<DeltaPath> {
        let broadcast = self.broadcast.as_ref()?;
        let initial_seed = self.parts.plan.initial_seed;
        self.parts.models.with_chain(|chain| {
            let known = held.and_then(|held| chain.version_of(&held));
            // Whoever knows the architecture makes the first model itself; others need something to start from.
            let have = known.or(initial_seed.map(|_| 0))?;
            match broadcast.path(have) {
                Path::Keyframe { .. } => None,
                Path::Frames { from, .. } => Some(DeltaPath {
                    base: *chain.name(from)?,
                    initial_seed: initial_seed.filter(|_| from == 0),
                    frame_bytes: broadcast.frames().get(from as usize..)?.to_vec(),
                }),
            }
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
    let Some(scheme) = plan.downlink else { return Ok(None) };
    let held = steps.last().map_or(first, |(_, name)| *name);
    let bytes = steps.iter().map(|(frame, _)| frame.bytes).collect();
    models.set_chain(Chain::new(first, steps));
    let parameters = models.get(&plan.layout, &held).await?;
    Ok(Some((Broadcast::new(scheme, &plan.layout, parameters, bytes), held)))
}

/// Bytes of a whole model.
pub(super) fn keyframe_bytes(parts: &Parts) -> u64 {
    Coding::Fp32.payload_bytes(&parts.plan.layout)
}
