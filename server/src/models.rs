//! Global models as frames: fp32 payloads, named by the SHA-256 of their parameters.
//!
//! The object store keeps them (a local directory, or a bucket); a local file of each is what clients are served from.
//! A model is durable before anybody learns its name.
//!
//! Absent on purpose: which model is current (the store of rounds knows).

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use nibble_codec::{Coding, DecodeError, Encoder, Layout, Payload, PayloadId};
use nibble_seed::{RoundId, Seed};
use object_store::{ObjectStore, ObjectStoreExt, PutPayload, path::Path as Key};
use sha2::{Digest as _, Sha256};

/// SHA-256 of parameters as little-endian f32.
pub type ModelName = [u8; 32];

/// Errors of the models.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The file system failed.
    #[error("cannot keep models in {}: {error}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// The object store failed.
    #[error("the object store for models failed: {0}")]
    Store(#[from] object_store::Error),
    /// The address names no object store that this program knows.
    #[error("models = {url:?}: {problem}")]
    Address {
        /// The address.
        url: String,
        /// What is wrong with it.
        problem: String,
    },
    /// What is kept under a model's name is not that model.
    #[error("the model {name} is damaged: {problem}; restore it from a backup")]
    Damaged {
        /// Its name in hexadecimal.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Parameters that cannot be written down: training has diverged.
    #[error("the new model cannot be stored: {0}")]
    Parameters(#[from] nibble_codec::EncodeError),
}

/// All models of one run.
#[derive(Debug)]
pub struct Models {
    remote: Option<Arc<dyn ObjectStore>>,
    prefix: Key,
    directory: PathBuf,
}

/// An open frame to serve from.
#[derive(Debug)]
pub struct ModelFrame {
    file: File,
    bytes: u64,
}

impl Models {
    /// Models in `directory`, and, if a `url` is given, in the bucket it names, under `run`.
    ///
    /// # Errors
    /// If the directory cannot be made, or the address is not understood.
    pub fn open(directory: PathBuf, url: Option<&str>, run: &str) -> Result<Self, ModelError> {
        fs::create_dir_all(&directory).map_err(at(&directory))?;
        let (remote, base) = match url.map(remote).transpose()? {
            Some((remote, base)) => (Some(remote), base),
            None => (None, Key::default()),
        };
        Ok(Self { remote, prefix: base.join(run), directory })
    }

    /// Stores `parameters` as the model after `round` rounds; gives its name and the bytes of its frame.
    ///
    /// # Errors
    /// If they are not finite, or cannot be stored.
    pub async fn put(
        &self,
        layout: &Layout,
        round: RoundId,
        parameters: &[f32],
    ) -> Result<(ModelName, u64), ModelError> {
        let name = name_of(parameters);
        let mut frame = Vec::new();
        Encoder::new(Coding::Fp32.into()).encode(layout, parameters, PayloadId { round, seed: Seed(0) }, &mut frame)?;
        let bytes = frame.len() as u64;
        self.write(&name, &frame)?;
        if let Some(remote) = &self.remote {
            remote.put(&self.key(&name), PutPayload::from_bytes(Bytes::from(frame))).await?;
        }
        Ok((name, bytes))
    }

    /// The parameters of a model.
    ///
    /// # Errors
    /// If it is neither here nor in the bucket, or damaged.
    pub async fn get(&self, layout: &Layout, name: &ModelName) -> Result<Vec<f32>, ModelError> {
        let path = self.path(name);
        let frame = match (fs::read(&path), &self.remote) {
            (Ok(frame), _) => frame,
            (Err(error), Some(remote)) if error.kind() == io::ErrorKind::NotFound => {
                let frame = remote.get(&self.key(name)).await?.bytes().await?;
                self.write(name, &frame)?;
                frame.into()
            }
            (Err(error), _) => return Err(ModelError::Io { path, error }),
        };
        let damaged = |problem: String| ModelError::Damaged { name: hex(name), problem };
        let mut parameters = vec![0.0; layout.coordinates()];
        let mut decode = || Payload::parse(&frame, layout)?.decode(&mut parameters);
        decode().map_err(|error: DecodeError| damaged(error.to_string()))?;
        if name_of(&parameters) != *name {
            return Err(damaged("its parameters have another SHA-256".into()));
        }
        Ok(parameters)
    }

    /// A model's frame, to serve from; `None` if it is not here.
    #[must_use]
    pub fn frame(&self, name: &ModelName) -> Option<ModelFrame> {
        let file = File::open(self.path(name)).ok()?;
        let bytes = file.metadata().ok()?.len();
        Some(ModelFrame { file, bytes })
    }

    /// Removes the local frames of all models but those in `keep`, and what a kill left unfinished. What is in a bucket stays there.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn keep_only(&self, keep: &[ModelName]) -> Result<(), ModelError> {
        let keep: Vec<_> = keep.iter().map(|name| self.path(name)).collect();
        for entry in fs::read_dir(&self.directory).map_err(at(&self.directory))?.flatten() {
            let path = entry.path();
            let unfinished = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".tmp"));
            if unfinished || path.extension().is_some_and(|extension| extension == "frame") && !keep.contains(&path) {
                fs::remove_file(&path).map_err(at(&path))?;
            }
        }
        Ok(())
    }

    /// Writes a frame so that it is whole or not there, and durable.
    fn write(&self, name: &ModelName, frame: &[u8]) -> Result<(), ModelError> {
        let path = self.path(name);
        let write = || {
            let mut file = tempfile::NamedTempFile::new_in(&self.directory)?;
            file.write_all(frame)?;
            file.as_file().sync_all()?;
            file.persist(&path).map_err(|error| error.error)?;
            File::open(&self.directory)?.sync_all()
        };
        write().map_err(at(&path))
    }

    fn path(&self, name: &ModelName) -> PathBuf {
        self.directory.join(hex(name)).with_extension("frame")
    }

    fn key(&self, name: &ModelName) -> Key {
        self.prefix.clone().join(format!("{}.frame", hex(name)))
    }
}

