//! Whole aggregates: who counts, in which order, on how many threads.

mod attacks;
mod independent;
mod weighings;

use nibble_codec::{Encoder, Layout, Payload, PayloadId};
use nibble_seed::{Purpose, RoundId, Seed};

use super::*;

fn facts(client: u64, samples: u64) -> Facts {
    Facts { client: ClientId(client), samples, steps: 1, loss: None, age: 0 }
}

fn encode(layout: &Layout, x: &[f32], scheme: &str, client: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let id = PayloadId { round: RoundId(0), seed: Seed(9).derive(Purpose::Rounding, 0, client) };
    Encoder::new(scheme.parse().unwrap()).encode(layout, x, id, &mut bytes).unwrap();
    bytes
}

fn payload(layout: &Layout, x: &[f32]) -> Vec<u8> {
    encode(layout, x, "fp32", 0)
}

/// The keys of a rule that withstands `attackers`, if it must know.
fn keys(rule: &str, attackers: usize) -> Keys {
    let attackers = ["krum", "multi-krum", "bulyan"].contains(&rule).then_some(attackers);
    Keys { rule: rule.into(), attackers, ..Keys::default() }
}

fn unbounded(rule: &str, attackers: usize) -> Keys {
    Keys { norm_bound: NormBound::Word("off".into()), ..keys(rule, attackers) }
}

const RULES: [&str; 8] =
    ["mean", "median", "trimmed-mean", "krum", "multi-krum", "geometric-median", "centered-clipping", "bulyan"];

/// What `keys` make of payloads of clients 0, 1, ... with these samples, which come in the order `arrivals`.
fn aggregate(keys: &Keys, layout: &Layout, payloads: &[Vec<u8>], arrivals: &[usize], threads: usize) -> Vec<f64> {
    let aggregation = keys.check(payloads.len()).unwrap();
    let contribution = |&index: &usize| Contribution {
        facts: facts(index as u64, 10 + index as u64 % 3),
        chunks: Payload::parse(&payloads[index], layout).unwrap(),
    };
    let contributions = arrivals.iter().map(contribution).collect();
    let aggregate = Aggregate::new(contributions).unwrap().under(&aggregation, layout, threads).unwrap();
    all_of(&aggregate, layout)
}

fn all_of<C: Chunks<Error: std::fmt::Debug>>(aggregate: &Aggregate<C>, layout: &Layout) -> Vec<f64> {
    let (mut all, mut mean) = (Vec::new(), Vec::new());
    for index in 0..layout.chunks() {
        aggregate.mean_of(index..index + 1, layout.chunk_range(index).len(), &mut mean).unwrap();
        all.extend_from_slice(&mean);
    }
    all
}

