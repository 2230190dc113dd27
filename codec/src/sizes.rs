//! How many bytes payloads have, by coding and layout, before any is made.
//!
//! Absent on purpose: how many they really have, where that depends on the vector ([`encode`](crate::encode)).

use crate::{
    auto,
    block::SegmentCoding,
    frame::{CHUNK_HEADER_BYTES, PREFIX_BYTES},
    header::HEADER_BYTES,
    layout::Layout,
    plan,
    raw::Raw,
    scheme::{Coding, SignCoding, Target},
    sign::{self, Cut},
};

impl Coding {
    /// Most bytes of a payload of this layout, header and all; but for `auto`, `plan` and `sign` every payload has as many.
    #[must_use]
    pub fn payload_bytes(self, layout: &Layout) -> u64 {
        if let Self::Plan(plan) = self {
            return plan.bytes.into();
        }
        if let Self::Sign(sign) = self {
            return bytes_at(sign.rate, layout).max(sign::least_bytes(layout, self.cut(layout)));
        }
        if let Self::Auto(target) = self {
            let prelude = PREFIX_BYTES + auto::most_model_bytes(layout) + 9 * layout.chunks();
            let least = (PREFIX_BYTES + 32 + 4 * layout.tensors().len() + 16 * layout.chunks()) as u64;
            return match target {
                Target::Rate(rate) => bytes_at(rate, layout).max(least),
                Target::Bytes(bytes) => bytes.into(),
                Target::Step(_) => {
                    (prelude
                        + (0..layout.chunks()).map(|at| most_body_bytes(layout.chunk_range(at).len())).sum::<usize>())
                        as u64
                }
            };
        }
        let chunk = |index| (CHUNK_HEADER_BYTES + body_bytes_of_chunk(self, layout, index)) as u64;
        HEADER_BYTES as u64 + (0..layout.chunks()).map(chunk).sum::<u64>()
    }

    /// Bytes that are enough for every vector of this layout, if the coding asks for fewer than the least that are.
    #[must_use]
    pub fn short_of(self, layout: &Layout) -> Option<u64> {
        let (asked, least) = match self {
            Self::Auto(Target::Bytes(bytes)) => (bytes, sign::least_bytes(layout, self.cut(layout))),
            Self::Plan(plan) => (plan.bytes, plan::least_bytes(layout)),
            _ => return None, // of other codings the layout says it
        };
        (u64::from(asked) < least).then_some(least)
    }

    /// How chunks are cut into blocks of signs, by the bytes that the coding names.
    pub(crate) fn cut(self, layout: &Layout) -> Cut {
        let bytes = match self {
            Self::Sign(SignCoding { rate }) | Self::Auto(Target::Rate(rate)) => bytes_at(rate, layout),
            Self::Auto(Target::Bytes(bytes)) => bytes.into(),
            _ => 0, // no signs
        };
        Cut::new(bytes, layout.coordinates())
    }
}

/// Bytes of the body of chunk `index`.
pub(crate) fn body_bytes_of_chunk(coding: Coding, layout: &Layout, index: usize) -> usize {
    match coding {
        Coding::Block(block) => {
            let bytes = |len| SegmentCoding::new(block, nibble_seed::Seed(0), 0, len).segment_bytes(len);
            layout.segments(index).iter().map(|segment| bytes(segment.len)).sum()
        }
        Coding::Fp32 | Coding::Fp16 | Coding::Bf16 => {
            layout.chunk_range(index).len() * coding.raw().map_or(0, Raw::width)
        }
        Coding::Auto(_) | Coding::Plan(_) | Coding::Sign(_) => 0, // it depends on the vector
    }
}

/// Most bytes of the body of a chunk of an `auto` payload that may have so many symbols: each has 12 bits, and an escape 53 more.
pub(crate) fn most_body_bytes(symbols: usize) -> usize {
    40 + 9 * symbols
}

/// Bytes of a payload of so many ten thousandths of a bit a coordinate.
fn bytes_at(rate: u32, layout: &Layout) -> u64 {
    (layout.coordinates() as u64).saturating_mul(rate.into()) / 80_000
}
