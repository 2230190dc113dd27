//! Convolution, bias, ReLU and 2x2 max-pooling as one layer, rows in, rows out.
//!
//! The forward pass is a dense product that reads patches where they lie in the padded image. Behind pooling and ReLU
//! at most a quarter of the output gradient is not zero, so both gradients are sparse products over those positions:
//! by the weights a sum of patches, by the input a sum of kernels (the transposed convolution).
//!
//! Absent on purpose: strides, dilation, groups, convolution without ReLU and pooling.

mod geometry;
mod lists;
mod pool;

use self::geometry::Geometry;
use self::lists::Lists;
use self::pool::Pool;
use super::layer::{Backward, Forward, Layer, Shape};
use crate::kernels::{Aligned, Backend, Dense, Sparse};
use crate::trainer::TensorSpec;

/// What a convolution is made from. Its output, before pooling, must have even sides.
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

/// The layer. Its scratch memory is that of one sample at a time, but for `winners`.
pub(crate) struct Conv {
    geometry: Geometry,
    padded: Aligned,
    padded_gradient: Aligned,
    /// Weights as the forward pass reads them: `[segment][run][out]`, `out` padded.
    forward_weight: Aligned,
    /// Weights as the input gradient reads them, `[segment][out][run]`, `run` padded; and their gradient.
    segment_weight: Aligned,
    segment_gradient: Aligned,
    /// Two lines of outputs before pooling, `[2][width][out]`.
    lines: Aligned,
    /// Which of the four each output came from, for all samples of the batch.
    winners: Vec<u8>,
    by_channel: Lists,
    by_position: Lists,
    /// The bias, padded, or its gradient.
    bias: Vec<f32>,
    /// The gradient by the weights in PyTorch's layout.
    gradient: Vec<f32>,
}

impl Conv {
    pub(crate) fn new(config: ConvConfig) -> Self {
        let geometry = Geometry::new(config);
        let (segments, pool) = (geometry.segments.len(), geometry.pool);
        let segmented = segments * geometry.config.channels * geometry.run_padded();
        Self {
            padded: Aligned::zeroed(geometry.padded_len()),
            padded_gradient: Aligned::zeroed(geometry.padded_len()),
            forward_weight: Aligned::zeroed(segments * geometry.run() * pool.channels),
            segment_weight: Aligned::zeroed(segmented),
            segment_gradient: Aligned::zeroed(segmented),
            lines: Aligned::zeroed(2 * pool.width * pool.channels),
            winners: Vec::new(),
            by_channel: Lists::by_channel(&geometry),
            by_position: Lists::by_position(&geometry),
            bias: vec![0.0; pool.channels],
            gradient: vec![0.0; geometry.weights()],
            geometry,
        }
    }

    /// Channels, height and width of the output.
    pub(crate) fn output(&self) -> (usize, usize, usize) {
        let pool = self.geometry.pool;
        (self.geometry.config.channels, pool.height / 2, pool.width / 2)
    }

    /// Computes the lines before pooling that pooled line `row` comes from.
    fn compute_lines(&mut self, backend: Backend, row: usize) {
        let (geometry, pool) = (&self.geometry, self.geometry.pool);
        for (line, y) in self.lines.chunks_exact_mut(pool.width * pool.channels).zip(2 * row..) {
            line.chunks_exact_mut(pool.channels).for_each(|pixel| pixel.copy_from_slice(&self.bias));
            backend.run(Dense {
                a: &self.padded[geometry.offset(y * pool.width)..],
                row_stride: geometry.block,
                step: 1,
                segments: &geometry.segments,
                run: geometry.run(),
                b: &self.forward_weight,
                c: line,
                columns: pool.channels,
            });
        }
    }

    /// Adds the gradient by the weights of the sample whose gradients are listed.
    fn weight_gradient(&mut self, backend: Backend) {
        let (width, channels) = (self.geometry.run_padded(), self.geometry.config.channels);
        let (rows, entries) = (&self.by_channel.rows[..channels], &self.by_channel.entries);
        let segments = self.geometry.segments.iter().zip(self.segment_gradient.chunks_exact_mut(channels * width));
        for (&segment, c) in segments {
            backend.run(Sparse { rows, entries, b: &self.padded[segment..], c, width, scale: 1.0 });
        }
    }

