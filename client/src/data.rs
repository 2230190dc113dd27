//! The built-in models on a data set of this machine, with the samples that are this client's.

use std::sync::Arc;

use nibble_learning::{
    Model, SgdTrainer, Trainer,
    data::{self, DataError, Dataset, Places},
    partition::PartitionError,
};

use crate::{
    agent::{BoxError, TrainerSource},
    config::Config,
};

/// A data set, and which of its training samples are this client's.
pub struct LocalData {
    dataset: Arc<Dataset>,
    samples: Vec<u32>,
}

/// Data that cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LocalDataError {
    /// The data set cannot be loaded.
    #[error("data: {0}")]
    Data(#[from] DataError),
    /// The data set cannot be dealt out.
    #[error("data.share: {0}")]
    Share(#[from] PartitionError),
}

impl LocalData {
    /// Loads what `config` names. The share is the one that the simulator gives to the client of the same index.
    ///
    /// # Errors
    /// If the data set cannot be loaded or dealt out.
    pub fn load(config: &Config, places: &Places) -> Result<Self, LocalDataError> {
        let dataset = data::load(&config.data, places, config.seed)?;
        let samples = match &config.share {
            Some(share) => {
                let mut parts = share.partition.split(&dataset.train, dataset.classes, share.clients, config.seed)?;
                let _held = parts.hold_out(share.holdout, config.seed); // the same ones that the simulator evaluates on
                parts.clients.into_iter().nth(share.index).unwrap_or_default()
            }
            None => (0..dataset.train.len() as u32).collect(),
        };
        Ok(Self { dataset: Arc::new(dataset), samples })
    }

    /// The samples, as indices into the training part.
    #[must_use]
    pub fn samples(&self) -> &[u32] {
        &self.samples
    }

    /// The data set.
    #[must_use]
    pub fn dataset(&self) -> &Dataset {
        &self.dataset
    }
}

impl TrainerSource for LocalData {
    fn trainer(&mut self, architecture: &str) -> Result<Box<dyn Trainer>, BoxError> {
        let model = Model::from_name(architecture, self.dataset.shape, self.dataset.classes)?;
        Ok(Box::new(SgdTrainer::new(model, Arc::clone(&self.dataset))?))
    }
}
