//! Models in integers: which widths, and how parameters are rounded to them.
//!
//! Jacob, Kligys, Chen, Zhu, Tang, Howard, Adam, Kalenichenko: "Quantization and training of neural networks for
//! efficient integer-arithmetic-only inference", CVPR 2018. Weights are symmetric with a scale for every output (Krishnamoorthi:
//! "Quantizing deep convolutional networks for efficient inference", 2018, section 3.1): w = s·k, k whole, |k| < 2^(bits − 1),
//! s the largest |w| of the output over 2^(bits − 1) − 1. Activations follow ReLU and are 0 to 2^bits − 1 steps.
//!
//! Rounded numbers are kept as `f32` that hold exactly what the integers stand for: what is computed with them is what integer
//! arithmetic computes, to the rounding of `f32` sums. Biases stay as they are (integer programs give them 32 bits), and so do
//! the samples, which are 8-bit images to begin with, and the logits.

use std::{fmt, str::FromStr};

use crate::kernels::{Backend, Round};
use crate::trainer::TensorSpec;

/// The widths of a quantised model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quantization {
    weights: u8,
    activations: Option<u8>,
}

impl Quantization {
    /// Every one there is: `int8` and `int4` round weights and activations, with `-weights` the weights alone.
    pub const ALL: [(&str, Self); 4] = [
        ("int8", Self { weights: 8, activations: Some(8) }),
        ("int4", Self { weights: 4, activations: Some(4) }),
        ("int8-weights", Self { weights: 8, activations: None }),
        ("int4-weights", Self { weights: 4, activations: None }),
    ];

    /// Steps from 0 to the largest activation, if activations are rounded.
    pub(crate) fn activation_steps(self) -> Option<f32> {
        self.activations.map(|bits| ((1u32 << bits) - 1) as f32)
    }

    /// Writes what the rounded `parameters` stand for to `to`, of the same length.
    pub(crate) fn round(self, backend: Backend, tensors: &[TensorSpec], parameters: &[f32], to: &mut [f32]) {
        let most = ((1u32 << (self.weights - 1)) - 1) as f32;
        let (mut parameters, mut to) = (parameters, to);
        for tensor in tensors {
            let (from, later) = parameters.split_at(tensor.numel());
            let (rounded, to_later) = to.split_at_mut(tensor.numel());
            (parameters, to) = (later, to_later);
            match tensor.shape[..] {
                [outputs, _, ..] if outputs > 0 && !from.is_empty() => {
                    let width = from.len() / outputs;
                    for (from, to) in from.chunks_exact(width).zip(rounded.chunks_exact_mut(width)) {
                        let largest = from.iter().fold(0.0, |most: f32, value| most.max(value.abs()));
                        round(backend, from, to, largest, most);
                    }
                }
                _ => rounded.copy_from_slice(from),
            }
        }
    }
}

/// Below this a range is none: the inverse of its step might not be finite.
const SMALLEST: f32 = 1e-30;

/// Rounds to `steps` steps from 0 to `largest`; what is as good as zero stays as it is.
pub(crate) fn round(backend: Backend, from: &[f32], to: &mut [f32], largest: f32, steps: f32) {
    if largest < SMALLEST {
        to.copy_from_slice(from);
    } else {
        backend.run(Round { from, to, step: largest / steps, most: steps });
    }
}

/// Widths that are not known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no quantised model; there are int8, int4, int8-weights and int4-weights")]
pub struct UnknownQuantization(pub String);

impl FromStr for Quantization {
    type Err = UnknownQuantization;

    fn from_str(text: &str) -> Result<Self, UnknownQuantization> {
        let known = Self::ALL.into_iter().find(|(name, _)| *name == text);
        known.map(|(_, known)| known).ok_or_else(|| UnknownQuantization(text.into()))
    }
}

impl fmt::Display for Quantization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::ALL.iter().find(|(_, known)| known == self).map_or("", |(name, _)| name);
        f.pad(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounded(name: &str, shape: &[usize], values: &[f32], backend: Backend) -> Vec<f32> {
        let tensors = [TensorSpec { name: "w".into(), shape: shape.to_vec() }];
        let mut to = vec![f32::NAN; values.len()];
        name.parse::<Quantization>().unwrap().round(backend, &tensors, values, &mut to);
        to
    }

    #[test]
    fn every_output_has_its_own_scale_and_ties_go_to_even() {
        for backend in Backend::available() {
            // Steps of 1 in the first row, of a hundredth in the second; the third is as good as zero.
            let values = [7.0, -2.4, 2.5, 3.5, -0.07, 0.0149, -0.0151, 0.0, 0.0, 1e-39, 0.0, -0.0];
            let found = rounded("int4", &[3, 2, 2], &values, backend);
            assert_eq!(found[..4], [7.0, -2.0, 2.0, 4.0], "{backend:?}");
            for (found, expected) in found[4..8].iter().zip([-0.07, 0.01, -0.02, 0.0]) {
                assert!((found - expected).abs() < 1e-8, "{backend:?}: {found}, not {expected}");
            }
            assert_eq!(found[8..], values[8..]);
            assert_eq!(rounded("int8-weights", &[4], &values[..4], backend), values[..4], "a bias stays as it is");
            assert!(rounded("int8", &[1, 2], &[f32::NAN, 1.0], backend)[0].is_nan(), "{backend:?}");
        }
    }

    #[test]
    fn names_are_read_as_they_are_printed() {
        for (name, known) in Quantization::ALL {
            assert_eq!((name.parse(), known.to_string()), (Ok(known), name.into()));
        }
        assert!("int2".parse::<Quantization>().unwrap_err().to_string().contains("int4-weights"));
    }
}
