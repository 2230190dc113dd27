//! Layers with their forward and backward passes, and the models made of them.
//!
//! A batch is laid out in one of two ways. *Rows*: one sample after the other, images as `[block][height][width][channel
//! of the block]` with blocks of up to 16 channels. *Columns*: `[feature][lane]`, one sample a lane, lanes padded to a
//! multiple of 16. Convolutions work on rows, linear layers on columns, and [`flatten::Flatten`] stands between them.
//!
//! Absent on purpose: automatic differentiation, dropout, batch normalisation (whose statistics do not average).

mod conv;
mod flatten;
mod layer;
mod linear;
mod loss;
mod model;
mod rounding;
mod zoo;

pub(crate) use layer::Sink;
pub use model::Model;
pub(crate) use rounding::Rounding;

#[cfg(test)]
mod tests;
