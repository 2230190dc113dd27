//! An adaptive binary range coder for the few numbers that a payload's model has (Martin 1979; the arithmetic is LZMA's).

use alloc::vec::Vec;

/// How likely a bit is 0, of 4096; it moves a sixteenth of the way towards each bit that is seen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chance(u16);

impl Default for Chance {
    fn default() -> Self {
        Self(2048)
    }
}

impl Chance {
    fn see(&mut self, bit: bool) {
        if bit {
            self.0 -= self.0 >> 4;
        } else {
            self.0 += (4096 - self.0) >> 4;
        }
    }
}

/// Codes bits, one way or the other.
pub(super) trait Coder {
    /// Whether it decodes.
    const READS: bool;

    /// Encodes `bit` and gives it back, or decodes a bit whatever is given.
    fn bit(&mut self, chance: &mut Chance, bit: bool) -> bool;
}

/// Writes.
#[derive(Debug)]
pub(super) struct Encode<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
    low: u64,
    range: u32,
}

impl<'a> Encode<'a> {
    pub(super) fn new(out: &'a mut Vec<u8>) -> Self {
        let start = out.len();
        Self { out, start, low: 0, range: u32::MAX }
    }

    /// Writes the top byte of `low`, after adding its carry to the bytes before.
    fn shift(&mut self) {
        if self.low >> 32 != 0 {
            for byte in self.out[self.start..].iter_mut().rev() {
                *byte = byte.wrapping_add(1);
                if *byte != 0 {
                    break;
                }
            }
        }
        self.out.push((self.low >> 24) as u8);
        self.low = (self.low << 8) & 0xffff_ffff;
    }

    /// Writes what is left. Zero bytes at the end are left out: a decoder reads them anyway.
    pub(super) fn finish(mut self) {
        for _ in 0..4 {
            self.shift();
        }
        while self.out.len() > self.start && self.out.last() == Some(&0) {
            self.out.pop();
        }
    }
}

impl Coder for Encode<'_> {
    const READS: bool = false;

    fn bit(&mut self, chance: &mut Chance, bit: bool) -> bool {
        let bound = (self.range >> 12) * u32::from(chance.0);
        if bit {
            self.low += u64::from(bound);
            self.range -= bound;
        } else {
            self.range = bound;
        }
        chance.see(bit);
        while self.range < 1 << 24 {
            self.range <<= 8;
            self.shift();
        }
        bit
    }
}

/// Reads. Behind its end the input goes on with zeros.
#[derive(Debug)]
pub(super) struct Decode<'a> {
    bytes: &'a [u8],
    code: u32,
    range: u32,
}

impl<'a> Decode<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        let mut decode = Self { bytes, code: 0, range: u32::MAX };
        for _ in 0..4 {
            decode.code = decode.code << 8 | u32::from(decode.next());
        }
        decode
    }

    fn next(&mut self) -> u8 {
        match self.bytes.split_first() {
            Some((&first, rest)) => {
                self.bytes = rest;
                first
            }
            None => 0,
        }
    }

    /// Whether all bytes were read.
    pub(super) fn is_at_end(&self) -> bool {
        self.bytes.is_empty()
    }
}

impl Coder for Decode<'_> {
    const READS: bool = true;

    fn bit(&mut self, chance: &mut Chance, _: bool) -> bool {
        let bound = (self.range >> 12) * u32::from(chance.0);
        let bit = self.code >= bound;
        if bit {
            self.code -= bound;
            self.range -= bound;
        } else {
            self.range = bound;
        }
        chance.see(bit);
        while self.range < 1 << 24 {
            self.range <<= 8;
            self.code = self.code << 8 | u32::from(self.next());
        }
        bit
    }
}

/// Chances of the bits of one kind of integer: its sign, how long it is in unary up to 15, and then its bits.
#[derive(Clone, Debug, Default)]
pub(super) struct Integer {
    sign: Chance,
    more: [Chance; 16],
    bits: [Chance; 16],
}

impl Integer {
    /// Codes an integer of less than 2^16 in magnitude; a decoder gets no larger one, whatever the bytes.
    pub(super) fn code(&mut self, coder: &mut impl Coder, value: i32) -> i32 {
        let size = value.unsigned_abs();
        let mut units = 0;
        while units < 15 && coder.bit(&mut self.more[units as usize], size > units) {
            units += 1;
        }
        let mut magnitude = units;
        if units == 15 {
            // The rest in 16 bits.
            let rest = size.wrapping_sub(15);
            let mut read = 0;
            for at in (0..16).rev() {
                let bit = coder.bit(&mut self.bits[at], rest >> at & 1 == 1);
                read |= u32::from(bit) << at;
            }
            magnitude = 15 + read;
        }
        let magnitude = magnitude as i32;
        if magnitude != 0 && coder.bit(&mut self.sign, value < 0) { -magnitude } else { magnitude }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn integers_come_back(values in prop::collection::vec(prop_oneof![-3i32..4, -20i32..20, -60_000i32..60_000], 0..200)) {
            let mut bytes = Vec::new();
            let mut coder = Encode::new(&mut bytes);
            let mut chances = Integer::default();
            for &value in &values {
                chances.code(&mut coder, value);
            }
            coder.finish();
            let mut coder = Decode::new(&bytes);
            let mut chances = Integer::default();
            for &value in &values {
                prop_assert_eq!(chances.code(&mut coder, 0), value);
            }
            prop_assert!(coder.is_at_end());
        }
    }
}
