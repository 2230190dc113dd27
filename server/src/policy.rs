//! How updates are coded, round by round and client by client: a scheme, its schedule over the rounds, or whatever fits
//! what a client, or a cohort, has left.
//!
//! Absent on purpose: who may spend what (the client's `budget`), and what messages cost ([`wire`]).

mod division;

use std::{fmt, str::FromStr};

use nibble_codec::{BlockCoding, Coding, Layout, Scheme, SchemeError, Target};

use crate::wire;
pub use division::Member;

/// `SCHEME[@SCHEDULE]`, where the scheme may be `fit`, with `+ef` or without: as many bytes as a client's budget gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Policy {
    base: Base,
    schedule: Schedule,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Base {
    Scheme(Scheme),
    Fit { feedback: bool },
}

/// How the rate changes from round to round.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Schedule {
    /// Not at all.
    #[default]
    Constant,
    /// From half of the rate to one and a half, evenly.
    Ascending,
    /// From one and a half times the rate to half of it, evenly.
    Descending,
    /// By the square root of the first round's training loss over the last one's (AdaQuantFL; Jhunjhunwala et al. 2021).
    Adaptive,
    /// From a quarter of the rate, doubled whenever the smoothed training loss is no lower than a tenth of the rounds ago,
    /// to the rate (DAdaQuant's schedule in time; Hönig et al. 2022).
    Doubling,
}

/// What is known when a client is given its part in a round.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    /// The model's.
    pub layout: &'a Layout,
    /// Round, from 0.
    pub round: u64,
    /// Rounds of the run.
    pub rounds: u64,
    /// Share of the rounds that a client takes part in, above 0.
    pub participation: f64,
    /// Mean training loss of every round that counted anybody, in order.
    pub losses: &'a [f64],
    /// Bytes on the socket that the client may send in this round; none, if any number.
    pub may_send: Option<u64>,
    /// Bytes on the socket that the client has left for the run; none, if any number.
    pub left: Option<u64>,
}

/// Lowest and highest rate that `fit` makes use of, in ten thousandths of a bit a coordinate.
const FIT: (u32, u32) = (500, 80_000);

impl Policy {
    /// Whether clients keep what was left out.
    #[must_use]
    pub fn feedback(self) -> bool {
        match self.base {
            Base::Scheme(scheme) => scheme.feedback,
            Base::Fit { feedback } => feedback,
        }
    }

    /// Whether most coordinates of most updates may decode to 0 and few others to large values: under `auto` below one bit,
    /// in whatever round, and under whatever has so many bytes or such a step, which says nothing of a model's bits.
    #[must_use]
    pub fn is_sparse(self) -> bool {
        match self.base {
            Base::Fit { .. } => true,
            Base::Scheme(scheme) => match scaled(scheme.coding, self.schedule.least()) {
                Coding::Auto(Target::Rate(rate)) => rate < 10_000,
                Coding::Auto(Target::Bytes(_) | Target::Step(_)) | Coding::Plan(_) => true,
                // Of signs every coordinate gets its part, however few there are.
                Coding::Fp32 | Coding::Fp16 | Coding::Bf16 | Coding::Block(_) | Coding::Sign(_) => false,
            },
        }
    }

    /// Whether codes may be of two bits: -1, 0 or 1, mostly 0.
    #[must_use]
    pub fn is_ternary(self) -> bool {
        let Base::Scheme(scheme) = self.base else { return false };
        matches!(scaled(scheme.coding, self.schedule.least()), Coding::Block(block) if block.bits() == 2)
    }

    /// The scheme, if it is always the same.
    #[must_use]
    pub fn scheme(self) -> Option<Scheme> {
        match (self.base, self.schedule) {
            (Base::Scheme(scheme), Schedule::Constant) => Some(scheme),
            _ => None,
        }
    }

    /// Whether it is the budget that gives the rate.
    #[must_use]
    pub fn fits(self) -> bool {
        matches!(self.base, Base::Fit { .. })
    }

    /// Most bytes that an update may have, whatever the round and the budget.
    #[must_use]
    pub fn most_bytes(self, layout: &Layout) -> u64 {
        match self.base {
            Base::Fit { .. } => auto(FIT.1).payload_bytes(layout),
            Base::Scheme(scheme) => {
                let most = if self.schedule == Schedule::Constant { 1.0 } else { MOST };
                scaled(scheme.coding, most).payload_bytes(layout).max(scheme.coding.payload_bytes(layout))
            }
        }
    }

