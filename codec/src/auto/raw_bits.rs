//! Bits that are sent as they are, from the end of a chunk's body backwards: low bits of wide classes, and escapes.

use alloc::vec::Vec;

use super::kernel::LANES;

/// Bits from the end of a body backwards, lowest first.
#[derive(Debug)]
pub(super) struct RawBits<'a> {
    bytes: &'a [u8],
    /// Bits that were taken.
    taken: usize,
}

impl<'a> RawBits<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, taken: 0 }
    }

    /// Whether just `bytes` are left, and nothing but zeros of the byte before them.
    pub(super) fn ends_at(&self, bytes: usize) -> bool {
        let left = self.bytes.len() - self.taken.div_ceil(8);
        left == bytes && (self.taken.is_multiple_of(8) || self.bytes[left] >> (self.taken % 8) == 0)
    }

    /// The next `count` bits, at most 25.
    #[inline(always)]
    pub(super) fn take(&mut self, count: u32) -> Option<u32> {
        let (byte, bit) = (self.taken / 8, self.taken as u32 % 8);
        self.taken += count as usize;
        let left = self.bytes.len().wrapping_sub(byte);
        let bits = match self.bytes.get(left.wrapping_sub(4)..).and_then(<[u8]>::first_chunk::<4>) {
            Some(four) => u32::from_be_bytes(*four),
            // Fewer than four are left.
            None if self.taken <= 8 * self.bytes.len() => {
                self.bytes[..left].iter().fold(0, |bits, &byte| bits << 8 | u32::from(byte))
            }
            None => return None,
        };
        Some(bits >> bit & ((1 << count) - 1))
    }

    /// Reads what [`RawSink::escape`] wrote.
    #[cold]
    pub(super) fn escaped(&mut self, half: i32) -> Option<i32> {
        let mut bits = 0;
        while self.take(1)? == 0 {
            bits += 1;
            if bits > 25 {
                return None;
            }
        }
        let beyond = ((1 << bits | self.take(bits)?) - 1) as i32;
        let size = half + 1 + beyond;
        Some(if self.take(1)? == 1 { -size } else { size })
    }
}

/// Collects raw bits.
#[derive(Debug, Default)]
pub(crate) struct RawSink {
    /// From the last byte of the body backwards.
    bytes: Vec<u8>,
    held: u64,
    count: u32,
}

impl RawSink {
    #[inline(always)]
    pub(super) fn put(&mut self, bits: u32, count: u32) {
        self.held |= u64::from(bits) << self.count;
        self.count += count;
        if self.count >= 32 {
            self.bytes.extend((self.held as u32).to_le_bytes());
            self.held >>= 32;
            self.count -= 32;
        }
    }

    /// Puts so many bits of each of sixteen numbers, which have no more: neighbours together, where they fit.
    #[inline(always)]
    pub(super) fn put_all(&mut self, bits: &[u32; LANES], counts: &[u32; LANES]) {
        let most = counts.iter().fold(0, |most, &count| most.max(count));
        if most > 16 {
            bits.iter().zip(counts).for_each(|(&bits, &count)| self.put(bits, count));
            return;
        }
        let [mut pairs, mut pair_counts] = [[0; LANES / 2]; 2];
        for at in 0..LANES / 2 {
            pairs[at] = bits[2 * at] | bits[2 * at + 1] << counts[2 * at];
            pair_counts[at] = counts[2 * at] + counts[2 * at + 1];
        }
        if most > 8 {
            pairs.iter().zip(pair_counts).for_each(|(&bits, count)| self.put(bits, count));
            return;
        }
        for at in 0..LANES / 4 {
            let count = pair_counts[2 * at];
            self.put(pairs[2 * at] | pairs[2 * at + 1] << count, count + pair_counts[2 * at + 1]);
        }
    }

    /// |h| - half - 1 as an exponential Golomb code, and the sign.
    #[cold]
    pub(super) fn escape(&mut self, high: i32, half: i32) {
        let beyond = (high.abs() - half) as u32;
        let len = beyond.ilog2();
        self.put(0, len);
        self.put(1, 1);
        self.put(beyond ^ 1 << len, len);
        self.put(u32::from(high < 0), 1);
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        (self.held, self.count) = (0, 0);
    }

    pub(super) fn finish(&mut self) {
        let bytes = self.count.div_ceil(8) as usize;
        self.bytes.extend(&self.held.to_le_bytes()[..bytes]);
        (self.held, self.count) = (0, 0);
    }

    /// Bits that were put.
    pub(super) fn len_bits(&self) -> usize {
        8 * self.bytes.len() + self.count as usize
    }

    /// What was put, in the order of the body.
    pub(super) fn bytes(&self) -> impl Iterator<Item = &u8> {
        self.bytes.iter().rev()
    }
}
