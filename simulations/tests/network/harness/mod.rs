//! Programs, deployments of them, and clients played by the test.

mod deployment;
mod peer;
mod process;
mod programs;

pub(crate) use deployment::{Deployment, Round};
pub(crate) use peer::{Peer, Update, connection, layout_of, runtime};
pub(crate) use process::{Moments, PATIENCE, Process};
pub(crate) use programs::Program;
