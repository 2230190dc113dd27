//! Each layer alone.

use super::reference::{self, Shape};
use super::{assert_close, assert_slopes, random, slopes, wide};
use crate::kernels::{Aligned, Backend};
use crate::nn::conv::{Conv, ConvConfig};
use crate::nn::flatten::Flatten;
use crate::nn::layer::{Backward, Forward, Layer, Sink, lanes};
use crate::nn::linear::{Activation, Input, Linear};
use crate::nn::loss;

const BATCH: usize = 3;

/// What a pass over a batch gave, in the layer's own layout.
struct Passed {
    output: Vec<f32>,
    gradient: Vec<f32>,
    input_gradient: Vec<f32>,
}

/// Runs a layer both ways; `weigh` gives the gradient by its output.
fn pass(layer: &mut dyn Layer, parameters: &[f32], input: &[f32], weigh: &[f32], inner: bool) -> Vec<Passed> {
    layer.reserve(BATCH);
    let run = |backend| {
        let mut padded = Aligned::zeroed(input.len() + 16);
        padded[..input.len()].copy_from_slice(input);
        let (batch, input) = (BATCH, &padded[..]);
        let mut output = vec![0.0; layer.output_len(BATCH)];
        layer.forward(Forward { backend, batch, parameters, input, output: &mut output });
        let mut gradient = vec![0.0; parameters.len()];
        let mut input_gradient = vec![0.0; if inner { input.len() - 16 } else { 0 }];
        layer.backward(Backward {
            backend,
            batch,
            sink: Sink::Collect { parameters, gradient: &mut gradient },
            input,
            output: &output,
            output_gradient: &mut weigh.to_vec(),
            input_gradient: inner.then_some(&mut input_gradient[..]),
        });
        Passed { output, gradient, input_gradient }
    };
    Backend::available().into_iter().map(run).collect()
}

/// One row a sample into one lane a sample.
fn columns(rows: &[f32]) -> Vec<f32> {
    let features = rows.len() / BATCH;
    let mut columns = vec![0.0; features * lanes(BATCH)];
    for (i, &value) in rows.iter().enumerate() {
        columns[i % features * lanes(BATCH) + i / features] = value;
    }
    columns
}

/// The inverse of [`columns`].
fn rows(columns: &[f32]) -> Vec<f32> {
    (0..BATCH).flat_map(|lane| columns.iter().skip(lane).step_by(lanes(BATCH)).copied()).collect()
}

/// `[channel][pixel]` into `[block][pixel][16]`, channels padded, for each sample.
fn blocked(images: &[f32], channels: usize) -> Vec<f32> {
    let pixels = images.len() / BATCH / channels;
    let sample = channels.next_multiple_of(16) * pixels;
    let mut blocked = vec![0.0; BATCH * sample];
    for (i, &value) in images.iter().enumerate() {
        let (b, channel, pixel) = (i / (channels * pixels), i / pixels % channels, i % pixels);
        blocked[b * sample + (channel / 16 * pixels + pixel) * 16 + channel % 16] = value;
    }
    blocked
}

/// The inverse of [`blocked`].
fn unblocked(blocked: &[f32], channels: usize) -> Vec<f32> {
    let sample = blocked.len() / BATCH;
    let pixels = sample / channels.next_multiple_of(16);
    let place = |channel: usize, pixel: usize| (channel / 16 * pixels + pixel) * 16 + channel % 16;
    let of = |sample: &[f32]| -> Vec<f32> {
        (0..channels * pixels).map(|i| sample[place(i / pixels, i % pixels)]).collect()
    };
    blocked.chunks(sample).flat_map(of).collect()
}

#[test]
fn linear_agrees_with_its_definition() {
    for (inputs, outputs) in [(5, 3), (40, 17), (16, 8)] {
        for (layout, activation) in
            [(Input::Rows, Activation::None), (Input::Columns, Activation::Relu), (Input::Columns, Activation::None)]
        {
            let parameters = random(1, outputs * (inputs + 1), 0.5);
            let (x, weigh) = (random(2, BATCH * inputs, 1.0), random(3, BATCH * outputs, 1.0));
            let forward = |parameters: &[f64], x: &[f64]| -> Vec<f64> {
                let y = x.chunks(inputs).flat_map(|x| reference::linear(parameters, x)).collect::<Vec<f64>>();
                if activation == Activation::Relu { reference::relu(&y) } else { y }
            };
            let loss = |y: Vec<f64>| -> f64 { y.iter().zip(wide(&weigh)).map(|(y, r)| y * r).sum() };
            let (p, wide_x) = (wide(&parameters), wide(&x));
            let by_parameters = slopes(&p, |p| loss(forward(p, &wide_x)));
            let by_input = slopes(&wide_x, |x| loss(forward(&p, x)));
            let inner = layout == Input::Columns;
            let input = if inner { columns(&x) } else { x };
            let mut layer = Linear::new("fc", layout, inputs, outputs, activation);
            for passed in pass(&mut layer, &parameters, &input, &columns(&weigh), inner) {
                assert_close("y", &rows(&passed.output), &forward(&p, &wide_x));
                assert_slopes("by parameters", &passed.gradient, &by_parameters);
                if inner {
                    assert_slopes("by input", &rows(&passed.input_gradient), &by_input);
                }
            }
        }
    }
}

