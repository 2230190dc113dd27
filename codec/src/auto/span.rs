//! How an `auto` payload is cut into what decodes alone: every chunk of the layout, or four of them together, at rates where
//! the ends of a chunk would be more than a hundredth of it.
//!
//! Absent on purpose: who decodes four chunks of the layout one by one, and decodes them once (`frame`).

use core::ops::Range;

use crate::layout::{CHUNK_COORDINATES, Layout};

/// Most symbols of a wide chunk, so that it needs little more memory than others.
pub(crate) const MOST_SYMBOLS: usize = CHUNK_COORDINATES;
/// Bits a coordinate below which chunks are wide.
const WIDE_BELOW: f64 = 0.125;

/// How many chunks of the layout are one of the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span(usize);

impl Span {
    pub(crate) const ONE: Self = Self(1);
    pub(crate) const FOUR: Self = Self(4);

    /// What suits so many bits a coordinate.
    pub(super) fn at(rate: f64) -> Self {
        if rate < WIDE_BELOW { Self::FOUR } else { Self::ONE }
    }

    /// What gives so many chunks, if anything does.
    pub(crate) fn of_count(layout: &Layout, count: usize) -> Option<Self> {
        [Self::ONE, Self::FOUR].into_iter().find(|span| span.count(layout) == count)
    }

    /// How many that are.
    pub(crate) fn chunks(self) -> usize {
        self.0
    }

    /// Chunks of a payload.
    pub(crate) fn count(self, layout: &Layout) -> usize {
        layout.chunks().div_ceil(self.0)
    }

    /// The coordinates of the payload's chunk `index`.
    pub(crate) fn range(self, layout: &Layout, index: usize) -> Range<usize> {
        let len = self.0 * CHUNK_COORDINATES;
        index * len..((index + 1) * len).min(layout.coordinates())
    }

    /// Which chunk of the payload holds chunk `index` of the layout, and where in it.
    pub(crate) fn holding(self, layout: &Layout, index: usize) -> (usize, Range<usize>) {
        let (whole, range) = (index / self.0, layout.chunk_range(index));
        let start = self.range(layout, whole).start;
        (whole, range.start - start..range.end - start)
    }

    /// Most symbols of a chunk with so many coordinates.
    pub(crate) fn most_symbols(self, coordinates: usize) -> usize {
        if self == Self::ONE { coordinates } else { coordinates.min(MOST_SYMBOLS) }
    }
}
