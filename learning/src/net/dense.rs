//! A dense layer, `y = x Wᵀ + b`, with the ReLU in front of the next: W is `[outputs, inputs]` as PyTorch has it.
//!
//! Forward and backward by input run on columns (`[features, batch]`), so that W is read as it lies and the batch fills
//! the vectors; the gradient of W, `gᵀ x`, needs the input as rows (`[batch, features]`).

use super::Sink;
use crate::gemm::{Into, Left, Right, multiply, steps, transpose};
use crate::model::DenseShape;

/// The layer with its input and the gradient by it.
pub(super) struct Dense {
    shape: DenseShape,
    capacity: usize,
    /// Input `[capacity, inputs]`.
    rows: Vec<f32>,
    /// Input `[inputs, capacity]`.
    pub(super) columns: Vec<f32>,
    /// Gradient by the input, `[inputs, capacity]`.
    pub(super) gradient: Vec<f32>,
    /// Offset tables: single steps, steps of `inputs`, steps of `capacity`.
    ones: Vec<u32>,
    by_inputs: Vec<u32>,
    by_capacity: Vec<u32>,
}

impl Dense {
    pub(super) fn new(shape: DenseShape, capacity: usize) -> Self {
        let DenseShape { inputs, outputs, .. } = shape;
        let room = vec![0.0; inputs * capacity];
        Self {
            shape,
            capacity,
            rows: room.clone(),
            columns: room.clone(),
            gradient: room,
            ones: steps(inputs.max(capacity), 1),
            by_inputs: steps(outputs.max(capacity), inputs),
            by_capacity: steps(inputs.max(outputs), capacity),
        }
    }

    /// The input of sample `b`.
    pub(super) fn row_mut(&mut self, b: usize) -> &mut [f32] {
        &mut self.rows[b * self.shape.inputs..][..self.shape.inputs]
    }

    /// Clears the input rows from `batch` to `lanes`: a product may read them, nobody uses what comes out.
    pub(super) fn pad(&mut self, batch: usize, lanes: usize) {
        self.rows[batch * self.shape.inputs..lanes * self.shape.inputs].fill(0.0);
    }

    pub(super) fn transpose_from_rows(&mut self, lanes: usize) {
        let inputs = self.shape.inputs;
        transpose(&self.rows, inputs, lanes, inputs, &mut self.columns, self.capacity);
    }

    pub(super) fn transpose_to_rows(&mut self, batch: usize) {
        let inputs = self.shape.inputs;
        transpose(&self.columns, self.capacity, inputs, batch, &mut self.rows, inputs);
    }

    /// Writes the output, `[outputs, capacity]`, of the first `lanes` columns.
    pub(super) fn forward(&self, parameters: &[f32], lanes: usize, out: &mut [f32], rectify: bool) {
        let DenseShape { inputs, outputs, at } = self.shape;
        let (weight, bias) = parameters[at..].split_at(inputs * outputs);
        let left = Left { data: weight, rows: &self.by_inputs[..outputs], cols: &self.ones[..inputs] };
        let right = Right { data: &self.columns, rows: &self.by_capacity[..inputs], width: lanes };
        multiply(left, right, out, self.capacity, Into::Set);
        let floor = if rectify { 0.0 } else { f32::NEG_INFINITY };
        for (row, &bias) in out.chunks_exact_mut(self.capacity).zip(&bias[..outputs]) {
            row[..lanes].iter_mut().for_each(|y| *y = (*y + bias).max(floor));
        }
    }

    /// Computes the gradient by the input, through the ReLU in front of this layer if there was one.
    pub(super) fn backward_input(&mut self, parameters: &[f32], lanes: usize, gradient: &[f32]) {
        let DenseShape { inputs, outputs, at } = self.shape;
        let weight = &parameters[at..at + inputs * outputs];
        let left = Left { data: weight, rows: &self.ones[..inputs], cols: &self.by_inputs[..outputs] };
        let right = Right { data: gradient, rows: &self.by_capacity[..outputs], width: lanes };
        multiply(left, right, &mut self.gradient, self.capacity, Into::Set);
        for (g, &x) in self.gradient.iter_mut().zip(&self.columns) {
            *g = if x > 0.0 { *g } else { 0.0 };
        }
    }

    /// Spends the gradient of weight and bias given that by the output, `[outputs, capacity]`.
    pub(super) fn backward_parameters(
        &self,
        parameters: &mut [f32],
        batch: usize,
        gradient: &[f32],
        sink: &mut Sink<'_>,
    ) {
        let DenseShape { inputs, outputs, at } = self.shape;
        let (target, factor) = sink.target(parameters, at..at + inputs * outputs + outputs);
        let (weight, bias) = target.split_at_mut(inputs * outputs);
        let left = Left { data: gradient, rows: &self.by_capacity[..outputs], cols: &self.ones[..batch] };
        let right = Right { data: &self.rows, rows: &self.by_inputs[..batch], width: inputs };
        multiply(left, right, weight, inputs, Into::Add(factor));
        for (row, bias) in gradient.chunks_exact(self.capacity).zip(bias) {
            *bias += factor * row[..batch].iter().sum::<f32>();
        }
    }

    /// The gradient by the input of sample `b`, gathered into `out`.
    pub(super) fn gradient_of<'a>(&self, b: usize, out: &'a mut [f32]) -> &'a [f32] {
        let out = &mut out[..self.shape.inputs];
        for (out, column) in out.iter_mut().zip(self.gradient.chunks_exact(self.capacity)) {
            *out = column[b];
        }
        out
    }
}
