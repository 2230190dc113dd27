//! A 5 x 5 convolution with same padding, ReLU and 2 x 2 maximum pooling, one sample at a time.
//!
//! Images are stored pixel by pixel (`[height, width, channels]`) with the padding around them, so that forward, the
//! gradient by the input (a convolution with the turned kernel) and that of the weight are matrix products whose left
//! offsets are those of pixels and taps: no patch is ever copied. The pooling adds the bias and rectifies after the
//! maximum, which commutes with both.

use super::Sink;
use crate::gemm::{Into, Left, Right, multiply, steps};
use crate::model::{ConvShape, KERNEL};

const PAD: usize = KERNEL / 2;
const TAPS: usize = KERNEL * KERNEL;
/// In place of the winner's number where the ReLU let nothing through.
const CUT: u8 = 4;

/// The layer with its input and its scratch.
pub(super) struct Conv {
    shape: ConvShape,
    /// Padded inputs of the batch.
    inputs: Vec<f32>,
    /// Weight as `[taps, inputs, outputs]`, and turned, as `[taps, outputs, inputs]`.
    weight: Vec<f32>,
    turned: Vec<f32>,
    /// Gradients of weight, `[taps, inputs, outputs]`, and bias.
    weight_gradient: Vec<f32>,
    bias_gradient: Vec<f32>,
    /// One sample before pooling.
    maps: Vec<f32>,
    /// One sample after pooling, later the gradient by it.
    pooled: Vec<f32>,
    /// Which of the four pixels won, for the batch.
    winners: Vec<u8>,
    /// Padded gradient by one sample before pooling; the padding stays zero.
    gradient: Vec<f32>,
    tables: Tables,
}

/// Offsets into the padded input and the padded gradient, and of rows in the dense matrices.
struct Tables {
    input_pixels: Vec<u32>,
    input_taps: Vec<u32>,
    gradient_pixels: Vec<u32>,
    gradient_corners: Vec<u32>,
    gradient_taps: Vec<u32>,
    by_outputs: Vec<u32>,
    by_inputs: Vec<u32>,
}

impl Conv {
    pub(super) fn new(shape: ConvShape, batch: usize) -> Self {
        let ConvShape { inputs, outputs, height, width, .. } = shape;
        let padded = (height + 2 * PAD) * (width + 2 * PAD);
        let row = width + 2 * PAD;
        let pixels = |first: usize, channels: usize| -> Vec<u32> {
            let at = |y, x| (((y + first) * row + x + first) * channels) as u32;
            (0..height).flat_map(|y| (0..width).map(move |x| at(y, x))).collect()
        };
        let taps = |channels: usize| -> Vec<u32> {
            let at = move |y, x, c| ((y * row + x) * channels + c) as u32;
            let cells = (0..KERNEL).flat_map(|y| (0..KERNEL).map(move |x| (y, x)));
            cells.flat_map(|(y, x)| (0..channels).map(move |c| at(y, x, c))).collect()
        };
        Self {
            shape,
            inputs: vec![0.0; batch * padded * inputs],
            weight: vec![0.0; TAPS * inputs * outputs],
            turned: vec![0.0; TAPS * inputs * outputs],
            weight_gradient: vec![0.0; TAPS * inputs * outputs],
            bias_gradient: vec![0.0; outputs],
            maps: vec![0.0; height * width * outputs],
            pooled: vec![0.0; height * width / 4 * outputs],
            winners: vec![CUT; batch * height * width / 4 * outputs],
            gradient: vec![0.0; padded * outputs],
            tables: Tables {
                input_pixels: pixels(0, inputs),
                input_taps: taps(inputs),
                gradient_pixels: pixels(PAD, outputs),
                gradient_corners: pixels(0, outputs),
                gradient_taps: taps(outputs),
                by_outputs: steps(TAPS * inputs, outputs),
                by_inputs: steps(TAPS * outputs, inputs),
            },
        }
    }

