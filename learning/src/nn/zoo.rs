//! The built-in models by name.
//!
//! `cnn` and `mlp` (there called 2NN) are those of McMahan, Moore, Ramage, Hampson, Agüera y Arcas:
//! "Communication-efficient learning of deep networks from decentralized data", AISTATS 2017, section 3. `logreg` is
//! multinomial logistic regression. Tensors have the names that PyTorch modules `conv1`, `fc1`, ... would give them.

use super::conv::{Conv, ConvConfig};
use super::flatten::Flatten;
use super::layer::Layer;
use super::linear::{Activation, Input, Linear};
use super::model::Model;
use crate::error::LearningError;
use crate::kernels::Backend;

type Shape = (usize, usize, usize);

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

    /// [`Model::from_name`] on a chosen instruction set.
    pub(crate) fn with_backend(
        name: &str,
        shape: Shape,
        classes: usize,
        backend: Backend,
    ) -> Result<Self, LearningError> {
        let Some(&model) = Self::names().iter().find(|&&known| known == name) else {
            return Err(LearningError::UnknownModel { name: name.to_owned(), known: Self::names() });
        };
        let why = if shape.0 * shape.1 * shape.2 == 0 {
            "samples must have at least one feature"
        } else if !(2..=256).contains(&classes) {
            "there must be 2 to 256 classes"
        } else if model == "cnn" && !(shape.1.is_multiple_of(4) && shape.2.is_multiple_of(4)) {
            "it halves height and width twice, so both must be multiples of 4"
        } else {
            let layers = match model {
                "mlp" => mlp(shape, classes),
                "cnn" => cnn(shape, classes),
                _ => logreg(shape, classes),
            };
            return Ok(Self::from_layers(model, shape, classes, layers, backend));
        };
        Err(LearningError::ModelShape { model, shape, classes, why })
    }
}

fn mlp((channels, height, width): Shape, classes: usize) -> Vec<Box<dyn Layer>> {
    vec![
        Box::new(Linear::new("fc1", Input::Rows, channels * height * width, 200, Activation::Relu)),
        Box::new(Linear::new("fc2", Input::Columns, 200, 200, Activation::Relu)),
        Box::new(Linear::new("fc3", Input::Columns, 200, classes, Activation::None)),
    ]
}

fn cnn(input: Shape, classes: usize) -> Vec<Box<dyn Layer>> {
    let conv1 = Conv::new(ConvConfig { name: "conv1", input, channels: 32, kernel: 5, padding: 2, planar: true });
    let input = conv1.output();
    let conv2 = Conv::new(ConvConfig { name: "conv2", input, channels: 64, kernel: 5, padding: 2, planar: false });
    let (channels, height, width) = conv2.output();
    vec![
        Box::new(conv1),
        Box::new(conv2),
        Box::new(Flatten { channels, pixels: height * width }),
        Box::new(Linear::new("fc1", Input::Columns, channels * height * width, 512, Activation::Relu)),
        Box::new(Linear::new("fc2", Input::Columns, 512, classes, Activation::None)),
    ]
}

fn logreg((channels, height, width): Shape, classes: usize) -> Vec<Box<dyn Layer>> {
    vec![Box::new(Linear::new("fc", Input::Rows, channels * height * width, classes, Activation::None))]
}
