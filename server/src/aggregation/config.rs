//! `[aggregation]` of an experiment and of a coordinator: the same keys, checked by the same rules.

use nibble_seed::ClientId;
use serde::{Deserialize, Serialize};

use super::{Bulyan, CenteredClipping, GeometricMedian, Krum, Mean, Median, MultiKrum, Rule, TrimmedMean, Weights};
use crate::{policy::Policy, selection::Knowledge};

/// The keys as written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Keys {
    /// How updates become one: `mean`, `median`, `trimmed-mean`, `krum`, `multi-krum`, `geometric-median`, `centered-clipping` or
    /// `bulyan`. Default: `mean`.
    pub rule: String,
    /// `mean` and `geometric-median`: what an update weighs, `samples` (as many as the client says) or `equal`. Default: `samples`
    /// for `mean`, `equal` for `geometric-median`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights: Option<String>,
    /// `trimmed-mean`: fraction of the values that is cut at either end, above 0 and below 0.5. Default: 0.2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cut: Option<f64>,
    /// `krum`, `multi-krum` and `bulyan`: attackers among the counted updates to withstand. No default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attackers: Option<usize>,
    /// `multi-krum`: updates of which the mean is taken, from 1 to quorum - attackers - 2. Default: counted updates - attackers - 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep: Option<usize>,
    /// `centered-clipping`: farthest that an update may pull from, as a norm, above 0. Default: the median distance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub radius: Option<f64>,
    /// `centered-clipping`: how often the centre moves, from 1 to 100. Default: 3.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iterations: Option<usize>,
    /// Longest that an update may be, in medians of the counted updates' norms, from 1; longer ones are scaled to it. `"off"` for
    /// any length. Default: 3.
    pub norm_bound: NormBound,
}

/// `norm_bound` as written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "norm_bound must be a number from 1, or \"off\"")]
pub enum NormBound {
    /// In medians.
    Medians(f64),
    /// `off`.
    Word(String),
}

impl Default for Keys {
    fn default() -> Self {
        Self {
            rule: "mean".into(),
            weights: None,
            cut: None,
            attackers: None,
            keep: None,
            radius: None,
            iterations: None,
            norm_bound: NormBound::Medians(DEFAULT_BOUND),
        }
    }
}

/// Medians that honest updates stay below (docs/strategies.md has the measurement).
const DEFAULT_BOUND: f64 = 3.0;
const DEFAULT_CUT: f64 = 0.2;
const DEFAULT_ITERATIONS: usize = 3;

/// How updates become one: checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Aggregation {
    /// The rule.
    pub rule: Rule,
    /// Longest that an update may be, in medians of the counted updates' norms; any length if there is none.
    pub norm_bound: Option<f64>,
    /// An update of age s is scaled by (1 + s) to the power of minus this before the rule sees it.
    pub staleness: f64,
}

/// What `Keys::default` gives.
impl Default for Aggregation {
    fn default() -> Self {
        Self { rule: Rule::Mean(Mean { weights: Weights::Samples }), norm_bound: Some(DEFAULT_BOUND), staleness: 0.0 }
    }
}

impl Aggregation {
    /// What an update of a client weighs, as far as is known before it comes.
    #[must_use]
    pub fn weight(&self, knowledge: &Knowledge, client: ClientId) -> f64 {
        if self.rule.weighs_samples() { knowledge.samples_of(client) } else { 1.0 }
    }
}

/// A key that cannot be followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {problem}; {mend}")]
pub struct KeyError {
    /// Its dotted name.
    pub key: String,
    /// What is wrong.
    pub problem: String,
    /// How to mend it.
    pub mend: String,
}

fn broken(key: &str, problem: impl Into<String>, mend: impl Into<String>) -> KeyError {
    KeyError { key: format!("aggregation.{key}"), problem: problem.into(), mend: mend.into() }
}

