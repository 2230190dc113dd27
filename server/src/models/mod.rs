//! Global models as frames: whole ones, fp32 payloads named by the SHA-256 of their parameters, and delta frames, which lead
//! from one to the next and are named by the SHA-256 of their bytes.
//!
//! Clients are served from local files; a bucket, if there is one, has a copy of every global model. A model is durable
//! before anybody learns its name.
//!
//! Absent on purpose: which model is current (the store of rounds knows).

mod chain;

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

use bytes::Bytes;
use nibble_codec::{Coding, DecodeError, Encoder, Layout, Payload, PayloadId};
use nibble_seed::{RoundId, Seed};
use object_store::{ObjectStore, ObjectStoreExt, PutPayload, path::Path as Key};
use sha2::{Digest as _, Sha256};

pub use chain::{Chain, DeltaFrame};

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
    /// What delta frames there are.
    chain: RwLock<Chain>,
}

/// Open frames to serve from, one after the other.
#[derive(Debug)]
pub struct Frames {
    /// Files, and where each ends.
    files: Vec<(File, u64)>,
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
        Ok(Self { remote, prefix: base.join(run), directory, chain: RwLock::default() })
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
        let (name, frame) = self.put_here(layout, round, parameters)?;
        let bytes = frame.len() as u64;
        if let Some(remote) = &self.remote {
            remote.put(&self.key(&name), PutPayload::from_bytes(Bytes::from(frame))).await?;
        }
        Ok((name, bytes))
    }

    /// As [`Models::put`], on this disk only; gives the name and the frame.
    ///
    /// # Errors
    /// As there.
    pub fn put_here(
        &self,
        layout: &Layout,
        round: RoundId,
        parameters: &[f32],
    ) -> Result<(ModelName, Vec<u8>), ModelError> {
        let name = name_of(parameters);
        let mut frame = Vec::new();
        Encoder::new(Coding::Fp32.into()).encode(layout, parameters, PayloadId { round, seed: Seed(0) }, &mut frame)?;
        self.write(&self.path(&name), &frame)?;
        Ok((name, frame))
    }

    /// Stores what a frame decodes to under its name, as that frame; gives the name.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn put_frame(&self, values: &[f32], frame: &[u8]) -> Result<ModelName, ModelError> {
        let name = name_of(values);
        self.write(&self.path(&name), frame)?;
        Ok(name)
    }

    /// Stores a delta frame.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn put_delta(&self, frame: &[u8]) -> Result<DeltaFrame, ModelError> {
        let digest = Sha256::digest(frame).into();
        self.write(&self.delta_path(&digest), frame)?;
        Ok(DeltaFrame { digest, bytes: frame.len() as u64 })
    }

    /// Stores what an optimiser remembers, as little-endian f32 under the SHA-256 of that.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn put_memories(&self, name: &ModelName, memories: &[f32]) -> Result<(), ModelError> {
        if memories.is_empty() {
            return Ok(());
        }
        let bytes: Vec<u8> = memories.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.write(&self.memories_path(name), &bytes)
    }

    /// What an optimiser remembered: `len` numbers.
    ///
    /// # Errors
    /// If it is not here, or damaged.
    pub fn memories(&self, name: &ModelName, len: usize) -> Result<Vec<f32>, ModelError> {
        if len == 0 {
            return Ok(Vec::new());
        }
        let path = self.memories_path(name);
        let bytes = fs::read(&path).map_err(at(&path))?;
        let memories: Vec<_> = bytes.as_chunks::<4>().0.iter().map(|word| f32::from_le_bytes(*word)).collect();
        if memories.len() != len || name_of(&memories) != *name {
            let problem = format!("{} is not what the optimiser remembered", path.display());
            return Err(ModelError::Damaged { name: hex(name), problem });
        }
        Ok(memories)
    }

    /// Serves delta frames of this chain from now on.
    pub fn set_chain(&self, chain: Chain) {
        *self.chain.write().unwrap_or_else(PoisonError::into_inner) = chain;
    }

    /// What `look` finds in the chain of delta frames.
    pub fn with_chain<T>(&self, look: impl FnOnce(&Chain) -> T) -> T {
        look(&self.chain.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// A version more: its frame, and the model that it leads to.
    pub fn extend_chain(&self, frame: DeltaFrame, name: ModelName) {
        self.chain.write().unwrap_or_else(PoisonError::into_inner).push(frame, name);
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
                self.write(&path, &frame)?;
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
    pub fn frame(&self, name: &ModelName) -> Option<Frames> {
        Frames::open([self.path(name)])
    }

    /// The delta frames that lead from one model to another, to serve from; `None` if they are not all here.
    #[must_use]
    pub fn deltas(&self, base: &ModelName, to: &ModelName) -> Option<Frames> {
        let between = |chain: &Chain| chain.between(base, to);
        Frames::open(self.with_chain(between)?.iter().map(|frame| self.delta_path(&frame.digest)))
    }

    /// Removes the local frames and memories of all but what is named in `keep` and the anchors, delta frames that nobody
    /// will be sent, and what a kill left unfinished. What is in a bucket stays there.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn keep_only(&self, keep: &[ModelName], keyframe_bytes: u64) -> Result<(), ModelError> {
        let mut kept: Vec<_> = keep.iter().flat_map(|name| [self.path(name), self.memories_path(name)]).collect();
        let (frames, anchors) = self.with_chain(|chain| chain.wanted(keep, keyframe_bytes));
        kept.extend(frames.iter().map(|frame| self.delta_path(&frame.digest)));
        kept.extend(anchors.iter().map(|name| self.path(name)));
        for entry in fs::read_dir(&self.directory).map_err(at(&self.directory))?.flatten() {
            let path = entry.path();
            let unfinished = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".tmp"));
            let ours = path.extension().is_some_and(|it| it == "frame" || it == "delta" || it == "memories");
            if unfinished || ours && !kept.contains(&path) {
                fs::remove_file(&path).map_err(at(&path))?;
            }
        }
        Ok(())
    }

    /// Writes a frame so that it is whole or not there, and durable.
    fn write(&self, path: &Path, frame: &[u8]) -> Result<(), ModelError> {
        let write = || {
            let mut file = tempfile::NamedTempFile::new_in(&self.directory)?;
            file.write_all(frame)?;
            file.as_file().sync_all()?;
            file.persist(path).map_err(|error| error.error)?;
            File::open(&self.directory)?.sync_all()
        };
        write().map_err(at(path))
    }

    fn path(&self, name: &ModelName) -> PathBuf {
        self.directory.join(hex(name)).with_extension("frame")
    }

    fn memories_path(&self, name: &ModelName) -> PathBuf {
        self.directory.join(hex(name)).with_extension("memories")
    }

    fn delta_path(&self, digest: &[u8; 32]) -> PathBuf {
        self.directory.join(hex(digest)).with_extension("delta")
    }

    fn key(&self, name: &ModelName) -> Key {
        self.prefix.clone().join(format!("{}.frame", hex(name)))
    }
}

