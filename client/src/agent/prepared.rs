//! What a client trains with, made ready for the models of a run.
//!
//! Absent on purpose: the client's own tensors once it has trained; they are kept by `state`.

use std::{num::NonZeroUsize, thread::available_parallelism};

use nibble_learning::{PersonalTrainer, Trainer};

use super::{
    TrainerSource,
    order::{Order, Personal},
};
use crate::Participant;

/// A participant, and what it was made for.
pub(super) struct Prepared {
    architecture: String,
    personal: Option<Personal>,
    participant: Participant,
    /// What the client's own tensors are before it has trained.
    own: Vec<f32>,
}

impl Prepared {
    /// Makes ready for an order, or says why it has to be declined.
    pub(super) fn new(trainers: &mut dyn TrainerSource, order: &Order) -> Result<Self, String> {
        let (architecture, personal) = (order.architecture.clone(), order.personal.clone());
        let trainer = trainers.trainer(&architecture).map_err(|error| error.to_string())?;
        let (trainer, own) = shared(trainer, personal.as_ref())?;
        let participant = Participant::new(trainer).map_err(|error| error.to_string())?;
        // Training is over when the update is encoded: all processors are free.
        let participant = participant.with_threads(available_parallelism().unwrap_or(NonZeroUsize::MIN));
        Ok(Self { architecture, personal, participant, own })
    }

    /// Whether it will do for an order.
    pub(super) fn fits(&self, order: &Order) -> bool {
        self.architecture == order.architecture && self.personal == order.personal
    }

    /// What the client's own tensors are before it has trained; nothing, if it has none.
    pub(super) fn own(&self) -> &[f32] {
        &self.own
    }

    /// Names the layout of what is shared.
    pub(super) fn layout_hash(&self) -> u64 {
        self.participant.layout().hash()
    }

    /// The participant, if the order's tensors are its own.
    pub(super) fn participant(&mut self, order: &Order) -> Result<&mut Participant, String> {
        // Names and shapes are compared before a layout is made of them, as a layout's size depends on them.
        let expected = self.participant.trainer().tensors();
        if expected == order.tensors {
            return Ok(&mut self.participant);
        }
        let differs = expected.iter().zip(&order.tensors).find(|(expected, found)| expected != found);
        Err(match differs {
            Some((expected, found)) => format!(
                "the run's tensor {} has shape {:?}, this client's {} {:?}",
                found.name, found.shape, expected.name, expected.shape
            ),
            None => format!("the run has {} tensors, this client {}", order.tensors.len(), expected.len()),
        })
    }
}

/// A trainer of what is shared, and what the rest of its model is at first.
fn shared(trainer: Box<dyn Trainer>, personal: Option<&Personal>) -> Result<(Box<dyn Trainer>, Vec<f32>), String> {
    let Some(Personal { names, seed }) = personal else { return Ok((trainer, Vec::new())) };
    let trainer = PersonalTrainer::new(trainer, names).map_err(|error| error.to_string())?;
    let own = trainer.own_init(*seed);
    Ok((Box::new(trainer), own))
}