/// Updates as of clients that agree more or less.
fn updates(count: u64, coordinates: usize) -> Vec<Vec<f32>> {
    let value = |client: u64, index: usize| {
        let hash = |seed: u64| (seed ^ index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
        (hash(77) as f32 + 0.5 * hash(client << 33) as f32) / (1u64 << 24) as f32 - 0.7
    };
    (0..count).map(|client| (0..coordinates).map(|index| value(client, index)).collect()).collect()
}

#[test]
fn neither_threads_nor_the_order_of_arrival_change_a_bit() {
    let layout = Layout::new([("a", vec![100_003]), ("b", vec![300, 200])]).unwrap();
    for scheme in ["fp32", "int8", "int2", "auto:1"] {
        let mut updates = updates(7, layout.coordinates());
        updates[4].iter_mut().for_each(|value| *value *= -20.0); // so that the bound bites
        let payloads: Vec<_> = (0..).zip(&updates).map(|(client, x)| encode(&layout, x, scheme, client)).collect();
        for rule in RULES {
            let keys = keys(rule, 1);
            let expected = aggregate(&keys, &layout, &payloads, &[0, 1, 2, 3, 4, 5, 6], 1);
            let same = aggregate(&keys, &layout, &payloads, &[5, 3, 6, 0, 4, 2, 1], 4);
            let bits = |values: &[f64]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
            assert!(bits(&expected) == bits(&same), "{rule}, {scheme}");
        }
    }
}

#[test]
fn columns_are_those_of_what_payloads_decode_to() {
    let layout = Layout::new([("a", vec![70_001])]).unwrap();
    for scheme in ["fp32", "fp16", "int8", "int4", "int2", "auto:0.5"] {
        let updates = updates(5, layout.coordinates());
        let payloads: Vec<_> = (0..).zip(&updates).map(|(client, x)| encode(&layout, x, scheme, client)).collect();
        let decoded: Vec<_> = payloads.iter().map(|bytes| decode(bytes, &layout)).collect();
        let medians = aggregate(&unbounded("median", 0), &layout, &payloads, &[0, 1, 2, 3, 4], 2);
        for (index, median) in medians.into_iter().enumerate() {
            let mut column: Vec<_> = decoded.iter().map(|update| update[index]).collect();
            column.sort_by(f32::total_cmp);
            assert_eq!(median, f64::from(column[2]), "{scheme}, coordinate {index}");
        }
    }
}

fn decode(bytes: &[u8], layout: &Layout) -> Vec<f32> {
    let mut decoded = vec![f32::NAN; layout.coordinates()];
    Payload::parse(bytes, layout).unwrap().decode(&mut decoded).unwrap();
    decoded
}

#[test]
fn a_bound_that_does_not_bite_leaves_the_mean_as_it_was() {
    let layout = Layout::new([("a", vec![1000])]).unwrap();
    let payloads: Vec<_> = updates(6, 1000).iter().map(|update| payload(&layout, update)).collect();
    let order = [0, 1, 2, 3, 4, 5];
    let contribution = |&index: &usize| Contribution {
        facts: facts(index as u64, 10 + index as u64 % 3),
        chunks: Payload::parse(&payloads[index], &layout).unwrap(),
    };
    let plain = all_of(&Aggregate::new(order.iter().map(contribution).collect()).unwrap(), &layout);
    assert_eq!(aggregate(&keys("mean", 0), &layout, &payloads, &order, 2), plain);
}

#[test]
fn an_update_that_is_too_long_is_scaled_and_told() {
    let layout = Layout::new([("a", vec![1])]).unwrap();
    let payloads = [2.0f32, 20.0, 2.0].map(|x| payload(&layout, &[x]));
    let contribution = |index: usize| Contribution {
        facts: facts(index as u64, 1),
        chunks: Payload::parse(&payloads[index], &layout).unwrap(),
    };
    let keys = Keys { norm_bound: NormBound::Medians(2.0), ..Keys::default() };
    let aggregate = Aggregate::new((0..3).map(contribution).collect()).unwrap();
    let aggregate = aggregate.under(&keys.check(3).unwrap(), &layout, 1).unwrap();
    let scales: Vec<_> = aggregate.scales().collect();
    assert_eq!(scales, [(ClientId(0), 1.0), (ClientId(1), 0.2), (ClientId(2), 1.0)]);
    assert!((all_of(&aggregate, &layout)[0] - 8.0 / 3.0).abs() < 1e-15);
}

/// Chunks of a client whose file is gone.
#[derive(Debug)]
struct Gone;

impl Chunks for Gone {
    type Error = &'static str;

    fn together(&self) -> usize {
        1
    }

    fn fold_chunk(&self, _: usize, _: f64, _: &mut Scratch, _: &mut [f64]) -> Result<(), &'static str> {
        Err("gone")
    }

    fn decode_chunk(&self, _: usize, _: &mut Scratch, _: &mut [f32]) -> Result<(), &'static str> {
        Err("gone")
    }
}

#[test]
fn chunks_that_are_gone_are_an_error_that_names_their_client() {
    let layout = Layout::new([("a", vec![200_000])]).unwrap();
    let gone =
        || vec![Contribution { facts: facts(8, 1), chunks: Gone }, Contribution { facts: facts(3, 1), chunks: Gone }];
    for rule in ["geometric-median", "mean"] {
        let bound = Keys { norm_bound: NormBound::Medians(1.5), ..keys(rule, 0) };
        let error = Aggregate::new(gone()).unwrap().under(&bound.check(2).unwrap(), &layout, 3).unwrap_err();
        assert_eq!(error, FoldError::Chunk { client: ClientId(3), error: "gone" });
    }
    for rule in ["mean", "median"] {
        let aggregate = Aggregate::new(gone()).unwrap();
        let aggregate = aggregate.under(&unbounded(rule, 0).check(2).unwrap(), &layout, 3).unwrap();
        assert_eq!(aggregate.mean_of(0..1, 65_536, &mut Vec::new()), Err((ClientId(3), "gone")));
    }
}

