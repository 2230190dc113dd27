//! Schemes: how a delta is encoded, as written in configurations and on command lines.
//!
//! Grammar: `NAME[:ARG]*[+ef][+sensitive]`, e.g. `fp32`, `int4`, `int2:nearest+ef`, `int4:block128`, `int2:tensor:nearest`, `auto:0.5`,
//! `auto:64KiB`, `auto:step=0.001`, `plan:64KiB:nearest+ef`, `sign`, `sign:0.25`.

use alloc::string::{String, ToString};
use core::{fmt, str::FromStr};

use crate::error::SchemeError;

/// A coding with or without error feedback.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Scheme {
    /// How a vector becomes bytes.
    pub coding: Coding,
    /// Whether the client keeps what was left out and adds it to its next update.
    pub feedback: bool,
    /// Whether errors are weighted by how much the loss minds them, tensor by tensor. Only `plan` can.
    pub sensitive: bool,
}

/// How a vector becomes bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Coding {
    /// IEEE binary32, as it is.
    Fp32,
    /// IEEE binary16, rounded to nearest even; at most 65504.
    Fp16,
    /// bfloat16, rounded to nearest even.
    Bf16,
    /// Symmetric integers with a scale a block.
    Block(BlockCoding),
    /// Dithered integers of one step, entropy-coded.
    Auto(Target),
    /// Symmetric integers whose width follows the vector, within a number of bytes.
    Plan(PlanCoding),
    /// A rotation, and one bit for each row of it that is kept.
    Sign(SignCoding),
}

/// One bit for rows of a rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SignCoding {
    /// Most bits a coordinate of the whole payload, in ten thousandths: 500 to 10,000.
    pub rate: u32,
}

impl SignCoding {
    /// The rates that there are.
    pub(crate) const RATES: core::ops::RangeInclusive<u32> = 500..=10_000;
}

/// Block quantization whose width is planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PlanCoding {
    /// Most bytes of the whole payload.
    pub bytes: u32,
    /// How values become codes.
    pub rounding: Rounding,
}

/// What `auto` aims at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// Bits a coordinate of the whole payload, in ten thousandths: 500 to 100,000.
    Rate(u32),
    /// Bytes of the whole payload.
    Bytes(u32),
    /// The step, as the bits of a positive f32.
    Step(u32),
}

/// Symmetric integer quantization: codes -qmax..=qmax with qmax = 2^(bits-1) - 1, a scale for each block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BlockCoding {
    bits: u8,
    /// How values become codes.
    pub rounding: Rounding,
    /// What shares a scale.
    pub grain: Grain,
}

/// How x/step becomes an integer. u is uniform in (-1/2, 1/2), from a counter-based hash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Rounding {
    /// round(x/step + u): unbiased, error up to a step.
    #[default]
    Stochastic,
    /// round(x/step), ties to even: least error for one encoding, biased.
    Nearest,
    /// round(x/step + u) - u: subtractive dither, unbiased, error independent of the data (Schuchman 1964).
    Dithered,
}

impl Rounding {
    fn named(name: &str) -> Option<Self> {
        match name {
            "stochastic" => Some(Self::Stochastic),
            "nearest" => Some(Self::Nearest),
            "dithered" => Some(Self::Dithered),
            _ => None,
        }
    }

    /// The argument that asks for it, with its colon; the default needs none.
    fn argument(self) -> &'static str {
        match self {
            Self::Stochastic => "",
            Self::Nearest => ":nearest",
            Self::Dithered => ":dithered",
        }
    }
}

/// What shares a scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Grain {
    /// This many consecutive coordinates of a tensor: a power of two from 32 to 4096.
    Block(u16),
    /// A whole tensor, as QSGD (Alistarh et al. 2017) does.
    Tensor,
}

impl Default for Grain {
    fn default() -> Self {
        Self::Block(64)
    }
}

