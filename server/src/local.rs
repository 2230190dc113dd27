//! `[local]` of an experiment and of a coordinator: how clients train, with the same keys, checked by the same rules.

use serde::{Deserialize, Serialize};

use crate::{
    aggregation::KeyError,
    learning_rate::{Decay, DecayError, LearningRate},
};

/// The keys as written: local SGD.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Keys {
    /// Passes over a client's samples in a round, at least 1. Default: 1.
    pub epochs: u32,
    /// Steps in a round instead of passes, at least 1: every client takes as many, whatever it has. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<u32>,
    /// Samples of a step, at least 1. Default: 32.
    pub batch: usize,
    /// Learning rate, above 0. Default: 0.1.
    pub lr: f64,
    /// Momentum, from 0 to below 1. Default: 0.
    pub momentum: f64,
    /// L2 weight decay, at least 0. Default: 0.
    pub weight_decay: f64,
    /// Greatest L2 norm of a step's gradient, above 0; a longer one is scaled down to it. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip_norm: Option<f64>,
    /// The learning rate over the rounds: `constant`, `step:EVERY[:GAMMA]`, `exponential:GAMMA` or `cosine[:FLOOR]`.
    /// Default: constant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,
    /// Rounds in which the learning rate rises to `lr`, below the number of rounds. Default: 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warmup_rounds: Option<u64>,
    /// Quantization-aware training for a model in `int8`, `int4`, `int8-weights` or `int4-weights`, or `none`.
    /// Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub qat: Option<String>,
    /// Tensors, or layers with all of theirs, that every client has for itself and that are never sent, e.g. ["fc3"].
    /// Default: none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub personal: Vec<String>,
}

impl Default for Keys {
    fn default() -> Self {
        Self {
            epochs: 1,
            steps: None,
            batch: 32,
            lr: 0.1,
            momentum: 0.0,
            weight_decay: 0.0,
            clip_norm: None,
            schedule: None,
            warmup_rounds: None,
            qat: None,
            personal: Vec::new(),
        }
    }
}

fn broken(key: &str, problem: impl Into<String>, mend: impl Into<String>) -> KeyError {
    KeyError { key: format!("local.{key}"), problem: problem.into(), mend: mend.into() }
}

impl Keys {
    /// Checks every rule, for a run of so many rounds; gives the learning rate that they describe.
    ///
    /// # Errors
    /// If one of them breaks a rule.
    pub fn check(&self, rounds: u64) -> Result<LearningRate, KeyError> {
        if self.epochs == 0 {
            return Err(broken("epochs", "0 epochs train nothing", "set it to 1 or more"));
        }
        if !(1..=1_000_000).contains(&self.batch) {
            return Err(broken("batch", format!("a batch of {} samples", self.batch), "set it from 1 to 1000000"));
        }
        if !(self.lr > 0.0 && self.lr <= f64::from(f32::MAX)) {
            return Err(broken("lr", format!("{} is not a learning rate", self.lr), "set it above 0, e.g. 0.1"));
        }
        if !(0.0..1.0).contains(&self.momentum) {
            return Err(broken("momentum", format!("{} is no momentum", self.momentum), "set it from 0 to below 1"));
        }
        if !(0.0..=1e6).contains(&self.weight_decay) {
            let problem = format!("{} is no weight decay", self.weight_decay);
            return Err(broken("weight_decay", problem, "set it to 0 or a little above"));
        }
        match self.steps {
            Some(0) => return Err(broken("steps", "0 steps train nothing", "set it to 1 or more")),
            Some(steps) if self.epochs != 1 => {
                let problem = format!("{steps} steps and {} epochs cannot both be meant", self.epochs);
                return Err(broken("steps", problem, "leave local.epochs out, or local.steps"));
            }
            _ => {}
        }
        if let Some(norm) = self.clip_norm.filter(|norm| !(*norm as f32 > 0.0 && (*norm as f32).is_finite())) {
            let mend = "set it above 0, e.g. 1.0, or leave it out to clip nothing";
            return Err(broken("clip_norm", format!("{norm} is not a norm to clip to"), mend));
        }
        let decay = self.schedule.as_deref().map_or(Ok(Decay::Constant), str::parse);
        let decay = decay.map_err(|DecayError { found, why }| {
            let mend = format!("{why}, e.g. \"cosine\", \"step:10:0.5\", \"exponential:0.98\"");
            broken("schedule", format!("{found:?} is no schedule of the learning rate"), mend)
        })?;
        let warmup_rounds = self.warmup_rounds.unwrap_or(0);
        if warmup_rounds >= rounds {
            let problem = format!("{warmup_rounds} rounds of warm-up in a run of {rounds}");
            return Err(broken("warmup_rounds", problem, "set it below the number of rounds"));
        }
        Ok(LearningRate { base: self.lr, decay, warmup_rounds })
    }

