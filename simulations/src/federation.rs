//! The fixed part of an experiment: data, who holds it, and the model.

use std::sync::Arc;

use nibble_codec::Layout;
use nibble_learning::{
    LearningError, Model, PersonalTrainer, SgdTrainer, Trainer,
    data::{self, Dataset, Places},
    partition::Assignment,
};
use nibble_seed::Seed;

use crate::{attacks::Attackers, error::SimError, experiment::Experiment};

/// Loaded data, dealt out to virtual clients, with the model they train.
#[derive(Clone)]
pub struct Federation {
    dataset: Arc<Dataset>,
    assignment: Assignment,
    held_out: Vec<Vec<u32>>,
    model: String,
    /// Tensors that are the clients' own.
    personal: Vec<String>,
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
        let dataset = Arc::new(dataset);
        let whole = Box::new(SgdTrainer::new(model, Arc::clone(&dataset)).map_err(SimError::Model)?);
        let personal = experiment.raw.local.personal.clone();
        let trainer = shared(whole, &personal).map_err(|error| SimError::Usage {
            problem: format!("local.personal: {error}"),
            mend: "name some of the model's tensors or layers".into(),
        })?;
        let tensors = trainer.tensors().iter().map(|tensor| (tensor.name.clone(), tensor.shape.clone()));
        let layout = Layout::new(tensors).map_err(|error| SimError::Usage {
            problem: format!("the model cannot be laid out: {error}"),
            mend: "choose another model".into(),
        })?;
        let model = experiment.raw.model.name.clone();
        Ok(Self { dataset, assignment, held_out, model, personal, layout })
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

    /// A trainer for one more thread, of what is shared.
    #[must_use]
    pub fn trainer(&self) -> Box<dyn Trainer> {
        shared(self.whole(), &self.personal).expect("these tensors were found when the federation was loaded")
    }

    /// What clients have of the first model for themselves, if anything of it is theirs.
    #[must_use]
    pub fn own_init(&self, seed: Seed) -> Option<Vec<f32>> {
        let personal = (!self.personal.is_empty()).then(|| PersonalTrainer::new(self.whole(), &self.personal));
        Some(personal?.expect("these tensors were found when the federation was loaded").own_init(seed))
    }

    fn whole(&self) -> Box<dyn Trainer> {
        let trainer = Model::from_name(&self.model, self.dataset.shape, self.dataset.classes)
            .and_then(|model| SgdTrainer::new(model, Arc::clone(&self.dataset)));
        Box::new(trainer.expect("this model was made for this data set when the federation was loaded"))
    }

    /// The same with every training label `y` turned to `classes - 1 - y`: another copy of the data.
    pub(crate) fn mislabelled(&self) -> Self {
        let mut dataset = Dataset::clone(&self.dataset);
        let highest = (dataset.classes - 1) as u8; // labels are bytes
        dataset.train.labels.iter_mut().for_each(|label| *label = highest - *label);
        let (assignment, layout) = (self.assignment.clone(), self.layout.clone());
        Self { dataset: Arc::new(dataset), assignment, layout, ..Self::clone(self) }
    }

    /// Data, clients and partition in words, and how many of the clients attack.
    #[must_use]
    pub fn describe_data(&self, experiment: &Experiment) -> String {
        let raw = &experiment.raw.data;
        let partition = toml::to_string(&raw.partition).unwrap_or_default().trim().replace('\n', ", ").replace('"', "");
        let attackers = experiment.raw.attack.as_ref().map_or_else(String::new, |attack| {
            let attackers = Attackers::new(attack.kind, attack.fraction, attack.strength, raw.clients, Seed(0));
            format!(", {attackers}")
        });
        format!(
            "{}: {} training and {} test samples over {} clients ({partition}){attackers}",
            raw.dataset,
            self.dataset.train.len(),
            self.dataset.test.len(),
            raw.clients,
        )
    }
}

/// The trainer of what is shared of a whole model.
fn shared(whole: Box<dyn Trainer>, personal: &[String]) -> Result<Box<dyn Trainer>, LearningError> {
    if personal.is_empty() {
        return Ok(whole);
    }
    Ok(Box::new(PersonalTrainer::new(whole, personal)?))
}
