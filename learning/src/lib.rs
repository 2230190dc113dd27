//! Local training: data sets, their partition over clients, models, and the [`Trainer`] that ties them together.
//!
//! Knows nothing of networks, compression or rounds. One thread trains one client; whoever wants more starts more.

pub mod data;
mod error;
mod kernels;
mod nn;
pub mod partition;
mod personal;
mod quantization;
mod sgd;
mod trainer;

pub use error::LearningError;
pub use nn::Model;
pub use personal::PersonalTrainer;
pub use quantization::{Quantization, UnknownQuantization};
pub use sgd::SgdTrainer;
pub use trainer::{Evaluation, SgdConfig, StepHook, Task, TensorSpec, TrainReport, Trainer};
