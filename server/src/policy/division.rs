//! A budget that a cohort has together, divided among its members.
//!
//! A round's mean is off by the sum of w²D over its members, of weight w and error D. For a number of bytes that is least
//! where another bit would take as much away from any of them. What `auto` leaves out follows its step Δ: at high rates D is
//! as Δ² and bits as -log2 Δ; below one bit coordinates are sampled, D is as Δ and bits as 1/Δ. Either way w²Δ² is then the same
//! for all: log2 w more bits at high rates, bits in proportion to w at low ones. `log2(1 + w/λ)` bits are both.
//!
//! Absent on purpose: how large updates are. Nobody knows before they come.

use nibble_codec::{Layout, Scheme};

use super::{Policy, Situation};
use crate::wire;

/// Somebody of a cohort.
#[derive(Clone, Copy, Debug)]
pub struct Member<'a> {
    /// What is known of it.
    pub situation: Situation<'a>,
    /// What its update weighs, above 0, in whatever unit all have.
    pub weight: f64,
}

/// Halvings of the interval of log2 λ, which is as wide as that of floats.
const HALVINGS: usize = 60;

impl Policy {
    /// The schemes of a cohort's updates, which together take at most `total` bytes on the socket, if that is given; none
    /// for those who cannot afford any. Only `fit` divides; other schemes take what they take.
    #[must_use]
    pub fn plan_cohort(self, total: Option<u64>, members: &[Member<'_>]) -> Vec<Option<Scheme>> {
        let alone: Vec<_> = members.iter().map(|member| self.plan(&member.situation)).collect();
        let Some(total) = total.filter(|_| self.fits()) else { return alone };
        let able: Vec<_> = members.iter().zip(&alone).filter(|(_, scheme)| scheme.is_some()).collect();
        let wants = able.iter().map(|(member, scheme)| Want {
            weight: member.weight,
            coordinates: member.situation.layout.coordinates() as f64,
            least: self.least(member.situation.layout),
            most: scheme.map_or(0, |scheme| wire::up(scheme.coding.payload_bytes(member.situation.layout))),
        });
        let mut shares = divide(total, &wants.collect::<Vec<_>>()).into_iter();
        let divided = |(member, alone): (&Member<'_>, Option<Scheme>)| {
            alone?;
            self.plan(&Situation { may_send: Some(shares.next()?), ..member.situation })
        };
        members.iter().zip(alone).map(divided).collect()
    }

    /// Fewest bytes on the socket that the updates of so many clients take together.
    #[must_use]
    pub fn least_together(self, layout: &Layout, clients: usize) -> u64 {
        self.least(layout).saturating_mul(clients as u64)
    }
}

/// What a member can make use of.
struct Want {
    weight: f64,
    coordinates: f64,
    /// Bytes on the socket of the least update that there is, and of the one that it would send alone.
    least: u64,
    most: u64,
}

impl Want {
    fn bytes(&self, lambda: f64) -> u64 {
        let update = self.coordinates * libm::log2(1.0 + self.weight / lambda) / 8.0;
        wire::up(update.min(1e15) as u64).clamp(self.least, self.most)
    }
}

/// Bytes for each: at most `total` together, unless all take their least and that is more.
fn divide(total: u64, wants: &[Want]) -> Vec<u64> {
    let at = |exponent: f64| wants.iter().map(|want| want.bytes(libm::exp2(exponent))).collect::<Vec<_>>();
    let (mut over, mut within) = (-1000.0, 1000.0);
    if at(over).iter().sum::<u64>() <= total {
        return at(over);
    }
    for _ in 0..HALVINGS {
        let middle = (over + within) / 2.0;
        if at(middle).iter().sum::<u64>() <= total { within = middle } else { over = middle }
    }
    at(within)
}

#[cfg(test)]
mod tests {
    use nibble_codec::{Encoder, Payload, PayloadId, Scratch};
    use nibble_seed::{RoundId, Seed};
    use proptest::prelude::*;

    use super::*;

    fn layout() -> Layout {
        Layout::new([("w", vec![64, 256])]).unwrap()
    }

