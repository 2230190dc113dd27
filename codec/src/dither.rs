//! Rounding noise by a counter-based hash: any coordinate's noise can be computed alone, in any order, on any CPU.
//!
//! The highest 16 bits of a seed rotate its noise: the seeds of a cohort can differ in them alone, see [`stratified`].
//!
//! 16 random bits a coordinate, two coordinates a hash: of every 32 coordinates of a segment, the first 16 take the low
//! and the last 16 the high halves of 16 hashes, which is the order SIMD registers like.

use nibble_seed::Seed;

/// A stream of random bits beside that of the noise, and independent of it.
pub(crate) const SAMPLE: u32 = 1 << 31;

/// The bits of a seed that a cohort shares, and where those begin that rotate the noise.
const SHARED: u64 = (1 << SHIFT_FROM) - 1;
const SHIFT_FROM: u32 = 48;

/// The seed of member `index` of a cohort of `of`: the noise of all members is spread evenly over the interval, at every
/// coordinate, and so the errors of their mean cancel in part (stratified sampling: Neyman 1934). Each member's noise alone
/// is as uniform as any, so that members that drop out cost some of the gain, and nothing else.
#[must_use]
pub fn stratified(cohort: Seed, index: usize, of: usize) -> Seed {
    let shift = ((index as u64) << 16) / of.max(1) as u64;
    Seed(shift << SHIFT_FROM | cohort.0 & SHARED)
}

/// The noise of one segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dither {
    keys: [u32; 2],
    /// The seed's highest 16 bits, twice: what is added to every 16 random bits.
    shift: u32,
}

impl Dither {
    /// Coordinates that [`Dither::group`] draws for.
    pub(crate) const GROUP: usize = 32;

    /// The noise of the segment that starts at coordinate `start`.
    pub(crate) fn new(seed: Seed, start: usize) -> Self {
        let key = Seed(seed.0 & SHARED).at(start as u64);
        Self { keys: [key as u32, (key >> 32) as u32], shift: (seed.0 >> SHIFT_FROM) as u32 * 0x1_0001 }
    }

    /// Of the whole seed, so that seeds that differ in their highest bits alone have nothing in common.
    pub(crate) fn unshared(seed: Seed, start: usize) -> Self {
        let key = seed.at(start as u64);
        Self { keys: [key as u32, (key >> 32) as u32], shift: 0 }
    }

    /// 32 random bits: a two-round multiply-xorshift hash with the constants of Wellons' `lowbias32`.
    #[inline(always)]
    pub(crate) fn hash(self, counter: u32) -> u32 {
        let mut x = counter ^ self.keys[0];
        x = (x ^ (x >> 16)).wrapping_mul(0x7feb_352d);
        x = (x ^ (x >> 15)).wrapping_add(self.keys[1]);
        x = x.wrapping_mul(0x846c_a68b);
        (x ^ (x >> 16)).wrapping_add(self.shift)
    }

    /// The noise u of coordinate `index` of the segment.
    pub(crate) fn noise(self, index: usize) -> f32 {
        let hash = self.hash((index / 32 * 16 + index % 16) as u32);
        noise_of(if index % 32 < 16 { hash & 0xffff } else { hash >> 16 })
    }

    /// 16 random bits for each of 32 coordinates, from 32 `group`: those behind their noise, or of [`SAMPLE`].
    #[inline(always)]
    pub(crate) fn group(self, group: u32, stream: u32) -> [[u32; 16]; 2] {
        let [mut low, mut high] = [[0; 16]; 2];
        for at in 0..16 {
            let hash = self.hash((16 * group + at as u32) | stream);
            (low[at], high[at]) = (hash & 0xffff, hash >> 16);
        }
        [low, high]
    }
}

/// u = (k + 1/2) / 2^16 - 1/2 for 16 random bits k: uniform on 65,536 points in (-1/2, 1/2), symmetric about 0.
#[inline(always)]
pub(crate) fn noise_of(bits: u32) -> f32 {
    bits as i32 as f32 * (1.0 / 65_536.0) - (0.5 - 0.5 / 65_536.0)
}

/// `offset` + [`noise_of`] for a whole offset of 1 to 127, of which no bit is lost: floats from 128 to 256 are 2^-16 apart.
#[inline(always)]
pub(crate) fn offset_noise_of(bits: u32, offset: f32) -> f32 {
    f32::from_bits(128f32.to_bits() | bits) + ((offset - 128.5) + 0.5 / 65_536.0)
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn noise_is_uniform_and_uncorrelated() {
        // 2^18 draws: the mean of a uniform on (-1/2, 1/2) has deviation 0.29/2^9, a correlation 1/2^9; bounds at 5.
        let n = 1 << 18;
        let deviation = 5.0 / 512.0;
        for seed in 0..4 {
            let draw = |i: usize| f64::from(Dither::new(Seed(seed), i >> 16 << 16).noise(i & 0xffff));
            let other = |i: usize| f64::from(Dither::new(Seed(seed + 1), i >> 16 << 16).noise(i & 0xffff));
            let mean = |f: &dyn Fn(usize) -> f64| (0..n).map(f).sum::<f64>() / n as f64;
            assert!(mean(&draw).abs() < 0.29 * deviation);
            assert!((mean(&|i| draw(i).powi(2)) * 12.0 - 1.0).abs() < deviation);
            for lag in [1, 2, 16, 31, 32, 64, 65_536] {
                assert!((mean(&|i| draw(i) * draw((i + lag) % n)) * 12.0).abs() < deviation, "lag {lag}");
            }
            assert!((mean(&|i| draw(i) * other(i)) * 12.0).abs() < deviation, "two seeds");
        }
    }

    #[test]
    fn what_is_drawn_in_bulk_is_what_is_drawn_alone() {
        let dither = Dither::new(Seed(9), 65_536);
        for group in [0, 1, 2047] {
            for (at, bits) in dither.group(group, 0).into_iter().flatten().enumerate() {
                assert_eq!(noise_of(bits), dither.noise(32 * group as usize + at));
            }
            assert_ne!(dither.group(group, 0), dither.group(group, SAMPLE));
        }
    }

    #[test]
    fn a_cohort_has_one_in_every_stratum() {
        for of in [1, 2, 7, 10, 64] {
            for at in [0, 17, 40_000] {
                let draw = |index| Dither::new(stratified(Seed(77), index, of), 65_536).noise(at);
                let mut noise: Vec<f32> = (0..of).map(draw).collect();
                noise.sort_by(f32::total_cmp);
                let gaps = noise.windows(2).map(|pair| pair[1] - pair[0]);
                assert!(gaps.clone().all(|gap| (gap - 1.0 / of as f32).abs() < 1e-3), "{of}: {noise:?}");
            }
        }
    }

    #[test]
    fn noise_with_an_offset_is_exact() {
        for offset in [1.0, 3.0, 7.0, 15.0, 31.0, 63.0, 127.0] {
            assert!((0..=0xffff).all(|bits| offset_noise_of(bits, offset) == offset + noise_of(bits)), "{offset}");
        }
    }

    #[test]
    fn noise_reaches_both_ends_and_stays_inside() {
        assert_eq!(noise_of(0), -noise_of(0xffff));
        assert!(noise_of(0xffff) < 0.5 && noise_of(0xffff) > 0.499_99);
    }
}
