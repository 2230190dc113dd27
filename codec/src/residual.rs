//! Error feedback: what compression left out goes into the next update (Seide et al. 2014; Karimireddy et al. 2019).
//!
//! ```text
//! intended = delta + residual        payload = encode(intended)
//! accepted: residual = intended - decode(payload)        rejected, discarded: residual = intended
//! ```
//!
//! The residual moves only when the outcome is known: an [`Intent`] consumes it, and settling the intent, which consumes
//! that, gives the next one. Whoever must survive a failure in between keeps what is on disk until then.

use alloc::vec::Vec;

use crate::{error::DecodeError, layout::Layout, payload::Payload};

/// What a client's updates have left out so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Residual {
    /// Empty stands for zero, so that a client that never sent costs nothing.
    values: Vec<f32>,
}

/// A vector that is to be sent: a delta with the residual added. The outcome turns it into the next residual.
#[derive(Debug)]
#[must_use = "an intent that is not settled loses its delta"]
pub struct Intent {
    vector: Vec<f32>,
}

/// What became of an update.
#[derive(Clone, Copy, Debug)]
pub enum Outcome<'a> {
    /// It counted: what its payload did not carry stays behind.
    Accepted(&'a Payload<'a>),
    /// It was rejected or discarded: all of it stays behind.
    Returned,
}

impl Residual {
    /// The residual with these values, e.g. read back from disk: as many as the layout has, or none for zero.
    ///
    /// # Errors
    /// If there are more or fewer: they belong to another layout.
    pub fn from_values(values: Vec<f32>, layout: &Layout) -> Result<Self, DecodeError> {
        if values.is_empty() || values.len() == layout.coordinates() {
            Ok(Self { values })
        } else {
            Err(DecodeError::Buffer { expected: layout.coordinates(), found: values.len() })
        }
    }

    /// Gives up the values.
    #[must_use]
    pub fn into_values(self) -> Vec<f32> {
        self.values
    }

    /// The values, empty while the residual is zero.
    #[must_use]
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// What is to be sent: `delta` with what was left out added.
    ///
    /// # Panics
    /// If `delta` and the residual have different lengths: they belong to different layouts.
    pub fn intend(self, delta: &[f32]) -> Intent {
        let mut vector = self.values;
        if vector.is_empty() {
            vector.extend_from_slice(delta);
        } else {
            assert_eq!(delta.len(), vector.len(), "delta and residual belong to one layout");
            for (residual, delta) in vector.iter_mut().zip(delta) {
                *residual += delta;
            }
        }
        Intent { vector }
    }
}

impl Intent {
    /// The vector to encode.
    #[must_use]
    pub fn vector(&self) -> &[f32] {
        &self.vector
    }

    /// Gives up the vector, e.g. to keep it elsewhere until the outcome is known.
    #[must_use]
    pub fn into_vector(self) -> Vec<f32> {
        self.vector
    }

    /// The intent of this vector again.
    pub fn from_vector(vector: Vec<f32>) -> Self {
        Self { vector }
    }

    /// The residual after `outcome`.
    ///
    /// # Errors
    /// If the payload is of another layout; the intent is then lost with the error, as no outcome can belong to it.
    pub fn settle(mut self, outcome: Outcome<'_>) -> Result<Residual, DecodeError> {
        if let Outcome::Accepted(payload) = outcome {
            let mut decoded = alloc::vec![0.0; self.vector.len()];
            payload.decode(&mut decoded)?;
            for (vector, decoded) in self.vector.iter_mut().zip(decoded) {
                *vector -= decoded;
            }
        }
        Ok(Residual { values: self.vector })
    }
}
