//! The learning rate of a round: warmed up over the first ones, then decayed over the rest.
//!
//! The coordinator knows the round, so clients only ever see the rate of theirs. Decays are PyTorch's `StepLR`,
//! `ExponentialLR` and `CosineAnnealingLR` (Loshchilov, Hutter: "SGDR", ICLR 2017, equation 5, without restarts), with a
//! round for an epoch; warm-up is its `LinearLR` from 1/(warm-up + 1) (Goyal et al.: "Accurate, large minibatch SGD",
//! 2017, section 2.2). That the rate has to fall for FedAvg to converge on non-iid data: Li et al., ICLR 2020, theorem 4.
//!
//! Absent on purpose: schedules within a round, and any that look at losses.

use std::{fmt, num::NonZeroU32, str::FromStr};

/// A rate and what becomes of it over the rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LearningRate {
    /// The rate that warm-up leads to and decay starts from.
    pub base: f64,
    /// What follows the warm-up.
    pub decay: Decay,
    /// Rounds that come before the first at the full rate, evenly spaced: (round + 1) / (warm-up + 1) of it.
    pub warmup_rounds: u64,
}

/// What the rate is multiplied by, `r` rounds after the warm-up.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Decay {
    /// 1: `constant`.
    #[default]
    Constant,
    /// gamma^⌊r / every⌋: `step:EVERY[:GAMMA]`, gamma 0.1 unless given.
    Step {
        /// Rounds from one fall to the next.
        every: NonZeroU32,
        /// Above 0 and at most 1.
        gamma: f64,
    },
    /// gamma^r: `exponential:GAMMA`.
    Exponential {
        /// Above 0 and at most 1.
        gamma: f64,
    },
    /// floor + (1 − floor) (1 + cos(π r / rounds after the warm-up)) / 2: `cosine[:FLOOR]`, floor 0 unless given.
    Cosine {
        /// Where it leads to, from 0 to below 1.
        floor: f64,
    },
}

impl LearningRate {
    /// The rate of `round`, from 0, in a run of `rounds`.
    #[must_use]
    pub fn in_round(&self, round: u64, rounds: u64) -> f32 {
        let Some(after) = round.checked_sub(self.warmup_rounds) else {
            return (self.base * (round + 1) as f64 / (self.warmup_rounds + 1) as f64) as f32;
        };
        (self.base * self.decay.factor(after, rounds.saturating_sub(self.warmup_rounds))) as f32
    }
}

impl Decay {
    fn factor(self, round: u64, rounds: u64) -> f64 {
        let power = |gamma: f64, times: u64| gamma.powi(i32::try_from(times).unwrap_or(i32::MAX));
        match self {
            Self::Constant => 1.0,
            Self::Step { every, gamma } => power(gamma, round / u64::from(every.get())),
            Self::Exponential { gamma } => power(gamma, round),
            Self::Cosine { floor } => {
                let done = round as f64 / rounds.max(1) as f64;
                // The same code on every platform, as everything that parameters depend on.
                floor + (1.0 - floor) * (1.0 + libm::cos(core::f64::consts::PI * done)) / 2.0
            }
        }
    }
}

/// A decay that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is no schedule of the learning rate: {why}")]
pub struct DecayError {
    /// What was written.
    pub found: String,
    /// What is wrong with it.
    pub why: &'static str,
}

impl FromStr for Decay {
    type Err = DecayError;

    fn from_str(text: &str) -> Result<Self, DecayError> {
        let wrong = |why| DecayError { found: text.into(), why };
        let words: Vec<_> = text.split(':').collect();
        let number = |text: &str, default: f64| if text.is_empty() { Some(default) } else { text.parse::<f64>().ok() };
        let gamma = |text: &str| {
            let gamma = number(text, 0.1).filter(|gamma| *gamma > 0.0 && *gamma <= 1.0);
            gamma.ok_or_else(|| wrong("GAMMA is a number above 0 and at most 1"))
        };
        match words[..] {
            ["constant"] => Ok(Self::Constant),
            ["step", every, ref rest @ ..] if rest.len() <= 1 => {
                let every = every.parse().map_err(|_| wrong("EVERY is a number of rounds, from 1"))?;
                Ok(Self::Step { every, gamma: gamma(rest.first().unwrap_or(&""))? })
            }
            ["exponential", text] if !text.is_empty() => Ok(Self::Exponential { gamma: gamma(text)? }),
            ["cosine", ref rest @ ..] if rest.len() <= 1 => {
                let floor = number(rest.first().unwrap_or(&""), 0.0).filter(|floor| (0.0..1.0).contains(floor));
                Ok(Self::Cosine { floor: floor.ok_or_else(|| wrong("FLOOR is a number from 0 to below 1"))? })
            }
            _ => Err(wrong("there are constant, step:EVERY[:GAMMA], exponential:GAMMA and cosine[:FLOOR]")),
        }
    }
}

impl fmt::Display for Decay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Constant => f.write_str("constant"),
            Self::Step { every, gamma } => write!(f, "step:{every}:{gamma}"),
            Self::Exponential { gamma } => write!(f, "exponential:{gamma}"),
            Self::Cosine { floor } => write!(f, "cosine:{floor}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What PyTorch's schedulers give; `tests/data/make_learning_rates.py` wrote it.
    #[test]
    fn rates_are_those_of_pytorch() {
        let mut lines = 0;
        for line in include_str!("../tests/data/learning_rates.txt").lines() {
            let words: Vec<_> = line.split(' ').collect();
            let [decay, warmup, rounds, base, rates @ ..] = &words[..] else { panic!("{line}") };
            let decay: Decay = decay.parse().unwrap();
            assert_eq!(decay.to_string().parse(), Ok(decay));
            let rate = LearningRate { base: base.parse().unwrap(), decay, warmup_rounds: warmup.parse().unwrap() };
            let rounds: u64 = rounds.parse().unwrap();
            assert_eq!(rates.len() as u64, rounds);
            for (round, expected) in (0..).zip(rates) {
                let (found, expected) = (rate.in_round(round, rounds), expected.parse::<f32>().unwrap());
                assert!((found - expected).abs() <= 1e-6 * expected, "{line}: round {round} has {found}");
            }
            lines += 1;
        }
        assert_eq!(lines, 8);
    }

    #[test]
    fn a_constant_rate_is_itself_to_the_bit() {
        for base in [0.1, 0.05, 1.0 / 3.0] {
            let rate = LearningRate { base, decay: Decay::Constant, warmup_rounds: 0 };
            assert!((0..10).all(|round| rate.in_round(round, 10).to_bits() == (base as f32).to_bits()));
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (text, why) in [
            ("linear", "there are constant"),
            ("constant:1", "there are constant"),
            ("exponential", "there are constant"),
            ("exponential:", "there are constant"),
            ("exponential:0", "GAMMA"),
            ("exponential:nan", "GAMMA"),
            ("step", "there are constant"),
            ("step:0", "EVERY"),
            ("step:3:1.1", "GAMMA"),
            ("step:3:0.5:2", "there are constant"),
            ("cosine:1", "FLOOR"),
            ("cosine:-0.1", "FLOOR"),
        ] {
            let error = text.parse::<Decay>().unwrap_err().to_string();
            assert!(error.contains(why) && error.contains(text), "{error}");
        }
        assert_eq!("step:3".parse(), Ok(Decay::Step { every: 3.try_into().unwrap(), gamma: 0.1 }));
        assert_eq!("cosine".parse(), Ok(Decay::Cosine { floor: 0.0 }));
    }
}
