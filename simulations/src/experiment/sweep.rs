//! `--sweep a.b=v,w`: an experiment once for every value of a key, and of several keys every combination.

use std::str::FromStr;

use toml::Value;

use super::{Experiment, ExperimentError, Override, Source};

/// A key and the values that it takes, one after the other.
#[derive(Clone, Debug, PartialEq)]
pub struct Sweep {
    key: String,
    values: Vec<String>,
}

/// One experiment of several that differ in what was swept.
#[derive(Clone, Debug)]
pub struct Variant {
    /// What it differs in, e.g. `profile=lte`; empty if there is but one.
    pub label: String,
    /// The experiment.
    pub experiment: Experiment,
}

/// The key whose values are schemes: they are told apart by their own names.
const SCHEMES: &str = "compression.uplink";

impl FromStr for Sweep {
    type Err = String;

    /// `key=v,w,...`; commas within brackets, braces and quotes do not separate.
    fn from_str(text: &str) -> Result<Self, String> {
        let (key, list) = text.split_once('=').ok_or_else(|| format!("{text:?} is not of the form key=value,value"))?;
        let (mut depth, mut quoted) = (0, false);
        let separates = |c: char| {
            match c {
                '"' => quoted = !quoted,
                '[' | '{' if !quoted => depth += 1,
                ']' | '}' if !quoted => depth -= 1,
                _ => {}
            }
            c == ',' && depth == 0 && !quoted
        };
        let values: Vec<_> = list.split(separates).map(|value| value.trim().to_owned()).collect();
        if values.iter().any(String::is_empty) {
            return Err(format!("{text:?} has an empty value"));
        }
        format!("{key}=0").parse::<Override>()?;
        Ok(Self { key: key.trim().into(), values })
    }
}

impl Sweep {
    /// The overrides that set each value, with what to call it.
    fn settings(&self) -> Result<Vec<(Override, String)>, String> {
        let setting = |value: &String| {
            if self.key == SCHEMES {
                return Ok((Override::new(SCHEMES, vec![Value::String(value.clone())]), String::new()));
            }
            let set = format!("{}={value}", self.key).parse()?;
            let (_, last) = self.key.rsplit_once('.').unwrap_or(("", &self.key));
            Ok((set, format!("{last}={value}")))
        };
        self.values.iter().map(setting).collect()
    }

    /// An experiment for every combination of values.
    ///
    /// # Errors
    /// If one of them cannot be run.
    pub fn variants(source: &Source, sweeps: &[Self]) -> Result<Vec<Variant>, ExperimentError> {
        let mut combinations = vec![(source.clone(), String::new())];
        for sweep in sweeps {
            let syntax = |error| ExperimentError::Syntax { place: format!("--sweep {}", sweep.key), error };
            let settings = sweep.settings().map_err(syntax)?;
            let with = |(source, label): &(Source, String), (set, name): &(Override, String)| {
                let mut source = source.clone();
                source.overrides.push(set.clone());
                let label = [label, name].into_iter().filter(|part| !part.is_empty()).cloned().collect::<Vec<_>>();
                (source, label.join(" "))
            };
            combinations =
                combinations.iter().flat_map(|base| settings.iter().map(move |setting| with(base, setting))).collect();
        }
        let load = |(source, label): (Source, String)| Ok(Variant { label, experiment: source.load()? });
        combinations.into_iter().map(load).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variants(sweeps: &[&str]) -> Result<Vec<Variant>, String> {
        let sweeps = sweeps.iter().map(|sweep| sweep.parse()).collect::<Result<Vec<Sweep>, _>>()?;
        Sweep::variants(&Source::default(), &sweeps).map_err(|error| error.to_string())
    }

    #[test]
    fn every_combination_is_an_experiment_of_its_own() {
        let all =
            variants(&["compression.uplink=int4,auto:1", "links.profile=lte,nb-iot", "local.lr=0.1,0.2"]).unwrap();
        assert_eq!(all.len(), 8);
        assert_eq!(all[3].label, "profile=nb-iot lr=0.2");
        assert_eq!(all[3].experiment.schemes, ["int4".parse().unwrap()]);
        assert_eq!(all[7].experiment.sgd.lr, 0.2);
        assert_eq!(variants(&[]).unwrap()[0].label, "");
    }

    #[test]
    fn values_may_have_commas_in_brackets_and_mistakes_are_named() {
        let all = variants(&["links.profiles={ lte = 1, dsl = 2 },{ lan = 1 }"]).unwrap();
        assert_eq!(all[0].experiment.raw.links.as_ref().unwrap().profiles.len(), 2);
        assert!(variants(&["local.lr"]).unwrap_err().contains("key=value,value"));
        assert!(variants(&["local.lr=0.1,,0.2"]).unwrap_err().contains("empty value"));
        assert!(variants(&["local.lr=0.1,fast"]).unwrap_err().contains("local.lr"));
    }
}
