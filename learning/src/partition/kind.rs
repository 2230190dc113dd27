//! The kinds of partition as a config names them.

use std::path::PathBuf;

use nibble_seed::Seed;
use serde::{Deserialize, Serialize};

use super::{Assignment, PartitionError, dirichlet, even, file, label};
use crate::data::Samples;

/// How samples are split over clients. In TOML: `kind = "dirichlet"`, `alpha = 0.3`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Partition {
    /// Equal shares of shuffled samples. (Braces, because serde accepts unknown keys beside a unit variant.)
    Iid {},
    /// Each class over all clients in proportions drawn from a Dirichlet distribution.
    Dirichlet {
        /// Concentration, 1e-6 to 1e6: the smaller, the more each client is of few classes.
        alpha: f64,
        /// Fewest samples of a client, at least 1. Default: 1.
        #[serde(default = "one")]
        min_samples: usize,
    },
    /// Shards of samples sorted by label.
    Shard {
        /// Shards of each client, at least 1; the paper's is 2.
        shards_per_client: usize,
    },
    /// A fixed number of classes for each client.
    Pathological {
        /// Classes of each client, 1 to the number of classes.
        classes_per_client: usize,
    },
    /// Shuffled samples in shares of lognormal size.
    SizeSkewed {
        /// Standard deviation of the logarithm of sizes, 0 to 100.
        sigma: f64,
    },
    /// A client for each owner that the data name.
    Natural {},
    /// A CSV file with the header `client,sample` and a row for each sample given away.
    File {
        /// The file, as the process sees it.
        path: PathBuf,
    },
    /// A CSV file without header: a row for each client, in it how many samples of each class it gets.
    Counts {
        /// The file, as the process sees it.
        path: PathBuf,
    },
}

fn one() -> usize {
    1
}

impl Partition {
    /// Splits `samples`, whose labels are below `classes`, over `clients` clients.
    ///
    /// # Errors
    /// If a parameter is out of range, a client would get no sample, or a file is not as documented.
    pub fn split(
        &self,
        samples: &Samples,
        classes: usize,
        clients: usize,
        seed: Seed,
    ) -> Result<Assignment, PartitionError> {
        if clients == 0 {
            return Err(PartitionError::NoClients);
        }
        if clients > samples.len() {
            return Err(PartitionError::TooManyClients { clients, samples: samples.len() });
        }
        if let Some(sample) = samples.labels.iter().position(|&label| usize::from(label) >= classes) {
            return Err(PartitionError::Label { sample, label: samples.labels[sample], classes });
        }
        let labels = &samples.labels;
        let clients = match self {
            Self::Iid {} => even::iid(labels.len(), clients, seed),
            Self::Dirichlet { alpha, min_samples } => {
                let config = dirichlet::Config::new(*alpha, *min_samples, clients, labels.len())?;
                dirichlet::split(&config, labels, classes, seed)
            }
            Self::Shard { shards_per_client } => label::shard(labels, classes, clients, *shards_per_client, seed)?,
            Self::Pathological { classes_per_client } => {
                label::pathological(labels, classes, clients, *classes_per_client, seed)?
            }
            Self::SizeSkewed { sigma } => even::size_skewed(labels.len(), clients, *sigma, seed)?,
            Self::Natural {} => natural(samples, clients)?,
            Self::File { path } => file::rows(path, labels.len(), clients)?,
            Self::Counts { path } => file::counts(path, labels, classes, clients, seed)?,
        };
        Ok(Assignment { clients })
    }
}

/// flwr-datasets: `NaturalIdPartitioner`. Owners in ascending order are the clients.
fn natural(samples: &Samples, clients: usize) -> Result<Vec<Vec<u32>>, PartitionError> {
    let owners = samples.owners.as_ref().ok_or(PartitionError::NoOwners)?;
    let mut shares = std::collections::BTreeMap::<u32, Vec<u32>>::new();
    for (sample, &owner) in owners.iter().enumerate() {
        shares.entry(owner).or_default().push(sample as u32);
    }
    if shares.len() != clients {
        return Err(PartitionError::Population { kind: "natural".to_owned(), clients, found: shares.len() });
    }
    Ok(shares.into_values().collect())
}

#[cfg(test)]
mod tests;
