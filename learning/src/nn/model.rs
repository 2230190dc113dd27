//! The built-in models and a batch's way through their layers.
//!
//! `cnn` and `mlp` (there called 2NN) are those of McMahan, Moore, Ramage, Hampson, Agüera y Arcas:
//! "Communication-efficient learning of deep networks from decentralized data", AISTATS 2017, section 3.

use super::conv::{Conv, ConvConfig};
use super::flatten::Flatten;
use super::layer::{Backward, Forward, Layer, Sink, lanes};
use super::linear::{Activation, Input, Linear};
use super::loss;
use crate::error::LearningError;
use crate::kernels::{Aligned, Backend};
use crate::trainer::TensorSpec;

/// A classifier: layers, the names and shapes of their parameters, and room for a batch.
pub struct Model {
    name: &'static str,
    shape: (usize, usize, usize),
    classes: usize,
    tensors: Vec<TensorSpec>,
    layers: Vec<Layered>,
    backend: Backend,
    /// Samples there is room for.
    capacity: usize,
    input: Aligned,
}

/// A layer in its place.
struct Layered {
    layer: Box<dyn Layer>,
    /// Its part of the flat parameters.
    parameters: core::ops::Range<usize>,
    output: Aligned,
    output_gradient: Aligned,
}

impl Model {
    /// Names of the models, as in configurations: `mlp` (hidden layers of 200 and 200), `cnn`, `logreg`.
    #[must_use]
    pub fn names() -> &'static [&'static str] {
        &["mlp", "cnn", "logreg"]
    }

    /// Builds a model for samples of `shape` (channels, height, width) in `classes` classes.
    ///
    /// # Errors
    /// If there is no such model or it cannot take such samples.
    pub fn from_name(name: &str, shape: (usize, usize, usize), classes: usize) -> Result<Self, LearningError> {
        Self::with_backend(name, shape, classes, Backend::detect())
    }

    pub(crate) fn with_backend(
        name: &str,
        shape: (usize, usize, usize),
        classes: usize,
        backend: Backend,
    ) -> Result<Self, LearningError> {
        let (channels, height, width) = shape;
        let features = channels * height * width;
        let unfit = |model, why| Err(LearningError::ModelShape { model, shape, classes, why });
        let (name, layers): (_, Vec<Box<dyn Layer>>) = match name {
            "mlp" => (
                "mlp",
                vec![
                    Box::new(Linear::new("fc1", Input::Rows, features, 200, Activation::Relu)),
                    Box::new(Linear::new("fc2", Input::Columns, 200, 200, Activation::Relu)),
                    Box::new(Linear::new("fc3", Input::Columns, 200, classes, Activation::None)),
                ],
            ),
            "logreg" => ("logreg", vec![Box::new(Linear::new("fc", Input::Rows, features, classes, Activation::None))]),
            "cnn" if height % 4 != 0 || width % 4 != 0 => {
                return unfit("cnn", "it halves height and width twice, so both must be multiples of 4");
            }
            "cnn" => {
                let first =
                    ConvConfig { name: "conv1", input: shape, channels: 32, kernel: 5, padding: 2, planar: true };
                let first = Conv::new(first);
                let input = first.output();
                let second = ConvConfig { name: "conv2", input, channels: 64, kernel: 5, padding: 2, planar: false };
                let second = Conv::new(second);
                let (channels, height, width) = second.output();
                let flatten = Flatten { channels, pixels: height * width };
                let hidden = Linear::new("fc1", Input::Columns, channels * height * width, 512, Activation::Relu);
                let output = Linear::new("fc2", Input::Columns, 512, classes, Activation::None);
                ("cnn", vec![Box::new(first), Box::new(second), Box::new(flatten), Box::new(hidden), Box::new(output)])
            }
            _ => return Err(LearningError::UnknownModel { name: name.to_owned(), known: Self::names() }),
        };
        if features == 0 {
            return unfit(name, "samples must have at least one feature");
        }
        if !(2..=256).contains(&classes) {
            return unfit(name, "there must be 2 to 256 classes");
        }
        Ok(Self::from_layers(name, shape, classes, layers, backend))
    }

    pub(super) fn from_layers(
        name: &'static str,
        shape: (usize, usize, usize),
        classes: usize,
        layers: Vec<Box<dyn Layer>>,
        backend: Backend,
    ) -> Self {
        let mut end = 0;
        let tensors = layers.iter().flat_map(|layer| layer.tensors()).collect();
        let place = |layer: Box<dyn Layer>| {
            let start = end;
            end += layer.tensors().iter().map(TensorSpec::numel).sum::<usize>();
            Layered { layer, parameters: start..end, output: Aligned::default(), output_gradient: Aligned::default() }
        };
        let layers = layers.into_iter().map(place).collect();
        Self { name, shape, classes, tensors, layers, backend, capacity: 0, input: Aligned::default() }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Channels, height and width of a sample.
    #[must_use]
    pub fn shape(&self) -> (usize, usize, usize) {
        self.shape
    }

    /// Number of classes.
    #[must_use]
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// The tensors of the flat parameter vector, in order.
    #[must_use]
    pub fn tensors(&self) -> &[TensorSpec] {
        &self.tensors
    }

    /// Number of parameters.
    #[must_use]
    pub fn parameters(&self) -> usize {
        self.layers.last().map_or(0, |last| last.parameters.end)
    }

    pub(crate) fn backend(&self) -> Backend {
        self.backend
    }

    /// Numbers in a sample.
    fn features(&self) -> usize {
        self.shape.0 * self.shape.1 * self.shape.2
    }

    /// Makes room for batches of up to `batch` samples.
    pub(crate) fn reserve(&mut self, batch: usize) {
        if batch <= self.capacity {
            return;
        }
        self.capacity = batch;
        self.input.reserve(batch * self.features() + 16); // the last sample is read in whole vectors
        for Layered { layer, output, output_gradient, .. } in &mut self.layers {
            layer.reserve(batch);
            output.reserve(layer.output_len(batch));
            output_gradient.reserve(layer.output_len(batch));
        }
    }

    /// Where the samples of a batch go before [`Model::descend`] or [`Model::evaluate`]: one row a sample.
    pub(crate) fn input(&mut self, batch: usize) -> &mut [f32] {
        let len = batch * self.features();
        &mut self.input[..len]
    }

    /// Forward and backward pass over the input of `labels.len()` samples; gives the sum of their losses.
    pub(crate) fn backward(&mut self, mut sink: Sink<'_>, labels: &[u8]) -> f64 {
        self.forward(sink.parameters(), labels.len());
        let batch = labels.len();
        let backend = self.backend;
        let Some(last) = self.layers.last_mut() else { return 0.0 };
        let len = last.layer.output_len(batch);
        last.output_gradient[..len].copy_from_slice(&last.output[..len]);
        let loss = loss::cross_entropy(&mut last.output_gradient[..len], lanes(batch), labels);
        let first = self.layers.iter().position(|layered| !layered.parameters.is_empty()).unwrap_or(0);
        for i in (first..self.layers.len()).rev() {
            let (before, from) = self.layers.split_at_mut(i);
            let Layered { layer, parameters, output, output_gradient } = &mut from[0];
            let (input, input_gradient) = match before.last_mut() {
                Some(previous) => {
                    let len = previous.layer.output_len(batch);
                    let gradient = (i > first).then_some(&mut previous.output_gradient[..len]);
                    (&previous.output[..len], gradient)
                }
                None => (&self.input[..], None),
            };
            let (len, sink) = (layer.output_len(batch), sink.slice(parameters.clone()));
            let (output, output_gradient) = (&output[..len], &mut output_gradient[..len]);
            layer.backward(Backward { backend, batch, sink, input, output, output_gradient, input_gradient });
        }
        loss
    }

    /// Sum of the losses of `labels.len()` samples in the input, and how many are classified correctly.
    pub(crate) fn evaluate(&mut self, parameters: &[f32], labels: &[u8]) -> (f64, u64) {
        let logits = self.forward(parameters, labels.len());
        loss::evaluate(logits, lanes(labels.len()), labels)
    }

    /// Logits of the input, `[classes, lanes]`.
    pub(crate) fn forward(&mut self, parameters: &[f32], batch: usize) -> &[f32] {
        let mut input = &self.input[..];
        for layered in &mut self.layers {
            let output = &mut layered.output[..layered.layer.output_len(batch)];
            let parameters = &parameters[layered.parameters.clone()];
            layered.layer.forward(Forward { backend: self.backend, batch, parameters, input, output });
            input = output;
        }
        input
    }
}
