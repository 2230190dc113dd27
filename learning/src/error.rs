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
}