    /// Fewest bytes that an update of this layout can be given, if some round's is asked to have fewer.
    #[must_use]
    pub fn short_of(self, layout: &Layout) -> Option<u64> {
        let Base::Scheme(scheme) = self.base else { return None };
        scaled(scheme.coding, self.schedule.least()).short_of(layout)
    }

    /// Bytes on the socket of the least update that there is.
    fn least(self, layout: &Layout) -> u64 {
        wire::up(match self.base {
            Base::Fit { .. } => auto(FIT.0).payload_bytes(layout),
            Base::Scheme(_) => self.most_bytes(layout),
        })
    }

    /// The scheme of a client's update; none, if it cannot afford any.
    #[must_use]
    pub fn plan(self, now: &Situation<'_>) -> Option<Scheme> {
        let factor = self.schedule.factor(now);
        let affordable =
            |coding: Coding| now.may_send.is_none_or(|most| wire::up(coding.payload_bytes(now.layout)) <= most);
        match self.base {
            Base::Scheme(scheme) => {
                let coding = scaled(scheme.coding, factor);
                affordable(coding).then_some(Scheme { coding, ..scheme })
            }
            Base::Fit { feedback } => {
                let turns = ((now.rounds - now.round) as f64 * now.participation).max(1.0);
                let share = now.left.map(|left| (left as f64 / turns * factor) as u64);
                let bytes = [share, now.may_send].into_iter().flatten().min().unwrap_or(u64::MAX);
                let [least, most] = [FIT.0, FIT.1].map(|rate| auto(rate).payload_bytes(now.layout));
                let update = wire::update_within(bytes).unwrap_or(0).clamp(least, most);
                let coding = Coding::Auto(Target::Bytes(u32::try_from(update).unwrap_or(u32::MAX)));
                affordable(coding).then_some(Scheme { feedback, ..coding.into() })
            }
        }
    }
}

/// Highest factor of any schedule.
const MOST: f64 = 4.0;

impl Schedule {
    const NAMES: [(&'static str, Self); 5] = [
        ("constant", Self::Constant),
        ("ascending", Self::Ascending),
        ("descending", Self::Descending),
        ("adaptive", Self::Adaptive),
        ("doubling", Self::Doubling),
    ];

    /// The least that the rate is ever multiplied by.
    fn least(self) -> f64 {
        match self {
            Self::Constant => 1.0,
            Self::Ascending | Self::Descending => 0.5,
            Self::Adaptive | Self::Doubling => 1.0 / MOST,
        }
    }

    /// What the rate is multiplied by.
    fn factor(self, now: &Situation<'_>) -> f64 {
        let done = (now.round as f64 + 0.5) / now.rounds as f64;
        match (self, now.losses) {
            (Self::Constant, _) | (Self::Adaptive, []) => 1.0,
            (Self::Ascending, _) => 0.5 + done,
            (Self::Descending, _) => 1.5 - done,
            (Self::Adaptive, [first, .., last]) => (first / last).sqrt().clamp(1.0 / MOST, MOST),
            (Self::Adaptive, [_]) => 1.0,
            (Self::Doubling, losses) => doubled(losses, (now.rounds / 10).max(1) as usize),
        }
    }
}

/// A quarter, doubled up to 1 at every plateau of the smoothed losses.
fn doubled(losses: &[f64], patience: usize) -> f64 {
    let (mut factor, mut since, mut mean) = (0.25, 0, f64::NAN);
    let mut means = Vec::with_capacity(losses.len());
    for (round, loss) in losses.iter().enumerate() {
        mean = if mean.is_nan() { *loss } else { 0.9 * mean + 0.1 * loss };
        means.push(mean);
        if round >= since + patience && mean >= means[round - patience] && factor < 1.0 {
            (factor, since) = (factor * 2.0, round);
        }
    }
    factor
}

fn auto(rate: u32) -> Coding {
    Coding::Auto(Target::Rate(rate))
}

/// A coding at `factor` times its rate, as nearly as it can; raw ones have only one. Of block codings it is the number of
/// levels that is scaled.
fn scaled(coding: Coding, factor: f64) -> Coding {
    let times = |count: u32| (f64::from(count) * factor).round().clamp(1.0, f64::from(u32::MAX)) as u32;
    match coding {
        _ if factor == 1.0 => coding,
        Coding::Fp32 | Coding::Fp16 | Coding::Bf16 => coding,
        Coding::Auto(Target::Rate(rate)) => auto(times(rate).clamp(500, 100_000)),
        Coding::Auto(Target::Bytes(bytes)) => Coding::Auto(Target::Bytes(times(bytes))),
        Coding::Auto(Target::Step(step)) => {
            Coding::Auto(Target::Step((f32::from_bits(step) / factor as f32).max(f32::MIN_POSITIVE).to_bits()))
        }
        Coding::Plan(plan) => Coding::Plan(nibble_codec::PlanCoding { bytes: times(plan.bytes), ..plan }),
        Coding::Sign(sign) => Coding::Sign(nibble_codec::SignCoding { rate: times(sign.rate).clamp(500, 10_000) }),
        Coding::Block(block) => {
            let levels = f64::from((1u32 << (block.bits() - 1)) - 1) * factor;
            let bits = ((levels + 1.0).log2().round() as u8 + 1).clamp(2, 8);
            BlockCoding::new(bits).map_or(coding, |mut new| {
                (new.rounding, new.grain) = (block.rounding, block.grain);
                Coding::Block(new)
            })
        }
    }
}

/// A policy that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// Its scheme.
    #[error(transparent)]
    Scheme(#[from] SchemeError),
    /// Its schedule.
    #[error("{0:?} is no schedule; there are constant, ascending, descending, adaptive and doubling")]
    Schedule(String),
}

impl FromStr for Policy {
    type Err = PolicyError;

