//! Convolution, bias, ReLU and 2x2 max-pooling as one layer, rows in, rows out.
//!
//! The forward pass is a dense product that reads patches where they lie in the padded image. Behind pooling and ReLU
//! at most a quarter of the output gradient is not zero, so both gradients are sparse products over those positions:
//! by the weights a sum of patches, by the input a sum of kernels (the transposed convolution).
//!
//! A *segment* is one row of the kernel in one channel block: `kernel * block` numbers that lie side by side.
//! Absent on purpose: strides, dilation, groups, convolution without ReLU and pooling.

use super::flatten::BLOCK;
use super::layer::{Backward, Forward, Layer};
use super::pool::{Pool, PoolShape};
use crate::kernels::{Aligned, Backend, Dense, Entry, Row, Sparse};
use crate::trainer::TensorSpec;

/// What a convolution is made from.
#[derive(Clone, Debug)]
pub(crate) struct ConvConfig {
    /// As in the state dict, without `.weight`.
    pub(crate) name: &'static str,
    /// Channels, height and width of the input.
    pub(crate) input: (usize, usize, usize),
    /// Channels of the output.
    pub(crate) channels: usize,
    /// Side of the kernel.
    pub(crate) kernel: usize,
    /// Zeros around the image.
    pub(crate) padding: usize,
    /// Whether the input is planar, `[channel][height][width]`, as data sets have it.
    pub(crate) planar: bool,
}

/// The layer.
pub(crate) struct Conv {
    config: ConvConfig,
    /// Channels of an input block, and blocks.
    block: usize,
    blocks: usize,
    pool: PoolShape,
    /// The padded image of one sample, `[blocks][height][width][block]`, and room for one vector more.
    padded: Aligned,
    /// Likewise the gradient by it.
    padded_gradient: Aligned,
    /// Where the segments of the first position begin in `padded`.
    segments: Vec<usize>,
    /// Weights as the forward pass reads them: `[segment][kernel][block][out]`, `out` padded.
    forward_weight: Aligned,
    /// Weights as the input gradient reads them, `[segment][out][run]`, `run` padded to whole vectors; and their gradient.
    segment_weight: Aligned,
    segment_gradient: Aligned,
    /// Two rows of outputs before pooling.
    lines: Aligned,
    /// Which of the four each output came from, for all samples of the batch.
    winners: Vec<u8>,
    by_channel: Lists,
    by_position: Lists,
    bias: Vec<f32>,
    gradient: Vec<f32>,
}

/// Non-zeros of one sample's output gradient.
#[derive(Default)]
struct Lists {
    rows: Vec<Row>,
    entries: Vec<Entry>,
}

impl Conv {
    /// The convolution's output must have even sides.
    pub(crate) fn new(config: ConvConfig) -> Self {
        let (channels, height, width) = config.input;
        let side = |n: usize| n + 2 * config.padding - config.kernel + 1;
        let (height_padded, width_padded) = (height + 2 * config.padding, width + 2 * config.padding);
        let block = if config.planar { channels.min(BLOCK) } else { BLOCK };
        let blocks = channels.div_ceil(BLOCK);
        let pool =
            PoolShape { channels: config.channels.next_multiple_of(BLOCK), height: side(height), width: side(width) };
        let segments: Vec<usize> = (0..blocks)
            .flat_map(|b| (0..config.kernel).map(move |ky| (b * height_padded + ky) * width_padded * block))
            .collect();
        let padded = blocks * height_padded * width_padded * block + BLOCK + config.kernel * block;
        let run = config.kernel * block;
        let positions = pool.height * pool.width;
        Self {
            padded: Aligned::zeroed(padded),
            padded_gradient: Aligned::zeroed(padded),
            forward_weight: Aligned::zeroed(segments.len() * run * pool.channels),
            segment_weight: Aligned::zeroed(segments.len() * config.channels * run.next_multiple_of(BLOCK)),
            segment_gradient: Aligned::zeroed(segments.len() * config.channels * run.next_multiple_of(BLOCK)),
            lines: Aligned::zeroed(2 * pool.width * pool.channels),
            winners: Vec::new(),
            by_channel: Lists::new(config.channels, pool.outputs() / pool.channels),
            by_position: Lists::new(positions, pool.channels),
            bias: vec![0.0; pool.channels],
            gradient: vec![0.0; config.channels * channels * config.kernel * config.kernel],
            config,
            block,
            blocks,
            pool,
            segments,
        }
    }

    /// Channels, height and width of the output.
    pub(crate) fn output(&self) -> (usize, usize, usize) {
        (self.config.channels, self.pool.height / 2, self.pool.width / 2)
    }

    fn padded_width(&self) -> usize {
        self.config.input.2 + 2 * self.config.padding
    }

