//! Clients that send what they should not, in the simulator alone: who they are, and what they send in place of a delta.
//!
//! Attackers are chosen once a run, by its seed. They train as everyone does, so that their reports look like those of
//! others; what they then craft goes through the codec under their own seeds, and every byte counts. They send what they
//! want: they keep no residual, whatever the scheme says (label flippers, which craft nothing, do).
//!
//! Absent on purpose: attackers that lie about samples or losses, and any over gRPC.

mod alone;
mod together;

use std::{collections::BTreeSet, fmt};

use nibble_seed::{ClientId, Purpose, RoundId, Seed};
use serde::{Deserialize, Serialize};

pub(crate) use together::Plot;
pub use together::z_max;

/// What attackers do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Send the opposite of what they learnt.
    SignFlip,
    /// Send a multiple of what they learnt (Bagdasaryan et al., "How To Backdoor Federated Learning", AISTATS 2020).
    Scaling,
    /// Send noise.
    Gaussian,
    /// Stay within the spread of the honest (Baruch, Baruch and Goldberg, "A Little Is Enough", NeurIPS 2019).
    Alie,
    /// Send the opposite of the honest mean (Xie, Koyejo and Gupta, "Fall of Empires", UAI 2019).
    InnerProduct,
    /// Train on wrong labels.
    LabelFlip,
}

impl Kind {
    /// Its name in configurations.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::SignFlip => "sign-flip",
            Self::Scaling => "scaling",
            Self::Gaussian => "gaussian",
            Self::Alie => "alie",
            Self::InnerProduct => "inner-product",
            Self::LabelFlip => "label-flip",
        }
    }

    /// How strong it is where nothing is said; none where a formula says it in every round, or nothing can.
    #[must_use]
    pub fn strength(self) -> Option<f64> {
        match self {
            Self::SignFlip | Self::InnerProduct => Some(5.0),
            Self::Scaling => Some(10.0),
            Self::Gaussian => Some(30.0),
            Self::Alie | Self::LabelFlip => None,
        }
    }
}

/// The attackers of a run.
#[derive(Clone, Debug)]
pub struct Attackers {
    who: BTreeSet<ClientId>,
    kind: Kind,
    strength: Option<f64>,
    seed: Seed,
}

/// How many of `clients` attack.
#[must_use]
pub fn count(fraction: f64, clients: usize) -> usize {
    (fraction * clients as f64).round() as usize
}

impl Attackers {
    /// A fraction of `clients`, drawn by `seed`.
    #[must_use]
    pub fn new(kind: Kind, fraction: f64, strength: Option<f64>, clients: usize, seed: Seed) -> Self {
        let order = seed.derive(Purpose::Attack, 0, 0).permutation(clients);
        let who = order.into_iter().take(count(fraction, clients)).map(|client| ClientId(u64::from(client))).collect();
        Self { who, kind, strength: strength.or(kind.strength()), seed }
    }

    /// Whether a client is one.
    #[must_use]
    pub fn contains(&self, client: ClientId) -> bool {
        self.who.contains(&client)
    }

    /// Whether a client sends something else than what it learnt.
    pub(crate) fn crafts(&self, client: ClientId) -> bool {
        self.kind != Kind::LabelFlip && self.contains(client)
    }

    /// Whether a client trains on wrong labels.
    pub(crate) fn mislabels(&self, client: ClientId) -> bool {
        self.kind == Kind::LabelFlip && self.contains(client)
    }

    /// Whether any do.
    pub(crate) fn any_mislabels(&self) -> bool {
        self.kind == Kind::LabelFlip
    }

    /// What a client that acts alone sends in place of `delta`; none if it sends that, or acts with others.
    pub(crate) fn alone(&self, round: RoundId, client: ClientId, delta: &[f32]) -> Option<Vec<f32>> {
        let strength = self.strength.filter(|_| self.contains(client))?;
        match self.kind {
            Kind::SignFlip => Some(alone::scaled(delta, -strength)),
            Kind::Scaling => Some(alone::scaled(delta, strength)),
            // Round 0 of the purpose says who attacks.
            Kind::Gaussian => {
                Some(alone::noise(delta, strength, self.seed.derive(Purpose::Attack, round.0 + 1, client.0)))
            }
            Kind::Alie | Kind::InnerProduct | Kind::LabelFlip => None,
        }
    }

    /// What `attackers` of `clients` in a round send alike, knowing what the honest send; none if each acts alone.
    pub(crate) fn together(&self, attackers: usize, clients: usize) -> Option<Plot> {
        match self.kind {
            Kind::Alie => Some(Plot { mean: 1.0, spread: self.strength.unwrap_or_else(|| z_max(clients, attackers)) }),
            Kind::InnerProduct => Some(Plot { mean: -self.strength?, spread: 0.0 }),
            Kind::SignFlip | Kind::Scaling | Kind::Gaussian | Kind::LabelFlip => None,
        }
    }
}

impl fmt::Display for Attackers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} attackers: {}", self.who.len(), self.kind.name())?;
        self.strength.map_or(Ok(()), |strength| write!(f, ", strength {strength}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attackers_are_a_fraction_and_the_seeds_choice() {
        let of = |seed| Attackers::new(Kind::SignFlip, 0.2, None, 50, Seed(seed));
        assert_eq!((of(1).who.len(), of(1).to_string().as_str()), (10, "10 attackers: sign-flip, strength 5"));
        assert_eq!(of(1).who, of(1).who);
        assert_ne!(of(1).who, of(2).who);
        // 2,000 seeds: binomial(2000, 1/5), deviation 17.9; the bound is 5 of them.
        let count = |client| (0..2000).filter(|&seed| of(seed).contains(ClientId(client))).count() as i64;
        assert!((0..50).all(|client| (count(client) - 400).abs() < 90));
    }

    #[test]
    fn the_honest_craft_nothing() {
        for kind in [Kind::SignFlip, Kind::Scaling, Kind::Gaussian, Kind::Alie, Kind::InnerProduct, Kind::LabelFlip] {
            let attackers = Attackers::new(kind, 0.5, None, 4, Seed(3));
            for client in (0..4).map(ClientId) {
                let alone = attackers.alone(RoundId(0), client, &[1.0]).is_some();
                let together = attackers.together(2, 4).is_some() && attackers.crafts(client);
                assert_eq!(alone || together || attackers.mislabels(client), attackers.contains(client), "{kind:?}");
            }
        }
    }
}
