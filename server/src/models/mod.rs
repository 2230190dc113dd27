//! Global models as frames: whole ones, fp32 payloads named by the SHA-256 of their parameters, and delta frames, which lead
//! from one to the next and are named by the SHA-256 of their bytes.
//!
//! ```text
//! frames   what clients are served, from files
//! chain    which delta frames lead where
//! bucket   a copy of every global model, if one is configured
//! ```
//!
//! A model is durable before anybody learns its name. It stays as long as the run or anybody who [keeps](Models::keep) it needs
//! it.
//!
//! Absent on purpose: which model is current (the store of rounds knows).

mod bucket;
mod chain;
mod error;
mod frames;

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock, Weak},
};

use nibble_codec::{Coding, DecodeError, Encoder, Layout, Payload, PayloadId};
use nibble_seed::{RoundId, Seed};
use sha2::{Digest as _, Sha256};

use self::error::at;
pub use self::{
    bucket::{Bucket, copy},
    chain::{Chain, DeltaFrame},
    error::ModelError,
    frames::Frames,
};

/// SHA-256 of parameters as little-endian f32.
pub type ModelName = [u8; 32];

/// All models of one run.
#[derive(Debug)]
pub struct Models {
    directory: PathBuf,
    bucket: Option<Bucket>,
    /// What delta frames there are.
    chain: RwLock<Chain>,
    /// Models that somebody has yet to read.
    kept: Mutex<Vec<Weak<ModelName>>>,
}

/// A model that is not removed until this is dropped.
#[derive(Clone, Debug)]
pub struct Kept(Arc<ModelName>);

impl Kept {
    /// Which model it is.
    #[must_use]
    pub fn name(&self) -> &ModelName {
        &self.0
    }
}

/// A global model, for those who do something with every one of them beside the rounds.
#[derive(Clone, Debug)]
pub struct NewModel {
    /// The round that made it.
    pub round: RoundId,
    /// The model.
    pub model: Kept,
}

impl Models {
    /// Models in `directory`, and in a bucket if there is one.
    ///
    /// # Errors
    /// If the directory cannot be made.
    pub fn open(directory: PathBuf, bucket: Option<Bucket>) -> Result<Self, ModelError> {
        fs::create_dir_all(&directory).map_err(at(&directory))?;
        Ok(Self { directory, bucket, chain: RwLock::default(), kept: Mutex::default() })
    }

    /// Stores `parameters` as the model after `round` rounds; gives its name and the bytes of its frame.
    ///
    /// # Errors
    /// If they are not finite, or cannot be stored.
    pub fn put(&self, layout: &Layout, round: RoundId, parameters: &[f32]) -> Result<(ModelName, u64), ModelError> {
        let name = name_of(parameters);
        let mut frame = Vec::new();
        Encoder::new(Coding::Fp32.into()).encode(layout, parameters, PayloadId { round, seed: Seed(0) }, &mut frame)?;
        self.write(&self.path(&name), &frame)?;
        Ok((name, frame.len() as u64))
    }

    /// Copies a model to the bucket, if there is one and it lacks it.
    ///
    /// # Errors
    /// If it is not here, or the bucket fails.
    pub async fn copy(&self, name: &ModelName) -> Result<(), ModelError> {
        let Some(bucket) = &self.bucket else { return Ok(()) };
        if bucket.has(name).await? {
            return Ok(());
        }
        let path = self.path(name);
        bucket.put(name, fs::read(&path).map_err(at(&path))?).await
    }

    /// Keeps a model from being removed.
    #[must_use]
    pub fn keep(&self, name: ModelName) -> Kept {
        let kept = Arc::new(name);
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&kept));
        Kept(kept)
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

    /// The parameters of a model, which may be in the bucket alone.
    ///
    /// # Errors
    /// If it is neither here nor in the bucket, or damaged.
    pub async fn fetch(&self, layout: &Layout, name: &ModelName) -> Result<Vec<f32>, ModelError> {
        let path = self.path(name);
        if let Some(bucket) = self.bucket.as_ref().filter(|_| !path.exists()) {
            self.write(&path, &bucket.get(name).await?)?;
        }
        self.get(layout, name)
    }

    /// The parameters of a model that is here.
    ///
    /// # Errors
    /// If it is not, or damaged.
    pub fn get(&self, layout: &Layout, name: &ModelName) -> Result<Vec<f32>, ModelError> {
        let path = self.path(name);
        let frame = fs::read(&path).map_err(at(&path))?;
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

    /// Removes the local frames and memories of all but what is named in `keep`, what somebody keeps, and the anchors; delta
    /// frames that nobody will be sent; and what a kill left unfinished. What is in a bucket stays there.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn keep_only(&self, keep: &[ModelName], keyframe_bytes: u64) -> Result<(), ModelError> {
        let mut kept: Vec<_> = keep.iter().flat_map(|name| [self.path(name), self.memories_path(name)]).collect();
        let (frames, anchors) = self.with_chain(|chain| chain.wanted(keep, keyframe_bytes));
        kept.extend(frames.iter().map(|frame| self.delta_path(&frame.digest)));
        kept.extend(anchors.iter().map(|name| self.path(name)));
        let mut others = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        others.retain(|name| name.strong_count() > 0);
        kept.extend(others.iter().filter_map(Weak::upgrade).map(|name| self.path(&name)));
        drop(others);
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

#[cfg(test)]
mod tests;