impl Keys {
    /// Checks every rule, for rounds that close with `quorum` updates at least.
    ///
    /// # Errors
    /// With the key, if a value is out of its range, belongs to another rule, or asks for more updates than the quorum.
    pub fn check(&self, quorum: usize) -> Result<Aggregation, KeyError> {
        self.check_owners()?;
        let rule = self.rule()?;
        let fewest = rule.fewest();
        if fewest > quorum {
            let key = if matches!(rule, Rule::TrimmedMean(_)) { "cut" } else { "attackers" };
            let problem = match rule {
                Rule::TrimmedMean(TrimmedMean { cut }) => {
                    format!("a cut of {cut} takes nobody from {quorum} updates, which may close a round")
                }
                _ => format!("{} then takes {fewest} updates, but {quorum} may close a round", rule.name()),
            };
            let mend = "raise cohort.quorum (and cohort.size), or withstand fewer attackers";
            let mend = if key == "cut" { "raise the cut, or cohort.quorum (and cohort.size)" } else { mend };
            return Err(broken(if self.keep_is_too_many(quorum) { "keep" } else { key }, problem, mend));
        }
        let norm_bound = match &self.norm_bound {
            NormBound::Medians(factor) if (1.0..=1e9).contains(factor) => Some(*factor),
            NormBound::Word(word) if word == "off" => None,
            NormBound::Medians(factor) => {
                let mend = "set it from 1, e.g. 3, or to \"off\"";
                return Err(broken("norm_bound", format!("a bound of {factor} medians"), mend));
            }
            NormBound::Word(word) => {
                return Err(broken(
                    "norm_bound",
                    format!("{word:?} is no bound"),
                    "set it from 1, e.g. 3, or to \"off\"",
                ));
            }
        };
        Ok(Aggregation { rule, norm_bound, staleness: 0.0 })
    }

    /// Refuses payloads whose zeros would decide: rules that sort the values of a coordinate take each for what its client
    /// learnt, and not for one that is right on average (docs/strategies.md has what comes of it).
    ///
    /// # Errors
    /// With the key, if the rule sorts and the scheme is too coarse for it.
    pub fn check_against(&self, policy: Policy) -> Result<(), KeyError> {
        let sorts = matches!(&*self.rule, "median" | "trimmed-mean" | "bulyan");
        let keeps_few = matches!(&*self.rule, "median" | "bulyan");
        if sorts && policy.is_sparse() || keeps_few && policy.is_ternary() {
            let problem =
                format!("{} sorts the values of every coordinate, and under {policy} most may be 0", self.rule);
            let mend = "use int4 or finer, auto:1 or finer (in bits a coordinate, in every round of a schedule), or a rule that \
                        adds whole updates up: geometric-median, centered-clipping, multi-krum";
            return Err(broken("rule", problem, mend));
        }
        Ok(())
    }

    /// Every key that is there belongs to the rule.
    fn check_owners(&self) -> Result<(), KeyError> {
        for (key, given, owners) in [
            ("weights", self.weights.is_some(), &["mean", "geometric-median"][..]),
            ("cut", self.cut.is_some(), &["trimmed-mean"]),
            ("attackers", self.attackers.is_some(), &["krum", "multi-krum", "bulyan"]),
            ("keep", self.keep.is_some(), &["multi-krum"]),
            ("radius", self.radius.is_some(), &["centered-clipping"]),
            ("iterations", self.iterations.is_some(), &["centered-clipping"]),
        ] {
            if given && RULES.contains(&&*self.rule) && !owners.contains(&&*self.rule) {
                let problem = format!("the rule {} has no such key", self.rule);
                return Err(broken(key, problem, format!("leave it out; it belongs to {}", owners.join(", "))));
            }
        }
        Ok(())
    }

    fn rule(&self) -> Result<Rule, KeyError> {
        Ok(match &*self.rule {
            "mean" => Rule::Mean(Mean { weights: self.weights(Weights::Samples)? }),
            "median" => Rule::Median(Median),
            "trimmed-mean" => Rule::TrimmedMean(TrimmedMean { cut: self.cut()? }),
            "krum" => Rule::Krum(Krum { attackers: self.attackers()? }),
            "multi-krum" => {
                if self.keep == Some(0) {
                    return Err(broken("keep", "a mean of 0 updates", "set it to 1 or more, or leave it out"));
                }
                Rule::MultiKrum(MultiKrum { attackers: self.attackers()?, keep: self.keep })
            }
            "geometric-median" => Rule::GeometricMedian(GeometricMedian { weights: self.weights(Weights::Equal)? }),
            "centered-clipping" => {
                Rule::CenteredClipping(CenteredClipping { radius: self.radius()?, iterations: self.iterations()? })
            }
            "bulyan" => Rule::Bulyan(Bulyan { attackers: self.attackers()? }),
            unknown => {
                return Err(broken(
                    "rule",
                    format!("{unknown:?} is no rule"),
                    format!("there are {}", RULES.join(", ")),
                ));
            }
        })
    }

