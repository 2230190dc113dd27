//! Files that are not there until they are whole.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use super::io_error;
use crate::data::DataError;

/// A file beside its final place; gone when dropped, unless it became the final one.
pub(super) struct Temporary {
    pub(super) path: PathBuf,
}

impl Temporary {
    /// Named by the process, so that two of them fetching at once do not write to one file.
    pub(super) fn create(directory: &Path, name: &str) -> Result<Self, DataError> {
        let path = directory.join(format!(".{name}.{}.part", std::process::id()));
        File::create(&path).map_err(io_error("create", &path))?;
        Ok(Self { path })
    }

    /// Synced before the rename, so that no power cut leaves an empty file under the final name.
    pub(super) fn persist(self, path: &Path) -> Result<(), DataError> {
        let file = File::options().append(true).open(&self.path).map_err(io_error("open", &self.path))?;
        file.sync_all().map_err(io_error("sync", &self.path))?;
        fs::rename(&self.path, path).map_err(io_error("rename to", path))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path); // after persist() it is not there, which is as it should be
    }
}
