//! The command line, as clap reads it.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use nibble_codec::Scheme;
use nibble_sim::experiment::{Override, Sweep};

/// Federated learning over slow links, simulated: compare what compression costs in accuracy and saves in bytes.
///
/// Without a command, runs `compare`: 100 virtual clients train on embedded MNIST digits under five schemes and three
/// seeds, and the results go to results/levels/report.html.
#[derive(Debug, Parser)]
#[command(name = "nibble-sim", version, max_term_width = 100)]
pub(super) struct Args {
    #[command(subcommand)]
    pub(super) command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run every scheme under every seed, and report.
    Compare(CompareArgs),
    /// Run one scheme under one seed, and report.
    Run(RunArgs),
    /// Show or check an experiment without running it.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// List, fetch and describe data sets.
    #[command(subcommand)]
    Data(DataCommand),
    /// Encode, decode and measure single updates.
    #[command(subcommand)]
    Codec(CodecCommand),
    /// Write results as the files of other tools.
    Export(ExportArgs),
    /// Measure the speed and memory of simulated rounds on this machine.
    Bench(BenchArgs),
    /// Hold accuracies on Fashion-MNIST against PyTorch's, round by round.
    Reference(ReferenceArgs),
}

impl Default for Command {
    fn default() -> Self {
        Self::Compare(CompareArgs::default())
    }
}

/// Which experiment.
#[derive(Clone, Debug, Default, ClapArgs)]
#[command(allow_negative_numbers = true)]
pub(super) struct ExperimentArgs {
    /// Experiment file; without one, the built-in comparison of levels on mnist-10k.
    pub(super) experiment: Option<PathBuf>,
    /// Rounds of a run.
    #[arg(long)]
    pub(super) rounds: Option<u64>,
    /// Set any key of the experiment, e.g. --set local.lr=0.05. Can be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(super) sets: Vec<Override>,
}