    fn members<'a>(layout: &'a Layout, weights: &[f64]) -> Vec<Member<'a>> {
        let situation =
            Situation { layout, round: 0, rounds: 1, participation: 1.0, losses: &[], may_send: None, left: None };
        weights.iter().map(|&weight| Member { situation, weight }).collect()
    }

    fn spent(layout: &Layout, schemes: &[Option<Scheme>]) -> Vec<u64> {
        schemes.iter().map(|scheme| wire::up(scheme.unwrap().coding.payload_bytes(layout))).collect()
    }

    proptest! {
        #[test]
        fn a_cohort_never_sends_more_than_it_may(
            weights in prop::collection::vec(1e-3f64..1e4, 1..20),
            more in 0u64..200_000,
            own in prop::collection::vec(prop::option::of(1_500u64..20_000), 20),
        ) {
            let (layout, policy) = (layout(), "fit".parse::<Policy>().unwrap());
            let mut members = members(&layout, &weights);
            members.iter_mut().zip(own).for_each(|(member, own)| member.situation.may_send = own);
            let total = policy.least_together(&layout, weights.len()) + more;
            let spent = spent(&layout, &policy.plan_cohort(Some(total), &members));
            prop_assert!(spent.iter().sum::<u64>() <= total);
            for (bytes, member) in spent.iter().zip(&members) {
                prop_assert!(member.situation.may_send.is_none_or(|own| *bytes <= own));
            }
            // Whoever weighs more sends no less, as far as its own caps let it.
            for (bytes, member) in spent.iter().zip(&members) {
                for (others, other) in spent.iter().zip(&members) {
                    let held = member.situation.may_send.is_some_and(|own| own < *others);
                    prop_assert!(member.weight < other.weight || held || bytes + 2 >= *others);
                }
            }
        }
    }

    #[test]
    fn those_who_cannot_afford_any_are_left_out_and_schemes_stay() {
        let layout = layout();
        let mut cohort = members(&layout, &[1.0, 1.0]);
        cohort[0].situation.may_send = Some(10);
        let plan = |policy: &str| policy.parse::<Policy>().unwrap().plan_cohort(Some(9_000), &cohort);
        let fit = plan("fit");
        assert_eq!(fit[0], None);
        assert!((8_990..=9_000).contains(&spent(&layout, &fit[1..])[0]));
        assert_eq!(plan("int4"), [None, Some("int4".parse().unwrap())]);
    }

    /// What the weighted mean of encoded updates is off by, for members of these weights with as many bytes as these.
    fn error(layout: &Layout, weights: &[f64], schemes: &[Option<Scheme>]) -> f64 {
        let mut stream = Seed(5).stream();
        // Products of uniforms are heavy-tailed, as updates are.
        let mut draw = || (0..3).map(|_| 2.0 * stream.next_unit() - 1.0).product::<f64>() as f32;
        let mut off = vec![0.0; layout.coordinates()];
        let mut scratch = Scratch::default();
        for (at, (weight, scheme)) in weights.iter().zip(schemes).enumerate() {
            let update: Vec<f32> = (0..layout.coordinates()).map(|_| draw()).collect();
            let (id, mut bytes) = (PayloadId { round: RoundId(0), seed: Seed(at as u64) }, Vec::new());
            Encoder::new(scheme.unwrap()).encode(layout, &update, id, &mut bytes).unwrap();
            let payload = Payload::parse(&bytes, layout).unwrap();
            payload.fold_chunk(0, *weight, &mut scratch, &mut off).unwrap();
            off.iter_mut().zip(&update).for_each(|(off, x)| *off -= weight * f64::from(*x));
        }
        off.iter().map(|off| off * off).sum()
    }

    #[test]
    fn the_mean_is_off_by_less_than_if_all_sent_alike() {
        let layout = layout();
        let weights = [1.0, 1.0, 2.0, 2.0, 5.0, 5.0, 10.0, 40.0];
        let policy: Policy = "fit".parse().unwrap();
        // A quarter of a bit, one and four.
        for (bits, gain) in [(0.25, 3.0), (1.0, 6.0), (4.0, 10.0)] {
            let each = wire::up((bits * layout.coordinates() as f64 / 8.0) as u64);
            let members = members(&layout, &weights);
            let alike: Vec<_> = members
                .iter()
                .map(|member| policy.plan(&Situation { may_send: Some(each), ..member.situation }))
                .collect();
            let divided = policy.plan_cohort(Some(8 * each), &members);
            let (alike, divided) = (error(&layout, &weights, &alike), error(&layout, &weights, &divided));
            assert!(alike > gain * divided, "at {bits} bits: {alike:e} alike, {divided:e} divided");
        }
    }
}
