//! Where trainers come from.

use nibble_learning::Trainer;

/// Any error that can be told to the coordinator.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Makes the trainer of an architecture, on this client's data. Closures `FnMut(&str) -> Result<Box<dyn Trainer>, _>` do.
pub trait TrainerSource: Send {
    /// The trainer of the models that the run calls `architecture`.
    ///
    /// # Errors
    /// If this client cannot train such models; the round is then declined with the error as the reason.
    fn trainer(&mut self, architecture: &str) -> Result<Box<dyn Trainer>, BoxError>;
}

impl<F: FnMut(&str) -> Result<Box<dyn Trainer>, BoxError> + Send> TrainerSource for F {
    fn trainer(&mut self, architecture: &str) -> Result<Box<dyn Trainer>, BoxError> {
        self(architecture)
    }
}
