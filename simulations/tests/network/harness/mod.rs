//! Programs, deployments of them, and clients played by the test.

mod deployment;
mod process;
mod programs;

pub(crate) use deployment::{Deployment, Round};
pub(crate) use process::Process;
pub(crate) use programs::Program;
