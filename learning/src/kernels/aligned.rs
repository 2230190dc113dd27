//! Memory whose rows begin on cache lines, so that no vector load needs two of them.

use core::ops::{Deref, DerefMut};

/// Bytes of a cache line and of the widest vector.
const ALIGNMENT: usize = 64;

/// Zeroed floats from a cache-line boundary on.
#[derive(Default)]
pub(crate) struct Aligned {
    storage: Vec<f32>,
    start: usize,
    len: usize,
}

impl Aligned {
    /// `len` zeros.
    pub(crate) fn zeroed(len: usize) -> Self {
        let storage = vec![0.0f32; len + ALIGNMENT / size_of::<f32>()];
        let start = storage.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT / size_of::<f32>());
        Self { storage, start, len }
    }

    /// Replaces the contents by `len` zeros, unless there is room for as many already.
    pub(crate) fn reserve(&mut self, len: usize) {
        if len > self.len {
            *self = Self::zeroed(len);
        }
    }
}

impl Deref for Aligned {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.storage[self.start..self.start + self.len]
    }
}

impl DerefMut for Aligned {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.storage[self.start..self.start + self.len]
    }
}