impl ModelFrame {
    /// Bytes of the frame.
    #[must_use]
    pub fn len_bytes(&self) -> u64 {
        self.bytes
    }

    /// At most `most` bytes from `offset` on.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn read(&self, offset: u64, most: usize) -> io::Result<Bytes> {
        let len = self.bytes.saturating_sub(offset).min(most as u64) as usize;
        let mut bytes = vec![0; len];
        self.file.read_exact_at(&mut bytes, offset)?;
        Ok(bytes.into())
    }
}

/// SHA-256 of parameters as little-endian f32.
#[must_use]
pub fn name_of(parameters: &[f32]) -> ModelName {
    let mut sha = Sha256::new();
    let mut bytes = [0; 16_384];
    for values in parameters.chunks(bytes.len() / 4) {
        for (to, value) in bytes.chunks_exact_mut(4).zip(values) {
            to.copy_from_slice(&value.to_le_bytes());
        }
        sha.update(&bytes[..values.len() * 4]);
    }
    sha.finalize().into()
}

/// Bytes in hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The object store that an address names.
///
/// # Errors
/// If it names none that this build knows. Nothing is connected to.
pub(crate) fn remote(url: &str) -> Result<(Arc<dyn ObjectStore>, Key), ModelError> {
    let wrong = |problem: String| ModelError::Address { url: url.into(), problem };
    let parsed = url.parse().map_err(|error| wrong(format!("not an address: {error}")))?;
    #[cfg(feature = "cloud")]
    drop(rustls::crypto::ring::default_provider().install_default()); // it may be installed already
    let options = std::env::vars().filter(|(key, _)| ["AWS_", "GOOGLE_", "AZURE_"].iter().any(|p| key.starts_with(p)));
    let (store, base) = object_store::parse_url_opts(&parsed, options.map(|(key, value)| (key.to_lowercase(), value)))
        .map_err(|error| wrong(format!("{error}; this build knows {KNOWN}")))?;
    Ok((Arc::from(store), base))
}

#[cfg(feature = "cloud")]
const KNOWN: &str = "file:///DIR, s3://, gs:// and az://";
#[cfg(not(feature = "cloud"))]
const KNOWN: &str = "file:///DIR; built with --features cloud also s3://, gs:// and az://";

fn at(path: &Path) -> impl FnOnce(io::Error) -> ModelError {
    move |error| ModelError::Io { path: path.into(), error }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout() -> Layout {
        Layout::new([("w", vec![3])]).unwrap()
    }

    #[tokio::test]
    async fn a_model_comes_back_under_its_name_also_from_the_bucket_alone() {
        let (local, bucket) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let url = format!("file://{}", bucket.path().display());
        let models = Models::open(local.path().into(), Some(&url), "run").unwrap();
        let (name, bytes) = models.put(&layout(), RoundId(0), &[1.0, -2.0, 0.5]).await.unwrap();
        assert_eq!(name, name_of(&[1.0, -2.0, 0.5]));
        assert_eq!(models.get(&layout(), &name).await.unwrap(), [1.0, -2.0, 0.5]);
        models.keep_only(&[]).unwrap();
        assert!(models.frame(&name).is_none());
        assert_eq!(models.get(&layout(), &name).await.unwrap(), [1.0, -2.0, 0.5]);
        let frame = models.frame(&name).unwrap();
        assert_eq!(frame.len_bytes(), bytes);
        assert_eq!(frame.read(bytes - 1, 100).unwrap().len(), 1);
        assert!(frame.read(bytes + 5, 100).unwrap().is_empty());
    }

    #[tokio::test]
    async fn damage_and_divergence_are_noticed() {
        let local = tempfile::tempdir().unwrap();
        let models = Models::open(local.path().into(), None, "run").unwrap();
        let (name, _) = models.put(&layout(), RoundId(0), &[1.0, -2.0, 0.5]).await.unwrap();
        let (other, _) = models.put(&layout(), RoundId(0), &[1.0, -2.0, 0.25]).await.unwrap();
        fs::copy(models.path(&other), models.path(&name)).unwrap();
        assert!(matches!(models.get(&layout(), &name).await, Err(ModelError::Damaged { .. })));
        fs::write(models.path(&name), b"NIBL").unwrap();
        assert!(matches!(models.get(&layout(), &name).await, Err(ModelError::Damaged { .. })));
        let diverged = models.put(&layout(), RoundId(0), &[1.0, f32::NAN, 0.25]).await;
        assert!(matches!(diverged, Err(ModelError::Parameters(_))));
    }

    #[test]
    fn an_address_that_is_not_understood_says_what_is() {
        let local = tempfile::tempdir().unwrap();
        for url in ["ftp://x/y", "not an address"] {
            let error = Models::open(local.path().into(), Some(url), "run").unwrap_err();
            assert!(matches!(error, ModelError::Address { .. }), "{error}");
        }
    }
}