    fn from_str(text: &str) -> Result<Self, PolicyError> {
        let (scheme, schedule) = match text.split_once('@') {
            Some((scheme, name)) => {
                let known = Schedule::NAMES.into_iter().find(|(known, _)| *known == name);
                (scheme, known.ok_or_else(|| PolicyError::Schedule(name.into()))?.1)
            }
            None => (text, Schedule::Constant),
        };
        let base = match scheme {
            "fit" => Base::Fit { feedback: false },
            "fit+ef" => Base::Fit { feedback: true },
            _ => Base::Scheme(scheme.parse()?),
        };
        Ok(Self { base, schedule })
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let base = match self.base {
            Base::Scheme(scheme) => scheme.to_string(),
            Base::Fit { feedback: false } => "fit".into(),
            Base::Fit { feedback: true } => "fit+ef".into(),
        };
        let name = Schedule::NAMES.iter().find(|(_, schedule)| *schedule == self.schedule).map_or("", |(name, _)| name);
        match self.schedule {
            Schedule::Constant => f.pad(&base),
            _ => f.pad(&format!("{base}@{name}")),
        }
    }
}

impl From<Scheme> for Policy {
    fn from(scheme: Scheme) -> Self {
        Self { base: Base::Scheme(scheme), schedule: Schedule::Constant }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout() -> Layout {
        Layout::new([("w", vec![100, 100])]).unwrap()
    }

    fn situation(layout: &Layout) -> Situation<'_> {
        Situation { layout, round: 0, rounds: 10, participation: 0.5, losses: &[], may_send: None, left: None }
    }

    fn plan(policy: &str, now: &Situation<'_>) -> Option<String> {
        policy.parse::<Policy>().unwrap().plan(now).map(|scheme| scheme.to_string())
    }

    #[test]
    fn policies_print_as_they_were_read_and_mistakes_are_named() {
        for text in ["int4+ef", "fit", "fit+ef@descending", "auto:0.5@adaptive", "int2:nearest@doubling"] {
            assert_eq!(text.parse::<Policy>().unwrap().to_string(), text);
        }
        assert!("int4@upwards".parse::<Policy>().unwrap_err().to_string().contains("ascending"));
        assert!("int9".parse::<Policy>().is_err() && "fit:3".parse::<Policy>().is_err());
    }

    #[test]
    fn what_may_be_coarse_in_some_round_counts_as_coarse() {
        let policy = |text: &str| text.parse::<Policy>().unwrap();
        for (text, is_sparse, is_ternary) in [
            ("fp32", false, false),
            ("int4", false, false),
            ("int2:nearest+ef", false, true),
            ("int4@descending", false, false),
            ("int3@descending", false, true),
            ("int4@doubling", false, true),
            ("int8@adaptive", false, false),
            ("auto:1", false, false),
            ("auto:0.99", true, false),
            ("auto:2@ascending", false, false),
            ("auto:2@adaptive", true, false),
            ("auto:4@doubling", false, false),
            ("auto:64KiB", true, false),
            ("auto:step=0.1", true, false),
            ("plan:64KiB", true, false),
            ("sign:0.1", false, false),
            ("fit+ef", true, false),
        ] {
            assert_eq!((policy(text).is_sparse(), policy(text).is_ternary()), (is_sparse, is_ternary), "{text}");
        }
    }

