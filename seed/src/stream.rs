//! Counter-based SplitMix64 streams.

use alloc::vec::Vec;

/// The odd constant of SplitMix64: 2^64 divided by the golden ratio.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// The key of a random stream: a run's seed, or one derived from it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seed(pub u64);

/// What a derived stream is for. The numbers are part of every result: never reuse or renumber them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Purpose {
    /// Which samples belong to which client.
    Partition = 1,
    /// Which clients are selected in a round.
    Selection = 2,
    /// The order in which a client visits its samples.
    BatchOrder = 3,
    /// Initial parameters, one stream a tensor.
    Init = 4,
    /// Rounding or dither of one client's update in one round.
    Rounding = 5,
    /// Simulated behaviour of clients: drop-outs and durations.
    Behaviour = 6,
    /// Splitting a data set that came without a test part.
    TestSplit = 7,
    /// Rounding or dither of the model's frames, one a round.
    Broadcast = 8,
    /// What links do: whose is which, and how fast they are in a round.
    Links = 9,
    /// Simulated attacks: who attacks, and noise that attackers send.
    Attack = 10,
    /// Rounding or dither of the server's control variate, one a round.
    Control = 11,
}

impl Seed {
    /// The seed of the stream for `purpose` at `(a, b)`, usually `(round, client)`.
    #[must_use]
    pub fn derive(self, purpose: Purpose, a: u64, b: u64) -> Self {
        let key = [purpose as u64, a, b]
            .iter()
            .fold(self.0, |key, &word| mix(key.wrapping_add(GOLDEN.wrapping_mul(word.wrapping_add(1)))));
        Self(key)
    }

    /// The numbers of this stream, from the first.
    #[must_use]
    pub fn stream(self) -> Stream {
        Stream { key: self.0, drawn: 0 }
    }

    /// The number at `index` of this stream.
    #[must_use]
    pub fn at(self, index: u64) -> u64 {
        mix(self.0.wrapping_add(GOLDEN.wrapping_mul(index.wrapping_add(1))))
    }

    /// The number at `index` as a float in [0, 1) with 24 random bits.
    #[must_use]
    pub fn unit_at(self, index: u64) -> f32 {
        (self.at(index) >> 40) as f32 * (1.0 / 16_777_216.0)
    }

    /// A permutation of `0..n`: the stable ascending argsort of the first `n` numbers.
    ///
    /// # Panics
    /// If `n` does not fit 32 bits.
    #[must_use]
    pub fn permutation(self, n: usize) -> Vec<u32> {
        let n = u32::try_from(n).expect("a permutation indexes fewer than 2^32 items");
        let mut keyed: Vec<(u64, u32)> = (0..n).map(|i| (self.at(u64::from(i)), i)).collect();
        keyed.sort_unstable(); // the index breaks ties, which is what a stable sort would do
        keyed.into_iter().map(|(_, i)| i).collect()
    }
}

/// The numbers of one stream in order.
#[derive(Clone, Debug)]
pub struct Stream {
    key: u64,
    drawn: u64,
}

impl Stream {
    /// The next 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        let number = Seed(self.key).at(self.drawn);
        self.drawn += 1;
        number
    }

    /// The next number as a double in [0, 1) with 53 random bits.
    pub fn next_unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 * (1.0 / 9_007_199_254_740_992.0)
    }
}

impl rand::TryRng for Stream {
    type Error = core::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        Ok((self.next_u64() >> 32) as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        Ok(self.next_u64())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
        for chunk in bytes.chunks_mut(8) {
            let word = self.next_u64().to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
        Ok(())
    }
}

/// The finaliser of SplitMix64 (Stafford's variant 13).
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_values_of_the_reference_workload() {
        assert_eq!(Seed(0).derive(Purpose::Partition, 0, 0).at(0), 0xc739_f5ec_15a2_9d83);
        let all = Seed(1234).derive(Purpose::Partition, 0, 0).permutation(60_000);
        assert_eq!(all[..5], [53100, 1314, 30701, 16819, 48775]);
        let cohort = Seed(0).derive(Purpose::Selection, 0, 0).permutation(100);
        assert_eq!(cohort[..10], [63, 95, 1, 47, 38, 23, 6, 29, 9, 32]);
        let init = Seed(0).derive(Purpose::Init, 0, 0);
        let weights: Vec<f32> = (0..3).map(|i| (2.0 * init.unit_at(i) - 1.0) / 784f32.sqrt()).collect();
        for (weight, expected) in weights.iter().zip([-0.011_304_84, 0.009_438_16, -0.007_343_66]) {
            assert!((weight - expected as f32).abs() < 5e-9, "{weight} is not {expected}");
        }
    }

    #[test]
    fn a_stream_is_its_numbers_in_order() {
        let seed = Seed(7);
        let mut stream = seed.stream();
        for i in 0..10 {
            assert_eq!(stream.next_u64(), seed.at(i));
        }
    }

    #[test]
    fn purposes_and_coordinates_do_not_collide() {
        let purposes = [Purpose::Partition, Purpose::Selection, Purpose::BatchOrder, Purpose::Rounding];
        let mut seen = alloc::collections::BTreeSet::new();
        for purpose in purposes {
            for a in 0..20 {
                for b in 0..20 {
                    assert!(seen.insert(Seed(0).derive(purpose, a, b)));
                }
            }
        }
    }
}
