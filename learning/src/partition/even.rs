//! Partitions that ignore labels.
//!
//! - `iid`: equal shares (McMahan et al.: "Communication-Efficient Learning of Deep Networks from Decentralized Data",
//!   AISTATS 2017, section 3). flwr-datasets: `IidPartitioner`.
//! - `size-skewed`: lognormal shares, as the sizes of FedProx's synthetic data (Li et al., MLSys 2020, its code).
//!   flwr-datasets has fixed curves instead (`LinearPartitioner`, `ExponentialPartitioner`).

use nibble_seed::{Purpose, Seed};
use rand_distr::{Distribution, StandardNormal};

use super::{PartitionError, deal};

/// Consecutive blocks of one permutation; sizes differ by at most one.
pub(super) fn iid(samples: usize, clients: usize, seed: Seed) -> Vec<Vec<u32>> {
    let order = seed.derive(Purpose::Partition, 0, 0).permutation(samples);
    deal::evenly(&order, clients).map(<[u32]>::to_vec).collect()
}

/// Consecutive blocks of one permutation: one sample for each client, and the others in proportion to exp(sigma · z)
/// with z standard normal.
pub(super) fn size_skewed(
    samples: usize,
    clients: usize,
    sigma: f64,
    seed: Seed,
) -> Result<Vec<Vec<u32>>, PartitionError> {
    if !(0.0..=100.0).contains(&sigma) {
        return Err(PartitionError::Sigma { found: sigma });
    }
    let mut stream = seed.derive(Purpose::Partition, 0, 1).stream();
    let logs: Vec<f64> = (0..clients)
        .map(|_| {
            let z: f64 = StandardNormal.sample(&mut stream);
            sigma * z
        })
        .collect();
    let extra = deal::proportionally(samples - clients, &deal::exponentials(&logs));
    let order = seed.derive(Purpose::Partition, 0, 0).permutation(samples);
    let mut rest = order.into_iter();
    Ok(extra.into_iter().map(|extra| rest.by_ref().take(1 + extra).collect()).collect())
}