    /// Numbers in one image of the input.
    pub(super) fn image(&self) -> usize {
        self.shape.inputs * self.shape.height * self.shape.width
    }

    /// The gradient by one sample after pooling, for the next layer to write.
    pub(super) fn pooled_mut(&mut self) -> &mut [f32] {
        &mut self.pooled
    }

    /// Lays the weight out for the products, as the parameters now are.
    pub(super) fn pack(&mut self, parameters: &[f32]) {
        let ConvShape { inputs, outputs, at, .. } = self.shape;
        for o in 0..outputs {
            for i in 0..inputs {
                for tap in 0..TAPS {
                    let w = parameters[at + (o * inputs + i) * TAPS + tap];
                    self.weight[(tap * inputs + i) * outputs + o] = w;
                    self.turned[((TAPS - 1 - tap) * outputs + o) * inputs + i] = w;
                }
            }
        }
    }

    fn input_of(&self, b: usize) -> core::ops::Range<usize> {
        let size = (self.shape.height + 2 * PAD) * (self.shape.width + 2 * PAD) * self.shape.inputs;
        b * size..(b + 1) * size
    }

    /// Takes the image of sample `b`, `[channels, height, width]`.
    pub(super) fn set_planes(&mut self, b: usize, planes: &[f32]) {
        let ConvShape { inputs, height, width, .. } = self.shape;
        let at = self.input_of(b);
        let out = &mut self.inputs[at];
        for (c, plane) in planes.chunks_exact(height * width).enumerate() {
            for (y, line) in plane.chunks_exact(width).enumerate() {
                let start = ((y + PAD) * (width + 2 * PAD) + PAD) * inputs + c;
                out[start..].iter_mut().step_by(inputs).zip(line).for_each(|(out, &x)| *out = x);
            }
        }
    }

    /// Takes the image of sample `b`, `[height, width, channels]`.
    pub(super) fn set_pixels(&mut self, b: usize, pixels: &[f32]) {
        let ConvShape { inputs, width, .. } = self.shape;
        let at = self.input_of(b);
        let out = &mut self.inputs[at];
        for (y, line) in pixels.chunks_exact(width * inputs).enumerate() {
            let start = ((y + PAD) * (width + 2 * PAD) + PAD) * inputs;
            out[start..start + line.len()].copy_from_slice(line);
        }
    }

    /// Computes the pooled maps of sample `b`, `[height / 2, width / 2, outputs]`.
    pub(super) fn forward(&mut self, parameters: &[f32], b: usize) -> &[f32] {
        let ConvShape { inputs, outputs, width, at, .. } = self.shape;
        let input = &self.inputs[self.input_of(b)];
        let left = Left { data: input, rows: &self.tables.input_pixels, cols: &self.tables.input_taps };
        let right = Right { data: &self.weight, rows: &self.tables.by_outputs, width: outputs };
        multiply(left, right, &mut self.maps, outputs, Into::Set);
        let bias = &parameters[at + TAPS * inputs * outputs..][..outputs];
        let winners = self.winners[b * self.pooled.len()..].chunks_exact_mut(outputs);
        for (i, (out, winners)) in self.pooled.chunks_exact_mut(outputs).zip(winners).enumerate() {
            let [upper, lower] = window(i, width, outputs);
            let (upper, lower) = (&self.maps[upper..][..2 * outputs], &self.maps[lower..][..2 * outputs]);
            let (first, second) = upper.split_at(outputs);
            let (third, fourth) = lower.split_at(outputs);
            for c in 0..outputs {
                let (left, l) = if second[c] > first[c] { (second[c], 1) } else { (first[c], 0) };
                let (right, r) = if fourth[c] > third[c] { (fourth[c], 3) } else { (third[c], 2) };
                let (best, w) = if right > left { (right, r) } else { (left, l) };
                let best = best + bias[c];
                out[c] = best.max(0.0);
                winners[c] = if best > 0.0 { w } else { CUT };
            }
        }
        &self.pooled
    }

