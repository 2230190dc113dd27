//! `[strategy]` of an experiment and of a coordinator: the same keys, checked by the same rules.

use nibble_codec::{Scheme, SchemeError};
use serde::{Deserialize, Serialize};

use super::{
    Adaptive, FedAdagrad, FedAdam, FedAvg, FedAvgM, FedDyn, FedNova, FedProx, FedYogi, QFedAvg, Scaffold, Strategy,
};
use crate::{
    aggregation::{self, KeyError, NormBound},
    policy::Policy,
};

/// The keys as written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Keys {
    /// `fedavg`, `fedavgm`, `fedadagrad`, `fedadam`, `fedyogi`, `fedprox`, `fednova`, `qfedavg`, `scaffold` or `feddyn`. Default: `fedavg`.
    pub name: String,
    /// All but `qfedavg` and `feddyn`: server learning rate, above 0. Default: 0.01 for `fedadagrad`, `fedadam` and `fedyogi`, 1 for
    /// the others.
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
    /// `feddyn`: how strongly clients are held to the global model, and pulled to where they agree, above 0. Default: 0.1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alpha: Option<f64>,
    /// `scaffold`: scheme of the server's control variate on its way to clients, without `+ef`. Default: `auto:1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control: Option<String>,
    /// `scaffold` and `feddyn`: clients there are in all, from the cohort's size on. Default: in simulations `data.clients`; a
    /// coordinator has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clients: Option<u64>,
}

const NAMES: [&str; 10] =
    ["fedavg", "fedavgm", "fedadagrad", "fedadam", "fedyogi", "fedprox", "fednova", "qfedavg", "scaffold", "feddyn"];

impl Default for Keys {
    fn default() -> Self {
        Self {
            name: "fedavg".into(),
            lr: None,
            momentum: None,
            beta1: None,
            beta2: None,
            tau: None,
            mu: None,
            q: None,
            alpha: None,
            control: None,
            clients: None,
        }
    }
}

/// Pull of `feddyn` by default (docs/strategies.md has the measurement).
const DEFAULT_ALPHA: f64 = 0.1;

/// What of the rest of a configuration strategies depend on.
#[derive(Clone, Copy, Debug)]
pub struct Around<'a> {
    /// `[aggregation]`.
    pub aggregation: &'a aggregation::Keys,
    /// Learning rate and momentum of the clients' SGD.
    pub local: (f64, f64),
    /// Clients that a round selects, and clients there are in all, if that is known.
    pub clients: (u64, Option<u64>),
    /// How updates are coded.
    pub policies: &'a [Policy],
}

impl Keys {
    /// Checks every rule; gives the strategy.
    ///
    /// # Errors
    /// With the key, if a value is out of its range, belongs to another strategy, or does not go with the rest.
    pub fn check(&self, around: Around<'_>) -> Result<Strategy, KeyError> {
        if NAMES.contains(&&*self.name) {
            self.check_owners()?;
        }
        let strategy = self.strategy(around)?;
        if strategy.rule().is_some() && (around.aggregation.rule != "mean" || around.aggregation.weights.is_some()) {
            let problem = format!("{} says itself what an update weighs, and so does [aggregation]", self.name);
            return Err(broken("name", problem, "leave aggregation.rule and aggregation.weights out"));
        }
        if strategy.control().is_some() {
            self.check_control(around)?;
        }
        Ok(strategy)
    }

    fn strategy(&self, around: Around<'_>) -> Result<Strategy, KeyError> {
        let (local_lr, momentum) = around.local;
        let server = || Ok::<_, KeyError>(FedAvg { lr: above_0("lr", self.lr, 1.0)? });
        Ok(match &*self.name {
            "fedavg" => Strategy::FedAvg(server()?),
            "fedavgm" => {
                let momentum = below_1("momentum", self.momentum, 0.9)?;
                Strategy::FedAvgM(FedAvgM { lr: server()?.lr, momentum })
            }
            "fedadagrad" => Strategy::FedAdagrad(FedAdagrad(self.adaptive(0.0)?)),
            "fedadam" => Strategy::FedAdam(FedAdam { adaptive: self.adaptive(0.9)?, beta2: self.beta2()? }),
            "fedyogi" => Strategy::FedYogi(FedYogi { adaptive: self.adaptive(0.9)?, beta2: self.beta2()? }),
            "fedprox" => {
                let mu = above_0("mu", self.mu, 0.01)? as f32;
                Strategy::FedProx(FedProx { server: server()?, mu })
            }
            "fednova" => Strategy::FedNova(FedNova { server: server()?, momentum }),
            "qfedavg" => Strategy::QFedAvg(QFedAvg { q: self.q()?, lr: local_lr }),
            "scaffold" => {
                let (clients, downlink) = (self.clients(around)?, self.control_scheme()?);
                Strategy::Scaffold(Scaffold { lr: server()?.lr, clients, downlink })
            }
            "feddyn" => {
                let alpha = above_0("alpha", self.alpha, DEFAULT_ALPHA)?;
                Strategy::FedDyn(FedDyn { alpha, clients: self.clients(around)? })
            }
            name => {
                let mend = format!("there are {}", NAMES.join(", "));
                return Err(broken("name", format!("{name:?} is no strategy"), mend));
            }
        })
    }

