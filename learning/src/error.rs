//! What can go wrong between a user's data and a trained delta.

/// Errors of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LearningError {
    /// A parameter vector of the wrong length.
    #[error("the model has {expected} parameters, but the {what} vector has {found}")]
    Length {
        /// Which vector.
        what: &'static str,
        /// Parameters of the model.
        expected: usize,
        /// Length of the vector.
        found: usize,
    },
    /// A sample index past the end of the data.
    #[error("sample {index} was asked for, but the data has {samples} samples")]
    SampleIndex {
        /// The index.
        index: usize,
        /// Samples there are.
        samples: usize,
    },
    /// A client without samples.
    #[error("the client has no samples to train on")]
    NoSamples,
    /// Training left the finite numbers.
    #[error("training diverged: the delta is not finite after {steps} steps; lower the learning rate")]
    Diverged {
        /// Steps taken.
        steps: u64,
    },
    /// A model name that is not registered.
    #[error("there is no model `{name}`; known are {}", known.join(", "))]
    UnknownModel {
        /// The name.
        name: String,
        /// The names there are.
        known: &'static [&'static str],
    },
    /// A model that cannot take the data's shape.
    #[error("the model `{model}` needs {needs}, but the samples are {}x{}x{} in {classes} classes", shape.0, shape.1, shape.2)]
    ModelShape {
        /// Name of the model.
        model: String,
        /// What it could take.
        needs: &'static str,
        /// Channels, height and width of a sample.
        shape: (usize, usize, usize),
        /// Classes of the data.
        classes: usize,
    },
    /// A trainer whose model was made for other data.
    #[error("the model was made for samples of shape and classes {model:?}, but the data has {data:?}")]
    OtherData {
        /// Shape and classes the model was made for.
        model: ((usize, usize, usize), usize),
        /// Those of the data.
        data: ((usize, usize, usize), usize),
    },
    /// A label past the classes.
    #[error("sample {index} has label {label}, but there are {classes} classes")]
    Label {
        /// The sample.
        index: usize,
        /// Its label.
        label: u8,
        /// Classes of the data.
        classes: usize,
    },
    /// A setting that must be at least 1.
    #[error("`{key}` must be at least 1")]
    Zero {
        /// The setting.
        key: &'static str,
    },
}
