//! `sign` by its public interface: errors, bias, budgets, what is one of a kind; and where `auto` holds signs.

#![allow(clippy::unwrap_used)] // a failing helper is a failing test

use nibble_codec::{Backend, DecodeError, EncodeError, Encoder, HEADER_BYTES, Layout, Payload, PayloadId, Scratch};
use nibble_seed::{RoundId, Seed};
use proptest::prelude::*;

fn encode(scheme: &str, layout: &Layout, x: &[f32], seed: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let id = PayloadId { round: RoundId(3), seed: Seed(seed) };
    Encoder::new(scheme.parse().unwrap()).encode(layout, x, id, &mut bytes).unwrap();
    bytes
}

fn flat(len: usize) -> Layout {
    Layout::new([("x", vec![len])]).unwrap()
}

/// Nearly normal values: sums of twelve uniform ones.
fn bell(len: usize, seed: u64) -> Vec<f32> {
    let draw = |i: usize| (0..12).map(|part| Seed(seed).unit_at((12 * i + part) as u64)).sum::<f32>() - 6.0;
    (0..len).map(draw).collect()
}

/// A vector, most of whose energy is in its first coordinates.
fn steep(len: usize) -> Vec<f32> {
    bell(len, 5).iter().enumerate().map(|(i, x)| x / (1.0 + i as f32)).collect()
}

struct Measured {
    bytes: usize,
    nmse: f64,
    /// Squared error of the mean, times the number of encodings, over that of one: 1 without bias.
    of_mean: f64,
    /// Largest distance of a coordinate's mean from the coordinate, over the vector's length.
    worst: f64,
}

fn measure(scheme: &str, layout: &Layout, x: &[f32], encodings: u64) -> Measured {
    let mut encoder = Encoder::new(scheme.parse().unwrap());
    let (mut bytes, mut decoded, mut sum) = (Vec::new(), vec![0.0; x.len()], vec![0f64; x.len()]);
    let (mut error, norm) = (0.0, x.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>());
    for seed in 0..encodings {
        let id = PayloadId { round: RoundId(3), seed: Seed(seed) };
        encoder.encode(layout, x, id, &mut bytes).unwrap();
        Payload::parse(&bytes, layout).unwrap().decode(&mut decoded).unwrap();
        for ((sum, &y), &x) in sum.iter_mut().zip(&decoded).zip(x) {
            *sum += f64::from(y) / encodings as f64;
            error += (f64::from(y) - f64::from(x)).powi(2) / encodings as f64;
        }
    }
    let off: Vec<f64> = sum.iter().zip(x).map(|(sum, &x)| sum - f64::from(x)).collect();
    let of_mean = off.iter().map(|off| off * off).sum::<f64>();
    let worst = off.iter().fold(0.0, |most: f64, off| most.max(off.abs())) / norm.sqrt();
    Measured { bytes: bytes.len(), nmse: error / norm, of_mean: of_mean * encodings as f64 / error, worst }
}

/// π/2 · n/m - 1 of any vector, for the m signs that a payload has.
#[test]
fn the_error_is_that_of_the_theory_whatever_the_vector() {
    let len = 1 << 16;
    let mut spike = vec![0.0; len];
    spike[777] = 3.0;
    for (law, x) in [("bell", bell(len, 1)), ("steep", steep(len)), ("spike", spike), ("constant", vec![-0.1; len])] {
        for rate in [0.1, 0.5, 1.0] {
            let found = measure(&format!("sign:{rate}"), &flat(len), &x, 40);
            assert_eq!(found.bytes, (len as f64 * rate / 8.0) as usize);
            let signs = 8.0 * (found.bytes - 72) as f64;
            let expected = std::f64::consts::FRAC_PI_2 * len as f64 / signs - 1.0;
            // The scale is that of m magnitudes of normal values: an encoding is known to 1.5 / sqrt(m) of 1 + NMSE.
            let deviation = 1.5 * (1.0 + expected) / (40.0 * signs).sqrt();
            assert!((found.nmse - expected).abs() < 5.0 * deviation, "{law} at {rate}: {} not {expected}", found.nmse);
        }
    }
}

#[test]
fn bits_go_to_chunks_where_they_take_most_error_away() {
    let layout = flat(10 * 65_536);
    let x: Vec<f32> = bell(10 * 65_536, 2).iter().enumerate().map(|(i, x)| x * (1 + i / 65_536 * 5) as f32).collect();
    let found = measure("sign:0.1", &layout, &x, 1);
    // Header and prelude take 92 bytes, checksum and scale 8 a chunk.
    let even = std::f64::consts::FRAC_PI_2 * x.len() as f64 / (8 * (found.bytes - 172)) as f64;
    // (Σ |x_b|)² / (10 Σ |x_b|²) of 1, 6, ... 46.
    let factor = (0..10).map(|b| 1.0 + 5.0 * f64::from(b)).sum::<f64>().powi(2)
        / (10.0 * (0..10).map(|b| (1.0 + 5.0 * f64::from(b)).powi(2)).sum::<f64>());
    assert!((found.nmse / (factor * even - 1.0) - 1.0).abs() < 0.02, "{} of {even}, {factor}", found.nmse);
}