    fn weights(&self, default: Weights) -> Result<Weights, KeyError> {
        match self.weights.as_deref() {
            None => Ok(default),
            Some("samples") => Ok(Weights::Samples),
            Some("equal") => Ok(Weights::Equal),
            Some(other) => Err(broken("weights", format!("{other:?} are no weights"), "there are samples and equal")),
        }
    }

    fn cut(&self) -> Result<f64, KeyError> {
        let cut = self.cut.unwrap_or(DEFAULT_CUT);
        if cut > 0.0 && cut < 0.5 {
            return Ok(cut);
        }
        let problem = match cut {
            0.5.. => format!("a cut of {cut} at either end leaves nobody"),
            _ => format!("a cut of {cut}"),
        };
        Err(broken("cut", problem, "set it above 0 and below 0.5: it counts at either end"))
    }

    fn attackers(&self) -> Result<usize, KeyError> {
        let mend = "set how many of the counted updates may be an attacker's, e.g. attackers = 2";
        self.attackers.ok_or_else(|| broken("attackers", format!("{} must know how many", self.rule), mend))
    }

    fn radius(&self) -> Result<Option<f64>, KeyError> {
        match self.radius {
            Some(radius) if !(radius > 0.0 && radius.is_finite()) => {
                let mend = "set it above 0, or leave it out for the median distance";
                Err(broken("radius", format!("{radius} is no radius"), mend))
            }
            radius => Ok(radius),
        }
    }

    fn iterations(&self) -> Result<usize, KeyError> {
        let iterations = self.iterations.unwrap_or(DEFAULT_ITERATIONS);
        match iterations {
            1..=100 => Ok(iterations),
            _ => Err(broken("iterations", format!("{iterations} iterations"), "set it from 1 to 100")),
        }
    }

    /// Whether it is `keep` that the quorum cannot meet.
    fn keep_is_too_many(&self, quorum: usize) -> bool {
        let without = Self { keep: None, ..self.clone() };
        self.keep.is_some() && without.rule().is_ok_and(|rule| rule.fewest() <= quorum)
    }
}

/// All rules by name.
const RULES: [&str; 8] =
    ["mean", "median", "trimmed-mean", "krum", "multi-krum", "geometric-median", "centered-clipping", "bulyan"];

#[cfg(test)]
mod tests {
    use super::*;

    fn check(keys: &Keys, quorum: usize) -> Result<Aggregation, String> {
        keys.check(quorum).map_err(|error| error.to_string())
    }

    fn rule(name: &str) -> Keys {
        Keys { rule: name.into(), ..Keys::default() }
    }

    #[test]
    fn defaults_are_the_mean_under_a_bound() {
        assert_eq!(check(&Keys::default(), 1), Ok(Aggregation::default()));
        for name in RULES {
            let attackers = ["krum", "multi-krum", "bulyan"].contains(&name).then_some(1);
            let checked = check(&Keys { attackers, ..rule(name) }, 7).unwrap();
            assert_eq!(checked.rule.name(), name);
        }
        let off = check(&Keys { norm_bound: NormBound::Word("off".into()), ..Keys::default() }, 1).unwrap();
        assert_eq!(off.norm_bound, None);
    }

