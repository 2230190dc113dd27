//! Tensors that stay with each client: FedPer (Arivazhagan, Aggarwal, Singh, Choudhary: "Federated learning with
//! personalization layers", 2019), where the last layers are each client's own and the rest is shared.
//!
//! [`PersonalTrainer`] shows its caller the shared tensors alone, so what is personal has no place in layouts, payloads or
//! aggregates. A client's own values are swapped in before it works and out after, and belong to whoever keeps its state.

use core::ops::Range;

use nibble_seed::Seed;

use crate::{
    error::LearningError,
    trainer::{Evaluation, Task, TensorSpec, TrainReport, Trainer},
};

/// A trainer whose model is partly its clients' own.
pub struct PersonalTrainer {
    inner: Box<dyn Trainer>,
    shared: Vec<TensorSpec>,
    /// Every tensor's place in the whole model, and whether it is personal.
    places: Vec<(Range<usize>, bool)>,
    /// What is a client's own now, one personal tensor after the other.
    own: Vec<f32>,
    own_len: usize,
    /// The whole model and its delta.
    whole: Vec<f32>,
    delta: Vec<f32>,
}

impl PersonalTrainer {
    /// Makes the tensors of `inner` personal that `names` names, as they are called or by their layer, e.g. `fc3`.
    ///
    /// # Errors
    /// If there is no tensor of a name, or nothing is left to share.
    pub fn new(inner: Box<dyn Trainer>, names: &[String]) -> Result<Self, LearningError> {
        let called = |tensor: &TensorSpec, name: &String| {
            tensor.name.strip_prefix(name.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        let tensors = inner.tensors();
        if let Some(name) = names.iter().find(|name| !tensors.iter().any(|tensor| called(tensor, name))) {
            let known = tensors.iter().map(|tensor| tensor.name.clone()).collect();
            return Err(LearningError::UnknownTensor { name: name.clone(), known });
        }
        let (mut shared, mut places, mut end) = (Vec::new(), Vec::new(), 0);
        for tensor in tensors {
            let personal = names.iter().any(|name| called(tensor, name));
            places.push((end..end + tensor.numel(), personal));
            end += tensor.numel();
            shared.extend((!personal).then(|| tensor.clone()));
        }
        if shared.is_empty() {
            return Err(LearningError::NothingShared);
        }
        let own_len = places.iter().filter(|(_, personal)| *personal).map(|(place, _)| place.len()).sum();
        let (own, whole, delta) = (Vec::new(), vec![0.0; end], vec![0.0; end]);
        Ok(Self { inner, shared, places, own, own_len, whole, delta })
    }

    /// Fresh values of the personal tensors: those of the whole model's.
    #[must_use]
    pub fn own_init(&self, seed: Seed) -> Vec<f32> {
        self.part(&self.inner.init(seed), true)
    }

    /// The personal or the shared part of a whole vector.
    fn part(&self, whole: &[f32], personal: bool) -> Vec<f32> {
        let places = self.places.iter().filter(|(_, is)| *is == personal);
        places.flat_map(|(place, _)| &whole[place.clone()]).copied().collect()
    }

    /// Puts the whole model together.
    fn join(&mut self, shared: &[f32]) -> Result<(), LearningError> {
        let lengths =
            [("shared", self.whole.len() - self.own_len, shared.len()), ("personal", self.own_len, self.own.len())];
        if let Some((what, expected, found)) = lengths.into_iter().find(|(_, expected, found)| expected != found) {
            return Err(LearningError::Length { what, expected, found });
        }
        let (mut own, mut shared): (&[f32], &[f32]) = (&self.own, shared);
        for (place, personal) in &self.places {
            let from = if *personal { &mut own } else { &mut shared };
            let (values, rest) = from.split_at(place.len());
            self.whole[place.clone()].copy_from_slice(values);
            *from = rest;
        }
        Ok(())
    }
}

impl Trainer for PersonalTrainer {
    fn tensors(&self) -> &[TensorSpec] {
        &self.shared
    }

    fn init(&self, seed: Seed) -> Vec<f32> {
        self.part(&self.inner.init(seed), false)
    }

    /// Trains the whole model; a step hook sees all of it.
    fn train(&mut self, global: &[f32], task: Task<'_>, delta: &mut [f32]) -> Result<TrainReport, LearningError> {
        self.join(global)?;
        if delta.len() != global.len() {
            return Err(LearningError::Length { what: "delta", expected: global.len(), found: delta.len() });
        }
        let report = self.inner.train(&self.whole, task, &mut self.delta)?;
        let (mut at, mut own_at) = (0, 0);
        for (place, personal) in &self.places {
            let change = &self.delta[place.clone()];
            if *personal {
                self.own[own_at..][..place.len()].iter_mut().zip(change).for_each(|(own, change)| *own += change);
                own_at += place.len();
            } else {
                delta[at..][..place.len()].copy_from_slice(change);
                at += place.len();
            }
        }
        Ok(report)
    }

    fn evaluate(&mut self, parameters: &[f32], range: Range<usize>) -> Result<Evaluation, LearningError> {
        self.join(parameters)?;
        self.inner.evaluate(&self.whole, range)
    }

    fn evaluate_on(&mut self, parameters: &[f32], samples: &[u32]) -> Result<Evaluation, LearningError> {
        self.join(parameters)?;
        self.inner.evaluate_on(&self.whole, samples)
    }

    fn swap_own(&mut self, own: &mut Vec<f32>) {
        core::mem::swap(&mut self.own, own);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trainer::SgdConfig;

    /// Two tensors that are shared, `a.w` and `c`, and one, `b.w`, that need not be: training adds 1, 2, 3, ... to them.
    struct Counting(Vec<TensorSpec>);

    impl Trainer for Counting {
        fn tensors(&self) -> &[TensorSpec] {
            &self.0
        }

        fn init(&self, _: Seed) -> Vec<f32> {
            (0..6).map(|i| i as f32).collect()
        }

        fn train(&mut self, global: &[f32], _: Task<'_>, delta: &mut [f32]) -> Result<TrainReport, LearningError> {
            (1..).zip(delta).for_each(|(i, delta)| *delta = i as f32);
            Ok(TrainReport { samples: 1, steps: 1, mean_loss: f64::from(global.iter().sum::<f32>()) })
        }

        fn evaluate(&mut self, parameters: &[f32], _: Range<usize>) -> Result<Evaluation, LearningError> {
            assert_eq!(parameters.len(), 6);
            Ok(Evaluation { samples: 1, correct: 0, loss_sum: f64::from(parameters[3]) })
        }
    }

    fn trainer(names: &[&str]) -> Result<PersonalTrainer, LearningError> {
        let tensor = |(name, len): (&str, usize)| TensorSpec { name: name.into(), shape: vec![len] };
        let inner = Counting([("a.w", 2), ("b.w", 2), ("c", 2)].map(tensor).to_vec());
        PersonalTrainer::new(Box::new(inner), &names.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn what_is_personal_is_trained_and_never_shown() {
        let mut trainer = trainer(&["b"]).unwrap();
        assert_eq!(trainer.tensors().iter().map(|tensor| tensor.name.as_str()).collect::<Vec<_>>(), ["a.w", "c"]);
        assert_eq!((trainer.init(Seed(0)), trainer.own_init(Seed(0))), (vec![0.0, 1.0, 4.0, 5.0], vec![2.0, 3.0]));
        let (mut own, mut delta, sgd) = (vec![10.0, 20.0], [0.0; 4], SgdConfig::default());
        let task = || Task { samples: &[0], sgd: &sgd, order: Seed(0), hook: None };
        let error = trainer.train(&[0.0; 4], task(), &mut delta).unwrap_err().to_string();
        assert!(error.contains("2 parameters, but the personal vector has 0"), "{error}");
        trainer.swap_own(&mut own);
        let report = trainer.train(&[1.0; 4], task(), &mut delta).unwrap();
        assert_eq!(trainer.evaluate(&[0.0; 4], 0..1).unwrap().loss_sum, 24.0);
        trainer.swap_own(&mut own);
        assert_eq!((report.mean_loss, delta, own), (34.0, [1.0, 2.0, 5.0, 6.0], vec![13.0, 24.0]));
        assert!(trainer.evaluate(&[0.0; 3], 0..1).is_err());
    }

    #[test]
    fn names_are_those_of_tensors_or_layers_and_something_is_shared() {
        assert_eq!(trainer(&["b.w", "c"]).unwrap().tensors().len(), 1);
        for (names, says) in [(&["d"][..], "a.w, b.w, c"), (&["a.", "b"], "`a.`"), (&["a", "b", "c"], "nothing")] {
            let error = trainer(names).err().unwrap().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
