//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

/// The coordinator of Nibble: federated learning over links that are too slow for it.
///
/// Exit codes: 0 done, or stopped by a signal; 1 failed while running; 2 a mistake in the command or the configuration.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true)]
pub(super) struct Args {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a configuration and an authority for certificates
    Init(Init),
    /// Coordinate the run until it is stopped
    Serve(Serve),
    /// Check the configuration, without serving
    Config(ConfigCheck),
    /// Make a one-time token with which a device enrols
    Token(NewToken),
    /// Shut a device out, for good
    Revoke(Revoke),
    /// How the run stands
    Status(Report),
    /// The rounds of the run
    Rounds(Report),
    /// The devices
    Clients(Report),
    /// Bytes moved, by client and round
    Ledger(Report),
}

#[derive(Debug, clap::Args)]
pub(super) struct Init {
    /// Directory to make; it must be new or empty
    #[arg(default_value = "coordinator")]
    pub(super) directory: PathBuf,
    /// A DNS name or IP address that clients reach the coordinator by; may be given several times
    #[arg(long = "host", value_name = "HOST")]
    pub(super) hosts: Vec<String>,
}

#[derive(Debug, clap::Args)]
pub(super) struct Serve {
    #[command(flatten)]
    pub(super) config: Config,
    /// Serve without TLS, on a loopback address only: clients are who they say they are
    #[arg(long)]
    pub(super) insecure: bool,
    /// Stop once the last round has ended and clients were told
    #[arg(long)]
    pub(super) until_finished: bool,
    /// Stop when standard input is closed: for programs that start this one and may be killed
    #[arg(long)]
    pub(super) until_stdin_closes: bool,
    /// How logs are written
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub(super) log_format: LogFormat,
}

#[derive(Debug, clap::Args)]
pub(super) struct Config {
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = "nibble-server.toml")]
    pub(super) config: PathBuf,
    /// Override a key, e.g. --set cohort.size=10; may be given several times
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(super) set: Vec<String>,
}

#[derive(Debug, clap::Args)]
pub(super) struct ConfigCheck {
    #[command(flatten)]
    pub(super) config: Config,
}

#[derive(Debug, clap::Args)]
pub(super) struct NewToken {
    #[command(flatten)]
    pub(super) config: Config,
    /// Name of the device
    #[arg(long)]
    pub(super) name: String,
    /// Number of the device; by default the next free one
    #[arg(long, value_name = "N")]
    pub(super) client: Option<u64>,
    /// Hours that the token holds
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..=8760))]
    pub(super) hours: u32,
}

#[derive(Debug, clap::Args)]
pub(super) struct Revoke {
    #[command(flatten)]
    pub(super) config: Config,
    /// Name of the device
    pub(super) name: String,
}

#[derive(Debug, clap::Args)]
pub(super) struct Report {
    #[command(flatten)]
    pub(super) config: Config,
    /// The run; by default that of the configuration
    #[arg(long)]
    pub(super) run: Option<String>,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(super) format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// A table
    Text,
    /// JSON
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum LogFormat {
    /// Lines for people
    Text,
    /// A JSON object a line
    Json,
}
