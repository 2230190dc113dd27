//! A batch's way through the layers of a model.

use super::layer::{Backward, Forward, Layer, Sink, lanes};
use super::loss;
use super::rounding::{Rounded, Rounding};
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
    rounding: Rounding,
}

/// A layer in its place.
struct Layered {
    layer: Box<dyn Layer>,
    /// Its part of the flat parameters.
    parameters: core::ops::Range<usize>,
    output: Aligned,
    output_gradient: Aligned,
    rounded: Rounded,
}

impl Layered {
    /// Layers without parameters only lay out what was rounded.
    fn rounds(&self, rounding: Rounding) -> bool {
        rounding != Rounding::Off && !self.parameters.is_empty()
    }
}

impl Model {
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
            let (output, output_gradient, rounded) = (Aligned::default(), Aligned::default(), Rounded::default());
            Layered { layer, parameters: start..end, output, output_gradient, rounded }
        };
        let layers = layers.into_iter().map(place).collect();
        Self {
            name,
            shape,
            classes,
            tensors,
            layers,
            backend,
            capacity: 0,
            input: Aligned::default(),
            rounding: Rounding::Off,
        }
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

    /// Rounds activations in the passes to come. The gradient goes through the rounding as if it were not there
    /// (straight-through; Bengio, Léonard, Courville 2013).
    pub(crate) fn round_activations(&mut self, rounding: Rounding) {
        self.rounding = rounding;
    }

    /// Forgets how large activations were.
    pub(crate) fn forget_ranges(&mut self) {
        self.layers.iter_mut().for_each(|layered| layered.rounded.largest = 0.0);
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
            let Layered { layer, parameters, output, output_gradient, .. } = &mut from[0];
            let (input, input_gradient) = match before.last_mut() {
                Some(previous) => {
                    let len = previous.layer.output_len(batch);
                    let rounds = previous.rounds(self.rounding);
                    let Layered { output, rounded, output_gradient, .. } = previous;
                    let input = if rounds { &rounded.output[..len] } else { &output[..len] };
                    (input, (i > first).then_some(&mut output_gradient[..len]))
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
        let last = self.layers.len().saturating_sub(1);
        for (index, layered) in self.layers.iter_mut().enumerate() {
            let rounds = index < last && layered.rounds(self.rounding);
            let Layered { layer, parameters: range, output, rounded, .. } = layered;
            let output = &mut output[..layer.output_len(batch)];
            let (backend, parameters) = (self.backend, &parameters[range.clone()]);
            layer.forward(Forward { backend, batch, parameters, input, output });
            input = output;
            if rounds {
                rounded.fill(self.rounding, backend, input, (layer.shape(), batch));
                input = &rounded.output[..input.len()];
            }
        }
        input
    }
}
