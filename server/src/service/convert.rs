//! From messages to the coordinator's own terms, with every check, and back.

use std::time::Duration;

use nibble_proto::v1;
use nibble_seed::RoundId;
use tonic::Status;

use crate::{
    budget::{Budget, Caps},
    coordinator::{Assignment, Instruction, ModelRef, Plan, UpdateRef},
    models::ModelName,
    round::{DiscardReason, Outcome, RejectReason},
    strategy::Gain,
};

/// Most bytes of a run's name.
const NAME_BYTES: usize = 200;

pub(super) fn update_ref(update: Option<v1::UpdateRef>) -> Result<UpdateRef, Status> {
    let update = update.ok_or_else(|| Status::invalid_argument("update: missing"))?;
    Ok(UpdateRef {
        run: run_name(update.run)?,
        round: RoundId(update.round),
        digest: sha256("update.payload_sha256", &update.payload_sha256)?,
    })
}

pub(super) fn run_name(name: String) -> Result<String, Status> {
    match name.len() {
        1..=NAME_BYTES => Ok(name),
        found => Err(Status::invalid_argument(format!("run: {found} bytes, but a run's name has 1 to {NAME_BYTES}"))),
    }
}

pub(super) fn sha256(field: &str, bytes: &[u8]) -> Result<ModelName, Status> {
    bytes
        .try_into()
        .map_err(|_| Status::invalid_argument(format!("{field}: {} bytes, but a SHA-256 has 32", bytes.len())))
}

/// A number that a client may say of its update, for the record.
pub(super) fn metric(field: &str, value: f64) -> Result<f64, Status> {
    match value.is_finite() {
        true => Ok(value),
        false => Err(Status::invalid_argument(format!("{field}: {value} is not a finite number"))),
    }
}

pub(super) fn answer(instruction: Instruction, budget: &Budget) -> v1::CheckInResponse {
    use v1::check_in_response::Instruction as I;
    let instruction = match instruction {
        Instruction::Wait(time) => I::Wait(v1::Wait { retry_after_ms: millis(time).try_into().unwrap_or(u32::MAX) }),
        Instruction::Assign(assigned) => I::Assignment(assignment(&assigned)),
        Instruction::SendPending => I::SendPending(v1::SendPending {}),
        Instruction::Receipt(update, outcome) => I::Receipt(receipt(&update, &outcome)),
        Instruction::Finished(run) => I::Finished(v1::Finished { run }),
    };
    let caps = |caps: Caps| v1::Caps { round: caps.round, day: caps.day, run: caps.run };
    let budget = (!budget.is_none()).then(|| v1::Budget { up: Some(caps(budget.up)), down: Some(caps(budget.down)) });
    v1::CheckInResponse { instruction: Some(instruction), budget }
}

fn assignment(assigned: &Assignment) -> v1::Assignment {
    let plan = &assigned.plan;
    let tensor = |tensor: &nibble_codec::Tensor| v1::Tensor {
        name: tensor.name.clone(),
        shape: tensor.shape.iter().map(|&dim| dim as u64).collect(),
    };
    v1::Assignment {
        run: plan.name.clone(),
        round: assigned.round.0,
        rounding_seed: assigned.rounding.0,
        order_seed: assigned.order.0,
        model: Some(model_ref(assigned.model)),
        layout: plan.layout.tensors().iter().map(tensor).collect(),
        architecture: plan.architecture.clone(),
        scheme: assigned.scheme.to_string(),
        training: Some(training(plan, assigned.round)),
        max_payload_bytes: plan.max_payload_bytes,
        path: assigned.path.as_ref().map(|path| v1::DeltaPath {
            base_sha256: path.base.to_vec().into(),
            initial_seed: path.initial_seed.map(|seed| seed.0),
            frame_bytes: path.frame_bytes.clone(),
            anchor_frames: path.anchor_frames,
            base_bytes: path.base_bytes,
        }),
        control: plan.strategy.control().map(|control| v1::Control {
            gain: match control.gain {
                Gain::PerStep => 0.0,
                Gain::Times(gain) => gain,
            },
            frame: assigned.control.map(model_ref),
        }),
        personal: (!plan.personal.is_empty())
            .then(|| v1::Personal { tensors: plan.personal.clone(), initial_seed: plan.seed.0 }),
        deadline_ms: assigned.deadline.map_or(0, |deadline| millis(deadline).max(1)),
    }
}

fn model_ref(model: ModelRef) -> v1::ModelRef {
    v1::ModelRef { sha256: model.name.to_vec().into(), frame_bytes: model.frame_bytes }
}

/// Where steps are counted there are no epochs, so that a client that only knows those declines.
fn training(plan: &Plan, round: RoundId) -> v1::LocalTraining {
    let training = &plan.training;
    v1::LocalTraining {
        epochs: if training.steps.is_some() { 0 } else { training.epochs },
        batch: training.batch,
        lr: training.lr.in_round(round.0, plan.rounds),
        momentum: training.momentum,
        weight_decay: training.weight_decay,
        steps: training.steps.unwrap_or(0),
        clip_norm: training.clip_norm,
        qat: training.qat.map_or_else(String::new, |qat| qat.to_string()),
        proximal: training.proximal,
        measure: plan.aggregation.rule.needs_loss(),
    }
}

pub(super) fn receipt(update: &UpdateRef, outcome: &Outcome) -> v1::Receipt {
    use v1::{Outcome as O, Reason as R};
    let (kind, reason, detail) = match outcome {
        Outcome::Accepted => (O::Accepted, R::Unspecified, String::new()),
        Outcome::Rejected(reason) => {
            let code = match reason {
                RejectReason::NotSelected => R::NotSelected,
                RejectReason::Conflict => R::Conflict,
                RejectReason::NoSamples => R::NoSamples,
                RejectReason::Malformed(_) => R::Malformed,
                RejectReason::UnknownRound => R::UnknownRound,
            };
            (O::Rejected, code, reason.to_string())
        }
        Outcome::Discarded(reason) => {
            let code = match reason {
                DiscardReason::Late => R::Late,
                DiscardReason::Abandoned => R::Abandoned,
            };
            (O::Discarded, code, reason.to_string())
        }
    };
    v1::Receipt {
        update: Some(v1::UpdateRef {
            run: update.run.clone(),
            round: update.round.0,
            payload_sha256: update.digest.to_vec().into(),
        }),
        outcome: kind.into(),
        reason: reason.into(),
        detail,
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