impl Grain {
    /// Whether blocks of `size` coordinates are defined.
    pub(crate) fn is_block_size(size: u32) -> bool {
        size.is_power_of_two() && (32..=4096).contains(&size)
    }
}

impl BlockCoding {
    /// Quantization to `bits` bits (2 to 8) with the default rounding and grain; `None` for other widths.
    #[must_use]
    pub fn new(bits: u8) -> Option<Self> {
        (2..=8).contains(&bits).then(|| Self { bits, rounding: Rounding::default(), grain: Grain::default() })
    }

    /// Bits of a code, 2 to 8.
    #[must_use]
    pub fn bits(self) -> u8 {
        self.bits
    }
}

impl From<Coding> for Scheme {
    /// A coding and nothing else.
    fn from(coding: Coding) -> Self {
        Self { coding, feedback: false, sensitive: false }
    }
}

impl FromStr for Scheme {
    type Err = SchemeError;

    fn from_str(text: &str) -> Result<Self, SchemeError> {
        let mut parts = text.split('+');
        let coding = parts.next().unwrap_or_default();
        let mut scheme = Self::from(coding.parse::<Coding>()?);
        for suffix in parts {
            let flag = match (suffix, scheme.coding) {
                ("ef", _) => &mut scheme.feedback,
                ("sensitive", Coding::Plan(_)) => &mut scheme.sensitive,
                _ => return Err(SchemeError::UnknownSuffix { scheme: coding.into(), suffix: suffix.into() }),
            };
            if core::mem::replace(flag, true) {
                let (first, second) = (suffix.into(), suffix.into());
                return Err(SchemeError::Conflict { scheme: coding.into(), first, second });
            }
        }
        Ok(scheme)
    }
}

impl FromStr for Coding {
    type Err = SchemeError;

    fn from_str(text: &str) -> Result<Self, SchemeError> {
        let mut parts = text.split(':');
        let name = parts.next().unwrap_or_default();
        let raw = match name {
            "fp32" => Some(Self::Fp32),
            "fp16" => Some(Self::Fp16),
            "bf16" => Some(Self::Bf16),
            _ => None,
        };
        if let Some(raw) = raw {
            return match parts.next() {
                None => Ok(raw),
                Some(argument) => {
                    Err(SchemeError::UnknownArgument { scheme: name.into(), argument: argument.into(), block: false })
                }
            };
        }
        if name == "auto" {
            return target(parts).map(Self::Auto);
        }
        if name == "plan" {
            return planned(parts).map(Self::Plan);
        }
        if name == "sign" {
            return signs(parts).map(Self::Sign);
        }
        let block = (name.strip_prefix("int").filter(|digits| digits.len() == 1))
            .and_then(|digits| digits.parse().ok())
            .and_then(BlockCoding::new)
            .ok_or_else(|| SchemeError::UnknownName { name: name.into() })?;
        Ok(Self::Block(with_arguments(block, name, parts)?))
    }
}

/// The one argument of `auto`.
fn target<'a>(mut arguments: impl Iterator<Item = &'a str>) -> Result<Target, SchemeError> {
    let argument = arguments.next().unwrap_or_default();
    let wrong = || SchemeError::Target { argument: argument.into() };
    if arguments.next().is_some() {
        return Err(wrong());
    }
    if let Some(step) = argument.strip_prefix("step=") {
        let step = step.parse().ok().filter(|&step| crate::auto::is_step(step));
        return step.map(|step: f32| Target::Step(step.to_bits())).ok_or_else(wrong);
    }
    if argument.ends_with('B') {
        return bytes(argument).map(Target::Bytes).ok_or_else(wrong);
    }
    let rate = argument.parse::<f64>().ok().filter(|rate| (0.05..=10.0).contains(rate));
    rate.map(|rate| Target::Rate(libm::round(rate * 10_000.0) as u32)).ok_or_else(wrong)
}

