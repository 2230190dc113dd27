//! Whole models.

use nibble_seed::Seed;

use super::reference::{self, Shape};
use super::{assert_slopes, random, slope, wide};
use crate::error::LearningError;
use crate::kernels::Backend;
use crate::nn::{Model, Sink};

/// Mean loss of the model called `name`, sample by sample.
fn mean_loss(model: &Model, parameters: &[f64], x: &[f64], labels: &[u8]) -> f64 {
    let (channels, height, width) = model.shape();
    let mut tensors = parameters;
    let mut next = |numel: usize| tensors.split_off(..numel).unwrap();
    let numel = |i: usize| model.tensors()[i].numel() + model.tensors()[i + 1].numel();
    let parts: Vec<&[f64]> = (0..model.tensors().len()).step_by(2).map(|i| next(numel(i))).collect();
    let logits = |x: &[f64]| match model.name() {
        "logreg" => reference::linear(parts[0], x),
        "mlp" => {
            let x = reference::relu(&reference::linear(parts[0], x));
            let x = reference::relu(&reference::linear(parts[1], &x));
            reference::linear(parts[2], &x)
        }
        _ => {
            let first = Shape { input: (channels, height, width), channels: 32, kernel: 5, padding: 2 };
            let second = Shape { input: (32, height / 2, width / 2), channels: 64, ..first };
            let block = |shape: Shape, parameters: &[f64], x: &[f64]| {
                reference::max_pool(shape.output(), &reference::relu(&reference::conv(shape, parameters, x)))
            };
            let x = block(second, parts[1], &block(first, parts[0], x));
            reference::linear(parts[3], &reference::relu(&reference::linear(parts[2], &x)))
        }
    };
    let losses = x.chunks(channels * height * width).zip(labels);
    losses.map(|(x, &label)| reference::cross_entropy(&logits(x), label)).sum::<f64>() / labels.len() as f64
}

#[test]
fn gradients_agree_with_central_differences() {
    for (name, shape) in [("logreg", (1, 1, 7)), ("mlp", (1, 3, 5)), ("cnn", (1, 4, 4)), ("cnn", (3, 4, 8))] {
        let labels = [0, 2, 1];
        let build = |backend| Model::with_backend(name, shape, 3, backend).unwrap();
        let model = build(Backend::detect());
        let parameters = random(1, model.parameters(), 0.1);
        let x = random(2, labels.len() * shape.0 * shape.1 * shape.2, 1.0);
        let (wide_parameters, wide_x) = (wide(&parameters), wide(&x));
        let loss = |p: &[f64]| mean_loss(&model, p, &wide_x, &labels);
        let starts = model.tensors().iter().scan(0, |end, tensor| {
            *end += tensor.numel();
            Some((*end - tensor.numel(), tensor.numel() as u64))
        });
        let draw = |(start, numel)| (0..6).map(move |i| start + (Seed(start as u64).at(i) % numel) as usize);
        let expected: Vec<(usize, f64)> =
            starts.flat_map(draw).map(|i| (i, slope(&mut wide_parameters.clone(), i, loss))).collect();
        for backend in Backend::available() {
            let mut model = build(backend);
            model.reserve(labels.len());
            model.input(labels.len()).copy_from_slice(&x);
            let mut gradient = vec![0.0; parameters.len()];
            let sink = Sink::Collect { parameters: &parameters, gradient: &mut gradient };
            let sum = model.backward(sink, &labels);
            assert!((sum / labels.len() as f64 - loss(&wide_parameters)).abs() < 1e-5);
            assert_slopes(name, &gradient, &expected);
        }
    }
}

#[test]
fn every_name_builds_and_has_its_size() {
    let sizes = [("mlp", 199_210), ("cnn", 1_663_370), ("logreg", 7_850)];
    assert_eq!(Model::names(), sizes.map(|(name, _)| name));
    for (name, size) in sizes {
        let model = Model::from_name(name, (1, 28, 28), 10).unwrap();
        assert_eq!((model.name(), model.parameters()), (name, size));
        assert_eq!(model.tensors().iter().map(crate::TensorSpec::numel).sum::<usize>(), size);
    }
    let names = |model: &Model| model.tensors().iter().map(|t| t.name.clone()).collect::<Vec<_>>().join(" ");
    let cnn = Model::from_name("cnn", (1, 28, 28), 10).unwrap();
    let expected = "conv1.weight conv1.bias conv2.weight conv2.bias fc1.weight fc1.bias fc2.weight fc2.bias";
    assert_eq!(names(&cnn), expected);
    assert_eq!(cnn.tensors()[2].shape, [64, 32, 5, 5]);
    assert_eq!(cnn.tensors()[4].shape, [512, 3136]);
}

#[test]
fn what_a_model_cannot_take_is_refused() {
    let refused = |name, shape, classes| Model::from_name(name, shape, classes).err().unwrap().to_string();
    assert_eq!(refused("lenet", (1, 28, 28), 10), "there is no model `lenet`; known are mlp, cnn, logreg");
    assert_eq!(
        refused("cnn", (1, 1, 30), 2),
        "the model cnn cannot take 1x1x30 samples (channels x height x width) of 2 classes: \
         it halves height and width twice, so both must be multiples of 4"
    );
    assert!(refused("cnn", (0, 28, 28), 10).contains("at least one feature"));
    assert!(refused("mlp", (1, 1, 0), 10).contains("at least one feature"));
    assert!(refused("logreg", (1, 1, 3), 1).contains("2 to 256 classes"));
    let error = Model::from_name("mlp", (1, 1, 3), 257).err().unwrap();
    assert!(matches!(error, LearningError::ModelShape { classes: 257, .. }));
}
