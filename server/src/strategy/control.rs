//! Control variates: a vector of each client that corrects the gradients of its training, and, where an algorithm has one,
//! the server's, which travels to clients with the model.
//!
//! ```text
//! gradient  <- gradient + sent - own           in every local step
//! own       <- own - sent - gain accepted       when an update was accepted
//! ```
//!
//! `accepted` is what the update's payload decodes to. Both ends know it, so that a client's vector, which never leaves
//! it, costs no byte on the way up. What a payload left out stays in `own`, and with it in the client's next update: that is
//! feedback, and it would be given twice if the scheme gave it, too.

use nibble_codec::{EncodeError, Encoder, Layout, Payload, PayloadId, Scheme};
use nibble_seed::{Purpose, RoundId, Seed};

/// How clients' control variates move, and the server's travels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Control {
    /// How far an accepted update moves the client's.
    pub gain: Gain,
    /// How the server's is coded, if clients need it.
    pub downlink: Option<Scheme>,
}

/// How far an accepted update moves the control variate of its client.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Gain {
    /// As far as one step of its training did, per unit of learning rate: 1 / (steps lr).
    PerStep,
    /// As many times the update.
    Times(f32),
}

/// The server's control variate as clients have it.
#[derive(Clone, Debug, PartialEq)]
pub struct Published {
    /// What they are sent.
    pub frame: Vec<u8>,
    /// What that decodes to.
    pub values: Vec<f32>,
}

impl Control {
    /// Codes the server's control variate for a round; nothing where there is none, or while it is 0. The same every time.
    ///
    /// # Errors
    /// If it is not finite.
    pub fn publish(
        &self,
        layout: &Layout,
        memory: &[f32],
        (seed, round): (Seed, RoundId),
    ) -> Result<Option<Published>, EncodeError> {
        let Some(scheme) = self.downlink.filter(|_| memory.iter().any(|value| *value != 0.0)) else { return Ok(None) };
        let (mut frame, mut values) = (Vec::new(), vec![0.0; layout.coordinates()]);
        let id = PayloadId { round, seed: seed.derive(Purpose::Control, round.0, 0) };
        Encoder::new(scheme).encode(layout, memory, id, &mut frame)?;
        let decoded = Payload::parse(&frame, layout).and_then(|frame| frame.decode(&mut values));
        decoded.expect("it was just encoded");
        Ok(Some(Published { frame, values }))
    }
}
