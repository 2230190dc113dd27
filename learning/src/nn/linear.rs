//! A linear layer, optionally followed by ReLU: `y = relu(W x + b)`, rows or columns in, columns out.
//!
//! `W` is `[outputs, inputs]`, `x` `[inputs, lanes]`, `y` `[outputs, lanes]`. The gradient by `W` sums outer products
//! over the samples whose output gradient is not zero; it wants the samples in rows, the forward pass in columns.

use super::layer::{Backward, Forward, Layer, lanes};
use crate::kernels::{Aligned, Dense, Entry, Row, Sparse, Transpose};
use crate::trainer::TensorSpec;

/// What follows the linear map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Activation {
    /// Nothing: these are logits.
    None,
    /// `max(0, y)`; its derivative at 0 is 0, as in PyTorch.
    Relu,
}

/// How the input of a linear layer is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    /// One sample after the other, as a data set has them; for a first layer, which passes no gradient on.
    Rows,
    /// One sample a lane.
    Columns,
}

/// A linear layer.
pub(crate) struct Linear {
    name: &'static str,
    inputs: usize,
    outputs: usize,
    layout: Input,
    activation: Activation,
    /// The input in the other layout; rows are padded to whole vectors.
    turned: Aligned,
    /// The non-zeros of the output gradient, one list an output.
    rows: Vec<Row>,
    entries: Vec<Entry>,
    bias_gradient: Vec<f32>,
}

impl Linear {
    pub(crate) fn new(
        name: &'static str,
        layout: Input,
        inputs: usize,
        outputs: usize,
        activation: Activation,
    ) -> Self {
        let rows = vec![Row::default(); outputs];
        let (turned, entries, bias_gradient) = (Aligned::default(), Vec::new(), vec![0.0; outputs]);
        Self { name, inputs, outputs, layout, activation, turned, rows, entries, bias_gradient }
    }

    /// From one sample in rows to the next.
    fn stride(&self) -> usize {
        match self.layout {
            Input::Rows => self.inputs,
            Input::Columns => self.inputs.next_multiple_of(16),
        }
    }

    /// Lists the non-zeros of `gradient` (`[outputs, lanes]`) by output, and sums each output's.
    fn list(&mut self, gradient: &[f32], batch: usize) {
        let (lanes, stride) = (lanes(batch), self.stride() as u32);
        let mut end = 0;
        for (o, gradient) in gradient.chunks_exact(lanes).enumerate() {
            let start = end;
            let list = &mut self.entries[start..=start + batch];
            let mut len = 0;
            for (sample, &value) in (0..).zip(&gradient[..batch]) {
                list[len] = Entry { from: sample * stride, value };
                len += usize::from(value != 0.0); // overwritten by the next unless it counts: no branch to mispredict
            }
            end += len;
            self.rows[o] = Row { to: (o * self.inputs) as u32, start: start as u32, end: end as u32 };
            let mut sums = [0.0; 16]; // one sum a lane, so that no addition waits for the one before
            for gradient in gradient.chunks_exact(16) {
                sums.iter_mut().zip(gradient).for_each(|(sum, value)| *sum += value);
            }
            self.bias_gradient[o] = sums.iter().sum();
        }
    }
}

impl Layer for Linear {
    fn tensors(&self) -> Vec<TensorSpec> {
        let weight = TensorSpec { name: format!("{}.weight", self.name), shape: vec![self.outputs, self.inputs] };
        let bias = TensorSpec { name: format!("{}.bias", self.name), shape: vec![self.outputs] };
        vec![weight, bias]
    }

    fn output_len(&self, batch: usize) -> usize {
        self.outputs * lanes(batch)
    }

    fn reserve(&mut self, batch: usize) {
        self.turned.reserve(match self.layout {
            Input::Rows => self.inputs * lanes(batch),
            Input::Columns => batch * self.stride(),
        });
        self.entries.resize(self.outputs * batch + 1, Entry::default());
    }

    fn forward(&mut self, pass: Forward<'_>) {
        let lanes = lanes(pass.batch);
        let (weight, bias) = pass.parameters.split_at(self.outputs * self.inputs);
        for (output, &bias) in pass.output.chunks_exact_mut(lanes).zip(bias) {
            output.fill(bias);
        }
        let input = match self.layout {
            Input::Columns => pass.input,
            Input::Rows => {
                let (from, from_stride, to_stride) = (pass.input, self.inputs, lanes);
                let (to, rows, columns) = (&mut *self.turned, pass.batch, self.inputs);
                pass.backend.run(Transpose { from, from_stride, to, to_stride, rows, columns });
                &self.turned
            }
        };
        pass.backend.run(Dense {
            a: weight,
            row_stride: self.inputs,
            step: 1,
            segments: &[0],
            run: self.inputs,
            b: input,
            c: pass.output,
            columns: lanes,
        });
        if self.activation == Activation::Relu {
            pass.output.iter_mut().for_each(|y| *y = if *y < 0.0 { 0.0 } else { *y }); // NaN stays, to be noticed
        }
    }

    fn backward(&mut self, mut pass: Backward<'_>) {
        let lanes = lanes(pass.batch);
        if self.activation == Activation::Relu {
            for (gradient, &y) in pass.output_gradient.iter_mut().zip(pass.output) {
                *gradient = if y > 0.0 { *gradient } else { 0.0 };
            }
        }
        if let Some(input_gradient) = pass.input_gradient {
            input_gradient.fill(0.0);
            pass.backend.run(Dense {
                a: pass.sink.parameters(),
                row_stride: 1,
                step: self.inputs,
                segments: &[0],
                run: self.outputs,
                b: pass.output_gradient,
                c: input_gradient,
                columns: lanes,
            });
        }
        self.list(pass.output_gradient, pass.batch);
        let samples = match self.layout {
            Input::Rows => pass.input,
            Input::Columns => {
                let (from, from_stride, to_stride) = (pass.input, lanes, self.stride());
                let (to, rows, columns) = (&mut *self.turned, self.inputs, pass.batch);
                pass.backend.run(Transpose { from, from_stride, to, to_stride, rows, columns });
                &self.turned
            }
        };
        let (target, scale) = pass.sink.target();
        pass.backend.run(Sparse {
            rows: &self.rows,
            entries: &self.entries,
            b: samples,
            c: target,
            width: self.inputs,
            scale,
        });
        pass.sink.add(pass.backend, self.outputs * self.inputs, &self.bias_gradient);
    }
}
