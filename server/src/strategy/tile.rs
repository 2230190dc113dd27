//! A model and what is remembered of it, cut into chunks that threads change side by side.

use std::ops::Range;

use nibble_codec::Layout;
use nibble_seed::ClientId;

use super::{Step, Strategy};
use crate::aggregation::{Aggregate, Chunks};

/// A chunk of them, or a few.
#[derive(Debug)]
pub struct Tile<'a> {
    chunks: Range<usize>,
    /// Where it begins in the model.
    begin: usize,
    global: &'a mut [f32],
    memories: Vec<&'a mut [f32]>,
}

/// All chunks of `global` and of `memories`, which are [`Algorithm::memories`](super::Algorithm::memories) vectors, one after the
/// other: so many together as [`Aggregate::together`] says.
#[must_use]
pub fn tiles<'a>(layout: &Layout, together: usize, global: &'a mut [f32], memories: &'a mut [f32]) -> Vec<Tile<'a>> {
    let mut vectors = vec![global];
    vectors.extend(memories.chunks_exact_mut(layout.coordinates().max(1)));
    let cut = |first: usize| {
        let chunks = first..(first + together).min(layout.chunks());
        let range = layout.chunk_range(first).start..layout.chunk_range(chunks.end - 1).end;
        let mut pieces = vectors
            .iter_mut()
            .map(|rest| rest.split_off_mut(..range.len()).expect("every vector has the layout's length"));
        let global = pieces.next().expect("the model is the first of them");
        Tile { chunks, begin: range.start, global, memories: pieces.collect() }
    };
    (0..layout.chunks()).step_by(together).map(cut).collect()
}

/// What all chunks are changed by.
#[derive(Clone, Copy, Debug)]
pub struct Folding<'a, C> {
    /// The counted updates.
    pub aggregate: &'a Aggregate<C>,
    /// What their combination does to the model.
    pub strategy: Strategy,
    /// Learning rate that clients had.
    pub lr: f32,
    /// The server's control variate as clients had it; empty if that was 0, or there is none.
    pub sent: &'a [f32],
}

impl<C: Chunks> Folding<'_, C> {
    /// Changes a tile. `scratch` spares allocations.
    ///
    /// # Errors
    /// If a chunk of an update cannot be had, with the client it belongs to.
    pub fn change(&self, tile: &mut Tile<'_>, scratch: &mut [Vec<f64>; 2]) -> Result<(), (ClientId, C::Error)> {
        let [update, slope] = scratch;
        let len = tile.global.len();
        self.aggregate.mean_of(tile.chunks.clone(), len, update)?;
        slope.clear();
        if self.strategy.needs_slope() {
            self.aggregate.mean_per_step_of(tile.chunks.clone(), update, slope)?;
            slope.iter_mut().for_each(|value| *value /= f64::from(self.lr));
        }
        let sent = self.sent.get(tile.begin..tile.begin + len).unwrap_or_default();
        let step = Step { update, counted: self.aggregate.updates(), slope, sent };
        self.strategy.apply(&step, tile.global, &mut tile.memories);
        Ok(())
    }
}
