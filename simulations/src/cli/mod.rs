//! Commands, their arguments, and how they answer: results on stdout, progress and errors on stderr.
#![allow(clippy::print_stdout, clippy::print_stderr)]

/// Prints a line to stdout. A reader that has gone, e.g. `head`, ends the process quietly.
macro_rules! say {
    (@ $($text:tt)*) => { $crate::cli::print(format_args!($($text)*)) };
    ($($text:tt)*) => { $crate::cli::print(format_args!("{}\n", format_args!($($text)*))) };
    () => { $crate::cli::print(format_args!("\n")) };
}

mod args;
mod bench;
mod codec;
mod compare;
mod config;
mod data;
mod export;
mod progress;
mod reference;

use std::{
    io::{IsTerminal, Write},
    process::ExitCode,
};

use clap::{Parser, error::ErrorKind};
use nibble_sim::{error::SimError, report::Style};

use args::{Args, Command};

/// Parses the command line and does what it says.
pub(crate) fn main() -> ExitCode {
    let started = nibble_sim::clock::Stopwatch::start();
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            let code = if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) { 0 } else { 2 };
            // Nothing is left to tell anybody if even this cannot be printed.
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    let result = match args.command.unwrap_or_default() {
        Command::Compare(command) => compare::compare(command),
        Command::Run(command) => compare::run(command),
        Command::Config(command) => config::config(command),
        Command::Data(command) => data::data(command),
        Command::Codec(command) => codec::codec(command),
        Command::Export(command) => export::export(&command),
        Command::Reference(command) => reference::reference(&command),
        Command::Bench(command) => bench::bench(&command, started),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {error}", paint("error", "1;31"));
            ExitCode::from(error.exit_code())
        }
    }
}

/// Writes to stdout, or ends the process: quietly where nobody reads on, with exit code 1 where writing fails.
fn print(text: std::fmt::Arguments<'_>) {
    let mut stdout = std::io::stdout().lock();
    if let Err(error) = stdout.write_fmt(text).and_then(|()| stdout.flush()) {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            std::process::exit(0);
        }
        eprintln!("{}: cannot print the result: {error}", paint("error", "1;31"));
        std::process::exit(1);
    }
}

/// Whether colours are wanted on a stream.
fn style_of(stream: &impl IsTerminal) -> Style {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    if stream.is_terminal() && !refused { Style::Color } else { Style::Plain }
}

/// `text` in an ANSI colour, if stderr takes colours.
fn paint(text: &str, colour: &str) -> String {
    match style_of(&std::io::stderr()) {
        Style::Color => format!("\x1b[{colour}m{text}\x1b[0m"),
        Style::Plain => text.into(),
    }
}

/// Prints a value as JSON.
fn print_json(value: &impl serde::Serialize) -> Result<(), SimError> {
    let json = serde_json::to_string_pretty(value).map_err(|error| SimError::io("stdout")(error.into()))?;
    say!("{json}");
    Ok(())
}
