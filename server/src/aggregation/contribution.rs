//! One counted update: what is known of it, and where its chunks come from.

use nibble_codec::{DecodeError, Payload};
use nibble_seed::ClientId;

/// Memory that decoding needs.
#[derive(Debug, Default)]
pub struct Scratch {
    /// For the bytes of a chunk.
    pub bytes: Vec<u8>,
    /// For decoding them.
    pub codec: nibble_codec::Scratch,
}

/// Where the chunks of one update come from: memory, or a file.
pub trait Chunks: Sync {
    /// What can go wrong.
    type Error;

    /// How many chunks only decode together: with one scratch, all of them are decoded at the first.
    fn together(&self) -> usize;

    /// Adds `weight` times the values of chunk `index` to `sum`.
    ///
    /// # Errors
    /// If the chunk cannot be had, or `sum` does not have its length.
    fn fold_chunk(&self, index: usize, weight: f64, scratch: &mut Scratch, sum: &mut [f64]) -> Result<(), Self::Error>;

    /// Writes the values of chunk `index` to `out`.
    ///
    /// # Errors
    /// If the chunk cannot be had, or `out` does not have its length.
    fn decode_chunk(&self, index: usize, scratch: &mut Scratch, out: &mut [f32]) -> Result<(), Self::Error>;
}

impl Chunks for Payload<'_> {
    type Error = DecodeError;

    fn together(&self) -> usize {
        Payload::together(self)
    }

    fn fold_chunk(&self, index: usize, weight: f64, scratch: &mut Scratch, sum: &mut [f64]) -> Result<(), DecodeError> {
        Payload::fold_chunk(self, index, weight, &mut scratch.codec, sum)
    }

    fn decode_chunk(&self, index: usize, scratch: &mut Scratch, out: &mut [f32]) -> Result<(), DecodeError> {
        Payload::decode_chunk(self, index, &mut scratch.codec, out)
    }
}

/// What is known of an update. All of it but the client is what the client says: whoever lies about the update lies
/// about these.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Facts {
    /// Who sent it.
    pub client: ClientId,
    /// Number of samples it was trained on.
    pub samples: u64,
    /// Steps of SGD it took.
    pub steps: u64,
    /// Mean loss of the global model on its samples, before training; where a rule [needs](super::Combine::needs_loss) it.
    pub loss: Option<f64>,
    /// Models that were made since the one it started from; 0 where rounds wait.
    pub age: u64,
}

/// One counted update.
#[derive(Clone, Debug)]
pub struct Contribution<C> {
    /// What is known of it.
    pub facts: Facts,
    /// Its chunks.
    pub chunks: C,
}
