//! A model at work: the pass forward over a batch and the pass back that spends its gradient.
//!
//! Dense activations are kept twice, `[batch, features]` and `[features, batch]`, as the products need them;
//! convolutions go sample by sample, which keeps what they touch in the second-level cache.

mod conv;
mod dense;
mod loss;
#[cfg(test)]
mod tests;

use crate::model::Model;
use conv::Conv;
use dense::Dense;
pub(crate) use loss::Loss;

/// Batches are padded with zero columns to a multiple of this, for whole vectors.
const LANES: usize = 8;

/// Where a pass back takes the gradient.
pub(crate) enum Sink<'a> {
    /// Straight into the parameters, times minus this learning rate.
    Step(f32),
    /// Into this vector, which has the parameters' layout and is overwritten.
    Gradient(&'a mut [f32]),
}

impl Sink<'_> {
    /// What a layer adds to, at its part of the parameters, and the factor of its gradient in that.
    fn target<'a>(&'a mut self, parameters: &'a mut [f32], part: core::ops::Range<usize>) -> (&'a mut [f32], f32) {
        match self {
            Self::Step(rate) => (&mut parameters[part], -*rate),
            Self::Gradient(gradient) => (&mut gradient[part], 1.0),
        }
    }
}

/// Layers with room for a batch of `capacity` samples.
pub(crate) struct Network {
    convs: Vec<Conv>,
    denses: Vec<Dense>,
    /// Logits, then their gradient, `[classes, capacity]`.
    logits: Vec<f32>,
    /// One image as the data has it, `[channels, height, width]`, or the gradient by one sample's last feature maps.
    sample: Vec<f32>,
    capacity: usize,
}

impl Network {
    /// A network for batches of up to `batch` samples.
    pub(crate) fn new(model: &Model, batch: usize) -> Self {
        let capacity = batch.next_multiple_of(LANES);
        let (channels, height, width) = model.shape;
        Self {
            convs: model.convs.iter().map(|&shape| Conv::new(shape, capacity)).collect(),
            denses: model.denses.iter().map(|&shape| Dense::new(shape, capacity)).collect(),
            logits: vec![0.0; model.classes * capacity],
            sample: vec![0.0; model.denses[0].inputs.max(channels * height * width)],
            capacity,
        }
    }

    /// Largest batch.
    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Labels are below this.
    pub(crate) fn classes(&self) -> usize {
        self.logits.len() / self.capacity
    }

    /// Computes the logits of `batch` samples, each written to its slice by `read`.
    pub(crate) fn forward(&mut self, parameters: &[f32], batch: usize, read: impl FnMut(usize, &mut [f32])) {
        let lanes = batch.next_multiple_of(LANES);
        self.read(parameters, batch, read);
        self.denses[0].pad(batch, lanes);
        self.denses[0].transpose_from_rows(lanes);
        for i in 0..self.denses.len() {
            let (front, back) = self.denses.split_at_mut(i + 1);
            match back.first_mut() {
                Some(next) => {
                    front[i].forward(parameters, lanes, &mut next.columns, true);
                    next.transpose_to_rows(batch);
                }
                None => front[i].forward(parameters, lanes, &mut self.logits, false),
            }
        }
    }

    /// Fills the input of the first dense layer, through the convolutions if there are any.
    fn read(&mut self, parameters: &[f32], batch: usize, mut read: impl FnMut(usize, &mut [f32])) {
        self.convs.iter_mut().for_each(|conv| conv.pack(parameters));
        for b in 0..batch {
            if self.convs.is_empty() {
                read(b, self.denses[0].row_mut(b));
                continue;
            }
            let image = self.convs[0].image();
            read(b, &mut self.sample[..image]);
            self.convs[0].set_planes(b, &self.sample[..image]);
            for i in 0..self.convs.len() {
                let (front, back) = self.convs.split_at_mut(i + 1);
                let maps = front[i].forward(parameters, b);
                match back.first_mut() {
                    Some(next) => next.set_pixels(b, maps),
                    None => front[i].pooled_to_planes(self.denses[0].row_mut(b)),
                }
            }
        }
    }

    /// Turns the logits of the batch into their gradient and returns the summed loss and how many were right.
    pub(crate) fn loss(&mut self, labels: &[u8]) -> Loss {
        loss::softmax_cross_entropy(&mut self.logits, self.capacity, labels, labels.len().next_multiple_of(LANES))
    }

    /// Passes the gradient of the logits back and spends that of the parameters.
    pub(crate) fn backward(&mut self, parameters: &mut [f32], batch: usize, mut sink: Sink<'_>) {
        let lanes = batch.next_multiple_of(LANES);
        if let Sink::Gradient(gradient) = &mut sink {
            gradient.fill(0.0);
        }
        for i in (0..self.denses.len()).rev() {
            let (front, back) = self.denses.split_at_mut(i + 1);
            let gradient = back.first().map_or(&self.logits, |next| &next.gradient);
            if i > 0 || !self.convs.is_empty() {
                front[i].backward_input(parameters, lanes, gradient);
            }
            front[i].backward_parameters(parameters, batch, gradient, &mut sink);
        }
        if self.convs.is_empty() {
            return;
        }
        self.convs.iter_mut().for_each(Conv::clear_gradient);
        for b in 0..batch {
            let features = self.denses[0].gradient_of(b, &mut self.sample);
            self.convs.last_mut().expect("there are convolutions").set_planes_gradient(features);
            for i in (0..self.convs.len()).rev() {
                let (front, back) = self.convs.split_at_mut(i);
                back[0].backward_parameters(b);
                if let Some(previous) = front.last_mut() {
                    back[0].backward_input(previous.pooled_mut());
                }
            }
        }
        self.convs.iter_mut().for_each(|conv| conv.spend(parameters, &mut sink));
    }
}
