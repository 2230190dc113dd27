//! `nibble-client`: one client of a federated learning run.
//!
//! Exit codes: 0 the run is over, or stopped by a signal; 1 failed while running; 2 a mistake in the command or the
//! configuration; 3 the coordinator refuses this device.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
