//! What every layer does.

use crate::kernels::{Axpy, Backend};
use crate::trainer::TensorSpec;

/// One layer with the scratch memory it needs. Works on flat slices whose layout the layer documents.
pub(crate) trait Layer: Send {
    /// Its parameters in PyTorch's order; empty if it has none.
    fn tensors(&self) -> Vec<TensorSpec>;
    /// Numbers in the output of a batch.
    fn output_len(&self, batch: usize) -> usize;
    /// How a batch is laid out in its output.
    fn shape(&self) -> Shape {
        Shape::Columns
    }
    /// Makes room for batches of up to `batch` samples, so that no pass allocates.
    fn reserve(&mut self, batch: usize);
    /// Computes the output.
    fn forward(&mut self, pass: Forward<'_>);
    /// Computes the gradients of the last forward pass.
    fn backward(&mut self, pass: Backward<'_>);
}

/// How a batch is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// One sample after the other.
    Rows,
    /// One sample a lane.
    Columns,
}

/// A forward pass.
pub(crate) struct Forward<'a> {
    pub(crate) backend: Backend,
    /// Samples.
    pub(crate) batch: usize,
    /// This layer's parameters.
    pub(crate) parameters: &'a [f32],
    pub(crate) input: &'a [f32],
    pub(crate) output: &'a mut [f32],
}

/// A backward pass.
pub(crate) struct Backward<'a> {
    pub(crate) backend: Backend,
    /// Samples.
    pub(crate) batch: usize,
    /// This layer's parameters and where their gradient goes.
    pub(crate) sink: Sink<'a>,
    /// What the forward pass read.
    pub(crate) input: &'a [f32],
    /// What the forward pass wrote.
    pub(crate) output: &'a [f32],
    /// Gradient of the loss by the output; the layer may use it as scratch.
    pub(crate) output_gradient: &'a mut [f32],
    /// Where the gradient by the input goes, if anyone needs it.
    pub(crate) input_gradient: Option<&'a mut [f32]>,
}

/// Where the gradient by the parameters goes. Both ways give the same bits after a plain SGD step.
pub(crate) enum Sink<'a> {
    /// Straight into the parameters, `parameters -= rate * gradient`, so that it never passes through memory.
    Descend { parameters: &'a mut [f32], rate: f32 },
    /// Added to `gradient`.
    Collect { parameters: &'a [f32], gradient: &'a mut [f32] },
}

impl Sink<'_> {
    /// The parameters, as they were in the forward pass until [`Sink::target`] is written to.
    pub(crate) fn parameters(&self) -> &[f32] {
        match self {
            Self::Descend { parameters, .. } => parameters,
            Self::Collect { parameters, .. } => parameters,
        }
    }

    /// What to add the gradient to, and the factor to apply to it.
    pub(crate) fn target(&mut self) -> (&mut [f32], f32) {
        match self {
            Self::Descend { parameters, rate } => (parameters, -*rate),
            Self::Collect { gradient, .. } => (gradient, 1.0),
        }
    }

    /// Adds a gradient that was computed elsewhere, starting at parameter `at`.
    pub(crate) fn add(&mut self, backend: Backend, at: usize, gradient: &[f32]) {
        let (target, scale) = self.target();
        backend.run(Axpy { scale, x: gradient, y: &mut target[at..][..gradient.len()] });
    }

    /// The part of the sink that belongs to the parameters in `range`.
    pub(crate) fn slice(&mut self, range: core::ops::Range<usize>) -> Sink<'_> {
        match self {
            Self::Descend { parameters, rate } => Sink::Descend { parameters: &mut parameters[range], rate: *rate },
            Self::Collect { parameters, gradient } => {
                Sink::Collect { parameters: &parameters[range.clone()], gradient: &mut gradient[range] }
            }
        }
    }
}

/// Lanes of a batch in columns: the batch rounded up to whole vectors.
pub(crate) fn lanes(batch: usize) -> usize {
    batch.next_multiple_of(16)
}