#[derive(Clone, Debug, ClapArgs)]
pub(super) struct ExportArgs {
    /// The results directory of a comparison or run.
    pub(super) results: PathBuf,
    /// For which tool.
    #[arg(long, value_enum)]
    pub(super) to: ExportFormat,
    /// Where to write. Default: tensorboard or rounds.parquet in the results directory.
    #[arg(long, value_name = "PATH")]
    pub(super) out: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum ExportFormat {
    /// Event files, one directory a run.
    Tensorboard,
    /// One table; in builds with the feature `parquet`.
    Parquet,
}

/// How to run it, and where the results go.
#[derive(Clone, Debug, Default, ClapArgs)]
pub(super) struct RunningArgs {
    /// What carries models and updates.
    #[arg(long, value_enum, default_value_t)]
    pub(super) transport: Transport,
    /// Worker threads; they do not change the result. Default: all processors.
    #[arg(long)]
    pub(super) threads: Option<usize>,
    /// Directory for the results. Default: results/NAME.
    #[arg(long, value_name = "DIR")]
    pub(super) out: Option<PathBuf>,
    /// What to print on stdout at the end.
    #[arg(long, value_enum, default_value_t)]
    pub(super) format: Format,
    /// Go on with an unfinished run in the output directory.
    #[arg(long, conflicts_with = "fresh")]
    pub(super) resume: bool,
    /// Throw away an unfinished run in the output directory.
    #[arg(long)]
    pub(super) fresh: bool,
    /// Seconds between checkpoints of a run; 0 is after every round. Default: 5.
    #[arg(long, value_name = "SECONDS")]
    pub(super) checkpoint_every: Option<f64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Transport {
    /// Virtual clients in this process, in virtual time.
    #[default]
    Memory,
    /// A real coordinator and a real process for every client, over gRPC and mTLS on loopback.
    Grpc,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

#[derive(Clone, Debug, Default, ClapArgs)]
pub(super) struct CompareArgs {
    #[command(flatten)]
    pub(super) experiment: ExperimentArgs,
    /// Schemes to compare, e.g. fp32,int8+ef,int4,int2:nearest.
    #[arg(long, value_delimiter = ',')]
    pub(super) schemes: Vec<String>,
    /// Seeds, one run of every scheme each, e.g. 0,1,2.
    #[arg(long, value_delimiter = ',')]
    pub(super) seeds: Vec<u64>,
    /// Run the experiment once for each value of a key, e.g. links.profile=lte,nb-iot; of several keys, every combination.
    #[arg(long = "sweep", value_name = "KEY=A,B,...")]
    pub(super) sweeps: Vec<Sweep>,
    #[command(flatten)]
    pub(super) running: RunningArgs,
}

#[derive(Clone, Debug, ClapArgs)]
pub(super) struct RunArgs {
    #[command(flatten)]
    pub(super) experiment: ExperimentArgs,
    /// The scheme. Default: the first of the experiment.
    #[arg(long)]
    pub(super) scheme: Option<String>,
    /// The seed. Default: the first of the experiment.
    #[arg(long)]
    pub(super) seed: Option<u64>,
    /// Keep what every client changed in every round, as safetensors files in this directory: for `codec eval`.
    #[arg(long, value_name = "DIR", conflicts_with = "transport")]
    pub(super) save_updates: Option<PathBuf>,
    #[command(flatten)]
    pub(super) running: RunningArgs,
}

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Print the experiment with every key spelled out.
    Show(ExperimentArgs),
    /// Say whether the experiment can be run: its keys, its data, its model, its budget.
    Check(ExperimentArgs),
}

#[derive(Debug, Subcommand)]
pub(super) enum DataCommand {
    /// The data sets known by name, and where they are.
    List {
        /// What to print.
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Download a data set to the cache ($NIBBLE_CACHE, or nibble in the user's cache directory).
    Fetch {
        /// fashion-mnist or mnist.
        name: String,
    },
    /// Say what is in a data set, and how a partition deals it out.
    Describe {
        /// A name, a directory of IDX files, or a CSV file. Default: that of the experiment.
        name: Option<String>,
        /// A partition: iid, natural, dirichlet:0.3 (alpha), shard:2 (shards per client), pathological:2 (classes per
        /// client), size-skewed:1 (sigma), file:PATH, counts:PATH.
        #[arg(long)]
        partition: Option<String>,
        /// Virtual clients.
        #[arg(long)]
        clients: Option<usize>,
        /// Seed of the partition.
        #[arg(long)]
        seed: Option<u64>,
        /// Show every client and every class, however many.
        #[arg(long)]
        all: bool,
        /// Set any key of an experiment, e.g. --set data.label=species.
        #[arg(long = "set", value_name = "KEY=VALUE")]
        sets: Vec<Override>,
        /// How to print; json has every client's samples of each class.
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum CodecCommand {
    /// Measure schemes on a vector: bytes, error, bias, speed of one thread.
    Eval {
        /// safetensors file of F32 tensors, e.g. an update of `run --save-updates`; or normal, lognormal, student-t: 2^20
        /// independent values of that law (t with 3 degrees of freedom).
        file: PathBuf,
        /// Schemes, e.g. int4,auto:1,fp16.
        #[arg(long, value_delimiter = ',', required = true)]
        schemes: Vec<Scheme>,
        /// Encodings of each scheme, with seeds 0, 1, ...
        #[arg(long, default_value_t = 10)]
        repeat: u64,
        /// Draw error against rate, one curve a family of schemes, to this .svg or .png.
        #[arg(long, value_name = "FILE")]
        plot: Option<PathBuf>,
        /// What to print.
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Show how `plan` would divide a number of bytes among the tensors of a vector, and why.
    Plan {
        /// safetensors file of F32 tensors, e.g. an update of `run --save-updates`.
        file: PathBuf,
        /// Bytes of the payload, e.g. 64KiB.
        #[arg(long, value_name = "BYTES")]
        budget: String,
        /// How values become codes.
        #[arg(long, value_enum, default_value_t)]
        rounding: PlanRounding,
        /// How much an error in a tensor counts against one elsewhere, e.g. fc1.weight=4. Can be repeated. Default: 1.
        #[arg(long = "weight", value_name = "TENSOR=WEIGHT")]
        weights: Vec<String>,
        /// What to print.
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Encode a vector to a payload.
    Encode {
        /// safetensors file of F32 tensors.
        file: PathBuf,
        /// The scheme.
        #[arg(long)]
        scheme: Scheme,
        /// Seed of the rounding.
        #[arg(long, default_value_t = 0)]
        seed: u64,
        /// Round to write into the header.
        #[arg(long, default_value_t = 0)]
        round: u64,
        /// Where the payload goes.
        #[arg(short, long)]
        output: PathBuf,
    },
    /// Decode a payload to a safetensors file.
    Decode {
        /// The payload.
        payload: PathBuf,
        /// safetensors file whose tensors the payload has.
        #[arg(long)]
        like: PathBuf,
        /// Where the decoded tensors go.
        #[arg(short, long)]
        output: PathBuf,
    },
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum PlanRounding {
    /// Unbiased.
    #[default]
    Stochastic,
    /// Least error of one update.
    Nearest,
    /// Unbiased, by subtractive dither.
    Dithered,
}

#[derive(Clone, Debug, ClapArgs)]
pub(super) struct BenchArgs {
    /// Measure only this row, in this process.
    #[arg(long, value_enum)]
    pub(super) row: Option<Row>,
    /// Worker threads. Default: all processors.
    #[arg(long)]
    pub(super) threads: Option<usize>,
    /// Rounds to take the median of.
    #[arg(long)]
    pub(super) rounds: Option<u64>,
    /// Scheme of the updates.
    #[arg(long, default_value = "fp32")]
    pub(super) scheme: String,
    /// Data set: 60,000 images of 28 x 28 with 10 classes.
    #[arg(long, default_value = "fashion-mnist")]
    pub(super) dataset: String,
    /// What to print.
    #[arg(long, value_enum, default_value_t)]
    pub(super) format: Format,
}

#[derive(Clone, Debug, ClapArgs)]
pub(super) struct ReferenceArgs {
    /// mlp or cnn.
    #[arg(long, default_value = "mlp")]
    pub(super) model: String,
    /// S1 (100 clients, IID), S2 (100 clients, Dirichlet 0.3), S3 (1,000 clients of 60 samples).
    #[arg(long, value_delimiter = ',', default_value = "S1,S3")]
    pub(super) settings: Vec<String>,
    /// Most rounds to play of each curve, which have 20 or 50.
    #[arg(long, default_value_t = 5)]
    pub(super) rounds: u64,
    /// Worker threads. Default: all processors.
    #[arg(long)]
    pub(super) threads: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Row {
    /// mlp, 10 of 100 clients a round.
    Mlp10Of100,
    /// mlp, 100 of 1,000 clients a round.
    Mlp100Of1000,
    /// cnn, 10 of 100 clients a round.
    Cnn10Of100,
}
