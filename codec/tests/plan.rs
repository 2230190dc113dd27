//! `plan` by its public interface: budgets, errors, weights, what is left out.

#![allow(clippy::unwrap_used)] // a failing helper is a failing test

use nibble_codec::{Backend, EncodeError, Encoder, Layout, Payload, PayloadId};
use nibble_seed::{RoundId, Seed};
use proptest::prelude::*;

const ID: PayloadId = PayloadId { round: RoundId(3), seed: Seed(5) };

fn nmse(scheme: &str, layout: &Layout, x: &[f32]) -> (usize, f64) {
    let mut bytes = Vec::new();
    Encoder::new(scheme.parse().unwrap()).encode(layout, x, ID, &mut bytes).unwrap();
    (bytes.len(), Payload::parse(&bytes, layout).unwrap().nmse(x).unwrap())
}

/// Rows whose scales span three orders of magnitude.
fn uneven(rows: usize, columns: usize) -> Vec<f32> {
    let noise = |i: usize| (0..12).map(|part| Seed(1).unit_at((12 * i + part) as u64)).sum::<f32>() - 6.0;
    (0..rows * columns).map(|i| noise(i) * 10f32.powf(-3.0 * (i / columns) as f32 / rows as f32)).collect()
}

#[test]
fn bytes_go_where_they_take_most_error_away() {
    let layout = Layout::new([("w", vec![100, 2048])]).unwrap();
    let x = uneven(100, 2048);
    for (fixed, most) in [("int2", 0.1), ("int4", 0.35), ("int6", 0.4)] {
        let (bytes, error) = nmse(fixed, &layout, &x);
        let (planned_bytes, planned) = nmse(&format!("plan:{bytes}B"), &layout, &x);
        assert!(planned_bytes <= bytes && planned_bytes as f64 > 0.995 * bytes as f64, "{planned_bytes} of {bytes}");
        assert!(planned < most * error, "{fixed}: {error}, planned {planned}");
    }
}

/// Against all 8^4 ways to give four pieces their widths.
#[test]
fn the_plan_is_nearly_as_good_as_trying_everything() {
    let layout = Layout::new([("w", vec![4, 1024])]).unwrap();
    let one = Layout::new([("w", vec![1024])]).unwrap();
    let x = uneven(4, 1024);
    let plan = |layout: &Layout, x: &[f32], budget: u64| {
        // Nearest rounding does not depend on where a piece lies.
        let encoder = Encoder::new(format!("plan:{budget}B:nearest").parse().unwrap());
        encoder.plan(layout, x, ID.seed).unwrap().unwrap()
    };
    // Header, prelude and checksum of a payload of one piece, and then just enough for a width.
    let curve = |row: usize| {
        [0, 274, 402, 530, 658, 786, 914, 1042].map(|bytes| {
            let piece = &plan(&one, &x[1024 * row..][..1024], 77 + bytes).pieces[0];
            assert_eq!(piece.bytes, bytes);
            (bytes, piece.error)
        })
    };
    let curves: Vec<_> = (0..4).map(curve).collect();
    for budget in (200..4800).step_by(77) {
        let planned = plan(&layout, &x, budget);
        let spent: u64 = planned.pieces.iter().map(|piece| piece.bytes).sum();
        assert!(78 + spent <= budget);
        let found: f64 = planned.pieces.iter().map(|piece| piece.error).sum();
        let choices = (0..8usize.pow(4)).map(|choice| [0, 1, 2, 3].map(|row| curves[row][choice >> (3 * row) & 7]));
        let fit = choices.filter(|chosen| 78 + chosen.iter().map(|&(bytes, _)| bytes).sum::<u64>() <= budget);
        let best = fit.map(|chosen| chosen.iter().map(|&(_, error)| error).sum()).fold(f64::INFINITY, f64::min);
        // A walk along hulls may be one step from the best.
        assert!(found <= 1.3 * best, "{budget} bytes: {found} where {best} is possible");
    }
}

#[test]
fn weights_move_bytes_from_one_tensor_to_another() {
    let layout = Layout::new([("a", vec![40, 512]), ("b", vec![40, 512])]).unwrap();
    let x = [uneven(40, 512), uneven(40, 512)].concat();
    let mut encoder = Encoder::new("plan:12KiB+ef".parse().unwrap());
    let bytes_of = |encoder: &Encoder, tensor: usize| {
        let plan = encoder.plan(&layout, &x, Seed(1)).unwrap().unwrap();
        plan.pieces.iter().filter(|piece| piece.tensor == tensor).map(|piece| piece.bytes).sum::<u64>()
    };
    let even = bytes_of(&encoder, 0);
    encoder.set_weights(&layout, vec![10.0, 1.0]).unwrap();
    assert!(bytes_of(&encoder, 0) > even + 1000 && bytes_of(&encoder, 1) < even - 1000);
    encoder.set_weights(&layout, vec![0.0, 1.0]).unwrap();
    assert_eq!(bytes_of(&encoder, 0), 0, "what counts nothing gets nothing");
    for wrong in [vec![1.0], vec![1.0, -1.0], vec![1.0, f64::NAN]] {
        assert!(matches!(encoder.set_weights(&layout, wrong), Err(EncodeError::Weights { expected: 2, .. })));
    }
}

#[test]
fn too_few_bytes_are_refused_and_the_fewest_send_nothing() {
    let layout = Layout::new([("w", vec![100, 100])]).unwrap();
    let x = uneven(100, 100);
    let mut bytes = Vec::new();
    let error = Encoder::new("plan:80B".parse().unwrap()).encode(&layout, &x, ID, &mut bytes).unwrap_err();
    let EncodeError::Budget { budget: 80, needed, .. } = error else { panic!("{error}") };
    assert!(bytes.is_empty());
    assert_eq!(nmse(&format!("plan:{needed}B"), &layout, &x), (needed as usize, 1.0));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn all_backends_plan_the_same_within_the_budget(
        shapes in prop::collection::vec((1usize..30, 1usize..3000), 1..4),
        rate in 0.05f64..9.0,
        rounding in prop::sample::select(vec!["", ":nearest", ":dithered"]),
        seed in any::<u64>(),
    ) {
        let named = shapes.iter().enumerate().map(|(at, &(rows, columns))| (format!("t{at}"), vec![rows, columns]));
        let layout = Layout::new(named).unwrap();
        let x = &uneven(1, layout.coordinates())[..];
        let budget = 200 + 100 * shapes.len() + (rate * x.len() as f64 / 8.0) as usize;
        let id = PayloadId { round: RoundId(3), seed: Seed(seed) };
        let mut expected: Option<(Vec<u8>, Vec<f32>)> = None;
        for &backend in Backend::available() {
            let scheme = format!("plan:{budget}B{rounding}").parse().unwrap();
            let mut bytes = Vec::new();
            Encoder::with_backend(scheme, backend).encode(&layout, x, id, &mut bytes).unwrap();
            prop_assert!(bytes.len() <= budget);
            let mut values = vec![f32::NAN; x.len()];
            Payload::parse_with(&bytes, &layout, backend).unwrap().decode(&mut values).unwrap();
            let expected = expected.get_or_insert_with(|| (bytes.clone(), values.clone()));
            prop_assert!(*expected == (bytes, values), "{backend:?} differs");
        }
    }
}
