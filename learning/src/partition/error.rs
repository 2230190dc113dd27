//! What can be wrong with a partition: every text says what, where, and how to mend it.

use std::path::PathBuf;

/// Errors of splitting samples over clients.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PartitionError {
    /// Nobody to give samples to.
    #[error("0 clients cannot share samples: ask for at least 1")]
    NoClients,
    /// Somebody would be left without.
    #[error("{clients} clients cannot have a sample each of {samples}: ask for at most {samples} clients")]
    TooManyClients {
        /// Clients asked for.
        clients: usize,
        /// Samples there are.
        samples: usize,
    },
    /// A label past the number of classes.
    #[error("sample {sample} has label {label}, but there are {classes} classes: the number must exceed every label")]
    Label {
        /// Index of the sample.
        sample: usize,
        /// Its label.
        label: u8,
        /// Number of classes.
        classes: usize,
    },
    /// A Dirichlet concentration out of range.
    #[error(
        "dirichlet: alpha = {found} is not in 1e-6 to 1e6: take 0.1 for strongly skewed, 100 for nearly even clients"
    )]
    Alpha {
        /// The concentration.
        found: f64,
    },
    /// Fewest samples of a client that cannot be had.
    #[error(
        "dirichlet: min_samples = {min_samples} is not possible for {clients} clients: take 1 to {limit}",
        limit = samples / clients
    )]
    MinSamples {
        /// Fewest samples asked for.
        min_samples: usize,
        /// Clients asked for.
        clients: usize,
        /// Samples there are.
        samples: usize,
    },
    /// Shards that cannot be cut.
    #[error(
        "shard: shards_per_client = {shards_per_client} is not possible for {clients} clients: take 1 to {limit}",
        limit = samples / clients
    )]
    Shards {
        /// Shards of each client.
        shards_per_client: usize,
        /// Clients asked for.
        clients: usize,
        /// Samples there are.
        samples: usize,
    },
    /// More classes for a client than there are, or none.
    #[error(
        "pathological: classes_per_client = {found} is not possible: take 1 to {present}, the classes that have samples"
    )]
    ClassesPerClient {
        /// Classes asked for.
        found: usize,
        /// Classes that have samples.
        present: usize,
    },
    /// A class that cannot be shared.
    #[error(
        "pathological: class {class} falls to {holders} clients, but has {samples} samples: \
         ask for fewer clients or fewer classes_per_client"
    )]
    ClassTooSmall {
        /// The class.
        class: usize,
        /// Its samples.
        samples: usize,
        /// Clients it falls to.
        holders: usize,
    },
    /// A lognormal spread out of range.
    #[error("size-skewed: sigma = {found} is not in 0 to 100: 0 is even, 1 is skewed")]
    Sigma {
        /// The spread.
        found: f64,
    },
    /// A natural partition of data without owners.
    #[error("natural: the data do not say who a sample belongs to: name the `owner` column of a CSV file")]
    NoOwners,
    /// A number of clients other than the data's own.
    #[error("{kind}: there are {found} clients in the data, but {clients} are asked for: ask for {found}")]
    Population {
        /// Kind of partition, and the file if there is one.
        kind: String,
        /// Clients asked for.
        clients: usize,
        /// Clients the data make.
        found: usize,
    },
    /// A file that cannot be opened or read as CSV.
    #[error("cannot read {path}: {source}: give the path of a CSV file", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why, with the line if it has to do with one.
        source: csv::Error,
    },
    /// Rows of other columns than needed.
    #[error("{path}, line {line}: its columns are `{found}`, not {expected}", path = path.display())]
    Columns {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: u64,
        /// The row.
        found: String,
        /// What it should be.
        expected: String,
    },
    /// A cell that does not hold what it should.
    #[error("{path}, line {line}: `{found}` is not {expected}", path = path.display())]
    Cell {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: u64,
        /// The cell.
        found: String,
        /// What it should be.
        expected: String,
    },
    /// A sample given away twice.
    #[error("{path}, line {line}: sample {sample} was given to client {client} already: remove one of the rows", path = path.display())]
    Twice {
        /// The file.
        path: PathBuf,
        /// Line of the second time, from 1.
        line: u64,
        /// The sample.
        sample: u32,
        /// Who has it.
        client: u32,
    },
    /// A client that a file leaves without samples.
    #[error("{path}: client {client} has no samples: give it some, or number the clients without it", path = path.display())]
    EmptyClient {
        /// The file.
        path: PathBuf,
        /// The client.
        client: usize,
    },
    /// A file that gives away more of a class than there is.
    #[error("{path}: column {class} adds up to {wanted}, but class {class} has {samples} samples", path = path.display())]
    Overdrawn {
        /// The file.
        path: PathBuf,
        /// The class, also the column from 0.
        class: usize,
        /// Samples the column gives away.
        wanted: u64,
        /// Samples the class has.
        samples: usize,
    },
}
