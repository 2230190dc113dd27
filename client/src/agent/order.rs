//! Assignments as they come, and what they mean once they are validated.

use nibble_codec::Scheme;
use nibble_learning::{SgdConfig, TensorSpec, UnknownQuantization};
use nibble_proto::v1::{self, Assignment, DeltaPath, LocalTraining, Tensor};
use nibble_seed::{RoundId, Seed};

use crate::{Gain, state::Keeps};

/// A client's part in a round.
#[derive(Clone, Debug)]
pub(super) struct Order {
    pub(super) run: String,
    pub(super) round: RoundId,
    pub(super) rounding: Seed,
    pub(super) order: Seed,
    /// SHA-256 of the global model's parameters.
    pub(super) model: [u8; 32],
    pub(super) frame_bytes: u64,
    /// Another way to it.
    pub(super) path: Option<Path>,
    pub(super) tensors: Vec<TensorSpec>,
    pub(super) architecture: String,
    pub(super) scheme: Scheme,
    pub(super) sgd: SgdConfig,
    /// Whether the loss of the global model is to be measured.
    pub(super) measure: bool,
    pub(super) control: Option<Correction>,
    pub(super) personal: Option<Personal>,
    pub(super) max_payload_bytes: u64,
}

/// Tensors that are the client's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Personal {
    /// Their names, or those of their layers.
    pub(super) names: Vec<String>,
    /// What a built-in architecture makes them from.
    pub(super) seed: Seed,
}

/// How training is corrected.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Correction {
    pub(super) gain: Gain,
    /// SHA-256 of the server's control variate, and bytes of its frame; without one, it is 0.
    pub(super) server: Option<([u8; 32], u64)>,
}

/// Delta frames that lead to a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Path {
    /// The model they start from.
    pub(super) base: [u8; 32],
    /// What a built-in architecture makes that model from.
    pub(super) initial_seed: Option<Seed>,
    /// Bytes of each.
    pub(super) frame_bytes: Vec<u64>,
    /// How many of them lead to the model that is to be kept.
    pub(super) anchor_frames: usize,
    /// Whether the model they start from can be fetched, whole.
    pub(super) fetch_base: bool,
}

impl Order {
    /// What a client keeps for the next one.
    pub(super) fn keeps(&self) -> Keeps {
        if self.control.is_some() { Keeps::Control } else { Keeps::Residual }
    }

    /// Whether a model that came is to be kept: later frames start from it, or, without delta frames, it may be ordered again.
    pub(super) fn is_anchor(&self, model: [u8; 32]) -> bool {
        let Some(path) = &self.path else { return true };
        let all_lead_there = path.anchor_frames == path.frame_bytes.len();
        (model == self.model && all_lead_there) || (model == path.base && path.anchor_frames == 0)
    }
}

impl TryFrom<Assignment> for Order {
    /// Why the round must be declined.
    type Error = String;

    fn try_from(assignment: Assignment) -> Result<Self, String> {
        let model = assignment.model.ok_or("the assignment names no model")?;
        let scheme = assignment.scheme;
        Ok(Self {
            run: assignment.run,
            round: RoundId(assignment.round),
            rounding: Seed(assignment.rounding_seed),
            order: Seed(assignment.order_seed),
            model: sha256(&model.sha256).ok_or("the model's name is not a SHA-256")?,
            frame_bytes: model.frame_bytes,
            path: assignment.path.map(path).transpose()?,
            tensors: assignment
                .layout
                .into_iter()
                .map(tensor)
                .collect::<Option<_>>()
                .ok_or("a dimension is too large")?,
            architecture: assignment.architecture,
            scheme: scheme.parse().map_err(|error| format!("this client does not know the scheme: {error}"))?,
            sgd: sgd(assignment.training.as_ref().ok_or("the assignment does not say how to train")?)?,
            measure: assignment.training.as_ref().is_some_and(|training| training.measure),
            control: assignment.control.map(correction).transpose()?,
            personal: assignment
                .personal
                .map(|personal| Personal { names: personal.tensors, seed: Seed(personal.initial_seed) }),
            max_payload_bytes: assignment.max_payload_bytes,
        })
    }
}

/// A SHA-256 as protocol messages carry it.
fn sha256(bytes: &[u8]) -> Option<[u8; 32]> {
    bytes.try_into().ok()
}

fn path(path: DeltaPath) -> Result<Path, String> {
    let base = sha256(&path.base_sha256).ok_or("the name of the model to start from is not a SHA-256")?;
    Ok(Path {
        base,
        initial_seed: path.initial_seed.map(Seed),
        anchor_frames: path.anchor_frames as usize,
        fetch_base: path.base_bytes > 0,
        frame_bytes: path.frame_bytes,
    })
}

fn correction(control: v1::Control) -> Result<Correction, String> {
    let gain = match control.gain {
        0.0 => Gain::PerStep,
        gain if gain > 0.0 && gain.is_finite() => Gain::Times(gain),
        gain => return Err(format!("{gain} is no gain of a control variate")),
    };
    let named = |frame: v1::ModelRef| Some((sha256(&frame.sha256)?, frame.frame_bytes));
    let server = control.frame.map(|frame| named(frame).ok_or("the control variate's name is not a SHA-256"));
    Ok(Correction { gain, server: server.transpose()? })
}

fn tensor(tensor: Tensor) -> Option<TensorSpec> {
    let shape = tensor.shape.into_iter().map(|dim| usize::try_from(dim).ok()).collect::<Option<_>>()?;
    Some(TensorSpec { name: tensor.name, shape })
}

/// The trainer checks the ranges; only the conversions are checked here.
fn sgd(training: &LocalTraining) -> Result<SgdConfig, String> {
    let &LocalTraining { epochs, batch, lr, momentum, weight_decay, steps, clip_norm, ref qat, proximal, .. } =
        training;
    let batch = usize::try_from(batch).map_err(|_| "the batch is too large")?;
    let steps = (steps > 0).then_some(steps);
    let qat = Some(qat.as_str()).filter(|name| !name.is_empty()).map(str::parse).transpose();
    let qat = qat.map_err(|error: UnknownQuantization| format!("this client cannot train for it: {error}"))?;
    Ok(SgdConfig { epochs, steps, batch, lr, momentum, weight_decay, clip_norm, qat, proximal })
}
