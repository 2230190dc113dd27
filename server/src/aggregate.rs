//! The weighted mean of compressed updates, chunk by chunk: O(chunk) memory beyond the payloads.
//!
//! Updates are folded in ClientId order in f64, whatever order they came in, so the mean is the same to the bit on any
//! number of threads. Chunks are independent: whoever has threads spreads the chunks over them.

use nibble_codec::{DecodeError, Payload};
use nibble_seed::ClientId;

use crate::error::AggregateError;

/// Memory that folding needs.
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

    /// Adds `weight` times the values of chunk `index` to `sum`.
    ///
    /// # Errors
    /// If the chunk cannot be had, or `sum` does not have its length.
    fn fold_chunk(&self, index: usize, weight: f64, scratch: &mut Scratch, sum: &mut [f64]) -> Result<(), Self::Error>;
}

impl Chunks for Payload<'_> {
    type Error = DecodeError;

    fn fold_chunk(&self, index: usize, weight: f64, scratch: &mut Scratch, sum: &mut [f64]) -> Result<(), DecodeError> {
        Payload::fold_chunk(self, index, weight, &mut scratch.codec, sum)
    }
}

/// One counted update.
#[derive(Clone, Debug)]
pub struct Contribution<C> {
    /// Who sent it.
    pub client: ClientId,
    /// Number of samples it was trained on.
    pub samples: u64,
    /// Its chunks.
    pub chunks: C,
}

/// Counted updates, ready to be folded.
#[derive(Clone, Debug)]
pub struct Aggregate<C> {
    contributions: Vec<Contribution<C>>,
    total_samples: f64,
}

impl<C: Chunks> Aggregate<C> {
    /// An aggregate of these updates in ClientId order.
    ///
    /// # Errors
    /// If a client contributes twice, or all samples together are 0.
    pub fn new(mut contributions: Vec<Contribution<C>>) -> Result<Self, AggregateError> {
        contributions.sort_by_key(|contribution| contribution.client);
        if let Some(twice) = contributions.windows(2).find(|pair| pair[0].client == pair[1].client) {
            return Err(AggregateError::Duplicate { client: twice[0].client });
        }
        let total_samples: f64 = contributions.iter().map(|contribution| contribution.samples as f64).sum();
        if total_samples <= 0.0 {
            return Err(AggregateError::NoWeight { updates: contributions.len() });
        }
        Ok(Self { contributions, total_samples })
    }

    /// The sample-weighted mean of chunk `index`, left in `mean`, which is resized to the chunk and is scratch before.
    ///
    /// # Errors
    /// If a chunk cannot be had, with the client it belongs to.
    pub fn mean_of_chunk(&self, index: usize, len: usize, mean: &mut Vec<f64>) -> Result<(), (ClientId, C::Error)> {
        mean.clear();
        mean.resize(len, 0.0);
        let mut scratch = Scratch::default();
        for Contribution { client, samples, chunks } in &self.contributions {
            let weight = *samples as f64 / self.total_samples;
            chunks.fold_chunk(index, weight, &mut scratch, mean).map_err(|error| (*client, error))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use nibble_codec::{Encoder, Layout, PayloadId};
    use nibble_seed::{RoundId, Seed};

    use super::*;

    fn payload(layout: &Layout, x: &[f32]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let id = PayloadId { round: RoundId(0), seed: Seed(0) };
        Encoder::new("fp32".parse().unwrap()).encode(layout, x, id, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn the_mean_is_weighted_by_samples_and_blind_to_order() {
        let layout = Layout::new([("a", vec![3])]).unwrap();
        let payloads = [payload(&layout, &[1.0, 0.0, -2.0]), payload(&layout, &[5.0, 0.1, 4.0])];
        let contribution = |client: usize, samples| Contribution {
            client: ClientId(client as u64),
            samples,
            chunks: Payload::parse(&payloads[client], &layout).unwrap(),
        };
        let (mut mean, mut swapped) = (vec![f64::NAN; 9], Vec::new());
        Aggregate::new(vec![contribution(0, 3), contribution(1, 1)]).unwrap().mean_of_chunk(0, 3, &mut mean).unwrap();
        Aggregate::new(vec![contribution(1, 1), contribution(0, 3)])
            .unwrap()
            .mean_of_chunk(0, 3, &mut swapped)
            .unwrap();
        assert_eq!(mean, [2.0, 0.25 * f64::from(0.1f32), -0.5]);
        assert_eq!(mean, swapped);
    }

    #[test]
    fn twice_the_same_client_or_no_weight_is_refused() {
        let layout = Layout::new([("a", vec![1])]).unwrap();
        let bytes = payload(&layout, &[1.0]);
        let contribution = |client, samples| Contribution {
            client: ClientId(client),
            samples,
            chunks: Payload::parse(&bytes, &layout).unwrap(),
        };
        let twice = Aggregate::new(vec![contribution(4, 1), contribution(3, 1), contribution(4, 2)]);
        assert_eq!(twice.unwrap_err(), AggregateError::Duplicate { client: ClientId(4) });
        let none = Aggregate::new(vec![contribution(4, 0)]);
        assert_eq!(none.unwrap_err(), AggregateError::NoWeight { updates: 1 });
    }
}
