//! Where things lie: padded images, and weights in the layouts of the kernels.
//!
//! An image is `[block][height][width][channel of the block]`. A *segment* is one row of the kernel in one block of
//! input channels: `kernel * block` numbers, its *run*, that lie side by side in the image.

use super::ConvConfig;
use super::pool::PoolShape;
use crate::nn::flatten::BLOCK;

/// Sizes that follow from a [`ConvConfig`].
pub(super) struct Geometry {
    pub(super) config: ConvConfig,
    /// Channels of an input block, and blocks.
    pub(super) block: usize,
    blocks: usize,
    /// The output before pooling.
    pub(super) pool: PoolShape,
    /// Where the segments of the first position begin in the padded image.
    pub(super) segments: Vec<usize>,
}

impl Geometry {
    pub(super) fn new(config: ConvConfig) -> Self {
        let (channels, height, width) = config.input;
        let side = |n: usize| n + 2 * config.padding - config.kernel + 1;
        let block = if config.planar { channels.min(BLOCK) } else { BLOCK };
        let blocks = channels.div_ceil(BLOCK);
        let channels = config.channels.next_multiple_of(BLOCK);
        let pool = PoolShape { channels, height: side(height), width: side(width) };
        let mut geometry = Self { config, block, blocks, pool, segments: Vec::new() };
        let plane = geometry.padded_height() * geometry.padded_width() * block;
        let line = geometry.padded_width() * block;
        let kernel = geometry.config.kernel;
        geometry.segments = (0..blocks).flat_map(|b| (0..kernel).map(move |ky| b * plane + ky * line)).collect();
        geometry
    }

    fn padded_height(&self) -> usize {
        self.config.input.1 + 2 * self.config.padding
    }

    pub(super) fn padded_width(&self) -> usize {
        self.config.input.2 + 2 * self.config.padding
    }

    /// Numbers of a padded image, and room to read one vector past its end.
    pub(super) fn padded_len(&self) -> usize {
        self.blocks * self.padded_height() * self.padded_width() * self.block + self.run_padded()
    }

    /// Numbers of an image.
    pub(super) fn input_len(&self) -> usize {
        let (channels, height, width) = self.config.input;
        if self.config.planar { channels * height * width } else { self.blocks * self.block * height * width }
    }

    /// Numbers of a segment.
    pub(super) fn run(&self) -> usize {
        self.config.kernel * self.block
    }

    /// Numbers of a segment, padded to whole vectors.
    pub(super) fn run_padded(&self) -> usize {
        self.run().next_multiple_of(BLOCK)
    }

    /// Where the patch of an output position begins, from the first one's.
    pub(super) fn offset(&self, position: usize) -> usize {
        (position / self.pool.width * self.padded_width() + position % self.pool.width) * self.block
    }

    /// Weights there are.
    pub(super) fn weights(&self) -> usize {
        self.config.channels * self.config.input.0 * self.config.kernel * self.config.kernel
    }

    /// Calls `visit` with the offsets in the padded and in the plain image of each line, and its length.
    fn for_each_line(&self, mut visit: impl FnMut(usize, usize, usize)) {
        let (_, height, width) = self.config.input;
        let line = width * self.block;
        for b in 0..self.blocks {
            for y in 0..height {
                let padded_y = b * self.padded_height() + y + self.config.padding;
                let padded = (padded_y * self.padded_width() + self.config.padding) * self.block;
                visit(padded, (b * height + y) * line, line);
            }
        }
    }

    /// Copies an image into a padded one, whose border stays as it is.
    pub(super) fn pad(&self, image: &[f32], padded: &mut [f32]) {
        let (channels, height, width) = self.config.input;
        if !self.config.planar || channels == 1 {
            return self.for_each_line(|to, from, len| padded[to..][..len].copy_from_slice(&image[from..][..len]));
        }
        let pixels = height * width;
        self.for_each_line(|to, from, len| {
            let (first, pixel) = (from / (pixels * self.block) * self.block, from / self.block % pixels);
            for (i, to) in padded[to..][..len].iter_mut().enumerate() {
                let channel = first + i % self.block;
                *to = if channel < channels { image[channel * pixels + pixel + i / self.block] } else { 0.0 };
            }
        });
    }

    /// Copies a padded image without its border.
    pub(super) fn unpad(&self, padded: &[f32], image: &mut [f32]) {
        self.for_each_line(|from, to, len| image[to..][..len].copy_from_slice(&padded[from..][..len]));
    }

    /// Calls `visit` with the index of each weight in PyTorch's layout `[out, in, kh, kw]`, its segment, its place in
    /// the segment, and its output channel.
    pub(super) fn for_each_weight(&self, mut visit: impl FnMut(usize, usize, usize, usize)) {
        let kernel = self.config.kernel;
        let mut index = 0;
        for out in 0..self.config.channels {
            for channel in 0..self.config.input.0 {
                for ky in 0..kernel {
                    for kx in 0..kernel {
                        let segment = channel / self.block * kernel + ky;
                        visit(index, segment, kx * self.block + channel % self.block, out);
                        index += 1;
                    }
                }
            }
        }
    }
}
