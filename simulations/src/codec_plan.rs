//! How `plan` divides bytes among tensors, and why.

use nibble_codec::{Coding, EncodeError, Encoder, Layout, Payload, PayloadId, Scheme};
use nibble_seed::{RoundId, Seed};
use serde::Serialize;

use crate::error::SimError;

/// A plan. The field names are a stable interface.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PlanReport {
    /// The scheme.
    pub scheme: String,
    /// Bytes there may be.
    pub budget: u64,
    /// Bytes the payload takes, header and all.
    pub bytes: u64,
    /// ‖x − x̂‖² / ‖x‖².
    pub nmse: f64,
    /// Share of the weighted error that is left that the last byte took away.
    pub price: f64,
    /// What each tensor got.
    pub tensors: Vec<TensorRow>,
}

/// What one tensor got. The field names are a stable interface.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TensorRow {
    /// Its name.
    pub tensor: String,
    /// Its coordinates.
    pub coordinates: usize,
    /// Root mean square of its values.
    pub rms: f64,
    /// How much its error counts.
    pub weight: f64,
    /// Bytes of its pieces.
    pub bytes: u64,
    /// 8 x bytes / coordinates.
    pub bits_per_coordinate: f64,
    /// Its squared error over its squared norm.
    pub nmse: f64,
    /// Its weighted share of the error that is left.
    pub share_of_error: f64,
    /// Coordinates that are sent with 0 bits (not at all), 1, 2 ... 8.
    pub coordinates_by_width: [usize; 9],
}

/// One weight for each tensor, from `TENSOR=WEIGHT`.
///
/// # Errors
/// If one is no such pair, or there is no such tensor.
pub fn weights(layout: &Layout, given: &[String]) -> Result<Vec<f64>, SimError> {
    let mut weights = vec![1.0; layout.tensors().len()];
    for pair in given {
        let wrong = |problem: String, mend: String| SimError::Usage { problem, mend };
        let (name, weight) = pair
            .rsplit_once('=')
            .and_then(|(name, weight)| Some((name, weight.parse::<f64>().ok()?)))
            .filter(|(_, weight)| weight.is_finite() && *weight >= 0.0)
            .ok_or_else(|| {
                wrong(format!("--weight {pair:?} is no weight"), "write TENSOR=NUMBER, e.g. fc1.weight=4".into())
            })?;
        let at = layout.tensors().iter().position(|tensor| tensor.name == name).ok_or_else(|| {
            let names: Vec<_> = layout.tensors().iter().map(|tensor| tensor.name.as_str()).collect();
            wrong(format!("the file has no tensor {name:?}"), format!("it has {}", names.join(", ")))
        })?;
        weights[at] = weight;
    }
    Ok(weights)
}

/// What `scheme`, a plan, makes of `x`.
///
/// # Errors
/// If it cannot be encoded.
///
/// # Panics
/// If the scheme is no plan.
pub fn report(scheme: Scheme, layout: &Layout, x: &[f32], weights: &[f64]) -> Result<PlanReport, EncodeError> {
    let Coding::Plan(coding) = scheme.coding else { panic!("{scheme} is no plan") };
    let mut encoder = Encoder::new(scheme);
    encoder.set_weights(layout, weights.to_vec())?;
    let id = PayloadId { round: RoundId(0), seed: Seed(0) };
    let plan = encoder.plan(layout, x, id.seed)?.unwrap_or_default();
    let mut payload = Vec::new();
    encoder.encode(layout, x, id, &mut payload)?;
    let nmse = Payload::trust(&payload, layout).and_then(|payload| payload.nmse(x)).expect("it was just encoded");
    let sum = |value: &dyn Fn(&nibble_codec::Piece) -> f64| plan.pieces.iter().map(value).sum::<f64>();
    let error = sum(&|piece| weights[piece.tensor] * piece.error);
    let share = |part: f64, whole: f64| if whole > 0.0 { part / whole } else { 0.0 };
    let tensors = layout.tensors().iter().zip(weights).enumerate().map(|(index, (tensor, &weight))| {
        let pieces = || plan.pieces.iter().filter(move |piece| piece.tensor == index);
        let own_energy: f64 = pieces().map(|piece| piece.energy).sum();
        let own_error: f64 = pieces().map(|piece| piece.error).sum();
        let bytes = pieces().map(|piece| piece.bytes).sum();
        let mut coordinates_by_width = [0; 9];
        pieces().for_each(|piece| coordinates_by_width[usize::from(piece.width)] += piece.range.len());
        TensorRow {
            tensor: tensor.name.clone(),
            coordinates: tensor.len,
            rms: (own_energy / tensor.len.max(1) as f64).sqrt(),
            weight,
            bytes,
            bits_per_coordinate: 8.0 * bytes as f64 / tensor.len.max(1) as f64,
            nmse: share(own_error, own_energy),
            share_of_error: share(weight * own_error, error),
            coordinates_by_width,
        }
    });
    Ok(PlanReport {
        scheme: scheme.to_string(),
        budget: coding.bytes.into(),
        bytes: payload.len() as u64,
        nmse,
        price: share(plan.price, error),
        tensors: tensors.collect(),
    })
}

/// The widths of a tensor and what share of it has them, e.g. `0 12 %, 3 70 %, 4 18 %`.
#[must_use]
pub fn widths(row: &TensorRow) -> String {
    let shares = (0..).zip(row.coordinates_by_width).filter(|&(_, count)| count > 0);
    let share = |(width, count): (usize, usize)| {
        format!("{width}: {:.0} %", 100.0 * count as f64 / row.coordinates.max(1) as f64)
    };
    shares.map(share).collect::<Vec<_>>().join(", ")
}
