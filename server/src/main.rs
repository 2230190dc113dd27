//! `nibble-server`: the coordinator's command line.
//!
//! Exit codes: 0 done, or stopped by a signal; 1 failed while running; 2 a mistake in the command or the configuration.

mod cli;
mod metrics;
mod model;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