/// The one argument of `sign`, a bit a coordinate where there is none.
fn signs<'a>(mut arguments: impl Iterator<Item = &'a str>) -> Result<SignCoding, SchemeError> {
    let argument = arguments.next().unwrap_or("1");
    let rate = argument.parse::<f64>().ok().map(|rate| libm::round(rate * 10_000.0) as u32);
    match (rate.filter(|rate| SignCoding::RATES.contains(rate)), arguments.next()) {
        (Some(rate), None) => Ok(SignCoding { rate }),
        (_, more) => Err(SchemeError::Rate { argument: more.unwrap_or(argument).into() }),
    }
}

/// A number of bytes, at least one, with its unit.
fn bytes(text: &str) -> Option<u32> {
    let units = [("KiB", 1u32 << 10), ("MiB", 1 << 20), ("kB", 1000), ("MB", 1_000_000), ("B", 1)];
    let (number, size) = units.iter().find_map(|&(unit, size)| Some((text.strip_suffix(unit)?, size)))?;
    number.parse::<u32>().ok()?.checked_mul(size).filter(|&bytes| bytes > 0)
}

/// The arguments of `plan`.
fn planned<'a>(mut arguments: impl Iterator<Item = &'a str>) -> Result<PlanCoding, SchemeError> {
    let first = arguments.next().unwrap_or_default();
    let bytes = bytes(first).ok_or_else(|| SchemeError::Budget { argument: first.into() })?;
    let mut coding = PlanCoding { bytes, rounding: Rounding::default() };
    let mut rounding_from: Option<&str> = None;
    for argument in arguments {
        coding.rounding = Rounding::named(argument).ok_or_else(|| SchemeError::Budget { argument: argument.into() })?;
        if let Some(first) = rounding_from.replace(argument) {
            return Err(SchemeError::Conflict { scheme: "plan".into(), first: first.into(), second: argument.into() });
        }
    }
    Ok(coding)
}

fn with_arguments<'a>(
    mut block: BlockCoding,
    name: &str,
    arguments: impl Iterator<Item = &'a str>,
) -> Result<BlockCoding, SchemeError> {
    let mut rounding_from = None;
    let mut grain_from = None;
    for argument in arguments {
        let setting = match (argument, Rounding::named(argument)) {
            (_, Some(rounding)) => Setting::Rounding(rounding),
            ("tensor", _) => Setting::Grain(Grain::Tensor),
            _ => argument
                .strip_prefix("block")
                .and_then(|digits| digits.parse::<u16>().ok())
                .filter(|&size| Grain::is_block_size(size.into()))
                .map(|size| Setting::Grain(Grain::Block(size)))
                .ok_or_else(|| SchemeError::UnknownArgument {
                    scheme: name.into(),
                    argument: argument.into(),
                    block: true,
                })?,
        };
        let from = match setting {
            Setting::Rounding(rounding) => {
                block.rounding = rounding;
                &mut rounding_from
            }
            Setting::Grain(grain) => {
                block.grain = grain;
                &mut grain_from
            }
        };
        if let Some(first) = from.replace(argument) {
            return Err(SchemeError::Conflict { scheme: name.into(), first: first.into(), second: argument.into() });
        }
    }
    Ok(block)
}

enum Setting {
    Rounding(Rounding),
    Grain(Grain),
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.coding.to_string();
        if self.feedback {
            text.push_str("+ef");
        }
        if self.sensitive {
            text.push_str("+sensitive");
        }
        f.pad(&text)
    }
}