impl Frames {
    fn open(paths: impl IntoIterator<Item = PathBuf>) -> Option<Self> {
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
    use crate::broadcast::Span;

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
        models.keep_only(&[], 0).unwrap();
        assert!(models.frame(&name).is_none());
        assert_eq!(models.get(&layout(), &name).await.unwrap(), [1.0, -2.0, 0.5]);
        let frame = models.frame(&name).unwrap();
        assert_eq!(frame.len_bytes(), bytes);
        assert_eq!(frame.read(bytes - 1, 100).unwrap().len(), 1);
        assert!(frame.read(bytes + 5, 100).unwrap().is_empty());
    }

    #[test]
    fn delta_frames_are_served_one_after_the_other_in_any_pieces() {
        let local = tempfile::tempdir().unwrap();
        let models = Models::open(local.path().into(), None, "run").unwrap();
        let frames = [&b"first"[..], b"", b"the second"].map(|frame| models.put_delta(frame).unwrap());
        models.set_chain(Chain::new(Span::new(1).unwrap(), [0; 32], (1..4).map(|i| (frames[i as usize - 1], [i; 32]))));
        let whole = b"firstthe second";
        let open = models.deltas(&[0; 32], &[3; 32]).unwrap();
        assert_eq!(open.len_bytes(), 15);
        for (from, most) in (0..17).flat_map(|from| (0..17).map(move |most| (from, most))) {
            let expected = &whole[from.min(15)..(from + most).min(15)];
            assert_eq!(open.read(from as u64, most).unwrap(), expected, "{most} bytes from {from}");
        }
        assert_eq!(models.deltas(&[3; 32], &[3; 32]).unwrap().len_bytes(), 0);
        assert!(models.deltas(&[3; 32], &[0; 32]).is_none());
        models.keep_only(&[], 0).unwrap();
        assert!(models.deltas(&[0; 32], &[3; 32]).is_none(), "only the newest are wanted");
        assert_eq!(models.deltas(&[2; 32], &[3; 32]).unwrap().read(0, 99).unwrap(), &b"the second"[..]);
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
