//! `nibble-sim`: the simulator's command line. Without a command it compares compression levels on embedded data.
//!
//! Exit codes: 0 done; 1 failed while running; 2 a mistake in the command or the experiment; 130 interrupted.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
