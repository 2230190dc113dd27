//! Models down and updates up, in checked chunks, resumable after a break.
//!
//! A transfer object outlives connections: each attempt goes on from where the last one stopped. Absent on purpose: the
//! decision to try again, which is the agent's.

mod chunk;
mod download;
mod upload;

pub use chunk::TransferError;
pub(crate) use download::{Download, Wanted};
pub(crate) use upload::Upload;