    /// The quantised model that is trained for, if one is; `Q` knows their names.
    ///
    /// # Errors
    /// If there is none of that name.
    pub fn quantization<Q: std::str::FromStr<Err: std::fmt::Display>>(&self) -> Result<Option<Q>, KeyError> {
        let name = self.qat.as_deref().filter(|name| *name != "none");
        let parsed = name.map(str::parse).transpose();
        parsed.map_err(|error: Q::Err| broken("qat", error.to_string(), "choose one of them, or \"none\""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_names_its_key() {
        let none = Keys::default;
        let plain = LearningRate { base: 0.1, decay: Decay::Constant, warmup_rounds: 0 };
        assert_eq!(none().check(10), Ok(plain));
        let schedule = Some("cosine".into());
        let all = Keys { steps: Some(3), schedule, warmup_rounds: Some(9), clip_norm: Some(1.0), ..none() };
        assert_eq!(all.check(10).map(|rate| rate.warmup_rounds), Ok(9));
        for (keys, key, problem) in [
            (Keys { epochs: 0, ..none() }, "local.epochs", "0 epochs train nothing"),
            (Keys { batch: 0, ..none() }, "local.batch", "a batch of 0 samples"),
            (Keys { lr: -0.1, ..none() }, "local.lr", "-0.1 is not a learning rate"),
            (Keys { momentum: 1.0, ..none() }, "local.momentum", "1 is no momentum"),
            (Keys { weight_decay: f64::NAN, ..none() }, "local.weight_decay", "NaN is no weight decay"),
            (Keys { steps: Some(0), ..none() }, "local.steps", "0 steps train nothing"),
            (Keys { steps: Some(5), epochs: 2, ..none() }, "local.steps", "5 steps and 2 epochs cannot both be meant"),
            (Keys { clip_norm: Some(0.0), ..none() }, "local.clip_norm", "0 is not a norm to clip to"),
            (Keys { clip_norm: Some(1e-50), ..none() }, "local.clip_norm", "is not a norm"), // 0 as f32
            (Keys { clip_norm: Some(f64::NAN), ..none() }, "local.clip_norm", "NaN is not a norm to clip to"),
            (Keys { schedule: Some("linear".into()), ..none() }, "local.schedule", "\"linear\" is no schedule"),
            (Keys { warmup_rounds: Some(10), ..none() }, "local.warmup_rounds", "10 rounds of warm-up in a run of 10"),
        ] {
            let broken = keys.check(10).unwrap_err();
            assert!(broken.key == key && broken.problem.contains(problem), "{broken:?}");
        }
        let qat = |name: &str| Keys { qat: Some(name.into()), ..none() }.quantization::<u8>();
        assert_eq!((qat("8"), qat("none"), none().quantization::<u8>()), (Ok(Some(8)), Ok(None), Ok(None)));
        assert_eq!(qat("int8").unwrap_err().key, "local.qat");
    }
}