/// n times the error of a mean of n independent encodings is that of one, which is what unbiased means: also of vectors that
/// one turn alone, or signs without one, would not be unbiased for.
#[test]
fn the_mean_of_many_encodings_is_the_vector() {
    let mut two = vec![0.0; 4096];
    (two[5], two[900]) = (3.0, 1.0);
    for (name, x) in [("bell", bell(4000, 3)), ("steep", steep(4096)), ("two spikes", two)] {
        for scheme in ["sign", "sign:0.25"] {
            let found = measure(scheme, &flat(x.len()), &x, 1000);
            // Of 4000 coordinates with near-normal errors, squares sum to their mean within sqrt(2/4000) = 2.2 %.
            assert!((found.of_mean - 1.0).abs() < 0.09, "{name}, {scheme}: {}", found.of_mean);
        }
    }
}

/// Small blocks mix few coordinates. Of 4000 encodings of eight signs, with an NMSE of 1.57 n/8 - n/64, the mean of a coordinate
/// is known to 1 % of the length.
#[test]
fn small_vectors_of_spikes_are_nearly_unbiased() {
    for (values, most) in [(&[3.0, 1.0][..], 0.09), (&[3.0, 1.0, 1.0, -0.5, 0.1], 0.09), (&[1.0; 60], 0.05)] {
        let found = measure("sign", &flat(values.len()), values, 4000);
        println!("{} coordinates from {:?}: {:.3} of the length", values.len(), &values[..2], found.worst);
        assert!(found.worst < most, "{values:?}: {}", found.worst);
    }
}

#[test]
fn one_coordinate_is_exact_and_chunks_stand_alone() {
    for value in [1.0, -0.3, 1e-20, -1e30] {
        let bytes = encode("sign", &flat(1), &[value], 4);
        let mut decoded = [0.0];
        Payload::parse(&bytes, &flat(1)).unwrap().decode(&mut decoded).unwrap();
        assert!((decoded[0] / value - 1.0).abs() < 1e-6, "{value} {decoded:?}");
    }
    let (layout, x) = (flat(200_000), bell(200_000, 7));
    let bytes = encode("sign:0.3", &layout, &x, 7);
    let payload = Payload::parse(&bytes, &layout).unwrap();
    let mut all = vec![f32::NAN; x.len()];
    payload.decode(&mut all).unwrap();
    let mut scratch = Scratch::default();
    for chunk in [3, 0, 2, 1] {
        let range = layout.chunk_range(chunk);
        let mut alone = vec![9.0; range.len()];
        payload.decode_chunk(chunk, &mut scratch, &mut alone).unwrap();
        assert_eq!(alone, all[range]);
    }
}

#[test]
fn zeros_take_no_signs_and_tiny_values_no_infinite_ones() {
    let layout = flat(70_000);
    let mut x = vec![0.0; 70_000];
    let bytes = encode("sign", &layout, &x, 1);
    let mut decoded = vec![f32::NAN; x.len()];
    Payload::parse(&bytes, &layout).unwrap().decode(&mut decoded).unwrap();
    assert!(bytes.len() < 120 && decoded.iter().all(|y| y.to_bits() == 0), "{}", bytes.len());
    for value in [f32::from_bits(1), 1e-38, 1.267e30] {
        x[65_536..].fill(value);
        let bytes = encode("sign:0.1", &layout, &x, 1);
        Payload::parse(&bytes, &layout).unwrap().decode(&mut decoded).unwrap();
        assert!(decoded[..65_536].iter().all(|&y| y == 0.0) && decoded.iter().all(|y| y.is_finite()), "{value}");
    }
    x[0] = 1.3e30;
    let id = PayloadId { round: RoundId(3), seed: Seed(1) };
    let error = Encoder::new("sign".parse().unwrap()).encode(&layout, &x, id, &mut Vec::new()).unwrap_err();
    assert!(matches!(error, EncodeError::OutOfRange { index: 0, limit, .. } if limit == 2f32.powi(100)), "{error}");
}

