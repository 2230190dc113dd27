//! Rounding noise by a counter-based hash: any coordinate's noise can be computed alone, in any order, on any CPU.
//!
//! 16 random bits a coordinate, two coordinates a hash: of every 32 coordinates of a segment, the first 16 take the low
//! and the last 16 the high halves of 16 hashes, which is the order SIMD registers like.

use nibble_seed::Seed;

/// The noise of one segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dither {
    keys: [u32; 2],
}

impl Dither {
    /// The noise of the segment that starts at coordinate `start`.
    pub(crate) fn new(seed: Seed, start: usize) -> Self {
        let key = seed.at(start as u64);
        Self { keys: [key as u32, (key >> 32) as u32] }
    }

    /// 32 random bits: a two-round multiply-xorshift hash with the constants of Wellons' `lowbias32`.
    #[inline(always)]
    pub(crate) fn hash(self, counter: u32) -> u32 {
        let mut x = counter ^ self.keys[0];
        x = (x ^ (x >> 16)).wrapping_mul(0x7feb_352d);
        x = (x ^ (x >> 15)).wrapping_add(self.keys[1]);
        x = x.wrapping_mul(0x846c_a68b);
        x ^ (x >> 16)
    }

    /// The noise u of coordinate `index` of the segment.
    pub(crate) fn noise(self, index: usize) -> f32 {
        noise_of(self.half(index, 0))
    }

    /// The 16 bits behind the noise of the first coordinates; or, `chosen`, 16 more that are independent of them.
    pub(crate) fn fill(self, chosen: bool, out: &mut [u16]) {
        let stream = u32::from(chosen) << 31;
        let mut groups = out.chunks_exact_mut(32);
        let mut counter = stream;
        for group in &mut groups {
            let (low, high) = group.split_at_mut(16);
            for (at, (low, high)) in low.iter_mut().zip(high).enumerate() {
                let hash = self.hash(counter + at as u32);
                (*low, *high) = (hash as u16, (hash >> 16) as u16);
            }
            counter += 16;
        }
        let rest = groups.into_remainder();
        for (at, out) in rest.iter_mut().enumerate() {
            let hash = self.hash(counter + at as u32 % 16);
            *out = if at < 16 { hash } else { hash >> 16 } as u16;
        }
    }

    #[inline(always)]
    #[cfg(test)]
    fn chosen(self, index: usize) -> u32 {
        self.half(index, 1 << 31)
    }

    #[inline(always)]
    fn half(self, index: usize, stream: u32) -> u32 {
        let hash = self.hash((index / 32 * 16 + index % 16) as u32 | stream);
        if index % 32 < 16 { hash & 0xffff } else { hash >> 16 }
    }
}

/// u = (k + 1/2) / 2^16 - 1/2 for 16 random bits k: uniform on 65,536 points in (-1/2, 1/2), symmetric about 0.
#[inline(always)]
pub(crate) fn noise_of(bits: u32) -> f32 {
    bits as i32 as f32 * (1.0 / 65_536.0) - (0.5 - 0.5 / 65_536.0)
}

#[cfg(test)]
mod tests {
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
        for len in [0, 1, 15, 16, 17, 31, 32, 33, 1000] {
            let (mut noise, mut chosen) = (alloc::vec![0; len], alloc::vec![0; len]);
            dither.fill(false, &mut noise);
            dither.fill(true, &mut chosen);
            for at in 0..len {
                assert_eq!(noise_of(noise[at].into()), dither.noise(at));
                assert_eq!(u32::from(chosen[at]), dither.chosen(at));
            }
        }
    }

    #[test]
    fn noise_reaches_both_ends_and_stays_inside() {
        assert_eq!(noise_of(0), -noise_of(0xffff));
        assert!(noise_of(0xffff) < 0.5 && noise_of(0xffff) > 0.499_99);
    }
}
