//! Files that are whole or not there: written beside their place, synced, then renamed into it.

use std::{
    fs::{self, File},
    io::Write,
    path::Path,
};

use crate::error::SimError;

/// Replaces the file at `path` by `bytes`.
///
/// # Errors
/// If it cannot be written, or something other than a file is there; what is there is then as it was.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), SimError> {
    if path.symlink_metadata().is_ok_and(|found| !found.is_file()) {
        return Err(SimError::File {
            path: path.into(),
            problem: "is there already and not an ordinary file".into(),
            mend: "give the name of a file, new or to be replaced".into(),
        });
    }
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let failed = || SimError::io(path);
    let mut file = tempfile::NamedTempFile::new_in(dir).map_err(failed())?;
    file.write_all(bytes).map_err(failed())?;
    file.as_file().sync_all().map_err(failed())?;
    let kept = file.persist(path).map_err(|error| failed()(error.error))?;
    make_readable(&kept, path)?;
    sync_directory(dir)
}

/// Reads the file that the user named; `what` is what it should be, as in "give the path of ...".
///
/// # Errors
/// If it cannot be read.
pub fn read_named(path: &Path, what: &str) -> Result<Vec<u8>, SimError> {
    fs::read(path).map_err(|error| SimError::Usage {
        problem: format!("{}: {error}", path.display()),
        mend: format!("give the path of {what}"),
    })
}

/// Makes the names in a directory durable.
///
/// # Errors
/// If the directory cannot be synced.
pub fn sync_directory(dir: &Path) -> Result<(), SimError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(SimError::io(dir))
}

/// Temporary files are private to their owner; results are ordinary files.
#[cfg(unix)]
fn make_readable(file: &File, path: &Path) -> Result<(), SimError> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(fs::Permissions::from_mode(0o644)).map_err(SimError::io(path))
}

#[cfg(not(unix))]
fn make_readable(_: &File, _: &Path) -> Result<(), SimError> {
    Ok(())
}

/// `values` as little-endian bytes.
#[must_use]
pub fn to_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// The floats in little-endian `bytes`; `None` if they are not whole floats.
#[must_use]
pub fn from_bytes(bytes: &[u8]) -> Option<Vec<f32>> {
    let (words, rest) = bytes.as_chunks::<4>();
    rest.is_empty().then(|| words.iter().map(|&word| f32::from_le_bytes(word)).collect())
}