    /// Numbers of a segment, padded to whole vectors.
    fn run_padded(&self) -> usize {
        (self.config.kernel * self.block).next_multiple_of(BLOCK)
    }

    fn input_len(&self) -> usize {
        let (channels, height, width) = self.config.input;
        if self.config.planar { channels * height * width } else { self.blocks * self.block * height * width }
    }

    /// Calls `visit` with the offsets in `padded` and in the image and the length of each contiguous piece of the image.
    fn for_each_line(&self, mut visit: impl FnMut(usize, usize, usize)) {
        let (_, height, width) = self.config.input;
        let line = width * self.block;
        let padding = self.config.padding;
        for b in 0..self.blocks {
            for y in 0..height {
                let padded_y = b * (height + 2 * padding) + y + padding;
                visit((padded_y * self.padded_width() + padding) * self.block, (b * height + y) * line, line);
            }
        }
    }

    /// Copies an image into `padded`, whose border stays zero.
    fn pad(&mut self, image: &[f32]) {
        let mut padded = core::mem::take(&mut self.padded);
        let (channels, height, width) = self.config.input;
        if self.config.planar && channels > 1 {
            let pixels = height * width;
            self.for_each_line(|to, from, len| {
                let (first, pixel) = (from / (pixels * self.block) * self.block, from / self.block % pixels);
                for (i, to) in padded[to..][..len].iter_mut().enumerate() {
                    let channel = first + i % self.block;
                    *to = if channel < channels { image[channel * pixels + pixel + i / self.block] } else { 0.0 };
                }
            });
        } else {
            self.for_each_line(|to, from, len| padded[to..][..len].copy_from_slice(&image[from..][..len]));
        }
        self.padded = padded;
    }

