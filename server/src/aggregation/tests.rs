//! Whole aggregates: who counts, in which order, on how many threads.

use nibble_codec::{Encoder, Layout, Payload, PayloadId};
use nibble_seed::{RoundId, Seed};

use super::*;

fn facts(client: u64, samples: u64) -> Facts {
    Facts { client: ClientId(client), samples, steps: 1, loss: None }
}

fn payload(layout: &Layout, x: &[f32]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let id = PayloadId { round: RoundId(0), seed: Seed(0) };
    Encoder::new("fp32".parse().unwrap()).encode(layout, x, id, &mut bytes).unwrap();
    bytes
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
    Aggregate::new(vec![contribution(0, 3), contribution(1, 1)]).unwrap().mean_of_chunk(0, 3, &mut mean).unwrap();
    Aggregate::new(vec![contribution(1, 1), contribution(0, 3)]).unwrap().mean_of_chunk(0, 3, &mut swapped).unwrap();
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
