//! Partitions that give each client few classes.
//!
//! - `shard`: sort by label, cut into shards, deal them out (McMahan et al.: "Communication-Efficient Learning of Deep
//!   Networks from Decentralized Data", AISTATS 2017, section 3: 200 shards of 300, two for each client).
//!   flwr-datasets: `ShardPartitioner`.
//! - `pathological`: exactly so many classes for each client (Li et al.: "Federated Learning on Non-IID Data Silos",
//!   ICDE 2022, "quantity-based label imbalance": #C = k). flwr-datasets: `PathologicalPartitioner`, first-deterministic.

use nibble_seed::{Purpose, Seed};

use super::{PartitionError, deal};

/// All samples, class by class, are cut into shards whose sizes differ by at most one; a permutation deals them out.
pub(super) fn shard(
    labels: &[u8],
    classes: usize,
    clients: usize,
    shards_per_client: usize,
    seed: Seed,
) -> Result<Vec<Vec<u32>>, PartitionError> {
    let samples = labels.len();
    if shards_per_client == 0 || shards_per_client > samples / clients {
        return Err(PartitionError::Shards { shards_per_client, clients, samples });
    }
    let sorted = deal::by_class(labels, classes, seed).concat();
    let shards: Vec<&[u32]> = deal::evenly(&sorted, clients * shards_per_client).collect();
    let dealt = seed.derive(Purpose::Partition, 0, 1).permutation(shards.len());
    let hands = dealt.chunks_exact(shards_per_client);
    Ok(hands.map(|hand| hand.iter().flat_map(|&shard| shards[shard as usize]).copied().collect()).collect())
}

/// Client k holds class k modulo the classes that have samples, and others drawn at random; the holders of a class share
/// it evenly. With fewer clients than classes, classes may have no holder: their samples are not used.
pub(super) fn pathological(
    labels: &[u8],
    classes: usize,
    clients: usize,
    classes_per_client: usize,
    seed: Seed,
) -> Result<Vec<Vec<u32>>, PartitionError> {
    let members = deal::by_class(labels, classes, seed);
    let present: Vec<usize> = (0..classes).filter(|&class| !members[class].is_empty()).collect();
    if classes_per_client == 0 || classes_per_client > present.len() {
        return Err(PartitionError::ClassesPerClient { found: classes_per_client, present: present.len() });
    }
    let draw = seed.derive(Purpose::Partition, 0, 1);
    let mut holders = vec![Vec::new(); classes];
    for client in 0..clients {
        let first = client % present.len();
        let others = draw.derive(Purpose::Partition, client as u64, 0).permutation(present.len());
        let others = others.into_iter().map(|i| i as usize).filter(|&i| i != first);
        for i in std::iter::once(first).chain(others).take(classes_per_client) {
            holders[present[i]].push(client);
        }
    }
    let mut shares = vec![Vec::new(); clients];
    for (class, (members, holders)) in members.iter().zip(&holders).enumerate() {
        if holders.len() > members.len() {
            let (samples, holders) = (members.len(), holders.len());
            return Err(PartitionError::ClassTooSmall { class, samples, holders });
        }
        for (&client, slice) in holders.iter().zip(deal::evenly(members, holders.len())) {
            shares[client].extend_from_slice(slice);
        }
    }
    Ok(shares)
}
