//! Commands, their arguments, and how they answer: results on stdout, logs and errors on stderr.
#![allow(clippy::print_stderr)]

mod args;
mod check;
mod enroll;
mod error;
mod logs;
mod run;
mod status;

use std::{io::Write, process::ExitCode};

use clap::{Parser, error::ErrorKind};

use args::{Args, Command, ConfigCommand};
use error::CliError;

/// Parses the command line and does what it says.
pub(crate) fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            let code = if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) { 0 } else { 2 };
            // Nothing is left to tell anybody if even this cannot be printed.
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    let result = logs::start(args.log_format, args.log.as_deref()).and_then(|()| match args.command {
        Command::Enroll(command) => enroll::enroll(&command),
        Command::Run(args) => run::run(args),
        Command::Config(ConfigCommand::Check(source)) => check::check(&source.into()),
        Command::Status(command) => status::status(&command),
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

/// Writes a line to stdout. A reader that has gone, e.g. `head`, is no failure.
fn say(line: std::fmt::Arguments<'_>) -> Result<(), CliError> {
    match writeln!(std::io::stdout().lock(), "{line}") {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(CliError::io("print", "stdout")(error)),
        _ => Ok(()),
    }
}

/// The runtime: one thread for the connection; training gets another while it lasts.
fn runtime() -> Result<tokio::runtime::Runtime, CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(CliError::io("start", "the event loop"))
}