#[test]
fn damage_goes_to_errors_checked_or_not() {
    let (layout, x) = (flat(70_000), bell(70_000, 9));
    let mut bytes = encode("sign", &layout, &x, 1);
    let payload = Payload::parse(&bytes, &layout).unwrap();
    assert_eq!(payload.header().to_bytes(), bytes[..HEADER_BYTES]);
    let (mut sum, mut values) = (vec![0.5; 65_536], vec![0.0; 70_000]);
    let end = bytes.len();
    // The scale of the last block, or what the decoder takes for it.
    bytes[HEADER_BYTES + 8 + 4 + 4..end].fill(0xFF);
    assert!(matches!(Payload::parse(&bytes, &layout), Err(DecodeError::Checksum { .. })));
    let payload = Payload::trust(&bytes, &layout).unwrap();
    assert!(matches!(payload.decode(&mut values), Err(DecodeError::Content { chunk: 0, what: "scale" })));
    let folded = payload.fold_chunk(0, 1.0, &mut Scratch::default(), &mut sum);
    assert!(folded.is_err() && sum.iter().all(|&sum| sum == 0.5), "what is refused adds nothing");
}

/// Seeds of a cohort differ in their highest bits alone; its rotations have nothing in common.
#[test]
fn members_of_a_cohort_turn_in_different_ways() {
    let (layout, x) = (flat(4096), bell(4096, 11));
    let mut sum = vec![0f64; 4096];
    for member in 0..64 {
        let bytes = encode("sign", &layout, &x, nibble_codec::stratified(Seed(1000), member, 64).0);
        let mut decoded = vec![0.0; 4096];
        Payload::parse(&bytes, &layout).unwrap().decode(&mut decoded).unwrap();
        sum.iter_mut().zip(&decoded).for_each(|(sum, &y)| *sum += f64::from(y) / 64.0);
    }
    let norm: f64 = x.iter().map(|&x| f64::from(x).powi(2)).sum();
    let error: f64 = sum.iter().zip(&x).map(|(sum, &x)| (sum - f64::from(x)).powi(2)).sum();
    // One encoding of 3520 signs has 1.571 · 4096/3520 - 1; the sum of 4096 squares is known to 2.2 %.
    assert!((error / norm * 64.0 / 0.828 - 1.0).abs() < 0.15, "{}", error / norm * 64.0);
}

#[test]
fn auto_holds_signs_where_bytes_are_few_and_says_so() {
    let header = |scheme: &str, layout: &Layout, x: &[f32]| {
        let bytes = encode(scheme, layout, x, 5);
        let payload = Payload::parse(&bytes, layout).unwrap();
        assert_eq!(payload.header().coding, scheme.parse::<nibble_codec::Scheme>().unwrap().coding);
        assert_eq!(payload.header().to_bytes(), bytes[..HEADER_BYTES]);
        assert!(bytes.len() as u64 <= payload.header().coding.payload_bytes(layout));
        payload.header().signs
    };
    for (scheme, len, signs) in [
        ("auto:1", 1000, true),
        ("auto:0.25", 4096, true),
        ("auto:0.1", 16_384, true),
        ("auto:90B", 300, true),
        ("auto:1", 16_384, false),
        ("auto:4", 1000, false),
        ("auto:step=0.5", 1000, false),
    ] {
        assert_eq!(header(scheme, &flat(len), &bell(len, 13)), signs, "{scheme} of {len}");
    }
    assert!(!header("auto:150B", &flat(1000), &[0.0; 1000]), "zeros are best said as such");
    let error = |scheme: &str| measure(scheme, &flat(1000), &bell(1000, 13), 20).nmse;
    assert!((error("auto:125B") / error("sign") - 1.0).abs() < 1e-9);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn all_backends_write_and_read_the_same_bits_within_the_budget(
        len in prop_oneof![1usize..300, 1usize..20_000, 60_000usize..140_000],
        rate in 500u32..=10_000,
        seed in any::<u64>(),
        empty in prop::sample::select(vec![0.0, 0.5, 1.0]),
        feedback in any::<bool>(),
    ) {
        let layout = flat(len);
        let mut x = steep(len);
        x[..(empty * len as f64) as usize].fill(0.0);
        let scheme: nibble_codec::Scheme =
            format!("sign:{}{}", f64::from(rate) / 1e4, if feedback { "+ef" } else { "" }).parse().unwrap();
        let id = PayloadId { round: RoundId(3), seed: Seed(seed) };
        let mut expected: Option<(Vec<u8>, Vec<f32>)> = None;
        for &backend in Backend::available() {
            let mut bytes = Vec::new();
            Encoder::with_backend(scheme, backend).encode(&layout, &x, id, &mut bytes).unwrap();
            prop_assert!(bytes.len() as u64 <= scheme.coding.payload_bytes(&layout));
            let mut values = vec![f32::NAN; x.len()];
            Payload::parse_with(&bytes, &layout, backend).unwrap().decode(&mut values).unwrap();
            let expected = expected.get_or_insert_with(|| (bytes.clone(), values.clone()));
            prop_assert!(*expected == (bytes, values), "{backend:?} differs");
        }
    }
}
