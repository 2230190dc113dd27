//! `[asynchronous]` of an experiment and of a coordinator: FedBuff's keys, checked by the same rules.

use serde::{Deserialize, Serialize};

use super::RoundConfig;
use crate::{
    aggregation::{Aggregation, KeyError},
    selection::Rule,
    strategy::Strategy,
};

/// The keys as written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asynchronous {
    /// Clients that train at a time, at least 1. No default.
    #[serde(default)]
    pub concurrency: usize,
    /// An update that is s models old counts (1 + s) to the power of minus this, from 0. Default: 0.5.
    #[serde(default = "half")]
    pub staleness: f64,
    /// Models that an update may be old; who trains on older ones is given up. Default: any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_staleness: Option<u64>,
}

fn half() -> f64 {
    0.5
}

/// How a buffered round hands out work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buffer {
    /// Clients that train at a time.
    pub concurrency: usize,
    /// Models that an update may be old.
    pub max_staleness: Option<u64>,
}

impl Asynchronous {
    /// Makes rounds buffered and updates count by their age, if everything else goes with that.
    ///
    /// # Errors
    /// With the key, if not.
    pub fn check(
        &self,
        round: RoundConfig,
        aggregation: &mut Aggregation,
        strategy: &Strategy,
        cohort_uplink_bytes: Option<u64>,
    ) -> Result<RoundConfig, KeyError> {
        let broken = |key: &str, problem: String, mend: &str| KeyError { key: key.into(), problem, mend: mend.into() };
        if self.concurrency == 0 {
            let problem = "nothing says how many clients train at a time, and with none there is no update".into();
            return Err(broken("asynchronous.concurrency", problem, "set it to 1 or more, e.g. to three cohorts"));
        }
        if !(0.0..=100.0).contains(&self.staleness) {
            let problem = format!("{} is no exponent", self.staleness);
            return Err(broken("asynchronous.staleness", problem, "set it from 0 (age does not matter) to 100"));
        }
        if round.selected() > round.cohort() {
            let problem = "rounds that do not wait for anybody need nobody in reserve".into();
            return Err(broken("cohort.over_select", problem, "leave it out, or leave [asynchronous] out"));
        }
        if *round.rule() != Rule::default() {
            let problem = "whoever is there is drawn uniformly when somebody has finished".into();
            return Err(broken("cohort.selection", problem, "leave it out, or leave [asynchronous] out"));
        }
        if cohort_uplink_bytes.is_some() {
            let problem = "clients that start one by one have no cohort to share bytes with".into();
            return Err(broken("cohort.uplink_bytes", problem, "leave it out, or leave [asynchronous] out"));
        }
        if strategy.control().is_some() {
            let problem = "control variates are of clients that all start from the same model".into();
            return Err(broken("strategy.name", problem, "choose another strategy, or leave [asynchronous] out"));
        }
        aggregation.staleness = self.staleness;
        Ok(round.buffered(Buffer { concurrency: self.concurrency, max_staleness: self.max_staleness }))
    }
}
