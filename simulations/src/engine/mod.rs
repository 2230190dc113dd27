//! One run: a scheme under a seed, round after round, in virtual time on any number of threads.
//!
//! The coordinator's [`Round`](nibble_server::Round) decides, the client's
//! [`Participant`](nibble_client::Participant) works, and this module carries events and effects between them. Results
//! depend on the seed alone: every random stream is keyed, updates are folded in ClientId order, and threads only ever
//! take work that is independent.

mod attack;
mod behaviour;
mod books;
mod buffered;
mod checkpoint;
mod control;
mod offers;
mod own;
mod round;
mod run;
mod vectors;
mod workers;

pub use checkpoint::Checkpoint;
pub use run::{Progress, Run};
pub use workers::Workers;
