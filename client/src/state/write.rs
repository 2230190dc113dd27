//! Writing a slot: in tiles, so that no second copy of a vector is made, and synced before it counts.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
};

use nibble_proto::crash;

use super::{
    StateError,
    header::{Header, Summary, layout_to_bytes},
    lock::private_file,
    model::in_bytes,
};

/// Everything that a record holds.
pub(super) struct Record<'a> {
    pub(super) sequence: u64,
    pub(super) summary: &'a Summary,
    pub(super) vector: &'a [f32],
    pub(super) payload: &'a [u8],
}

/// Replaces the file at `path` by the record. What was there is lost first: the caller keeps the other slot.
pub(super) fn write(path: &Path, record: &Record<'_>) -> Result<(), StateError> {
    let created = !path.exists();
    let file = private_file().truncate(true).open(path).map_err(StateError::io("create", path))?;
    let file = write_to(file, record).map_err(StateError::io("write", path))?;
    crash::point("slot-written");
    file.sync_all().map_err(StateError::io("sync", path))?;
    if created {
        let dir = path.parent().unwrap_or(Path::new("."));
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(StateError::io("sync", dir))?;
    }
    crash::point("slot-kept");
    Ok(())
}

/// Replaces a small file, whole and durable.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), StateError> {
    let unfinished = path.with_extension("unfinished");
    let write = || {
        let mut file = private_file().truncate(true).open(&unfinished)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        crash::point("file-written");
        std::fs::rename(&unfinished, path)?;
        crash::point("file-kept");
        File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
    };
    write().map_err(StateError::io("write", path))
}

fn write_to<W: Write>(out: W, record: &Record<'_>) -> io::Result<W> {
    let Summary { run, layout, keeps, coordinates, pending } = record.summary;
    let tensors = layout_to_bytes(layout);
    let header = Header {
        sequence: record.sequence,
        layout_hash: layout.hash(),
        run_bytes: run.len() as u32,
        layout_bytes: tensors.len() as u32,
        keeps: *keeps,
        coordinates: *coordinates,
        pending: *pending,
    };
    let mut out = Checked { inner: BufWriter::new(out), crc: 0 };
    out.write_all(&header.to_bytes())?;
    out.write_all(run.as_bytes())?;
    out.write_all(&tensors)?;
    in_bytes(record.vector, |bytes| out.write_all(bytes))?;
    out.write_all(record.payload)?;
    let crc = out.crc;
    out.write_all(&crc.to_le_bytes())?;
    out.inner.into_inner().map_err(io::IntoInnerError::into_error)
}

/// Keeps the checksum of what was written.
struct Checked<W> {
    inner: W,
    crc: u32,
}

impl<W: Write> Write for Checked<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.crc = crc32c::crc32c_append(self.crc, &bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
