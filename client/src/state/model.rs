//! The global model that a client has, beside the slots: what its next way to a newer one starts from.
//!
//! The file is the parameters as little-endian floats, so that a model's name, the SHA-256 of just that, is also the
//! check of the file: one that was damaged has a name that no coordinator knows. It is not synced, as what is lost is
//! sent again.

use std::{
    fs,
    io::{self, BufWriter, Write},
    path::Path,
};

use nibble_proto::crash;

use super::{StateError, lock::private_file};

/// Floats converted at a time.
const TILE: usize = 4096;

/// The parameters in `dir`; `None` if there are none that can be read.
pub(super) fn read(dir: &Path) -> Option<Vec<f32>> {
    let bytes = fs::read(dir.join("model")).ok()?;
    let (words, rest) = bytes.as_chunks::<4>();
    let whole = rest.is_empty() && !words.is_empty();
    whole.then(|| words.iter().map(|&word| f32::from_le_bytes(word)).collect())
}

/// Replaces the parameters in `dir`.
pub(super) fn write(dir: &Path, parameters: &[f32]) -> Result<(), StateError> {
    let (path, unfinished) = (dir.join("model"), dir.join("model.unfinished"));
    let write = || {
        let mut out = BufWriter::new(private_file().truncate(true).open(&unfinished)?);
        in_bytes(parameters, |bytes| out.write_all(bytes))?;
        out.into_inner().map_err(io::IntoInnerError::into_error)?;
        crash::point("model-written");
        fs::rename(&unfinished, &path)
    };
    write().map_err(StateError::io("write", &path))
}

/// Gives floats as little-endian bytes, a tile at a time, so that no second copy of them all is made.
pub(crate) fn in_bytes<E>(floats: &[f32], mut each: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
    let mut bytes = Vec::with_capacity(4 * TILE.min(floats.len()));
    floats.chunks(TILE).try_for_each(|tile| {
        bytes.clear();
        bytes.extend(tile.iter().flat_map(|value| value.to_le_bytes()));
        each(&bytes)
    })
}
