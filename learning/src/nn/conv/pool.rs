//! ReLU and 2x2 max-pooling of two lines of a convolution's output.

use crate::kernels::{Kernel, Simd};
use crate::nn::flatten::BLOCK;

/// What is pooled: a map of even sides, channels a multiple of 16.
#[derive(Clone, Copy, Debug)]
pub(super) struct PoolShape {
    pub(super) channels: usize,
    pub(super) height: usize,
    pub(super) width: usize,
}

impl PoolShape {
    /// Numbers after pooling.
    pub(super) fn outputs(&self) -> usize {
        self.channels * self.height * self.width / 4
    }

    /// The position before pooling that pooled position `pixel` took its value from.
    pub(super) fn position(&self, pixel: usize, winner: usize) -> usize {
        let (y, x) = (pixel / (self.width / 2) * 2, pixel % (self.width / 2) * 2);
        (y + winner / 2) * self.width + x + winner % 2
    }
}

/// Pools two lines, `[2][width][channels]`, into line `row` of the output, `[block][height / 2][width / 2][16]`.
pub(super) struct Pool<'a> {
    pub(super) shape: PoolShape,
    pub(super) row: usize,
    pub(super) lines: &'a [f32],
    /// `max(0, largest of the four)`.
    pub(super) output: &'a mut [f32],
    /// Which of the four that was, the first among equals: 0 and 1 above, 2 and 3 below.
    pub(super) winners: &'a mut [u8],
}

impl Kernel for Pool<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        let PoolShape { channels, height, width } = self.shape;
        let below = width * channels;
        for x in 0..width / 2 {
            for first in (0..channels).step_by(BLOCK) {
                let at = 2 * x * channels + first;
                let block = |at: usize| &self.lines[at..][..BLOCK];
                let four = [block(at), block(at + channels), block(at + below), block(at + below + channels)];
                let to = (first * height / 2 + self.row * BLOCK) * (width / 2) + x * BLOCK;
                let output = &mut self.output[to..][..BLOCK];
                let winners = &mut self.winners[to..][..BLOCK];
                for c in 0..BLOCK {
                    let (mut best, mut winner) = (four[0][c], 0);
                    for (candidate, values) in (1..).zip(&four[1..]) {
                        let better = values[c] > best || values[c].is_nan(); // as in PyTorch: NaN stays, to be noticed
                        best = if better { values[c] } else { best };
                        winner = if better { candidate } else { winner };
                    }
                    output[c] = if best < 0.0 { 0.0 } else { best };
                    winners[c] = winner;
                }
            }
        }
    }
}

/// Takes a sample's gradient back through ReLU, and adds it to the gradient by the bias.
pub(super) fn through_relu(gradient: &mut [f32], output: &[f32], bias: &mut [f32]) {
    for (gradient, &output) in gradient.iter_mut().zip(output) {
        *gradient = if output > 0.0 { *gradient } else { 0.0 };
    }
    let pixels = gradient.len() / bias.len();
    for (bias, gradient) in bias.chunks_exact_mut(BLOCK).zip(gradient.chunks_exact(BLOCK * pixels)) {
        for gradient in gradient.chunks_exact(BLOCK) {
            bias.iter_mut().zip(gradient).for_each(|(bias, gradient)| *bias += gradient);
        }
    }
}
