//! The fixed part of an experiment: data, who holds it, and the model.

use std::sync::Arc;

use nibble_codec::Layout;
use nibble_learning::{
    Model, SgdTrainer, Trainer,
    data::{self, Dataset, Places},
    partition::Assignment,
};
use nibble_seed::Seed;

use crate::{error::SimError, experiment::Experiment};

/// Loaded data, dealt out to virtual clients, with the model they train.
pub struct Federation {
    dataset: Arc<Dataset>,
    assignment: Assignment,
    held_out: Vec<Vec<u32>>,
    model: String,
    layout: Layout,
}

impl Federation {
    /// Loads and deals out what `experiment` names.
    ///
    /// # Errors
    /// If the data cannot be loaded or dealt out, or the model does not fit it.
    pub fn load(experiment: &Experiment) -> Result<Self, SimError> {
        let raw = &experiment.raw.data;
        let seed = Seed(raw.partition_seed);
        let dataset = data::load(&experiment.data, &Places::from_environment(|name| std::env::var_os(name)), seed)?;
        let mut assignment = raw.partition.split(&dataset.train, dataset.classes, raw.clients, seed)?;
        let held_out = assignment.hold_out(raw.holdout.unwrap_or(0.0), seed);
        let model =
            Model::from_name(&experiment.raw.model.name, dataset.shape, dataset.classes).map_err(SimError::Model)?;
        let layout = Layout::new(model.tensors().iter().map(|tensor| (tensor.name.clone(), tensor.shape.clone())))
            .map_err(|error| SimError::Usage {
                problem: format!("the model cannot be laid out: {error}"),
                mend: "choose another model".into(),
            })?;
        let model = experiment.raw.model.name.clone();
        Ok(Self { dataset: Arc::new(dataset), assignment, held_out, model, layout })
    }

    /// The data.
    #[must_use]
    pub fn dataset(&self) -> &Dataset {
        &self.dataset
    }

    /// Who trains on which samples.
    #[must_use]
    pub fn assignment(&self) -> &Assignment {
        &self.assignment
    }

    /// For each client the samples that it does not train on.
    #[must_use]
    pub fn held_out(&self) -> &[Vec<u32>] {
        &self.held_out
    }

    /// Layout of parameters and updates.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// A trainer for one more thread.
    #[must_use]
    pub fn trainer(&self) -> Box<dyn Trainer> {
        let trainer = Model::from_name(&self.model, self.dataset.shape, self.dataset.classes)
            .and_then(|model| SgdTrainer::new(model, Arc::clone(&self.dataset)));
        Box::new(trainer.expect("this model was made for this data set when the federation was loaded"))
    }

    /// Data, clients and partition in words.
    #[must_use]
    pub fn describe_data(&self, experiment: &Experiment) -> String {
        let raw = &experiment.raw.data;
        let partition = toml::to_string(&raw.partition).unwrap_or_default().trim().replace('\n', ", ").replace('"', "");
        format!(
            "{}: {} training and {} test samples over {} clients ({partition})",
            raw.dataset,
            self.dataset.train.len(),
            self.dataset.test.len(),
            raw.clients,
        )
    }
}
