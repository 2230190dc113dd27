//! A model and what is remembered of it, cut into chunks that threads change side by side.

use nibble_codec::Layout;

use super::Optimizer;

/// One chunk of them.
#[derive(Debug)]
pub struct Tile<'a> {
    /// Which.
    pub chunk: usize,
    /// Parameters of the global model.
    pub global: &'a mut [f32],
    memories: Vec<&'a mut [f32]>,
}

impl Optimizer {
    /// All chunks of `global` and of `memories`, which are [`Optimizer::memories`] vectors, one after the other.
    #[must_use]
    pub fn tiles<'a>(&self, layout: &Layout, global: &'a mut [f32], memories: &'a mut [f32]) -> Vec<Tile<'a>> {
        let mut vectors = vec![global];
        vectors.extend(memories.chunks_exact_mut(layout.coordinates().max(1)));
        let cut = |chunk: usize| {
            let len = layout.chunk_range(chunk).len();
            let mut pieces =
                vectors.iter_mut().map(|rest| rest.split_off_mut(..len).expect("every vector has the layout's length"));
            let global = pieces.next().expect("the model is the first of them");
            Tile { chunk, global, memories: pieces.collect() }
        };
        (0..layout.chunks()).map(cut).collect()
    }
}

impl Tile<'_> {
    /// Changes the chunk by `update`.
    pub fn step(&mut self, optimizer: Optimizer, update: &[f64]) {
        optimizer.apply(update, self.global, &mut self.memories);
    }
}
