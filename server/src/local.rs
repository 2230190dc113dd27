//! Rules for the newer keys of `[local]`, which a coordinator's settings and an experiment have alike.

use crate::learning_rate::{Decay, DecayError, LearningRate};

/// What was written.
#[derive(Clone, Copy, Debug)]
pub struct Keys<'a> {
    /// Rounds of the run.
    pub rounds: u64,
    /// Passes.
    pub epochs: u32,
    /// Steps instead.
    pub steps: Option<u32>,
    /// The learning rate, checked already.
    pub lr: f64,
    /// Its schedule.
    pub schedule: Option<&'a str>,
    /// Rounds that it rises in.
    pub warmup_rounds: Option<u64>,
    /// Greatest norm of a gradient.
    pub clip_norm: Option<f64>,
}

/// A key that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// The key, dotted.
    pub key: &'static str,
    /// What is wrong.
    pub problem: String,
    /// How to mend it.
    pub mend: String,
}

impl Keys<'_> {
    /// The learning rate that they describe.
    ///
    /// # Errors
    /// If one of them breaks a rule.
    pub fn check(&self) -> Result<LearningRate, Broken> {
        let broken = |key, problem: String, mend: &str| Err(Broken { key, problem, mend: mend.into() });
        match self.steps {
            Some(0) => return broken("local.steps", "0 steps train nothing".into(), "set it to 1 or more"),
            Some(steps) if self.epochs != 1 => {
                let problem = format!("{steps} steps and {} epochs cannot both be meant", self.epochs);
                return broken("local.steps", problem, "leave local.epochs out, or local.steps");
            }
            _ => {}
        }
        if let Some(norm) = self.clip_norm.filter(|norm| !(*norm as f32 > 0.0 && (*norm as f32).is_finite())) {
            let mend = "set it above 0, e.g. 1.0, or leave it out to clip nothing";
            return broken("local.clip_norm", format!("{norm} is not a norm to clip to"), mend);
        }
        let decay = match self.schedule.map_or(Ok(Decay::Constant), str::parse) {
            Ok(decay) => decay,
            Err(DecayError { found, why }) => {
                let mend = format!("{why}, e.g. \"cosine\", \"step:10:0.5\", \"exponential:0.98\"");
                return broken("local.schedule", format!("{found:?} is no schedule of the learning rate"), &mend);
            }
        };
        let warmup_rounds = self.warmup_rounds.unwrap_or(0);
        if warmup_rounds >= self.rounds {
            let problem = format!("{warmup_rounds} rounds of warm-up in a run of {}", self.rounds);
            return broken("local.warmup_rounds", problem, "set it below the number of rounds");
        }
        Ok(LearningRate { base: self.lr, decay, warmup_rounds })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Keys<'_> =
        Keys { rounds: 10, epochs: 1, steps: None, lr: 0.1, schedule: None, warmup_rounds: None, clip_norm: None };

    #[test]
    fn every_rule_names_its_key() {
        let plain = LearningRate { base: 0.1, decay: Decay::Constant, warmup_rounds: 0 };
        assert_eq!(NONE.check(), Ok(plain));
        let all =
            Keys { steps: Some(3), schedule: Some("cosine"), warmup_rounds: Some(9), clip_norm: Some(1.0), ..NONE };
        assert_eq!(all.check().map(|rate| rate.warmup_rounds), Ok(9));
        for (keys, key, problem) in [
            (Keys { steps: Some(0), ..NONE }, "local.steps", "0 steps train nothing"),
            (Keys { steps: Some(5), epochs: 2, ..NONE }, "local.steps", "5 steps and 2 epochs cannot both be meant"),
            (Keys { clip_norm: Some(0.0), ..NONE }, "local.clip_norm", "0 is not a norm to clip to"),
            (Keys { clip_norm: Some(1e-50), ..NONE }, "local.clip_norm", "is not a norm"), // 0 as f32
            (Keys { clip_norm: Some(f64::NAN), ..NONE }, "local.clip_norm", "NaN is not a norm to clip to"),
            (Keys { schedule: Some("linear"), ..NONE }, "local.schedule", "\"linear\" is no schedule"),
            (Keys { warmup_rounds: Some(10), ..NONE }, "local.warmup_rounds", "10 rounds of warm-up in a run of 10"),
        ] {
            let broken = keys.check().unwrap_err();
            assert!(broken.key == key && broken.problem.contains(problem), "{broken:?}");
        }
    }
}
