//! The non-zero gradients of one sample before pooling, listed twice: by channel and by position.

use super::geometry::Geometry;
use crate::kernels::{Entry, Row};
use crate::nn::flatten::BLOCK;

/// One list a row, each with room of its own, so that they can be written in any order.
pub(super) struct Lists {
    pub(super) rows: Vec<Row>,
    pub(super) entries: Vec<Entry>,
}

impl Lists {
    /// By output channel, pointing into the padded image: for the gradient by the weights.
    pub(super) fn by_channel(geometry: &Geometry) -> Self {
        let to = |channel| channel * geometry.run_padded();
        Self::new(geometry.pool.channels, geometry.pool.outputs() / geometry.pool.channels, to)
    }

    /// By position, pointing into the weights of a segment: for the gradient by the image.
    pub(super) fn by_position(geometry: &Geometry) -> Self {
        let positions = geometry.pool.height * geometry.pool.width;
        Self::new(positions, geometry.pool.channels, |position| geometry.offset(position))
    }

    /// `count` lists of up to `most` entries each; `to` says where in C the row of each goes.
    fn new(count: usize, most: usize, to: impl Fn(usize) -> usize) -> Self {
        let row = |i| Row { to: to(i) as u32, start: (i * most) as u32, end: (i * most) as u32 };
        Self { rows: (0..count).map(row).collect(), entries: vec![Entry::default(); count * most] }
    }

    /// Lists `gradient` (after pooling, `[block][pixel][16]`) by channel.
    pub(super) fn fill_by_channel(&mut self, geometry: &Geometry, gradient: &[f32], winners: &[u8]) {
        let pixels = geometry.pool.outputs() / geometry.pool.channels;
        let blocks = self.rows.chunks_exact_mut(BLOCK).zip(self.entries.chunks_exact_mut(BLOCK * pixels));
        let values = gradient.chunks_exact(BLOCK * pixels).zip(winners.chunks_exact(BLOCK * pixels));
        for ((rows, entries), (gradient, winners)) in blocks.zip(values) {
            let mut ends: [usize; BLOCK] = core::array::from_fn(|c| c * pixels);
            let groups = gradient.chunks_exact(BLOCK).zip(winners.chunks_exact(BLOCK));
            for (pixel, (gradient, winners)) in groups.enumerate() {
                let offsets: [u32; 4] =
                    core::array::from_fn(|winner| geometry.offset(geometry.pool.position(pixel, winner)) as u32);
                for c in 0..BLOCK {
                    push(
                        entries,
                        &mut ends[c],
                        Entry { from: offsets[usize::from(winners[c] % 4)], value: gradient[c] },
                    );
                }
            }
            for ((c, row), end) in rows.iter_mut().enumerate().zip(ends) {
                row.end = row.start + (end - c * pixels) as u32;
            }
        }
    }

    /// Lists `gradient` (after pooling, `[block][pixel][16]`) by position.
    pub(super) fn fill_by_position(&mut self, geometry: &Geometry, gradient: &[f32], winners: &[u8]) {
        let (channels, run) = (geometry.pool.channels, geometry.run_padded() as u32);
        let pixels = geometry.pool.outputs() / channels;
        for pixel in 0..pixels {
            let positions: [usize; 4] = core::array::from_fn(|winner| geometry.pool.position(pixel, winner));
            let mut ends = positions.map(|position| position * channels);
            for first in (0..channels).step_by(BLOCK) {
                let at = first * pixels + pixel * BLOCK;
                let group = gradient[at..][..BLOCK].iter().zip(&winners[at..][..BLOCK]);
                for (channel, (&value, &winner)) in (first as u32..).zip(group) {
                    push(&mut self.entries, &mut ends[usize::from(winner % 4)], Entry { from: channel * run, value });
                }
            }
            for (position, end) in positions.into_iter().zip(ends) {
                self.rows[position].end = end as u32;
            }
        }
    }
}

/// Appends an entry unless it is zero: then the next one overwrites it, which spares a branch to mispredict.
fn push(entries: &mut [Entry], end: &mut usize, entry: Entry) {
    entries[*end] = entry;
    *end += usize::from(entry.value != 0.0);
}
