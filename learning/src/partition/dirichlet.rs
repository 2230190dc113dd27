//! Label skew by a Dirichlet distribution.
//!
//! For each class, proportions over the clients are drawn from Dirichlet(alpha, ..., alpha) and the class is cut by them:
//! Yurochkin et al., "Bayesian Nonparametric Federated Learning of Neural Networks", ICML 2019, section 4.1.
//! flwr-datasets: `DirichletPartitioner` without self-balancing. (Hsu, Qi, Brown, "Measuring the Effects of
//! Non-Identical Data Distribution", 2019, made alpha known but draws classes per client, at equal sizes.)
//!
//! flwr-datasets draws again until each client has `min_samples`, which for many clients is never. Here the first draw
//! stands and is repaired: while a client has too few, it gets one sample, chosen by the repair stream, of the client
//! that then has most.

use std::{cmp::Reverse, collections::BinaryHeap};

use nibble_seed::{Purpose, Seed, Stream};
use rand_distr::{Distribution, Gamma};

use super::{PartitionError, deal};

/// Parameters that are possible.
pub(super) struct Config {
    gamma: Gamma<f64>,
    alpha: f64,
    min_samples: usize,
    clients: usize,
}

impl Config {
    pub(super) fn new(alpha: f64, min_samples: usize, clients: usize, samples: usize) -> Result<Self, PartitionError> {
        if !(1e-6..=1e6).contains(&alpha) {
            return Err(PartitionError::Alpha { found: alpha });
        }
        if min_samples == 0 || min_samples > samples / clients {
            return Err(PartitionError::MinSamples { min_samples, clients, samples });
        }
        let gamma = Gamma::new(alpha + 1.0, 1.0).map_err(|_| PartitionError::Alpha { found: alpha })?;
        Ok(Self { gamma, alpha, min_samples, clients })
    }
}

/// A client's samples are its class slices, class 0 first.
pub(super) fn split(config: &Config, labels: &[u8], classes: usize, seed: Seed) -> Vec<Vec<u32>> {
    let mut clients = vec![Vec::new(); config.clients];
    for (members, a) in deal::by_class(labels, classes, seed).into_iter().zip(1..) {
        let weights = draw(config, &mut seed.derive(Purpose::Partition, a, 1).stream());
        let mut rest = members.as_slice();
        for (client, size) in clients.iter_mut().zip(deal::proportionally(members.len(), &weights)) {
            let (slice, others) = rest.split_at(size);
            client.extend_from_slice(slice);
            rest = others;
        }
    }
    repair(&mut clients, config.min_samples, &mut seed.derive(Purpose::Partition, 0, 2).stream());
    clients
}

/// Dirichlet weights, the largest 1, as normalised Gamma(alpha) draws. Each is taken as Gamma(alpha + 1) · u^(1/alpha)
/// (Marsaglia and Tsang, ACM TOMS 2000, section 6) and in logarithms, because at small alpha most of them underflow.
fn draw(config: &Config, stream: &mut Stream) -> Vec<f64> {
    let logs: Vec<f64> = (0..config.clients)
        .map(|_| {
            let u = 1.0 - stream.next_unit(); // in (0, 1]
            config.gamma.sample(stream).ln() + u.ln() / config.alpha
        })
        .collect();
    deal::exponentials(&logs)
}

/// Gives to those with fewer than `min_samples`; equal sizes yield the lower client's sample.
fn repair(clients: &mut [Vec<u32>], min_samples: usize, stream: &mut Stream) {
    let mut by_size: BinaryHeap<(usize, Reverse<usize>)> =
        clients.iter().enumerate().map(|(client, samples)| (samples.len(), Reverse(client))).collect();
    for poor in 0..clients.len() {
        while clients[poor].len() < min_samples {
            // The top has more than min_samples, as somebody has fewer and there are enough for all: it is never one of
            // the poor, whose growth the heap does not follow.
            let Some((size, Reverse(rich))) = by_size.pop() else { return };
            let pick = (stream.next_u64() % size as u64) as usize;
            let sample = clients[rich].remove(pick);
            clients[poor].push(sample);
            by_size.push((size - 1, Reverse(rich)));
        }
    }
}
