//! The models by name: which layers on which data, and how their parameters start.
//!
//! `mlp` and `cnn` are those of McMahan et al., "Communication-Efficient Learning of Deep Networks from Decentralized
//! Data" (AISTATS 2017, section 3), with `mlp` and `cnn` taking their ends from the data; `logreg` is one dense layer.

use nibble_seed::{Purpose, Seed};

use crate::error::LearningError;
use crate::trainer::TensorSpec;

const NAMES: &[&str] = &["mlp", "logreg", "cnn"];

/// Side of every convolution's kernel; the padding keeps height and width.
pub(crate) const KERNEL: usize = 5;

/// A model fitted to a data set: its layers and the tensors of its parameters, but not their values.
#[derive(Clone, Debug)]
pub struct Model {
    pub(crate) shape: (usize, usize, usize),
    pub(crate) classes: usize,
    pub(crate) convs: Vec<ConvShape>,
    pub(crate) denses: Vec<DenseShape>,
    tensors: Vec<TensorSpec>,
}

/// A convolution with same padding, then ReLU, then 2 x 2 maximum pooling.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConvShape {
    /// Channels in.
    pub(crate) inputs: usize,
    /// Channels out.
    pub(crate) outputs: usize,
    /// Rows of the image, even.
    pub(crate) height: usize,
    /// Columns of the image, even.
    pub(crate) width: usize,
    /// Where its weight, and behind it its bias, starts in the parameters.
    pub(crate) at: usize,
}

/// A dense layer; ReLU follows all but the last.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DenseShape {
    /// Features in.
    pub(crate) inputs: usize,
    /// Features out.
    pub(crate) outputs: usize,
    /// Where its weight, and behind it its bias, starts in the parameters.
    pub(crate) at: usize,
}

impl Model {
    /// The model called `name` for samples of `shape` (channels, height, width) in `classes` classes.
    ///
    /// # Errors
    /// If there is no such model or it cannot take the shape.
    pub fn from_name(name: &str, shape: (usize, usize, usize), classes: usize) -> Result<Self, LearningError> {
        let (channels, height, width) = shape;
        let features = channels * height * width;
        let refuse = |needs| Err(LearningError::ModelShape { model: name.into(), needs, shape, classes });
        let mut model = Self { shape, classes, convs: Vec::new(), denses: Vec::new(), tensors: Vec::new() };
        if features == 0 || !(2..=256).contains(&classes) {
            return refuse("at least one feature and 2 to 256 classes");
        }
        match name {
            "mlp" => model.push_dense("fc1", features, 200).push_dense("fc2", 200, 200).push_dense("fc3", 200, classes),
            "logreg" => model.push_dense("linear", features, classes),
            "cnn" if height % 4 != 0 || width % 4 != 0 => {
                return refuse("images whose height and width are multiples of 4");
            }
            "cnn" => model
                .push_conv("conv1", (channels, height, width), 32)
                .push_conv("conv2", (32, height / 2, width / 2), 64)
                .push_dense("fc1", 64 * (height / 4) * (width / 4), 512)
                .push_dense("fc2", 512, classes),
            _ => return Err(LearningError::UnknownModel { name: name.into(), known: NAMES }),
        };
        Ok(model)
    }

    /// The names [`Model::from_name`] knows.
    #[must_use]
    pub fn names() -> &'static [&'static str] {
        NAMES
    }

    /// The tensors of the flat parameter vector, in order.
    #[must_use]
    pub fn tensors(&self) -> &[TensorSpec] {
        &self.tensors
    }

    /// Length of the flat parameter vector.
    pub(crate) fn parameters(&self) -> usize {
        self.tensors.iter().map(TensorSpec::numel).sum()
    }

    /// Fresh parameters: tensor i uniform in ±1/√fan_in from the stream `seed.derive(Init, i, 0)`.
    pub(crate) fn init(&self, seed: Seed) -> Vec<f32> {
        let mut parameters = Vec::with_capacity(self.parameters());
        for (pair, layer) in self.tensors.chunks(2).enumerate() {
            let fan_in: usize = layer[0].shape[1..].iter().product(); // of the weight; the bias shares it
            for (i, tensor) in layer.iter().enumerate() {
                let stream = seed.derive(Purpose::Init, (2 * pair + i) as u64, 0);
                let root = (fan_in as f32).sqrt();
                parameters.extend((0..tensor.numel() as u64).map(|i| (2.0 * stream.unit_at(i) - 1.0) / root));
            }
        }
        parameters
    }

    fn push_conv(&mut self, name: &str, (inputs, height, width): (usize, usize, usize), outputs: usize) -> &mut Self {
        self.convs.push(ConvShape { inputs, outputs, height, width, at: self.parameters() });
        self.push_tensors(name, vec![outputs, inputs, KERNEL, KERNEL])
    }

    fn push_dense(&mut self, name: &str, inputs: usize, outputs: usize) -> &mut Self {
        self.denses.push(DenseShape { inputs, outputs, at: self.parameters() });
        self.push_tensors(name, vec![outputs, inputs])
    }

    fn push_tensors(&mut self, layer: &str, weight: Vec<usize>) -> &mut Self {
        let bias = vec![weight[0]];
        self.tensors.push(TensorSpec { name: format!("{layer}.weight"), shape: weight });
        self.tensors.push(TensorSpec { name: format!("{layer}.bias"), shape: bias });
        self
    }
}
