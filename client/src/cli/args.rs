//! The command line, as clap reads it.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use nibble_client::config::{Override, Source};

/// A client of a federated learning run: trains on this machine's data and sends compressed updates.
#[derive(Debug, Parser)]
#[command(
    name = "nibble-client",
    version,
    max_term_width = 100,
    after_help = "Exit codes:\n  0  the run is over, or stopped by a signal\n  1  failed while running\n  2  a mistake in \
                  the command or the configuration\n  3  the coordinator refuses this device: revoked, expired or unknown"
)]
pub(super) struct Args {
    #[command(subcommand)]
    pub(super) command: Command,
    /// How logs are written to stderr.
    #[arg(long, value_enum, default_value_t, global = true)]
    pub(super) log_format: LogFormat,
    /// What is logged: error, warn, info, debug, trace, or target=level pairs. Default: $NIBBLE_LOG, or else info.
    #[arg(long, value_name = "LEVEL", global = true)]
    pub(super) log: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a key, and exchange a token for its certificate.
    Enroll(EnrollArgs),
    /// Take part in a run until it is over.
    Run(RunArgs),
    /// Check a configuration without running it.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Say what a state directory holds.
    Status(StatusArgs),
}

#[derive(Debug, ClapArgs)]
pub(super) struct EnrollArgs {
    /// The coordinator.
    #[arg(long, value_name = "HOST:PORT")]
    pub(super) server: String,
    /// The token that the coordinator made for this device; - reads it from stdin, where no other process can see it.
    #[arg(long)]
    pub(super) token: String,
    /// Directory for the key and the certificates. It is made if it is not there.
    #[arg(long, value_name = "DIR")]
    pub(super) state: PathBuf,
    /// Give up an identity that is there already. What earlier updates left out is kept.
    #[arg(long)]
    pub(super) replace: bool,
}

#[derive(Debug, ClapArgs)]
pub(super) struct RunArgs {
    #[command(flatten)]
    pub(super) source: SourceArgs,
    /// Stop when standard input is closed: for programs that start this one and may be killed.
    #[arg(long)]
    pub(super) until_stdin_closes: bool,
}

/// Which configuration.
#[derive(Debug, ClapArgs)]
pub(super) struct SourceArgs {
    /// Configuration file; without one, every key has its default.
    config: Option<PathBuf>,
    /// Set any key of the configuration, e.g. --set data.dataset=mnist-10k. Can be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<Override>,
}

impl From<SourceArgs> for Source {
    fn from(args: SourceArgs) -> Self {
        Self { file: args.config, overrides: args.sets }
    }
}

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Say whether the configuration can be run: its keys, its identity, its data.
    Check(SourceArgs),
}

#[derive(Debug, ClapArgs)]
pub(super) struct StatusArgs {
    /// The state directory. A client that runs there is not disturbed.
    #[arg(long, value_name = "DIR")]
    pub(super) state: PathBuf,
    /// What to print.
    #[arg(long, value_enum, default_value_t)]
    pub(super) format: Format,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}
