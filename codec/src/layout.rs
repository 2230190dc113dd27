//! Names, shapes and offsets of the tensors in the flat vector, and how it is cut into chunks and segments.

use alloc::{collections::BTreeSet, string::String, vec::Vec};
use core::ops::Range;

use sha2::{Digest, Sha256};

use crate::error::LayoutError;

/// Coordinates of a chunk; the last one holds the rest. Every chunk decodes alone, or at low rates of `auto` four together.
pub const CHUNK_COORDINATES: usize = 65_536;

/// Most coordinates of a layout: what 32-bit chunk counts and 64-bit byte counts hold with room to spare.
const MOST_COORDINATES: u64 = 1 << 40;

/// One tensor of a layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tensor {
    /// Name, unique in its layout.
    pub name: String,
    /// Dimensions, outermost first.
    pub shape: Vec<usize>,
    /// Where it starts in the flat vector.
    pub offset: usize,
    /// Number of coordinates.
    pub len: usize,
}

/// The part of one tensor that lies in one chunk: the unit that quantizes with one base.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    /// First coordinate in the flat vector.
    pub(crate) start: usize,
    /// Number of coordinates, 1 to [`CHUNK_COORDINATES`].
    pub(crate) len: usize,
    /// Index of its tensor.
    pub(crate) tensor: usize,
}

/// The tensors of a flat vector, in order and without gaps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    tensors: Vec<Tensor>,
    segments: Vec<Segment>,
    /// For each chunk its segments, as indices into `segments`.
    chunks: Vec<Range<usize>>,
    coordinates: usize,
    hash: u64,
}

impl Layout {
    /// A layout of tensors with the given names and shapes, in order.
    ///
    /// # Errors
    /// If two names are equal or the coordinates are too many.
    pub fn new<N: Into<String>>(tensors: impl IntoIterator<Item = (N, Vec<usize>)>) -> Result<Self, LayoutError> {
        let mut placed = Vec::new();
        let mut names = BTreeSet::new();
        let mut coordinates = 0usize;
        for (name, shape) in tensors {
            let name = name.into();
            if !names.insert(name.clone()) {
                return Err(LayoutError::DuplicateName { name });
            }
            let too_large = LayoutError::TooLarge { limit: MOST_COORDINATES };
            let len = shape.iter().try_fold(1usize, |len, &dim| len.checked_mul(dim)).ok_or(too_large.clone())?;
            let offset = coordinates;
            coordinates = offset.checked_add(len).filter(|&end| end as u64 <= MOST_COORDINATES).ok_or(too_large)?;
            placed.push(Tensor { name, shape, offset, len });
        }
        let hash = hash(&placed);
        let (segments, chunks) = cut(&placed, coordinates);
        Ok(Self { tensors: placed, segments, chunks, coordinates, hash })
    }

    /// The tensors in order.
    #[must_use]
    pub fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    /// Number of coordinates of the flat vector.
    #[must_use]
    pub fn coordinates(&self) -> usize {
        self.coordinates
    }

    /// First 8 bytes of the SHA-256 of names and shapes, read as little-endian: what payloads carry.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// Number of chunks of a payload.
    #[must_use]
    pub fn chunks(&self) -> usize {
        self.chunks.len()
    }

    /// The coordinates of chunk `index`.
    ///
    /// # Panics
    /// If there is no such chunk.
    #[must_use]
    pub fn chunk_range(&self, index: usize) -> Range<usize> {
        assert!(index < self.chunks(), "chunk {index} of {}", self.chunks());
        let start = index * CHUNK_COORDINATES;
        start..self.coordinates.min(start + CHUNK_COORDINATES)
    }

    /// The segments of chunk `index`, in order.
    pub(crate) fn segments(&self, index: usize) -> &[Segment] {
        &self.segments[self.chunks[index].clone()]
    }

