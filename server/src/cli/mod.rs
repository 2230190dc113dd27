//! Commands, their arguments, and how they answer: results on stdout, logs and errors on stderr.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod args;
mod identity;
mod init;
mod reports;
mod serve;

use std::{
    io::{self, Write},
    path::Path,
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, Result};
use clap::{Parser, error::ErrorKind};
use nibble_server::{
    clock::{Clock, SystemClock},
    settings::{Settings, SettingsError},
};

use args::{Args, Command};

/// Parses the command line and does what it says.
pub(crate) fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            let code = if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) { 0 } else { 2 };
            drop(error.print());
            return ExitCode::from(code);
        }
    };
    let result = match args.command {
        Command::Init(command) => init::init(&command),
        Command::Serve(command) => serve::serve(&command),
        Command::Config(command) => serve::check(&command),
        Command::Token(command) => identity::token(&command),
        Command::Revoke(command) => identity::revoke(&command),
        Command::Status(command) => reports::status(&command),
        Command::Rounds(command) => reports::rounds(&command),
        Command::Clients(command) => reports::clients(&command),
        Command::Ledger(command) => reports::ledger(&command),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(if is_mistake(&error) { 2 } else { 1 })
        }
    }
}

/// A mistake in the command or the configuration, as against a failure while running.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Mistake(String);

fn is_mistake(error: &anyhow::Error) -> bool {
    error.is::<SettingsError>() || error.is::<Mistake>()
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

fn settings(config: &Path, set: &[String]) -> Result<Settings> {
    Ok(Settings::load(config, set)?)
}

fn now() -> Duration {
    SystemClock.now()
}

/// Prints text; a reader that has gone, e.g. `head`, is no failure.
fn print(text: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    Ok(stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush())?)
}

/// Prints a value as JSON.
fn print_json(value: &impl serde::Serialize) -> Result<()> {
    print(&(serde_json::to_string_pretty(value).context("JSON")? + "\n"))
}
