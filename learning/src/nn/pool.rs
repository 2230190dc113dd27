//! ReLU and 2x2 max-pooling of two lines of a convolution's output.

use super::flatten::BLOCK;
use crate::kernels::{Kernel, Simd};

/// What is pooled: a map of even sides, channels a multiple of 16.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PoolShape {
    pub(crate) channels: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
}

impl PoolShape {
    /// Numbers after pooling.
    pub(crate) fn outputs(&self) -> usize {
        self.channels * self.height * self.width / 4
    }

    /// The position before pooling that pooled position `pixel` took its value from.
    pub(crate) fn position(&self, pixel: usize, winner: u8) -> usize {
        let (y, x) = (pixel / (self.width / 2) * 2, pixel % (self.width / 2) * 2);
        (y + usize::from(winner / 2)) * self.width + x + usize::from(winner % 2)
    }
}

/// Pools two lines, `[2][width][channels]`, into line `row` of the output, `[block][height / 2][width / 2][16]`.
pub(crate) struct Pool<'a> {
    pub(crate) shape: &'a PoolShape,
    pub(crate) row: usize,
    pub(crate) lines: &'a [f32],
    /// `max(0, largest of the four)`.
    pub(crate) output: &'a mut [f32],
    /// Which of the four that was, the first among equals: 0 and 1 above, 2 and 3 below.
    pub(crate) winners: &'a mut [u8],
}

impl Kernel for Pool<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        let PoolShape { channels, height, width } = *self.shape;
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
                        let better = values[c] > best;
                        best = if better { values[c] } else { best };
                        winner = if better { candidate } else { winner };
                    }
                    output[c] = best.max(0.0);
                    winners[c] = winner;
                }
            }
        }
    }
}