    /// Calls `visit` with the index of each weight in PyTorch's layout `[out, in, kh, kw]`, its segment, its place in
    /// the segment, and its output channel.
    fn for_each_weight(&self, mut visit: impl FnMut(usize, usize, usize, usize)) {
        let (channels, kernel) = (self.config.input.0, self.config.kernel);
        let mut index = 0;
        for out in 0..self.config.channels {
            for channel in 0..channels {
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

    /// Lays the weights out for the forward pass.
    fn pack(&mut self, weight: &[f32]) {
        let mut packed = core::mem::take(&mut self.forward_weight);
        let (run, channels) = (self.config.kernel * self.block, self.pool.channels);
        self.for_each_weight(|index, segment, place, out| {
            packed[(segment * run + place) * channels + out] = weight[index];
        });
        self.forward_weight = packed;
    }

    /// Lays the weights out for the input gradient.
    fn pack_segments(&mut self, weight: &[f32]) {
        let mut packed = core::mem::take(&mut self.segment_weight);
        let (run, channels) = (self.run_padded(), self.config.channels);
        self.for_each_weight(|index, segment, place, out| {
            packed[(segment * channels + out) * run + place] = weight[index];
        });
        self.segment_weight = packed;
    }

    /// Lists one sample's non-zero gradients before pooling by channel and by position; sums the bias gradient.
    fn list(&mut self, gradient: &[f32], output: &[f32], winners: &[u8]) {
        let (line, run) = (self.padded_width(), self.run_padded());
        self.by_channel.clear(|channel| channel * run);
        self.by_position
            .clear(|position| (position / self.pool.width * line + position % self.pool.width) * self.block);
        let pixels = self.pool.height * self.pool.width / 4;
        for (at, &value) in gradient.iter().enumerate() {
            let (pixel, channel) = (at / BLOCK % pixels, at / (BLOCK * pixels) * BLOCK + at % BLOCK);
            if channel >= self.config.channels || output[at] <= 0.0 || value == 0.0 {
                continue;
            }
            let position = self.pool.position(pixel, winners[at]);
            self.by_channel.push(channel, Entry { from: self.by_position.rows[position].to, value });
            self.by_position.push(position, Entry { from: (channel * run) as u32, value });
            self.bias[channel] += value;
        }
    }

    /// Adds one sample's gradient by the weights.
    fn weight_gradient(&mut self, backend: Backend) {
        let width = self.run_padded();
        let segment_len = self.config.channels * width;
        for (&segment, c) in self.segments.iter().zip(self.segment_gradient.chunks_exact_mut(segment_len)) {
            let Lists { rows, entries } = &self.by_channel;
            backend.run(Sparse { rows, entries, b: &self.padded[segment..], c, width, scale: 1.0 });
        }
    }

    /// Computes one sample's gradient by the image.
    fn image_gradient(&mut self, backend: Backend, image_gradient: &mut [f32]) {
        self.padded_gradient.fill(0.0);
        let width = self.run_padded();
        let segment_len = self.config.channels * width;
        for (&segment, b) in self.segments.iter().zip(self.segment_weight.chunks_exact(segment_len)) {
            let Lists { rows, entries } = &self.by_position;
            let c = &mut self.padded_gradient[segment..];
            backend.run(Sparse { rows, entries, b, c, width, scale: 1.0 });
        }
        self.for_each_line(|padded, at, len| {
            image_gradient[at..][..len].copy_from_slice(&self.padded_gradient[padded..][..len]);
        });
    }
}

impl Lists {
    /// `count` lists of up to `most` entries each.
    fn new(count: usize, most: usize) -> Self {
        let rows = (0..count).map(|i| Row { to: 0, start: (i * most) as u32, end: (i * most) as u32 }).collect();
        Self { rows, entries: vec![Entry::default(); count * most] }
    }

    /// Empties all lists; `to` says where in C the row of each goes.
    fn clear(&mut self, to: impl Fn(usize) -> usize) {
        for (i, row) in self.rows.iter_mut().enumerate() {
            *row = Row { to: to(i) as u32, start: row.start, end: row.start };
        }
    }

    fn push(&mut self, list: usize, entry: Entry) {
        let row = &mut self.rows[list];
        self.entries[row.end as usize] = entry;
        row.end += 1;
    }
}

impl Layer for Conv {
    fn tensors(&self) -> Vec<TensorSpec> {
        let ConvConfig { name, channels, kernel, input, .. } = &self.config;
        let weight = TensorSpec { name: format!("{name}.weight"), shape: vec![*channels, input.0, *kernel, *kernel] };
        vec![weight, TensorSpec { name: format!("{name}.bias"), shape: vec![*channels] }]
    }

    fn output_len(&self, batch: usize) -> usize {
        batch * self.pool.outputs()
    }

    fn reserve(&mut self, batch: usize) {
        self.winners.resize(batch * self.pool.outputs(), 0);
    }

    fn forward(&mut self, pass: Forward<'_>) {
        let (weight, bias) = pass.parameters.split_at(self.gradient.len());
        self.pack(weight);
        self.bias[..bias.len()].copy_from_slice(bias);
        self.bias[bias.len()..].fill(0.0);
        let mut winners = core::mem::take(&mut self.winners);
        let samples = pass.input.chunks_exact(self.input_len()).zip(pass.output.chunks_exact_mut(self.pool.outputs()));
        for ((image, output), winners) in samples.zip(winners.chunks_exact_mut(self.pool.outputs())) {
            self.pad(image);
            for y in (0..self.pool.height).step_by(2) {
                for (line, y) in self.lines.chunks_exact_mut(self.pool.width * self.pool.channels).zip(y..) {
                    line.chunks_exact_mut(self.pool.channels).for_each(|pixel| pixel.copy_from_slice(&self.bias));
                    pass.backend.run(Dense {
                        a: &self.padded[y * (self.config.input.2 + 2 * self.config.padding) * self.block..],
                        row_stride: self.block,
                        step: 1,
                        segments: &self.segments,
                        run: self.config.kernel * self.block,
                        b: &self.forward_weight,
                        c: line,
                        columns: self.pool.channels,
                    });
                }
                pass.backend.run(Pool { shape: &self.pool, row: y / 2, lines: &self.lines, output, winners });
            }
        }
        self.winners = winners;
    }

    fn backward(&mut self, mut pass: Backward<'_>) {
        let outputs = self.pool.outputs();
        let input_len = self.input_len();
        self.bias.fill(0.0);
        self.segment_gradient.fill(0.0);
        if pass.input_gradient.is_some() {
            self.pack_segments(&pass.sink.parameters()[..self.gradient.len()]);
        }
        let winners = core::mem::take(&mut self.winners);
        for sample in 0..pass.batch {
            let range = sample * outputs..(sample + 1) * outputs;
            self.list(&pass.output_gradient[range.clone()], &pass.output[range.clone()], &winners[range]);
            let image = sample * input_len..(sample + 1) * input_len;
            self.pad(&pass.input[image.clone()]);
            self.weight_gradient(pass.backend);
            if let Some(input_gradient) = pass.input_gradient.as_deref_mut() {
                self.image_gradient(pass.backend, &mut input_gradient[image]);
            }
        }
        self.winners = winners;
        let mut gradient = core::mem::take(&mut self.gradient);
        let (run, channels) = (self.run_padded(), self.config.channels);
        self.for_each_weight(|index, segment, place, out| {
            gradient[index] = self.segment_gradient[(segment * channels + out) * run + place];
        });
        self.gradient = gradient;
        pass.sink.add(pass.backend, 0, &self.gradient);
        pass.sink.add(pass.backend, self.gradient.len(), &self.bias[..self.config.channels]);
    }
}