#[test]
fn conv_agrees_with_its_definition() {
    for (input, channels, kernel, padding, planar) in [
        ((1, 6, 4), 5, 5, 2, true),
        ((3, 4, 4), 16, 3, 1, true),
        ((18, 4, 4), 3, 3, 1, true),
        ((16, 4, 8), 20, 5, 2, false),
        ((20, 4, 4), 4, 3, 0, false),
    ] {
        let shape = Shape { input, channels, kernel, padding };
        let (in_channels, height, width) = input;
        let pixels = in_channels * height * width;
        let output = shape.output();
        let outputs = channels * output.1 * output.2 / 4;
        let parameters = random(4, channels * (in_channels * kernel * kernel + 1), 0.3);
        let (x, weigh) = (random(5, BATCH * pixels, 1.0), random(6, BATCH * outputs, 1.0));
        let forward = |parameters: &[f64], x: &[f64]| -> Vec<f64> {
            let one = |x| reference::max_pool(output, &reference::relu(&reference::conv(shape, parameters, x)));
            x.chunks(pixels).flat_map(one).collect()
        };
        let loss = |y: Vec<f64>| -> f64 { y.iter().zip(wide(&weigh)).map(|(y, r)| y * r).sum() };
        let (p, wide_x) = (wide(&parameters), wide(&x));
        let by_parameters = slopes(&p, |p| loss(forward(p, &wide_x)));
        let by_input = slopes(&wide_x, |x| loss(forward(&p, x)));

        let mut layer = Conv::new(ConvConfig { name: "conv", input, channels, kernel, padding, planar });
        assert_eq!(layer.output(), (channels, output.1 / 2, output.2 / 2));
        let image = if planar { x } else { blocked(&x, in_channels) };
        for passed in pass(&mut layer, &parameters, &image, &blocked(&weigh, channels), !planar) {
            assert_close("y", &unblocked(&passed.output, channels), &forward(&p, &wide_x));
            assert_slopes("by parameters", &passed.gradient, &by_parameters);
            if !planar {
                assert_slopes("by input", &unblocked(&passed.input_gradient, in_channels), &by_input);
            }
        }
    }
}

#[test]
fn flatten_reorders_there_and_back() {
    let (channels, pixels) = (20, 6);
    let x = random(7, BATCH * channels * pixels, 1.0);
    let flat = columns(&x);
    for passed in pass(&mut Flatten { channels, pixels }, &[], &blocked(&x, channels), &flat, true) {
        assert_eq!(passed.output, flat);
        assert_eq!(passed.input_gradient, blocked(&x, channels));
    }
}

#[test]
fn cross_entropy_agrees_with_its_definition() {
    let (classes, labels) = (7, [2, 0, 6]);
    let z = random(8, BATCH * classes, 3.0);
    let mean = |z: &[f64]| -> f64 {
        z.chunks(classes).zip(labels).map(|(z, label)| reference::cross_entropy(z, label)).sum::<f64>() / BATCH as f64
    };
    let expected = slopes(&wide(&z), mean);
    let mut logits = columns(&z);
    let (evaluated, _) = loss::evaluate(&logits, lanes(BATCH), &labels);
    let sum = loss::cross_entropy(&mut logits, lanes(BATCH), &labels);
    assert!((sum / BATCH as f64 - mean(&wide(&z))).abs() < 1e-6);
    assert!((sum - evaluated).abs() < 1e-12);
    assert_slopes("gradient", &rows(&logits), &expected);
}

#[test]
fn the_first_of_equal_logits_wins() {
    let logits = columns(&[1.0, 1.0, 0.0, 0.0, 2.0, 2.0, 3.0, 3.0, 3.0]);
    assert_eq!(loss::evaluate(&logits, lanes(BATCH), &[0, 1, 0]).1, 3);
    assert_eq!(loss::evaluate(&logits, lanes(BATCH), &[1, 2, 1]).1, 0);
}
