//! What attackers that see the honest updates agree on: `mean` times their mean, and `spread` times their deviation.
//!
//! ```text
//! alie (Baruch et al. 2019):         mean + z σ, coordinate by coordinate
//!     z_max = max z with Φ(z) < (n - m - s) / (n - m),  s = floor(n / 2 + 1) - m      of n clients m attack
//! inner-product (Xie et al. 2019):   -ε mean
//! ```
//!
//! Mean and deviation (that of the sample itself, as in the authors' program) are of what honest clients send: decoded,
//! unweighted, those of the round. s is how many honest ones the attackers need for a majority.

use nibble_codec::{DecodeError, Payload, Scratch};

/// z where the attackers are a majority, and the formula bounds nothing.
const MOST: f64 = 8.0;

/// What all attackers of a round send.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Plot {
    pub(super) mean: f64,
    pub(super) spread: f64,
}

impl Plot {
    /// Writes chunk `index` of it to `out`, folding the honest payloads, at least one, in their order.
    pub(crate) fn tile(self, honest: &[Payload<'_>], index: usize, out: &mut [f32]) -> Result<(), DecodeError> {
        let (mut scratch, weight) = (Scratch::default(), 1.0 / honest.len() as f64);
        let mut mean = vec![0.0; out.len()];
        for payload in honest {
            payload.fold_chunk(index, weight, &mut scratch, &mut mean)?;
        }
        let mut variance = vec![0.0; out.len()];
        if self.spread != 0.0 {
            let mut decoded = vec![0.0; out.len()];
            for payload in honest {
                payload.decode_chunk(index, &mut scratch, &mut decoded)?;
                for ((variance, &value), mean) in variance.iter_mut().zip(&decoded).zip(&mean) {
                    *variance += weight * (f64::from(value) - mean) * (f64::from(value) - mean);
                }
            }
        }
        for ((out, mean), variance) in out.iter_mut().zip(&mean).zip(&variance) {
            *out = (self.mean * mean + self.spread * variance.sqrt()) as f32;
        }
        Ok(())
    }
}

/// How many deviations `attackers` of `clients` may stray and still be nearer to the mean than those they need, from 0 to 8.
#[must_use]
pub fn z_max(clients: usize, attackers: usize) -> f64 {
    let (n, m) = (clients as f64, attackers as f64);
    let supporters = (n / 2.0 + 1.0).floor() - m;
    let share = (n - m - supporters) / (n - m);
    let below = |z: f64| 0.5 * libm::erfc(-z / std::f64::consts::SQRT_2) < share;
    let (mut low, mut high) = (0.0, MOST);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if below(middle) { low = middle } else { high = middle }
    }
    low
}

#[cfg(test)]
mod tests {
    use nibble_codec::{Encoder, Layout, PayloadId};
    use nibble_seed::{RoundId, Seed};

    use super::*;

    #[test]
    fn z_is_the_normal_quantile_of_the_formula() {
        // statistics.NormalDist().inv_cdf of 24/26, 49/76 and 24/30 in Python.
        for (clients, attackers, expected) in [(50, 24, 1.42607687), (100, 24, 0.37114932), (50, 20, 0.84162123)] {
            assert!((z_max(clients, attackers) - expected).abs() < 1e-6, "{clients} {attackers}");
        }
        assert_eq!(z_max(10, 1), 0.0, "fewer than half of the honest: nothing is gained by straying");
        assert!((z_max(10, 7) - MOST).abs() < 1e-9, "a majority");
    }

    #[test]
    fn plots_are_mean_and_deviation_of_what_the_honest_send() {
        let layout = Layout::new([("w", vec![70_000])]).unwrap(); // two chunks
        let honest: Vec<Vec<f32>> =
            (0..3u64).map(|client| (0..70_000).map(|i| 2.0 * Seed(client).unit_at(i) - 1.0).collect()).collect();
        let encode = |vector: &Vec<f32>| {
            let (mut bytes, id) = (Vec::new(), PayloadId { round: RoundId(0), seed: Seed(0) });
            Encoder::new("fp32".parse().unwrap()).encode(&layout, vector, id, &mut bytes).unwrap();
            bytes
        };
        let bytes: Vec<_> = honest.iter().map(encode).collect();
        let payloads: Vec<_> = bytes.iter().map(|bytes| Payload::parse(bytes, &layout).unwrap()).collect();
        for plot in [Plot { mean: -5.0, spread: 0.0 }, Plot { mean: 1.0, spread: 1.5 }] {
            let mut found = vec![0.0; 70_000];
            for chunk in 0..layout.chunks() {
                plot.tile(&payloads, chunk, &mut found[layout.chunk_range(chunk)]).unwrap();
            }
            for (i, found) in found.into_iter().enumerate() {
                let values = honest.iter().map(|vector| f64::from(vector[i]));
                let mean = values.clone().sum::<f64>() / 3.0;
                let deviation = (values.map(|value| (value - mean).powi(2)).sum::<f64>() / 3.0).sqrt();
                let expected = plot.mean * mean + plot.spread * deviation;
                assert!((f64::from(found) - expected).abs() < 1e-6, "{i}: {found}, not {expected}");
            }
        }
    }
}
