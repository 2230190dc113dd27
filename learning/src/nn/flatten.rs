//! From rows to columns, images in PyTorch's order of features: channel, height, width.

use super::layer::{Backward, Forward, Layer, lanes};
use crate::kernels::{Backend, Transpose};
use crate::trainer::TensorSpec;

/// Flattens images of `channels` channels, in blocks of 16 of which the last is padded, and `pixels` pixels.
pub(crate) struct Flatten {
    pub(crate) channels: usize,
    pub(crate) pixels: usize,
}

/// Channels of a block.
pub(crate) const BLOCK: usize = 16;

impl Flatten {
    /// Numbers of a sample in rows.
    fn row_len(&self) -> usize {
        self.channels.next_multiple_of(BLOCK) * self.pixels
    }

    /// Calls `visit` with the offset in a row, first feature and number of channels of each block of each pixel.
    fn for_each_block(&self, mut visit: impl FnMut(usize, usize, usize)) {
        for first in (0..self.channels).step_by(BLOCK) {
            for pixel in 0..self.pixels {
                let channels = BLOCK.min(self.channels - first);
                visit(first * self.pixels + pixel * BLOCK, first * self.pixels + pixel, channels);
            }
        }
    }

    fn transpose(&self, backend: Backend, rows: &[f32], batch: usize, columns: &mut [f32]) {
        let lanes = lanes(batch);
        self.for_each_block(|at, feature, channels| {
            backend.run(Transpose {
                from: &rows[at..],
                from_stride: self.row_len(),
                to: &mut columns[feature * lanes..],
                to_stride: self.pixels * lanes,
                rows: batch,
                columns: channels,
            });
        });
    }
}

impl Layer for Flatten {
    fn tensors(&self) -> Vec<TensorSpec> {
        Vec::new()
    }

    fn output_len(&self, batch: usize) -> usize {
        self.channels * self.pixels * lanes(batch)
    }

    fn reserve(&mut self, _batch: usize) {}

    fn forward(&mut self, pass: Forward<'_>) {
        if lanes(pass.batch) > pass.batch {
            pass.output.fill(0.0);
        }
        self.transpose(pass.backend, pass.input, pass.batch, pass.output);
    }

    fn backward(&mut self, pass: Backward<'_>) {
        let Some(input_gradient) = pass.input_gradient else { return };
        let lanes = lanes(pass.batch);
        self.for_each_block(|at, feature, channels| {
            pass.backend.run(Transpose {
                from: &pass.output_gradient[feature * lanes..],
                from_stride: self.pixels * lanes,
                to_stride: self.row_len(),
                to: &mut input_gradient[at..],
                rows: channels,
                columns: pass.batch,
            });
        });
    }
}