    /// Name of the tensor that holds `coordinate`, and the index within it.
    pub(crate) fn locate(&self, coordinate: usize) -> (&str, usize) {
        let after = self.tensors.partition_point(|tensor| tensor.offset <= coordinate);
        // Empty tensors share their offset with the next, so the last that starts at or before is the one that holds it.
        let tensor = &self.tensors[after - 1];
        (&tensor.name, coordinate - tensor.offset)
    }
}

/// SHA-256 over every tensor's name and shape, length-prefixed so that no two layouts read the same.
fn hash(tensors: &[Tensor]) -> u64 {
    let mut sha = Sha256::new();
    for tensor in tensors {
        sha.update((tensor.name.len() as u64).to_le_bytes());
        sha.update(tensor.name.as_bytes());
        sha.update((tensor.shape.len() as u64).to_le_bytes());
        for &dim in &tensor.shape {
            sha.update((dim as u64).to_le_bytes());
        }
    }
    let digest = sha.finalize();
    u64::from_le_bytes(core::array::from_fn(|i| digest[i]))
}

fn cut(tensors: &[Tensor], coordinates: usize) -> (Vec<Segment>, Vec<Range<usize>>) {
    let mut segments = Vec::new();
    let mut chunks = Vec::with_capacity(coordinates.div_ceil(CHUNK_COORDINATES));
    let mut first = 0;
    for (tensor, Tensor { offset, len, .. }) in tensors.iter().enumerate() {
        let mut start = *offset;
        while start < offset + len {
            let chunk_end = (start / CHUNK_COORDINATES + 1) * CHUNK_COORDINATES;
            let end = chunk_end.min(offset + len);
            segments.push(Segment { start, len: end - start, tensor });
            if end == chunk_end {
                chunks.push(first..segments.len());
                first = segments.len();
            }
            start = end;
        }
    }
    if first < segments.len() {
        chunks.push(first..segments.len());
    }
    (segments, chunks)
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn segments_tile_the_vector_and_stop_at_tensors_and_chunks() {
        let layout =
            Layout::new([("a", vec![65_530]), ("empty", vec![0]), ("b", vec![10]), ("c", vec![2, 65_536])]).unwrap();
        assert_eq!(layout.chunks(), 4);
        let mut next = 0;
        for chunk in 0..layout.chunks() {
            assert_eq!(layout.chunk_range(chunk).start, next);
            for segment in layout.segments(chunk) {
                assert_eq!(segment.start, next);
                next += segment.len;
                let tensor = &layout.tensors()[segment.tensor];
                assert!(segment.start >= tensor.offset && next <= tensor.offset + tensor.len);
            }
            assert_eq!(layout.chunk_range(chunk).end, next);
        }
        assert_eq!(next, layout.coordinates());
        assert_eq!(layout.locate(65_530), ("b", 0));
    }

    #[test]
    fn the_hash_tells_names_and_shapes_apart() {
        let of = |name: &str, shape: Vec<usize>| Layout::new([(name, shape)]).unwrap().hash();
        assert_ne!(of("a", vec![6]), of("b", vec![6]));
        assert_ne!(of("a", vec![2, 3]), of("a", vec![3, 2]));
        assert_ne!(of("a", vec![6]), of("a", vec![6, 1]));
    }

    #[test]
    fn impossible_layouts_are_refused() {
        let twice = Layout::new([("a", vec![1]), ("a", vec![2])]);
        assert_eq!(twice, Err(LayoutError::DuplicateName { name: "a".into() }));
        let vast = Layout::new([("a", vec![usize::MAX, 2])]);
        assert_eq!(vast, Err(LayoutError::TooLarge { limit: MOST_COORDINATES }));
    }

    #[test]
    fn nothing_is_a_layout_of_no_chunks() {
        let empty = Layout::new([("none", vec![0])]).unwrap();
        assert_eq!((empty.coordinates(), empty.chunks()), (0, 0));
    }
}