    #[test]
    fn schedules_start_and_end_where_they_say() {
        let layout = layout();
        let at = |round, losses| Situation { round, losses, ..situation(&layout) };
        assert_eq!(plan("auto:1@ascending", &at(0, &[])).unwrap(), "auto:0.55");
        assert_eq!(plan("auto:1@ascending", &at(9, &[])).unwrap(), "auto:1.45");
        assert_eq!(plan("auto:1@descending", &at(0, &[])).unwrap(), "auto:1.45");
        assert_eq!(plan("auto:1@adaptive", &at(3, &[2.0])).unwrap(), "auto:1");
        assert_eq!(plan("auto:1@adaptive", &at(3, &[2.0, 1.0, 0.5])).unwrap(), "auto:2");
        assert_eq!(plan("int4+ef@adaptive", &at(3, &[4.0, 1.0])).unwrap(), "int5+ef");
        let falling: Vec<f64> = (0..9).map(|round| 9.0 - f64::from(round)).collect();
        assert_eq!(plan("auto:1@doubling", &at(9, &falling)).unwrap(), "auto:0.25");
        assert_eq!(plan("auto:1@doubling", &at(3, &[1.0, 1.0])).unwrap(), "auto:0.5");
        assert_eq!(plan("auto:1@doubling", &at(5, &[1.0; 5])).unwrap(), "auto:1");
        assert_eq!(plan("fp32@ascending", &at(0, &[])).unwrap(), "fp32");
        assert_eq!(plan("sign:0.5@ascending", &at(0, &[])).unwrap(), "sign:0.275");
        assert_eq!(plan("sign@ascending", &at(9, &[])).unwrap(), "sign", "there is no more than a sign");
    }

    #[test]
    fn what_is_left_is_spread_over_the_turns_to_come() {
        let layout = layout();
        let up =
            |scheme: Option<String>| wire::up(scheme.unwrap().parse::<Scheme>().unwrap().coding.payload_bytes(&layout));
        let now = situation(&layout);
        // Ten rounds, half of them with this client: five turns.
        let spent = up(plan("fit", &Situation { left: Some(20_000), ..now }));
        assert!((3_990..=4_000).contains(&spent), "{spent}");
        let spent = up(plan("fit", &Situation { left: Some(20_000), may_send: Some(2_000), ..now }));
        assert!((1_990..=2_000).contains(&spent), "{spent}");
        assert_eq!(plan("fit", &now).unwrap(), "auto:10000B", "where nothing is capped");
        // At the end everything, but no more than 8 bits a coordinate make use of.
        let last = Situation { left: Some(1 << 20), may_send: Some(1 << 20), round: 9, ..now };
        assert_eq!(plan("fit", &last).unwrap(), "auto:10000B");
        // Less than its share if need be, and nothing if even the least is too much.
        let least = wire::up("auto:0.05".parse::<Scheme>().unwrap().coding.payload_bytes(&layout));
        let poor = |left| plan("fit", &Situation { left: Some(left), may_send: Some(left), ..now });
        assert_eq!(up(poor(least)), least);
        assert_eq!(poor(least - 1), None);
        let int4 = wire::up("int4".parse::<Scheme>().unwrap().coding.payload_bytes(&layout));
        assert_eq!(plan("int4", &Situation { may_send: Some(int4), ..now }).unwrap(), "int4");
        assert_eq!(plan("int4", &Situation { may_send: Some(int4 - 1), ..now }), None);
    }

    #[test]
    fn no_plan_is_above_the_most() {
        let layout = layout();
        for text in [
            "fit",
            "int4@adaptive",
            "auto:1@ascending",
            "auto:900B@adaptive",
            "plan:1kB",
            "fp16",
            "auto:step=0.1",
            "sign:0.2@adaptive",
        ] {
            let policy: Policy = text.parse().unwrap();
            for (round, losses) in [(0, &[][..]), (9, &[8.0, 0.1][..]), (5, &[1.0; 5][..]), (9, &[0.1, 8.0][..])] {
                let scheme = policy.plan(&Situation { round, losses, ..situation(&layout) }).unwrap();
                assert!(scheme.coding.payload_bytes(&layout) <= policy.most_bytes(&layout), "{text}: {scheme}");
            }
        }
    }
}