    /// Writes the pooled maps as `[outputs, height / 2, width / 2]`.
    pub(super) fn pooled_to_planes(&self, out: &mut [f32]) {
        let outputs = self.shape.outputs;
        let pixels = self.pooled.len() / outputs;
        crate::gemm::transpose(&self.pooled, outputs, pixels, outputs, out, pixels);
    }

    /// Takes the gradient by the pooled maps, `[outputs, height / 2, width / 2]`.
    pub(super) fn set_planes_gradient(&mut self, planes: &[f32]) {
        let outputs = self.shape.outputs;
        let pixels = self.pooled.len() / outputs;
        crate::gemm::transpose(planes, pixels, outputs, pixels, &mut self.pooled, outputs);
    }

    /// Forgets the gradient summed over samples.
    pub(super) fn clear_gradient(&mut self) {
        self.weight_gradient.fill(0.0);
        self.bias_gradient.fill(0.0);
    }

    /// Adds the gradient of weight and bias of sample `b`, given that by its pooled maps.
    pub(super) fn backward_parameters(&mut self, b: usize) {
        let ConvShape { outputs, width, .. } = self.shape;
        let winners = self.winners[b * self.pooled.len()..].chunks_exact(outputs);
        for (i, (pooled, winners)) in self.pooled.chunks_exact(outputs).zip(winners).enumerate() {
            let corner = self.tables.gradient_pixels[2 * (i / (width / 2)) * width + 2 * (i % (width / 2))] as usize;
            let below = corner + (width + 2 * PAD) * outputs;
            for (j, start) in [corner, corner + outputs, below, below + outputs].into_iter().enumerate() {
                let out = &mut self.gradient[start..start + outputs];
                for ((out, &g), &winner) in out.iter_mut().zip(pooled).zip(winners) {
                    *out = if winner == j as u8 { g } else { 0.0 };
                }
            }
            for ((sum, &g), &winner) in self.bias_gradient.iter_mut().zip(pooled).zip(winners) {
                *sum += if winner == CUT { 0.0 } else { g };
            }
        }
        let input = &self.inputs[self.input_of(b)];
        let left = Left { data: input, rows: &self.tables.input_taps, cols: &self.tables.input_pixels };
        let right = Right { data: &self.gradient, rows: &self.tables.gradient_pixels, width: outputs };
        multiply(left, right, &mut self.weight_gradient, outputs, Into::Add(1.0));
    }

    /// Writes the gradient by the input of the sample last passed back, `[height, width, inputs]`.
    pub(super) fn backward_input(&self, out: &mut [f32]) {
        let tables = &self.tables;
        let left = Left { data: &self.gradient, rows: &tables.gradient_corners, cols: &tables.gradient_taps };
        let right = Right { data: &self.turned, rows: &tables.by_inputs, width: self.shape.inputs };
        multiply(left, right, out, self.shape.inputs, Into::Set);
    }

    /// Spends the gradient summed over the batch.
    pub(super) fn spend(&self, parameters: &mut [f32], sink: &mut Sink<'_>) {
        let ConvShape { inputs, outputs, at, .. } = self.shape;
        let (target, factor) = sink.target(parameters, at..at + TAPS * inputs * outputs + outputs);
        let (weight, bias) = target.split_at_mut(TAPS * inputs * outputs);
        for o in 0..outputs {
            for i in 0..inputs {
                for tap in 0..TAPS {
                    let g = self.weight_gradient[(tap * inputs + i) * outputs + o];
                    weight[(o * inputs + i) * TAPS + tap] += factor * g;
                }
            }
        }
        bias.iter_mut().zip(&self.bias_gradient).for_each(|(bias, &g)| *bias += factor * g);
    }
}

/// Starts of the upper and lower pair of pixels under pooled pixel `i` of an image `width` wide.
fn window(i: usize, width: usize, channels: usize) -> [usize; 2] {
    let (y, x) = (2 * (i / (width / 2)), 2 * (i % (width / 2)));
    [(y * width + x) * channels, ((y + 1) * width + x) * channels]
}