    #[test]
    fn every_mistake_names_its_key_and_its_mend() {
        let bound = |factor| Keys { norm_bound: NormBound::Medians(factor), ..Keys::default() };
        for (keys, quorum, says) in [
            (rule("mode"), 9, "aggregation.rule: \"mode\" is no rule; there are mean, median"),
            (Keys { cut: Some(0.1), ..rule("median") }, 9, "aggregation.cut: the rule median has no such key"),
            (
                Keys { cut: Some(0.5), ..rule("trimmed-mean") },
                9,
                "aggregation.cut: a cut of 0.5 at either end leaves nobody",
            ),
            (Keys { cut: Some(0.0), ..rule("trimmed-mean") }, 9, "aggregation.cut: a cut of 0;"),
            (Keys { cut: Some(f64::NAN), ..rule("trimmed-mean") }, 9, "aggregation.cut: a cut of NaN"),
            (Keys { cut: Some(0.1), ..rule("trimmed-mean") }, 9, "takes nobody from 9 updates"),
            (rule("krum"), 9, "aggregation.attackers: krum must know how many"),
            (Keys { attackers: Some(2), ..rule("krum") }, 6, "krum then takes 7 updates, but 6 may close a round"),
            (Keys { attackers: Some(2), ..rule("bulyan") }, 10, "bulyan then takes 11 updates, but 10"),
            (Keys { attackers: Some(usize::MAX), ..rule("bulyan") }, 10, "aggregation.attackers"),
            (
                Keys { attackers: Some(1), keep: Some(7), ..rule("multi-krum") },
                9,
                "aggregation.keep: multi-krum then takes 10",
            ),
            (
                Keys { attackers: Some(4), keep: Some(1), ..rule("multi-krum") },
                9,
                "aggregation.attackers: multi-krum then takes 11",
            ),
            (Keys { attackers: Some(1), keep: Some(0), ..rule("multi-krum") }, 9, "aggregation.keep: a mean of 0"),
            (Keys { radius: Some(-1.0), ..rule("centered-clipping") }, 9, "aggregation.radius"),
            (Keys { iterations: Some(0), ..rule("centered-clipping") }, 9, "aggregation.iterations: 0 iterations"),
            (Keys { weights: Some("votes".into()), ..Keys::default() }, 9, "aggregation.weights: \"votes\""),
            (bound(0.5), 9, "aggregation.norm_bound: a bound of 0.5 medians"),
            (bound(f64::NAN), 9, "aggregation.norm_bound"),
            (Keys { norm_bound: NormBound::Word("none".into()), ..Keys::default() }, 9, "\"none\" is no bound"),
        ] {
            let error = check(&keys, quorum).unwrap_err();
            assert!(error.contains(says), "{error:?} does not say {says:?}");
        }
    }

    #[test]
    fn rules_that_sort_refuse_what_is_mostly_zero() {
        let refused = |name: &str, scheme: &str| rule(name).check_against(scheme.parse().unwrap()).is_err();
        for sorts in ["median", "trimmed-mean", "bulyan"] {
            for scheme in ["auto:0.9", "auto:1@ascending", "auto:3@doubling", "fit+ef"] {
                assert!(refused(sorts, scheme), "{sorts} {scheme}");
            }
            for scheme in ["fp32", "int8", "int3", "auto:1", "auto:2@ascending", "auto:4@doubling"] {
                assert!(!refused(sorts, scheme), "{sorts} {scheme}");
            }
            assert_eq!(refused(sorts, "int2+ef"), sorts != "trimmed-mean");
        }
        for adds in ["mean", "krum", "multi-krum", "geometric-median", "centered-clipping"] {
            assert!(!refused(adds, "auto:0.1+ef") && !refused(adds, "int2") && !refused(adds, "fit"));
        }
    }

    #[test]
    fn the_fewest_updates_are_those_that_the_papers_ask_for() {
        assert_eq!(Rule::TrimmedMean(TrimmedMean { cut: 0.2 }).fewest(), 5);
        assert_eq!(Rule::TrimmedMean(TrimmedMean { cut: 0.3 }).fewest(), 4);
        assert_eq!(Rule::Krum(Krum { attackers: 3 }).fewest(), 9);
        assert_eq!(Rule::MultiKrum(MultiKrum { attackers: 1, keep: Some(4) }).fewest(), 7);
        assert_eq!(Rule::Bulyan(Bulyan { attackers: 3 }).fewest(), 15);
    }
}
