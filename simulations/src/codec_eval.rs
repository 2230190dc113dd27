//! What a scheme does to one vector: bytes, error, bias, speed.

use std::path::Path;

use nibble_codec::{EncodeError, Encoder, Layout, Payload, PayloadId, Scheme};
use nibble_seed::{RoundId, Seed};
use serde::Serialize;

use crate::{clock::Stopwatch, results::median};

/// One scheme, measured. The field names are a stable interface.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CodecRow {
    /// The scheme.
    pub scheme: String,
    /// Bytes of a payload, header and all (mean over the encodings).
    pub bytes: f64,
    /// 8 x bytes / coordinates.
    pub bits_per_coordinate: f64,
    /// Mean over the encodings of ‖x − x̂‖² / ‖x‖².
    pub nmse: f64,
    /// ‖x − mean of x̂‖² / ‖x‖²: for an unbiased scheme it falls as nmse / encodings.
    pub nmse_of_mean: f64,
    /// Estimate of ‖x − E x̂‖² / ‖x‖²: `nmse_of_mean` less the share of it that is chance. Itself unbiased, so about 0,
    /// on either side, for an unbiased scheme. Null for a single encoding.
    pub bias2: Option<f64>,
    /// 10^9 bytes of f32 encoded a second, one thread, median over the encodings.
    pub encode_gbps: f64,
    /// 10^9 bytes of f32 checked and decoded a second, one thread, median over the encodings.
    pub decode_gbps: f64,
}

/// A law that independent values follow, to hold codecs against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Law {
    /// Normal, of deviation 1.
    Normal,
    /// Of either sign, with a magnitude whose logarithm is normal.
    Lognormal,
    /// Student's t with 3 degrees of freedom.
    StudentT,
}

impl Law {
    /// The law of this name.
    #[must_use]
    pub fn named(name: &Path) -> Option<Self> {
        match name.to_str()? {
            "normal" => Some(Self::Normal),
            "lognormal" => Some(Self::Lognormal),
            "student-t" => Some(Self::StudentT),
            _ => None,
        }
    }

    /// 2^20 values, always the same, as one tensor.
    ///
    /// # Panics
    /// Never.
    #[must_use]
    pub fn vector(self) -> (Layout, Vec<f32>) {
        let mut stream = Seed(0).stream();
        let mut normal = || {
            // Box and Muller 1958.
            let (radius, angle) = (1.0 - stream.next_unit(), std::f64::consts::TAU * stream.next_unit());
            (-2.0 * libm::log(radius)).sqrt() * libm::cos(angle)
        };
        let mut draw = || match self {
            Self::Normal => normal(),
            Self::Lognormal => {
                let sign = normal();
                libm::exp(normal()).copysign(sign)
            }
            Self::StudentT => {
                let squares: f64 = (0..3).map(|_| normal().powi(2)).sum();
                normal() / (squares / 3.0).sqrt()
            }
        };
        let layout = Layout::new([("values", vec![1 << 20])]).expect("one name");
        (layout, (0..1 << 20).map(|_| draw() as f32).collect())
    }
}

/// Encodes `x` with the seeds 0 to `repeat` − 1 and measures.
///
/// # Errors
/// If `x` cannot be encoded.
pub fn evaluate(scheme: Scheme, layout: &Layout, x: &[f32], repeat: u64) -> Result<CodecRow, EncodeError> {
    let mut encoder = Encoder::new(scheme);
    let (mut payload, mut decoded, mut sum) = (Vec::new(), vec![0.0; x.len()], vec![0.0f64; x.len()]);
    let (mut bytes, mut error, mut power) = (0, 0.0, 0.0);
    let (mut encode_seconds, mut decode_seconds) = (Vec::new(), Vec::new());
    for seed in 0..repeat {
        let stopwatch = Stopwatch::start();
        encoder.encode(layout, x, PayloadId { round: RoundId(0), seed: Seed(seed) }, &mut payload)?;
        encode_seconds.push(stopwatch.elapsed().as_secs_f64());
        let stopwatch = Stopwatch::start();
        Payload::parse(&payload, layout)
            .and_then(|payload| payload.decode(&mut decoded))
            .expect("what the encoder made of this layout is a payload of it");
        decode_seconds.push(stopwatch.elapsed().as_secs_f64());
        bytes += payload.len();
        for ((sum, &x), &decoded) in sum.iter_mut().zip(x).zip(&decoded) {
            *sum += f64::from(decoded);
            error += (f64::from(x) - f64::from(decoded)).powi(2);
            power += f64::from(decoded).powi(2);
        }
    }
    let n = repeat as f64;
    let relative = |squares: f64| {
        let norm: f64 = x.iter().map(|&x| f64::from(x).powi(2)).sum();
        if squares == 0.0 { 0.0 } else { squares / norm }
    };
    let of_mean: f64 = sum.iter().zip(x).map(|(sum, &x)| (f64::from(x) - sum / n).powi(2)).sum();
    // Sample variance summed over coordinates; a fraction 1/n of it is what chance leaves in the mean.
    let variance = (power - sum.iter().map(|sum| sum * sum / n).sum::<f64>()).max(0.0) / (n - 1.0);
    let gbps = |seconds: Vec<f64>| size_of_val(x) as f64 / median(seconds) / 1e9;
    Ok(CodecRow {
        scheme: scheme.to_string(),
        bytes: bytes as f64 / n,
        bits_per_coordinate: 8.0 * bytes as f64 / n / x.len().max(1) as f64,
        nmse: relative(error / n),
        nmse_of_mean: relative(of_mean),
        bias2: (repeat > 1).then(|| relative(of_mean - variance / n)),
        encode_gbps: gbps(encode_seconds),
        decode_gbps: gbps(decode_seconds),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stochastic_rounding_has_no_bias_and_nearest_has_nothing_else() {
        let layout = Layout::new([("x", vec![4096])]).unwrap();
        let x: Vec<f32> = (0..4096).map(|i| Seed(3).unit_at(i) - 0.5).collect();
        let row = |scheme: &str| evaluate(scheme.parse().unwrap(), &layout, &x, 50).unwrap();
        let (stochastic, nearest) = (row("int4"), row("int4:nearest"));
        // 4096 coordinates: the summed variance is known to 1/sqrt(4096 x 49 / 2) = 0.3 %, its 50th part to 2.2 %.
        assert!((stochastic.nmse_of_mean * 50.0 / stochastic.nmse - 1.0).abs() < 0.12, "{stochastic:?}");
        assert!(stochastic.bias2.unwrap().abs() < 0.12 * stochastic.nmse / 50.0, "{stochastic:?}");
        assert!((nearest.bias2.unwrap() / nearest.nmse - 1.0).abs() < 1e-6, "{nearest:?}");
    }
}
