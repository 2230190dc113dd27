//! Rounding of activations: between a layer that has parameters and the next.

use super::layer::{Shape, lanes};
use crate::{
    kernels::{Aligned, Backend},
    quantization::round,
};

/// Whether activations are rounded, to how many steps, and which of them is the largest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Rounding {
    /// They are not.
    Off,
    /// The largest is the batch's; each layer remembers the largest of all batches since [`super::Model::forget_ranges`].
    Batch(f32),
    /// The largest is what the layer remembers; what is larger becomes that.
    Remembered(f32),
}

/// A layer's rounded output, which the next one reads instead of the output.
#[derive(Default)]
pub(super) struct Rounded {
    pub(super) output: Aligned,
    /// The largest output remembered.
    pub(super) largest: f32,
}

impl Rounded {
    /// Rounds `output`, none of which is negative.
    pub(super) fn fill(
        &mut self,
        rounding: Rounding,
        backend: Backend,
        output: &[f32],
        (shape, batch): (Shape, usize),
    ) {
        self.output.reserve(output.len());
        let (steps, largest) = match rounding {
            Rounding::Off => return,
            Rounding::Batch(steps) => {
                let largest = match shape {
                    Shape::Rows => largest(output),
                    // What padding lanes hold is nobody's.
                    Shape::Columns => {
                        output.chunks_exact(lanes(batch)).map(|row| largest(&row[..batch])).fold(0.0, f32::max)
                    }
                };
                self.largest = self.largest.max(largest);
                (steps, largest)
            }
            Rounding::Remembered(steps) => (steps, self.largest),
        };
        round(backend, output, &mut self.output[..output.len()], largest, steps);
    }
}

/// The largest, at least 0; one a lane first, so that no comparison waits for the one before.
fn largest(values: &[f32]) -> f32 {
    let mut most = [0.0f32; 16];
    for values in values.chunks(16) {
        most.iter_mut().zip(values).for_each(|(most, value)| *most = if *value > *most { *value } else { *most });
    }
    most.into_iter().fold(0.0, f32::max)
}
