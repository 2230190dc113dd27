//! The layers as anyone would write them, one sample at a time, images as `[channel][height][width]`.

/// `y = W x + b`, `parameters` being `W` (`[outputs, inputs]`), then `b`.
pub(super) fn linear(parameters: &[f64], x: &[f64]) -> Vec<f64> {
    let outputs = parameters.len() / (x.len() + 1);
    let (weight, bias) = parameters.split_at(outputs * x.len());
    let dot = |row: &[f64]| row.iter().zip(x).map(|(w, x)| w * x).sum::<f64>();
    weight.chunks(x.len()).zip(bias).map(|(row, bias)| dot(row) + bias).collect()
}

pub(super) fn relu(x: &[f64]) -> Vec<f64> {
    x.iter().map(|x| x.max(0.0)).collect()
}

/// What a convolution needs to know.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub(super) input: (usize, usize, usize),
    pub(super) channels: usize,
    pub(super) kernel: usize,
    pub(super) padding: usize,
}

impl Shape {
    /// Channels, height and width of the output.
    pub(super) fn output(self) -> (usize, usize, usize) {
        let side = |n: usize| n + 2 * self.padding + 1 - self.kernel;
        (self.channels, side(self.input.1), side(self.input.2))
    }
}

/// Convolution with weights `[out, in, kh, kw]`, then the bias.
pub(super) fn conv(shape: Shape, parameters: &[f64], x: &[f64]) -> Vec<f64> {
    let ((channels, height, width), (out, out_height, out_width)) = (shape.input, shape.output());
    let k = shape.kernel;
    let mut y = Vec::new();
    for o in 0..out {
        for row in 0..out_height {
            for column in 0..out_width {
                let mut sum = parameters[out * channels * k * k + o];
                for c in 0..channels {
                    for ky in 0..k {
                        for kx in 0..k {
                            let (iy, ix) = (row + ky, column + kx);
                            let inside = |i: usize, n: usize| i >= shape.padding && i < n + shape.padding;
                            if inside(iy, height) && inside(ix, width) {
                                let pixel = (c * height + iy - shape.padding) * width + ix - shape.padding;
                                sum += parameters[((o * channels + c) * k + ky) * k + kx] * x[pixel];
                            }
                        }
                    }
                }
                y.push(sum);
            }
        }
    }
    y
}

/// 2x2 max-pooling.
pub(super) fn max_pool((channels, height, width): (usize, usize, usize), x: &[f64]) -> Vec<f64> {
    let mut y = Vec::new();
    for c in 0..channels {
        for row in (0..height).step_by(2) {
            for column in (0..width).step_by(2) {
                let at = |dy: usize, dx: usize| x[(c * height + row + dy) * width + column + dx];
                y.push(at(0, 0).max(at(0, 1)).max(at(1, 0)).max(at(1, 1)));
            }
        }
    }
    y
}

/// Softmax cross-entropy in nats.
pub(super) fn cross_entropy(logits: &[f64], label: u8) -> f64 {
    logits.iter().map(|z| z.exp()).sum::<f64>().ln() - logits[usize::from(label)]
}
