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
        let models = Models::open(local.path().into(), Some(Bucket::at(&url).unwrap().of("run"))).unwrap();
        let (name, bytes) = models.put(&layout(), RoundId(0), &[1.0, -2.0, 0.5]).unwrap();
        assert_eq!(name, name_of(&[1.0, -2.0, 0.5]));
        assert_eq!(models.get(&layout(), &name).unwrap(), [1.0, -2.0, 0.5]);
        models.copy(&name).await.unwrap();
        models.keep_only(&[], 0).unwrap();
        assert!(models.frame(&name).is_none());
        assert_eq!(models.fetch(&layout(), &name).await.unwrap(), [1.0, -2.0, 0.5]);
        assert!(models.fetch(&layout(), &[9; 32]).await.is_err());
        let frame = models.frame(&name).unwrap();
        assert_eq!(frame.len_bytes(), bytes);
        assert_eq!(frame.read(bytes - 1, 100).unwrap().len(), 1);
        assert!(frame.read(bytes + 5, 100).unwrap().is_empty());
    }

    #[test]
    fn delta_frames_are_served_one_after_the_other_in_any_pieces() {
        let local = tempfile::tempdir().unwrap();
        let models = Models::open(local.path().into(), None).unwrap();
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

    #[test]
    fn what_somebody_keeps_is_removed_once_nobody_does() {
        let local = tempfile::tempdir().unwrap();
        let models = Models::open(local.path().into(), None).unwrap();
        let (name, _) = models.put(&layout(), RoundId(0), &[1.0, -2.0, 0.5]).unwrap();
        let (first, second) = (models.keep(name), models.keep(name));
        for kept in [first, second] {
            models.keep_only(&[], 0).unwrap();
            assert_eq!(models.get(&layout(), kept.name()).unwrap(), [1.0, -2.0, 0.5]);
        }
        models.keep_only(&[], 0).unwrap();
        assert!(models.frame(&name).is_none());
    }

    #[tokio::test]
    async fn a_bucket_that_was_away_gets_every_model_in_the_end() {
        let (local, bucket) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let url = format!("file://{}", bucket.path().display());
        let models = Models::open(local.path().into(), Some(Bucket::at(&url).unwrap().of("run"))).unwrap();
        let models = Arc::new(models);
        fs::write(bucket.path().join("run"), "in the way of the directory").unwrap();
        let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
        let copying = tokio::spawn(copy(Arc::clone(&models), receiver));
        let mut names = Vec::new();
        for round in 0..3 {
            let (name, _) = models.put(&layout(), RoundId(round), &[round as f32; 3]).unwrap();
            drop(sender.send(NewModel { round: RoundId(round), model: models.keep(name) }));
            models.keep_only(&[], 0).unwrap();
            names.push(name);
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        fs::remove_file(bucket.path().join("run")).unwrap();
        drop(sender);
        copying.await.unwrap();
        models.keep_only(&[], 0).unwrap();
        for (round, name) in names.iter().enumerate() {
            assert!(models.frame(name).is_none());
            assert_eq!(models.fetch(&layout(), name).await.unwrap(), [round as f32; 3]);
        }
    }

    #[test]
    fn damage_and_divergence_are_noticed() {
        let local = tempfile::tempdir().unwrap();
        let models = Models::open(local.path().into(), None).unwrap();
        let (name, _) = models.put(&layout(), RoundId(0), &[1.0, -2.0, 0.5]).unwrap();
        let (other, _) = models.put(&layout(), RoundId(0), &[1.0, -2.0, 0.25]).unwrap();
        fs::copy(models.path(&other), models.path(&name)).unwrap();
        assert!(matches!(models.get(&layout(), &name), Err(ModelError::Damaged { .. })));
        fs::write(models.path(&name), b"NIBL").unwrap();
        assert!(matches!(models.get(&layout(), &name), Err(ModelError::Damaged { .. })));
        let diverged = models.put(&layout(), RoundId(0), &[1.0, f32::NAN, 0.25]);
        assert!(matches!(diverged, Err(ModelError::Parameters(_))));
    }

    #[test]
    fn an_address_that_is_not_understood_says_what_is() {
        for url in ["ftp://x/y", "not an address"] {
            let error = Bucket::at(url).unwrap_err();
            assert!(matches!(error, ModelError::Address { .. }), "{error}");
        }
    }
}