#[test]
fn fewer_updates_than_a_rule_withstands_attackers_with_are_refused() {
    let layout = Layout::new([("a", vec![1])]).unwrap();
    let bytes = payload(&layout, &[1.0]);
    for (rule, needed) in [("krum", 5), ("multi-krum", 5), ("bulyan", 7), ("trimmed-mean", 5)] {
        let contribution =
            |client| Contribution { facts: facts(client, 1), chunks: Payload::parse(&bytes, &layout).unwrap() };
        let aggregate = Aggregate::new((0..4).map(contribution).collect()).unwrap();
        let error = aggregate.under(&keys(rule, 1).check(needed).unwrap(), &layout, 1).unwrap_err();
        assert_eq!(error, AggregateError::TooFew { rule, needed, found: 4 }.into());
    }
}

#[test]
fn the_mean_is_weighted_by_samples_and_blind_to_order() {
    let layout = Layout::new([("a", vec![3])]).unwrap();
    let payloads = [payload(&layout, &[1.0, 0.0, -2.0]), payload(&layout, &[5.0, 0.1, 4.0])];
    let contribution = |client: usize, samples| Contribution {
        facts: facts(client as u64, samples),
        chunks: Payload::parse(&payloads[client], &layout).unwrap(),
    };
    let (mut mean, mut swapped) = (vec![f64::NAN; 9], Vec::new());
    Aggregate::new(vec![contribution(0, 3), contribution(1, 1)]).unwrap().mean_of(0..1, 3, &mut mean).unwrap();
    Aggregate::new(vec![contribution(1, 1), contribution(0, 3)]).unwrap().mean_of(0..1, 3, &mut swapped).unwrap();
    assert_eq!(mean, [2.0, 0.25 * f64::from(0.1f32), -0.5]);
    assert_eq!(mean, swapped);
}

#[test]
fn twice_the_same_client_or_no_weight_is_refused() {
    let layout = Layout::new([("a", vec![1])]).unwrap();
    let bytes = payload(&layout, &[1.0]);
    let contribution = |client, samples| Contribution {
        facts: facts(client, samples),
        chunks: Payload::parse(&bytes, &layout).unwrap(),
    };
    let twice = Aggregate::new(vec![contribution(4, 1), contribution(3, 1), contribution(4, 2)]);
    assert_eq!(twice.unwrap_err(), AggregateError::Duplicate { client: ClientId(4) });
    let none = Aggregate::new(vec![contribution(4, 0)]);
    assert_eq!(none.unwrap_err(), AggregateError::NoWeight { updates: 1 });
}

/// At low rates a payload's chunks only decode together; a payload beside it may be of any other scheme.
#[test]
fn chunks_that_decode_together_add_up_to_what_each_alone_does() {
    let layout = Layout::new([("a", vec![600, 700])]).unwrap();
    let x: Vec<f32> = (0..420_000u32).map(|i| (i as f32 * 0.37).sin() / (1 + i / 700) as f32).collect();
    let payloads = ["auto:0.05", "int8"].map(|scheme| encode(&layout, &x, scheme, 1));
    for rule in ["mean", "median"] {
        let contribution = |client: usize| Contribution {
            facts: Facts { steps: 1 + client as u64, ..facts(client as u64, 3) },
            chunks: Payload::parse(&payloads[client], &layout).unwrap(),
        };
        let aggregation = unbounded(rule, 0).check(2).unwrap();
        let aggregate = Aggregate::new((0..2).map(contribution).collect()).unwrap();
        let aggregate = aggregate.under(&aggregation, &layout, 1).unwrap();
        let together = [1, 2, 3].map(|threads| aggregate.together(&layout, threads));
        assert_eq!(together, if rule == "mean" { [4, 4, 1] } else { [1; 3] });
        let alone = all_of(&aggregate, &layout);
        let (mut all, mut mean, mut each) = (Vec::new(), Vec::new(), Vec::new());
        for (chunks, len) in [(0..4, 4 * CHUNK_COORDINATES), (4..7, 420_000 - 4 * CHUNK_COORDINATES)] {
            aggregate.mean_of(chunks.clone(), len, &mut mean).unwrap();
            all.extend_from_slice(&mean);
            if rule == "mean" {
                aggregate.mean_per_step_of(chunks, &mean, &mut each).unwrap();
                assert!(each.len() == len && each.iter().zip(&mean).any(|(each, mean)| each != mean));
            }
        }
        assert!(all == alone && all.iter().any(|value| *value != 0.0), "{rule}");
    }
}
