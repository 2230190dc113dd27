//! One client a directory.

use std::{
    fs::{self, File, TryLockError},
    path::Path,
};

use super::StateError;

/// Keeps other clients out of a directory while it lives. The system releases it when the process ends, however it ends.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    /// Makes the directory where there is none, and locks it.
    pub(super) fn acquire(dir: &Path) -> Result<Self, StateError> {
        create_private(dir).map_err(StateError::io("create", dir))?;
        let path = dir.join("lock");
        let file = private_file().open(&path).map_err(StateError::io("open", &path))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(StateError::InUse { dir: dir.into() }),
            Err(TryLockError::Error(error)) => Err(StateError::io("lock", path)(error)),
        }
    }
}

/// Its name is durable on return, as the files in it are to be.
fn create_private(dir: &Path) -> std::io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir)?;
    let above = dir.parent().filter(|above| !above.as_os_str().is_empty());
    File::open(above.unwrap_or(Path::new(".")))?.sync_all()
}

/// Options that open a file for writing, or make one that only its owner can read.
pub(super) fn private_file() -> fs::OpenOptions {
    let mut options = File::options();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}