    /// Computes the gradient by the image of the sample whose gradients are listed.
    fn image_gradient(&mut self, backend: Backend, image_gradient: &mut [f32]) {
        self.padded_gradient.fill(0.0);
        let (width, channels) = (self.geometry.run_padded(), self.geometry.config.channels);
        let Lists { rows, entries } = &self.by_position;
        for (&segment, b) in self.geometry.segments.iter().zip(self.segment_weight.chunks_exact(channels * width)) {
            backend.run(Sparse { rows, entries, b, c: &mut self.padded_gradient[segment..], width, scale: 1.0 });
        }
        self.geometry.unpad(&self.padded_gradient, image_gradient);
    }
}

impl Layer for Conv {
    fn tensors(&self) -> Vec<TensorSpec> {
        let ConvConfig { name, channels, kernel, input, .. } = &self.geometry.config;
        let weight = TensorSpec { name: format!("{name}.weight"), shape: vec![*channels, input.0, *kernel, *kernel] };
        vec![weight, TensorSpec { name: format!("{name}.bias"), shape: vec![*channels] }]
    }

    fn output_len(&self, batch: usize) -> usize {
        batch * self.geometry.pool.outputs()
    }

    fn shape(&self) -> Shape {
        Shape::Rows
    }

    fn reserve(&mut self, batch: usize) {
        self.winners.resize(batch * self.geometry.pool.outputs(), 0);
    }

    fn forward(&mut self, pass: Forward<'_>) {
        let (weight, bias) = pass.parameters.split_at(self.geometry.weights());
        let (run, pool) = (self.geometry.run(), self.geometry.pool);
        self.geometry.for_each_weight(|index, segment, place, out| {
            self.forward_weight[(segment * run + place) * pool.channels + out] = weight[index];
        });
        self.bias[..bias.len()].copy_from_slice(bias);
        self.bias[bias.len()..].fill(0.0);
        for sample in 0..pass.batch {
            let image = &pass.input[sample * self.geometry.input_len()..];
            self.geometry.pad(image, &mut self.padded);
            for row in 0..pool.height / 2 {
                self.compute_lines(pass.backend, row);
                let output = &mut pass.output[sample * pool.outputs()..][..pool.outputs()];
                let winners = &mut self.winners[sample * pool.outputs()..][..pool.outputs()];
                pass.backend.run(Pool { shape: pool, row, lines: &self.lines, output, winners });
            }
        }
    }

    fn backward(&mut self, mut pass: Backward<'_>) {
        let (outputs, input_len) = (self.geometry.pool.outputs(), self.geometry.input_len());
        let (run, channels) = (self.geometry.run_padded(), self.geometry.config.channels);
        self.bias.fill(0.0);
        self.segment_gradient.fill(0.0);
        if pass.input_gradient.is_some() {
            let weight = pass.sink.parameters();
            self.geometry.for_each_weight(|index, segment, place, out| {
                self.segment_weight[(segment * channels + out) * run + place] = weight[index];
            });
        }
        for sample in 0..pass.batch {
            let gradient = &mut pass.output_gradient[sample * outputs..][..outputs];
            let (output, winners) = (&pass.output[sample * outputs..], &self.winners[sample * outputs..][..outputs]);
            pool::through_relu(gradient, output, &mut self.bias);
            self.by_channel.fill_by_channel(&self.geometry, gradient, winners);
            if let Some(input_gradient) = pass.input_gradient.as_deref_mut() {
                self.by_position.fill_by_position(&self.geometry, gradient, winners);
                self.image_gradient(pass.backend, &mut input_gradient[sample * input_len..][..input_len]);
            }
            self.geometry.pad(&pass.input[sample * input_len..], &mut self.padded);
            self.weight_gradient(pass.backend);
        }
        self.geometry.for_each_weight(|index, segment, place, out| {
            self.gradient[index] = self.segment_gradient[(segment * channels + out) * run + place];
        });
        pass.sink.add(pass.backend, 0, &self.gradient);
        pass.sink.add(pass.backend, self.gradient.len(), &self.bias[..channels]);
    }
}
