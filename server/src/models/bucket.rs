//! A bucket with a copy of every global model. Copies are made beside the rounds, one after the other, and tried until they
//! succeed: a bucket that is slow or away holds nothing up, and what it lacks stays on this disk.
//!
//! Absent on purpose: serving clients from it, and removing anything.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutPayload, path::Path as Key};
use tokio::{sync::mpsc::UnboundedReceiver, time::sleep};
use tracing::warn;

use super::{ModelError, ModelName, Models, NewModel, hex};

/// Longest pause before a copy is tried again.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Where copies go.
#[derive(Debug)]
pub struct Bucket {
    store: Arc<dyn ObjectStore>,
    prefix: Key,
}

impl Bucket {
    /// The bucket at an address. Nothing is connected to.
    ///
    /// # Errors
    /// If the address names none that this build knows.
    pub fn at(url: &str) -> Result<Self, ModelError> {
        let wrong = |problem: String| ModelError::Address { url: url.into(), problem };
        let parsed = url.parse().map_err(|error| wrong(format!("not an address: {error}")))?;
        #[cfg(feature = "cloud")]
        drop(rustls::crypto::ring::default_provider().install_default()); // it may be installed already
        let ours = |key: &String| ["AWS_", "GOOGLE_", "AZURE_"].iter().any(|provider| key.starts_with(provider));
        let options = std::env::vars().filter(|(key, _)| ours(key)).map(|(key, value)| (key.to_lowercase(), value));
        let (store, prefix) = object_store::parse_url_opts(&parsed, options)
            .map_err(|error| wrong(format!("{error}; this build knows {KNOWN}")))?;
        Ok(Self { store: Arc::from(store), prefix })
    }

    /// The part of it that is a run's.
    #[must_use]
    pub fn of(self, run: &str) -> Self {
        Self { prefix: self.prefix.join(run), ..self }
    }

    pub(super) async fn put(&self, name: &ModelName, frame: Vec<u8>) -> Result<(), ModelError> {
        self.store.put(&self.key(name), PutPayload::from_bytes(Bytes::from(frame))).await?;
        Ok(())
    }

    pub(super) async fn get(&self, name: &ModelName) -> Result<Bytes, ModelError> {
        Ok(self.store.get(&self.key(name)).await?.bytes().await?)
    }

    pub(super) async fn has(&self, name: &ModelName) -> Result<bool, ModelError> {
        match self.store.head(&self.key(name)).await {
            Ok(_) => Ok(true),
            Err(Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn key(&self, name: &ModelName) -> Key {
        self.prefix.clone().join(format!("{}.frame", hex(name)))
    }
}

/// Copies what comes to the bucket of `models`, until nobody can send any more and all is copied.
pub async fn copy(models: Arc<Models>, mut new: UnboundedReceiver<NewModel>) {
    while let Some(NewModel { round, model }) = new.recv().await {
        let mut pause = Duration::from_secs(1);
        while let Err(error) = models.copy(model.name()).await {
            if let ModelError::Io { .. } = error {
                warn!(%round, %error, "the model cannot be copied to the bucket");
                break;
            }
            warn!(%round, %error, waiting = new.len(), "the model is not in the bucket yet; it is tried again");
            sleep(pause).await;
            pause = (2 * pause).min(LONGEST_PAUSE);
        }
    }
}

#[cfg(feature = "cloud")]
const KNOWN: &str = "file:///DIR, s3://, gs:// and az://";
#[cfg(not(feature = "cloud"))]
const KNOWN: &str = "file:///DIR; built with --features cloud also s3://, gs:// and az://";