impl fmt::Display for Coding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let block = match self {
            Self::Fp32 => return f.pad("fp32"),
            Self::Fp16 => return f.pad("fp16"),
            Self::Bf16 => return f.pad("bf16"),
            Self::Auto(target) => return f.pad(&alloc::format!("auto:{target}")),
            Self::Plan(plan) => {
                return f.pad(&alloc::format!("plan:{}{}", Target::Bytes(plan.bytes), plan.rounding.argument()));
            }
            Self::Sign(SignCoding { rate: 10_000 }) => return f.pad("sign"),
            Self::Sign(SignCoding { rate }) => return f.pad(&alloc::format!("sign:{}", Target::Rate(*rate))),
            Self::Block(block) => block,
        };
        let mut text = String::from("int");
        text.push(char::from(b'0' + block.bits));
        match block.grain {
            Grain::Tensor => text.push_str(":tensor"),
            grain if grain == Grain::default() => {}
            Grain::Block(size) => text.push_str(&alloc::format!(":block{size}")),
        }
        text.push_str(block.rounding.argument());
        f.pad(&text)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Rate(rate) => write!(f, "{}", f64::from(rate) / 10_000.0),
            Self::Bytes(bytes) if bytes % 1024 == 0 => write!(f, "{}KiB", bytes / 1024),
            Self::Bytes(bytes) => write!(f, "{bytes}B"),
            Self::Step(step) => write!(f, "step={}", f32::from_bits(step)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_names_print_as_they_parse() {
        for name in
            ["fp32", "fp16", "bf16+ef", "int8", "int4+ef", "int2:nearest+ef", "int2:tensor:nearest", "int5:block128"]
                .into_iter()
                .chain([
                    "auto:0.1",
                    "auto:2+ef",
                    "auto:64KiB",
                    "auto:1001B",
                    "auto:step=0.001",
                    "plan:64KiB",
                    "plan:999B:nearest+ef",
                    "sign",
                    "sign:0.05",
                    "sign:0.25+ef",
                ])
        {
            assert_eq!(name.parse::<Scheme>().unwrap().to_string(), name);
        }
        let spelled_out = "int4:stochastic:block64".parse::<Scheme>().unwrap();
        assert_eq!(spelled_out.to_string(), "int4");
        assert_eq!("sign:1".parse::<Scheme>().unwrap().to_string(), "sign");
    }

    #[test]
    fn wrong_names_say_what_is_wrong() {
        let error = |text: &str| text.parse::<Scheme>().unwrap_err();
        for unknown in ["", "int1", "int9", "int44", "int", "float", "int4 "] {
            assert!(matches!(error(unknown), SchemeError::UnknownName { .. }), "{unknown}");
        }
        for argument in ["fp32:nearest", "int4:half", "int4:", "int4:block63", "int4:block16", "int4:block8192"] {
            assert!(matches!(error(argument), SchemeError::UnknownArgument { .. }), "{argument}");
        }
        for target in [
            "auto",
            "auto:",
            "auto:0.01",
            "auto:11",
            "auto:x",
            "auto:1:2",
            "auto:0B",
            "auto:5GiB",
            "auto:step=0",
            "auto:step=NaN",
        ] {
            assert!(matches!(error(target), SchemeError::Target { .. }), "{target}");
        }
        for budget in ["plan", "plan:0B", "plan:64", "plan:1KiB:tensor", "plan:nearest:1KiB"] {
            assert!(matches!(error(budget), SchemeError::Budget { .. }), "{budget}");
        }
        for rate in ["sign:", "sign:0.04", "sign:1.1", "sign:NaN", "sign:-1", "sign:64KiB", "sign:0.5:1"] {
            assert!(matches!(error(rate), SchemeError::Rate { .. }), "{rate}");
        }
        assert!(matches!(error("plan:1KiB:nearest:nearest"), SchemeError::Conflict { .. }));
        assert!(matches!(error("int4:nearest:dithered"), SchemeError::Conflict { .. }));
        assert!(matches!(error("int4:tensor:block64"), SchemeError::Conflict { .. }));
        for suffix in ["int4+fe", "int4+sensitive", "sign+sensitive", "plan:1KiB+"] {
            assert!(matches!(error(suffix), SchemeError::UnknownSuffix { .. }), "{suffix}");
        }
        assert!(matches!(error("int4+ef+ef"), SchemeError::Conflict { .. }));
    }
}
