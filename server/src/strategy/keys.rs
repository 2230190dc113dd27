//! `[strategy]` of an experiment and of a coordinator: the same keys, checked by the same rules.

use serde::{Deserialize, Serialize};

use super::{Adaptive, Momentum, Optimizer, Second, Strategy};
use crate::aggregation::{self, KeyError, Rule};

/// The keys as written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Keys {
    /// `fedavg`, `fedavgm`, `fedadagrad`, `fedadam`, `fedyogi`, `fedprox`, `fednova` or `qfedavg`. Default: `fedavg`.
    pub name: String,
    /// `fedavg`, `fedavgm`, `fedadagrad`, `fedadam`, `fedyogi`, `fedprox` and `fednova`: server learning rate, above 0. Default: 0.01
    /// for `fedadagrad`, `fedadam` and `fedyogi`, 1 for the others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lr: Option<f64>,
    /// `fedavgm`: what is left of the last direction, from 0 to below 1. Default: 0.9.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub momentum: Option<f64>,
    /// `fedadagrad`, `fedadam` and `fedyogi`: decay of the direction, from 0 to below 1. Default: 0 for `fedadagrad`, else 0.9.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub beta1: Option<f64>,
    /// `fedadam` and `fedyogi`: decay of its square, from 0 to below 1. Default: 0.99.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub beta2: Option<f64>,
    /// `fedadagrad`, `fedadam` and `fedyogi`: adaptivity, above 0. Default: 0.001.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tau: Option<f64>,
    /// `fedprox`: how strongly clients are held to the global model, above 0. Default: 0.01.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mu: Option<f64>,
    /// `qfedavg`: how much more those who are worse off count, at least 0. Default: 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub q: Option<f64>,
}

const NAMES: [&str; 8] = ["fedavg", "fedavgm", "fedadagrad", "fedadam", "fedyogi", "fedprox", "fednova", "qfedavg"];

impl Default for Keys {
    fn default() -> Self {
        Self { name: "fedavg".into(), lr: None, momentum: None, beta1: None, beta2: None, tau: None, mu: None, q: None }
    }
}

/// What of the rest of a configuration strategies depend on.
#[derive(Clone, Copy, Debug)]
pub struct Around<'a> {
    /// `[aggregation]`.
    pub aggregation: &'a aggregation::Keys,
    /// Learning rate and momentum of the clients' SGD.
    pub local: (f64, f64),
}

impl Keys {
    /// Checks every rule; gives the strategy, and how it combines updates, where that is not up to `[aggregation]`.
    ///
    /// # Errors
    /// With the key, if a value is out of its range, belongs to another strategy, or does not go with the rest.
    pub fn check(&self, around: Around<'_>) -> Result<(Strategy, Option<Rule>), KeyError> {
        if !NAMES.contains(&&*self.name) {
            let mend = format!("there are {}", NAMES.join(", "));
            return Err(broken("name", format!("{:?} is no strategy", self.name), mend));
        }
        self.check_owners()?;
        let optimizer = match &*self.name {
            "fedavgm" => {
                let beta = below_1("momentum", self.momentum, 0.9)?;
                Optimizer::Momentum(Momentum { lr: above_0("lr", self.lr, 1.0)?, beta })
            }
            "fedadagrad" => self.adaptive(Second::Adagrad, 0.0)?,
            "fedadam" => self.adaptive(Second::Adam, 0.9)?,
            "fedyogi" => self.adaptive(Second::Yogi, 0.9)?,
            _ => Optimizer::Momentum(Momentum { lr: above_0("lr", self.lr, 1.0)?, beta: 0.0 }),
        };
        let (lr, momentum) = around.local;
        let rule = match &*self.name {
            "fednova" => Some(Rule::FedNova { momentum }),
            "qfedavg" => Some(Rule::QFedAvg { q: self.q()?, lr }),
            _ => None,
        };
        let proximal = if self.name == "fedprox" { above_0("mu", self.mu, 0.01)? as f32 } else { 0.0 };
        if rule.is_some() && (around.aggregation.rule != "mean" || around.aggregation.weights.is_some()) {
            let problem = format!("{} says itself what an update weighs, and so does [aggregation]", self.name);
            return Err(broken("name", problem, "leave aggregation.rule and aggregation.weights out"));
        }
        Ok((Strategy { optimizer, proximal }, rule))
    }

    fn adaptive(&self, second: Second, beta1: f64) -> Result<Optimizer, KeyError> {
        Ok(Optimizer::Adaptive(Adaptive {
            lr: above_0("lr", self.lr, 0.01)?,
            beta1: below_1("beta1", self.beta1, beta1)?,
            beta2: below_1("beta2", self.beta2, 0.99)?,
            tau: above_0("tau", self.tau, 0.001)?,
            second,
        }))
    }

    fn q(&self) -> Result<f64, KeyError> {
        let q = self.q.unwrap_or(1.0);
        let good = (0.0..=100.0).contains(&q);
        if good { Ok(q) } else { Err(broken("q", format!("{q} is no fairness"), "set it from 0 to 100")) }
    }

    /// Every key that is there belongs to the strategy.
    fn check_owners(&self) -> Result<(), KeyError> {
        const ADAPTIVE: [&str; 3] = ["fedadagrad", "fedadam", "fedyogi"];
        for (key, given, owners) in [
            ("lr", self.lr, &["fedavg", "fedavgm", "fedadagrad", "fedadam", "fedyogi", "fedprox", "fednova"][..]),
            ("momentum", self.momentum, &["fedavgm"]),
            ("beta1", self.beta1, &ADAPTIVE),
            ("beta2", self.beta2, &ADAPTIVE[1..]),
            ("tau", self.tau, &ADAPTIVE),
            ("mu", self.mu, &["fedprox"]),
            ("q", self.q, &["qfedavg"]),
        ] {
            if given.is_some() && !owners.contains(&&*self.name) {
                let problem = format!("the strategy {} has no such key", self.name);
                return Err(broken(key, problem, format!("leave it out; it belongs to {}", owners.join(", "))));
            }
        }
        Ok(())
    }
}

fn broken(key: &str, problem: impl Into<String>, mend: impl Into<String>) -> KeyError {
    KeyError { key: format!("strategy.{key}"), problem: problem.into(), mend: mend.into() }
}

fn above_0(key: &str, given: Option<f64>, default: f64) -> Result<f64, KeyError> {
    let value = given.unwrap_or(default);
    // As a f32 it travels to clients.
    let good = value > 0.0 && value as f32 > 0.0 && (value as f32).is_finite();
    if good { Ok(value) } else { Err(broken(key, format!("{value} is out of range"), "set it above 0")) }
}

fn below_1(key: &str, given: Option<f64>, default: f64) -> Result<f64, KeyError> {
    let value = given.unwrap_or(default);
    let good = (0.0..1.0).contains(&value);
    if good { Ok(value) } else { Err(broken(key, format!("{value} is out of range"), "set it from 0 to below 1")) }
}
