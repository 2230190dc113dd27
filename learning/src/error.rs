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
    /// No built-in model of that name.
    #[error("there is no model `{name}`; known are {}", known.join(", "))]
    UnknownModel {
        /// The name asked for.
        name: String,
        /// The names there are.
        known: &'static [&'static str],
    },
    /// A model that cannot take the samples.
    #[error(
        "the model {model} cannot take {}x{}x{} samples (channels x height x width) of {classes} classes: {why}",
        shape.0, shape.1, shape.2
    )]
    ModelShape {
        /// The model.
        model: &'static str,
        /// Channels, height and width of a sample.
        shape: (usize, usize, usize),
        /// Number of classes.
        classes: usize,
        /// What the model needs.
        why: &'static str,
    },
    /// A data set that is not what the model was built for.
    #[error("the model was built for {expected} {what}, but the data has {found}")]
    DataMismatch {
        /// What differs.
        what: &'static str,
        /// What the model was built for.
        expected: usize,
        /// What the data has.
        found: usize,
    },
    /// A trainer that evaluates on the test part alone.
    #[error("this trainer cannot evaluate on chosen samples")]
    NotOnSamples,
    /// A tensor that the model does not have.
    #[error("the model has no tensor or layer `{name}`; it has {}", known.join(", "))]
    UnknownTensor {
        /// The name asked for.
        name: String,
        /// The names there are.
        known: Vec<String>,
    },
    /// A model that is personal altogether.
    #[error("every tensor is personal, so nothing is left to share")]
    NothingShared,
    /// A trainer that cannot round its models.
    #[error("this trainer has no quantised models")]
    Unquantised,
    /// A setting of local training outside its range.
    #[error("{setting} is {found}, but must be {expected}")]
    Setting {
        /// Its name.
        setting: &'static str,
        /// What it may be.
        expected: &'static str,
        /// What it is.
        found: f64,
    },
}
