//! Frames on disk, read from any byte on as clients ask for them.
//!
//! Absent on purpose: which frames those are.

use std::{fs::File, io, os::unix::fs::FileExt, path::PathBuf};

use bytes::Bytes;

/// Open frames to serve from, one after the other.
#[derive(Debug)]
pub struct Frames {
    /// Files, and where each ends.
    files: Vec<(File, u64)>,
}

impl Frames {
    pub(super) fn open(paths: impl IntoIterator<Item = PathBuf>) -> Option<Self> {
        let (mut files, mut end) = (Vec::new(), 0);
        for path in paths {
            let file = File::open(path).ok()?;
            end += file.metadata().ok()?.len();
            files.push((file, end));
        }
        Some(Self { files })
    }

    /// Bytes of them all.
    #[must_use]
    pub fn len_bytes(&self) -> u64 {
        self.files.last().map_or(0, |(_, end)| *end)
    }

    /// At most `most` bytes from `offset` on.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn read(&self, offset: u64, most: usize) -> io::Result<Bytes> {
        let mut bytes = vec![0; self.len_bytes().saturating_sub(offset).min(most as u64) as usize];
        let (mut filled, mut begin) = (0, 0);
        for (file, end) in &self.files {
            let at = offset + filled as u64;
            let more = end.saturating_sub(at).min((bytes.len() - filled) as u64) as usize;
            file.read_exact_at(&mut bytes[filled..filled + more], at.saturating_sub(begin))?;
            (filled, begin) = (filled + more, *end);
        }
        Ok(bytes.into())
    }
}
