//! Control variates: a vector that a client keeps from round to round and that corrects the gradients of its training, against
//! the drift of clients whose data differ (SCAFFOLD, FedDyn).
//!
//! ```text
//! gradient <- gradient + server - own          in every step
//! own      <- own - server - gain accepted      when an update was accepted; `accepted` is what its payload decodes to
//! ```
//!
//! What a payload left out thus stays in `own`, and comes with the next update: feedback of its own kind.

use nibble_codec::{DecodeError, Layout, Payload, Scratch};
use nibble_learning::StepHook;

/// The vectors that correct a client's training. An empty one is 0.
#[derive(Clone, Copy, Debug, Default)]
pub struct Control<'a> {
    /// The client's own.
    pub own: &'a [f32],
    /// The server's.
    pub server: &'a [f32],
}

/// How far an accepted update moves the client's own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Gain {
    /// 1 / (steps lr): the mean gradient of its steps.
    PerStep,
    /// As many times the update.
    Times(f32),
}

impl Control<'_> {
    /// What is added to every gradient.
    pub(crate) fn correction(&self, coordinates: usize, correction: &mut Vec<f32>) {
        correction.clear();
        correction.extend_from_slice(self.server);
        correction.resize(coordinates, 0.0);
        correction.iter_mut().zip(self.own).for_each(|(sum, own)| *sum -= own);
    }

    /// The client's own after an update of so many steps at this learning rate was accepted.
    ///
    /// # Errors
    /// If a vector is neither empty nor of the layout.
    pub fn after(
        &self,
        (gain, steps, lr): (Gain, u64, f32),
        accepted: &Payload<'_>,
        layout: &Layout,
    ) -> Result<Vec<f32>, DecodeError> {
        let gain = match gain {
            Gain::PerStep => 1.0 / (steps.max(1) as f64 * f64::from(lr)),
            Gain::Times(gain) => f64::from(gain),
        };
        let expected = layout.coordinates();
        let fits = |vector: &[f32]| match vector.len() {
            found if found == 0 || found == expected => Ok(()),
            found => Err(DecodeError::Buffer { expected, found }),
        };
        fits(self.own)?;
        fits(self.server)?;
        let (mut moved, mut scratch) = (vec![0.0; expected], Scratch::default());
        for chunk in 0..layout.chunks() {
            let range = layout.chunk_range(chunk);
            let of = |vector: &[f32], index: usize| vector.get(index).copied().map_or(0.0, f64::from);
            let out = &mut moved[range.clone()];
            accepted.decode_chunk(chunk, &mut scratch, out)?;
            for (index, value) in range.zip(out) {
                *value = (of(self.own, index) - of(self.server, index) - gain * f64::from(*value)) as f32;
            }
        }
        Ok(moved)
    }
}

/// Adds a vector to the gradient of every step.
pub(crate) struct Correct<'a>(pub(crate) &'a [f32]);

impl StepHook for Correct<'_> {
    fn on_step(&mut self, _: u64, _: &[f32], gradient: &mut [f32]) {
        gradient.iter_mut().zip(self.0).for_each(|(gradient, correction)| *gradient += correction);
    }
}
