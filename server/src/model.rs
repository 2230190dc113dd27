//! What the coordinator itself does not know: where a run's parameters come from, and how good they are.

use std::{fs, path::Path, sync::Arc};

use anyhow::{Context, Result, anyhow, bail};
use nibble_codec::Layout;
use nibble_learning::{
    Evaluation, Model, PersonalTrainer, SgdTrainer, TensorSpec, Trainer,
    data::{self, DataConfig, Dataset, Places},
};
use nibble_seed::Seed;
use nibble_server::{
    coordinator::Plan,
    evaluation::Evaluate,
    settings::{Initial, Settings},
};
use safetensors::{Dtype, SafeTensors};

/// Test samples evaluated at a time, as in the simulator: sums have the same order, so results the same bits.
const SLICE: usize = 500;

/// A run, ready to be coordinated.
pub(crate) struct Ready {
    pub(crate) plan: Plan,
    pub(crate) initial: Vec<f32>,
    pub(crate) evaluator: Option<Box<dyn Evaluate>>,
}

/// Loads what the settings name: parameters, layout, held-out set.
pub(crate) fn ready(settings: &Settings) -> Result<Ready> {
    let dataset = settings.data.as_ref().map(|data| {
        let config = DataConfig {
            dataset: data.dataset.clone(),
            label: data.label.clone(),
            owner: data.owner.clone(),
            test_fraction: data.test_fraction,
            test: data.test.clone(),
        };
        let places = Places::from_environment(|name| std::env::var_os(name));
        data::load(&config, &places, Seed(data.partition_seed))
            .with_context(|| format!("data.dataset = {:?}", data.dataset))
    });
    let dataset = dataset.transpose()?.map(Arc::new);
    let built_in = |dataset: &Arc<Dataset>| -> Result<SgdTrainer> {
        let model = Model::from_name(&settings.architecture, dataset.shape, dataset.classes)
            .with_context(|| format!("model.name = {:?}", settings.architecture))?;
        Ok(SgdTrainer::new(model, Arc::clone(dataset))?)
    };
    let (layout, initial, trainer) = match (&settings.initial, &dataset) {
        (Initial::BuiltIn, Some(dataset)) => {
            let trainer = built_in(dataset)?;
            let layout = |trainer: &dyn Trainer| {
                Layout::new(trainer.tensors().iter().map(|tensor| (tensor.name.clone(), tensor.shape.clone())))
            };
            if settings.personal.is_empty() {
                (layout(&trainer)?, trainer.init(settings.seed), Some(trainer))
            } else {
                // Nothing here has what makes the shared part a whole model: its clients evaluate it.
                let shared = PersonalTrainer::new(Box::new(trainer), &settings.personal).context("local.personal")?;
                (layout(&shared)?, shared.init(settings.seed), None)
            }
        }
        (Initial::BuiltIn, None) => bail!("model.initial: a model that is not built in needs its first parameters"),
        (Initial::File(file), dataset) => {
            let trainer = dataset.as_ref().map(built_in).transpose()?;
            let order = trainer.as_ref().map(SgdTrainer::tensors);
            let (layout, initial) = read(file, order).with_context(|| format!("model.initial = {}", file.display()))?;
            (layout, initial, trainer)
        }
    };
    let down = settings.downlink.as_ref().map(|downlink| downlink.scheme);
    for (key, least) in [
        ("uplink", settings.policy.short_of(&layout)),
        ("downlink", down.and_then(|scheme| scheme.coding.short_of(&layout))),
    ] {
        if let Some(least) = least {
            bail!("compression.{key} asks for fewer bytes than a payload of this model takes; name {least} or more");
        }
    }
    let needed = settings.policy.most_bytes(&layout);
    if let Some(budget) = settings.uplink_budget_bytes.filter(|&budget| budget < needed) {
        let policy = settings.policy;
        bail!(
            "compression.uplink_budget_bytes: {policy} needs {needed} bytes an update, {budget} are allowed; choose fewer bits or raise the budget"
        );
    }
    if let Some(budget) = settings.cohort_uplink_bytes {
        let needed = settings.policy.least_together(&layout, settings.round.selected());
        if budget < needed {
            let (policy, clients) = (settings.policy, settings.round.selected());
            bail!(
                "cohort.uplink_bytes: {clients} updates under {policy} take {needed} bytes at least, {budget} are allowed; raise it, \
                 or lower cohort.size or compression.uplink"
            );
        }
    }
    let evaluator = trainer.zip(dataset).map(|(trainer, dataset)| {
        let samples = dataset.test.len();
        Box::new(HeldOut { trainer, samples }) as Box<dyn Evaluate>
    });
    let plan = Plan {
        name: settings.run.clone(),
        config: settings.config.clone(),
        seed: settings.seed,
        rounds: settings.rounds,
        round: settings.round.clone(),
        decline_pause: settings.decline_pause,
        layout,
        architecture: settings.architecture.clone(),
        policy: settings.policy,
        cohort_uplink_bytes: settings.cohort_uplink_bytes,
        aggregation: settings.aggregation.clone(),
        strategy: settings.strategy,
        downlink: settings.downlink,
        initial_seed: (settings.initial == Initial::BuiltIn).then_some(settings.seed),
        personal: settings.personal.clone(),
        training: settings.training,
        max_payload_bytes: needed,
    };
    Ok(Ready { plan, initial, evaluator })
}

/// A built-in model on the test part of a data set.
struct HeldOut {
    trainer: SgdTrainer,
    samples: usize,
}

impl Evaluate for HeldOut {
    fn evaluate(&mut self, parameters: &[f32]) -> Result<(f64, f64), String> {
        let mut sum = Evaluation::default();
        for start in (0..self.samples).step_by(SLICE) {
            let range = start..self.samples.min(start + SLICE);
            sum += self.trainer.evaluate(parameters, range).map_err(|error| error.to_string())?;
        }
        Ok((sum.accuracy(), sum.mean_loss()))
    }
}

/// The tensors of a safetensors file as one flat vector: those of `order`, or, without one, all in the order in which
/// their data lies in the file.
fn read(file: &Path, order: Option<&[TensorSpec]>) -> Result<(Layout, Vec<f32>)> {
    let bytes = fs::read(file)?;
    let tensors = SafeTensors::deserialize(&bytes).map_err(|error| anyhow!("not a safetensors file: {error}"))?;
    let mut views = tensors.tensors();
    match order {
        None => views.sort_by_key(|(name, view)| (view.data().as_ptr() as usize, name.clone())),
        Some(order) => {
            let place = |name: &str| order.iter().position(|tensor| tensor.name == name);
            views.sort_by_key(|(name, _)| place(name));
            let same = views.len() == order.len()
                && views.iter().zip(order).all(|((name, view), spec)| *name == spec.name && view.shape() == spec.shape);
            if !same {
                let expected: Vec<_> = order.iter().map(|spec| format!("{} {:?}", spec.name, spec.shape)).collect();
                bail!("it must hold {}; set data.dataset = \"none\" for a model of your own", expected.join(", "));
            }
        }
    }
    let mut values = Vec::new();
    for (name, view) in &views {
        if view.dtype() != Dtype::F32 {
            bail!("tensor {name:?} is {:?}, not F32; convert it, e.g. with tensor.float() in PyTorch", view.dtype());
        }
        values.extend(view.data().as_chunks::<4>().0.iter().map(|&word| f32::from_le_bytes(word)));
    }
    let layout = Layout::new(views.into_iter().map(|(name, view)| (name, view.shape().to_vec())))?;
    Ok((layout, values))
}