    /// What does not go with control variates.
    fn check_control(&self, around: Around<'_>) -> Result<(), KeyError> {
        let name = &self.name;
        if let Some(policy) = around.policies.iter().find(|policy| policy.is_sparse() && !policy.feedback()) {
            let problem = format!("{name} feeds back what a payload leaves out, and under {policy} that may grow");
            let mend = "write +ef, under which it shrinks, e.g. auto:0.5+ef, or auto:1 or finer in bits a coordinate";
            return Err(broken("name", problem, mend));
        }
        if around.aggregation.norm_bound != NormBound::Word("off".into()) {
            let problem = format!("clients of {name} count on it that an accepted update counts at its whole length");
            return Err(broken("name", problem, "set aggregation.norm_bound to \"off\", or choose another strategy"));
        }
        if *name == "scaffold" && around.local.1 != 0.0 {
            let problem = "control variates are gradients of plain SGD, and with momentum steps are longer than those";
            return Err(broken("name", problem, "set local.momentum to 0"));
        }
        Ok(())
    }

    fn clients(&self, around: Around<'_>) -> Result<u64, KeyError> {
        let (selected, known) = around.clients;
        let Some(clients) = self.clients.or(known) else {
            let problem = format!("{} must know how many clients there are in all", self.name);
            return Err(broken("clients", problem, "set it to the number of clients that are to take part"));
        };
        if clients < selected {
            let problem = format!("{clients} clients in all, but a round selects {selected}");
            return Err(broken("clients", problem, "raise it, or lower cohort.size"));
        }
        Ok(clients)
    }

    fn control_scheme(&self) -> Result<Scheme, KeyError> {
        let mend = "write a scheme without +ef, e.g. fp32, int8, auto:1";
        let scheme = self.control.as_deref().unwrap_or("auto:1").parse::<Scheme>();
        match scheme.map_err(|error: SchemeError| broken("control", error.to_string(), mend))? {
            scheme if scheme.feedback || scheme.sensitive => {
                Err(broken("control", "nothing is fed back to a control variate, nor is it measured", mend))
            }
            scheme => Ok(scheme),
        }
    }

    fn adaptive(&self, beta1: f64) -> Result<Adaptive, KeyError> {
        let (lr, beta1) = (above_0("lr", self.lr, 0.01)?, below_1("beta1", self.beta1, beta1)?);
        Ok(Adaptive { lr, beta1, tau: above_0("tau", self.tau, 0.001)? })
    }

    fn beta2(&self) -> Result<f64, KeyError> {
        below_1("beta2", self.beta2, 0.99)
    }

    fn q(&self) -> Result<f64, KeyError> {
        let q = self.q.unwrap_or(1.0);
        let good = (0.0..=100.0).contains(&q);
        if good { Ok(q) } else { Err(broken("q", format!("{q} is no fairness"), "set it from 0 to 100")) }
    }

    /// Every key that is there belongs to the strategy.
    fn check_owners(&self) -> Result<(), KeyError> {
        const ADAPTIVE: [&str; 3] = ["fedadagrad", "fedadam", "fedyogi"];
        const WITH_LR: [&str; 8] =
            ["fedavg", "fedavgm", "fedadagrad", "fedadam", "fedyogi", "fedprox", "fednova", "scaffold"];
        for (key, given, owners) in [
            ("lr", self.lr.is_some(), &WITH_LR[..]),
            ("momentum", self.momentum.is_some(), &["fedavgm"]),
            ("beta1", self.beta1.is_some(), &ADAPTIVE),
            ("beta2", self.beta2.is_some(), &ADAPTIVE[1..]),
            ("tau", self.tau.is_some(), &ADAPTIVE),
            ("mu", self.mu.is_some(), &["fedprox"]),
            ("q", self.q.is_some(), &["qfedavg"]),
            ("alpha", self.alpha.is_some(), &["feddyn"]),
            ("control", self.control.is_some(), &["scaffold"]),
            ("clients", self.clients.is_some(), &["scaffold", "feddyn"]),
        ] {
            if given && !owners.contains(&&*self.name) {
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
