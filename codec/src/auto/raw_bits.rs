//! Bits that are sent as they are, from the end of a chunk's body backwards: low bits of wide classes, and escapes.

use alloc::vec::Vec;

use super::{kernel::LANES, tables::MOST_RAW_BITS};

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

    /// The next so many bits for each of sixteen numbers, at most [`MOST_RAW_BITS`]; none near the end of what there is. `spread`
    /// is [`spread`], or does the same.
    #[inline(always)]
    pub(super) fn take_all(&mut self, counts: &[u32; LANES], spread: impl Spread) -> Option<[u32; LANES]> {
        let left = self.bytes.len().checked_sub(self.taken / 8)?;
        let room: &[u8; ROOM] = self.bytes.get(left.checked_sub(ROOM)?..)?.first_chunk()?;
        let (bits, taken) = spread(room, self.taken as u32 % 8, counts);
        self.taken += taken as usize;
        Some(bits)
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

/// Bytes of all that may be taken at once, and of a load that begins in the last of them.
pub(crate) const ROOM: usize = 48;
const _: () = assert!(7 + LANES as u32 * MOST_RAW_BITS < 8 * (ROOM as u32 - 4));

/// What [`spread`] does.
pub(crate) trait Spread: Fn(&[u8; ROOM], u32, &[u32; LANES]) -> ([u32; LANES], u32) {}

impl<F: Fn(&[u8; ROOM], u32, &[u32; LANES]) -> ([u32; LANES], u32)> Spread for F {}

/// So many bits for each of sixteen numbers, from the end of `room` backwards, behind `at` bits of its last byte; and how many
/// that is together.
#[inline(always)]
pub(crate) fn spread(room: &[u8; ROOM], at: u32, counts: &[u32; LANES]) -> ([u32; LANES], u32) {
    let (mut bits, mut end) = ([0; LANES], at);
    for lane in 0..LANES {
        let byte = (ROOM - 4).saturating_sub(end as usize / 8);
        let four = room[byte..].first_chunk::<4>().map_or(0, |four| u32::from_be_bytes(*four));
        bits[lane] = four >> (end % 8) & ((1 << counts[lane]) - 1);
        end += counts[lane];
    }
    (bits, end - at)
}

/// Bits of what [`RawSink::escape`] writes.
pub(super) fn bits_of_escape(high: i32, half: i32) -> u32 {
    2 * ((high.abs() - half) as u32).ilog2() + 2
}

/// Bits, and how many there are: of every second and the one behind it together.
#[inline(always)]
fn joined<F: Fn(usize) -> (u64, u32), const N: usize>(each: F) -> [(u64, u32); N] {
    core::array::from_fn(|at| {
        let (low, high) = (each(2 * at), each(2 * at + 1));
        (low.0 | high.0 << (low.1 & 63), low.1 + high.1)
    })
}

/// Collects raw bits.
#[derive(Debug, Default)]
pub(crate) struct RawSink {
    /// From the last byte of the body backwards, and behind them room.
    bytes: Vec<u8>,
    /// How many bytes are full.
    len: usize,
    /// Bits that are in no full byte, fewer than eight.
    held: u64,
    count: u32,
}

impl RawSink {
    /// Puts up to 32 bits.
    #[inline(always)]
    pub(super) fn put(&mut self, bits: u32, count: u32) {
        self.put_each([(bits.into(), count)]);
    }

    /// Puts so many bits of each of sixteen numbers, which have no more: at most [`MOST_RAW_BITS`].
    #[inline(always)]
    pub(super) fn put_all(&mut self, bits: &[u32; LANES], counts: &[u32; LANES]) {
        const { assert!(7 + 2 * MOST_RAW_BITS <= u64::BITS) };
        let pairs = joined::<_, { LANES / 2 }>(|at| (bits[at].into(), counts[at]));
        let fours = joined::<_, { LANES / 4 }>(|at| pairs[at]);
        match fours.iter().all(|&(_, count)| 7 + count < u64::BITS) {
            true => self.put_each(fours),
            false => self.put_each(pairs),
        }
    }

    /// Puts a few times up to 56 bits. Every time eight bytes are written, whether they are full or not.
    #[inline(always)]
    fn put_each<const N: usize>(&mut self, all: [(u64, u32); N]) {
        if self.bytes.len() - self.len < 8 * N {
            self.grow(8 * N);
        }
        let room = &mut self.bytes[self.len..][..8 * N];
        let (mut full, mut held, mut count) = (0, self.held, self.count);
        for (bits, more) in all {
            held |= bits << (count & 63);
            count += more;
            if let Some(eight) = room[full..].first_chunk_mut() {
                *eight = held.to_le_bytes();
            }
            full += count as usize / 8;
            held >>= count & 56;
            count %= 8;
        }
        self.len += full;
        (self.held, self.count) = (held, count);
    }

    #[cold]
    fn grow(&mut self, room: usize) {
        self.bytes.resize(2 * self.bytes.len() + room + 1024, 0);
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
        (self.len, self.held, self.count) = (0, 0, 0);
    }

    /// What was put, in the order of the body.
    pub(super) fn bytes(&self) -> impl Iterator<Item = &u8> {
        // What is held was written too.
        self.bytes[..self.len + self.count.div_ceil(8) as usize].iter().rev()
    }
}
