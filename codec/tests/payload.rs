//! Payloads end to end: round trips, golden bytes, refusals, feedback, and bytes from hell.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeSet;

use nibble_codec::{
    Coding, DecodeError, EncodeError, Encoder, HEADER_BYTES, Layout, Outcome, Payload, PayloadId, Residual, Scheme,
};
use nibble_seed::{RoundId, Seed};
use proptest::prelude::*;

#[path = "../fuzz/targets.rs"]
#[allow(dead_code, clippy::expect_used)]
mod targets;

use targets::reseal;

const SCHEMES: [&str; 20] = [
    "fp32",
    "fp16",
    "bf16",
    "int8",
    "int7",
    "int6",
    "int5",
    "int4",
    "int3",
    "int2",
    "int4:nearest",
    "int4:dithered",
    "int2:tensor:nearest",
    "int3:block256",
    "auto:0.3",
    "auto:2",
    "auto:step=0.001",
    "plan:1MB:dithered",
    "sign",
    "sign:0.1",
];

fn encode(scheme: &str, layout: &Layout, x: &[f32], seed: u64) -> Result<Vec<u8>, EncodeError> {
    let scheme: Scheme = scheme.parse().unwrap();
    let mut bytes = Vec::new();
    let id = PayloadId { round: RoundId(3), seed: Seed(seed) };
    Encoder::new(scheme).encode(layout, x, id, &mut bytes)?;
    let most = scheme.coding.payload_bytes(layout);
    let exact = !matches!(scheme.coding, Coding::Auto(_) | Coding::Plan(_) | Coding::Sign(_));
    assert!(bytes.len() as u64 <= most && (!exact || bytes.len() as u64 == most), "sizes are known beforehand");
    Ok(bytes)
}

fn decode(bytes: &[u8], layout: &Layout) -> Result<Vec<f32>, DecodeError> {
    let mut out = vec![f32::NAN; layout.coordinates()];
    Payload::parse(bytes, layout)?.decode(&mut out)?;
    Ok(out)
}

fn layout(shapes: &[usize]) -> Layout {
    Layout::new(shapes.iter().enumerate().map(|(i, &len)| (format!("t{i}"), vec![len]))).unwrap()
}

/// Heavy-tailed values with runs of zeros.
fn update(len: usize, seed: u64) -> Vec<f32> {
    let mut stream = Seed(seed).stream();
    let mut draw = move || stream.next_unit() as f32 - 0.5;
    (0..len).map(|i| if i / 100 % 7 == 3 { 0.0 } else { 0.01 * draw() * draw() * draw() }).collect()
}

#[test]
fn the_golden_payload_is_made_of_these_bytes() {
    let layout = Layout::new([("w", vec![5])]).unwrap();
    let bytes = encode("int4:nearest", &layout, &[0.0, 1.0, -1.0, 0.5, -0.25], 0x0102_0304_0506_0708).unwrap();
    #[rustfmt::skip]
    let expected = [
        0x4e, 0x49, 0x42, 0x4c,                         // magic "NIBL"
        1, 4, 4, 2,                                     // version, kind block, 4 bits, nearest
        64, 0, 0, 0,                                    // block
        0, 0, 0x80, 0x3f,                               // gain 1.0
        0xfa, 0xc4, 0xae, 0x50, 0x5b, 0xd4, 0x7e, 0x50, // layout hash
        3, 0, 0, 0, 0, 0, 0, 0,                         // round
        8, 7, 6, 5, 4, 3, 2, 1,                         // seed
        5, 0, 0, 0, 0, 0, 0, 0,                         // coordinates
        14, 0, 0, 0, 0, 0, 0, 0,                        // body bytes
        1, 0, 0, 0,                                     // chunks
        0xbf, 0x19, 0xf5, 0x8b,                         // checksum of the header
        6, 0, 0, 0,                                     // length of chunk 0
        0xbe, 0x66, 0xdf, 0xc4,                         // checksum of chunk 0
        0, 0,                                           // top level 0: scale 1
        255,                                            // scale code: the top level
        0xa7, 0x5e, 0x00,                               // codes 7, 14, 0 | 10 (round 3.5 to even), 5 (-1.75)
    ];
    // Codes: 0 -> 7; 1 -> 14; -1 -> 0; 0.5 -> 3.5 + 7 -> 10; -0.25 -> -1.75 + 7 -> 5. Three bytes: i mod 3.
    assert_eq!(bytes, expected);
    assert_eq!(decode(&bytes, &layout).unwrap(), [0.0, 1.0, -1.0, 3.0 * (1.0 / 7.0), -2.0 * (1.0 / 7.0)]);
}

#[test]
fn raw_schemes_round_trip_to_their_precision() {
    let layout = layout(&[70_000, 3]);
    let x = update(70_003, 1);
    assert_eq!(decode(&encode("fp32", &layout, &x, 0).unwrap(), &layout).unwrap(), x);
    for (scheme, relative, absolute) in [("fp16", 2f32.powi(-11), 2f32.powi(-25)), ("bf16", 2f32.powi(-8), 0.0)] {
        let decoded = decode(&encode(scheme, &layout, &x, 0).unwrap(), &layout).unwrap();
        assert!(x.iter().zip(&decoded).all(|(x, y)| (x - y).abs() <= relative * x.abs() + absolute), "{scheme}");
    }
}

#[test]
fn the_error_falls_fourfold_a_bit_and_the_bytes_are_the_promised_share() {
    let layout = layout(&[200_000]);
    let x = update(200_000, 2);
    let nmse = |scheme: &str| {
        let bytes = encode(scheme, &layout, &x, 0).unwrap();
        Payload::parse(&bytes, &layout).unwrap().nmse(&x).unwrap()
    };
    for (coarse, fine) in [("int3", "int4"), ("int4", "int5"), ("int6", "int7"), ("int7", "int8")] {
        let ratio = nmse(coarse) / nmse(fine);
        assert!((3.5..7.0).contains(&ratio), "{coarse} has {ratio} times the error of {fine}");
    }
    let share = |scheme: &str| encode(scheme, &layout, &x, 0).unwrap().len() as f64 / 800_000.0;
    assert!(share("int4") <= 0.13 && share("int8") <= 0.255 && share("int2") <= 0.067);
}

#[test]
fn the_mean_of_many_encodings_is_the_vector() {
    // 64 encodings of 20,000 coordinates with bounded weights: the error of the mean is nmse / 64 within a few percent.
    let layout = layout(&[20_000]);
    let x: Vec<f32> = (0..20_000).map(|i| Seed(5).unit_at(i) - 0.5).collect();
    for scheme in ["int2", "int4", "int8", "int3:dithered", "int2:tensor"] {
        let (mut sum, mut error) = (vec![0f64; x.len()], 0.0);
        for seed in 0..64 {
            let decoded = decode(&encode(scheme, &layout, &x, seed).unwrap(), &layout).unwrap();
            for ((sum, &y), &x) in sum.iter_mut().zip(&decoded).zip(&x) {
                *sum += f64::from(y) / 64.0;
                error += (f64::from(y) - f64::from(x)).powi(2) / 64.0;
            }
        }
        let of_mean: f64 = sum.iter().zip(&x).map(|(sum, &x)| (sum - f64::from(x)).powi(2)).sum();
        // A sum of 20,000 squares of near-normal terms is known to sqrt(2/20000) = 1 %; the bound is 5 deviations.
        assert!((of_mean * 64.0 / error - 1.0).abs() < 0.05, "{scheme}: {}", of_mean * 64.0 / error);
    }
}

#[test]
fn threads_change_no_byte() {
    let layout = layout(&[65_536, 40_000, 200_000]);
    let x = update(layout.coordinates(), 4);
    let id = PayloadId { round: RoundId(3), seed: Seed(5) };
    for scheme in SCHEMES {
        let alone = encode(scheme, &layout, &x, 5).unwrap();
        for threads in [2, 3, 9] {
            let mut bytes = Vec::new();
            let mut encoder = Encoder::new(scheme.parse().unwrap()).with_threads(threads.try_into().unwrap());
            encoder.encode(&layout, &x, id, &mut bytes).unwrap();
            assert!(bytes == alone, "{scheme} on {threads} threads");
        }
    }
}

#[test]
fn what_was_encoded_before_changes_no_byte() {
    let (long, short) = (layout(&[65_536, 40_000]), layout(&[300, 7000]));
    let id = PayloadId { round: RoundId(3), seed: Seed(5) };
    for scheme in SCHEMES {
        let mut encoder = Encoder::new(scheme.parse().unwrap());
        for (layout, seed, scale) in [(&long, 1, 1.0), (&short, 2, 1e-3), (&long, 3, 30.0), (&short, 2, 1e-3)] {
            let x: Vec<f32> = update(layout.coordinates(), seed).iter().map(|x| x * scale).collect();
            let mut bytes = Vec::new();
            encoder.encode(layout, &x, id, &mut bytes).unwrap();
            assert!(bytes == encode(scheme, layout, &x, 5).unwrap(), "{scheme}");
        }
    }
}

/// Ten updates that agree in part, as those of a cohort do.
#[test]
fn strata_lower_the_error_of_a_cohorts_mean_whoever_drops_out() {
    let layout = layout(&[20_000]);
    let (common, n) = (update(20_000, 1), 10);
    let updates: Vec<Vec<f32>> = (0..n as u64)
        .map(|client| common.iter().zip(update(20_000, client + 2)).map(|(common, own)| common + own).collect())
        .collect();
    let error = |scheme: &str, members: &[usize], seed: &dyn Fn(usize) -> Seed| {
        let mut sum = vec![0f64; 20_000];
        for &member in members {
            let mut bytes = Vec::new();
            let id = PayloadId { round: RoundId(3), seed: seed(member) };
            Encoder::new(scheme.parse().unwrap()).encode(&layout, &updates[member], id, &mut bytes).unwrap();
            let decoded = decode(&bytes, &layout).unwrap();
            for ((sum, &y), &x) in sum.iter_mut().zip(&decoded).zip(&updates[member]) {
                *sum += f64::from(y) - f64::from(x);
            }
        }
        sum.iter().map(|sum| sum * sum).sum::<f64>()
    };
    for (scheme, most) in [("int2", 0.8), ("int4", 0.75), ("auto:2", 1.0)] {
        for members in [&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9][..], &[0, 2, 3, 5, 7, 8, 9]] {
            let apart = error(scheme, members, &|member| Seed(1000 + member as u64));
            let together = error(scheme, members, &|member| nibble_codec::stratified(Seed(1000), member, n));
            assert!(together < most * apart, "{scheme}, {} members: {}", members.len(), together / apart);
        }
    }
}

#[test]
fn edge_inputs_are_defined() {
    // A constant sits on the outermost code, whose scale is at most a sixteenth of an octave above it: within one step.
    let a_step = |scheme: &str| match scheme.split(':').next() {
        Some("plan") => 0.25 * 2f32.powf(1.0 / 16.0) / 127.0,
        _ if scheme.starts_with("auto:step=") => 0.001,
        Some(block) if block.starts_with("int") => {
            let bits = u32::from(block.as_bytes()[3] - b'0');
            0.25 * 2f32.powf(1.0 / 16.0) / ((1 << (bits - 1)) - 1) as f32
        }
        Some("auto" | "sign") => f32::INFINITY, // which is drawn, and right on average
        _ => 0.0,
    };
    let is_drawn = |scheme: &str| scheme.starts_with("auto") || scheme.starts_with("sign");
    for scheme in SCHEMES {
        for shapes in [&[][..], &[0], &[1], &[63], &[64], &[65], &[0, 1, 0, 2], &[65_536, 1], &[131_073]] {
            let layout = layout(shapes);
            let n = layout.coordinates();
            for x in [vec![0.0; n], vec![-0.25; n], vec![1e-42; n]] {
                let bytes = encode(scheme, &layout, &x, 9).unwrap();
                let decoded = decode(&bytes, &layout).unwrap();
                let worst = x.iter().zip(&decoded).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max);
                // Tiny values are within 2^-100 of what they were, or drawn.
                let is_coarse = x[..n.min(1)] == [-0.25] || is_drawn(scheme) && x[..n.min(1)] != [0.0];
                let most = if is_coarse { a_step(scheme) } else { 0.0 } + 1e-30;
                assert!(worst <= most, "{scheme} {shapes:?}: {worst}");
                if n > 60_000 {
                    let mean = |x: &[f32]| x.iter().map(|&x| f64::from(x)).sum::<f64>() / n as f64;
                    assert!((mean(&x) - mean(&decoded)).abs() < 0.05 * 0.25, "{scheme}: {}", mean(&decoded));
                }
                if x.iter().all(|&x| x == 0.0) {
                    assert!(decoded.iter().all(|y| y.to_bits() == 0), "{scheme}: zero decodes to +0");
                }
            }
        }
    }
}

#[test]
fn vectors_that_cannot_be_encoded_name_the_coordinate_and_leave_nothing() {
    let layout = Layout::new([("conv.weight", vec![2, 3]), ("conv.bias", vec![2])]).unwrap();
    let mut x = vec![0.5; 8];
    let short = encode("int4", &layout, &x[..7], 0).unwrap_err();
    assert_eq!(short, EncodeError::Length { expected: 8, found: 7 });
    x[7] = f32::NAN;
    for scheme in SCHEMES {
        let error = encode(scheme, &layout, &x, 0).unwrap_err();
        let place = matches!(&error, EncodeError::NonFinite { tensor, index: 1, .. } if tensor == "conv.bias");
        assert!(place, "{scheme}: {error}");
    }
    x[7] = 1e37;
    for scheme in ["fp16", "int4", "int2:tensor", "auto:1", "sign"] {
        let error = encode(scheme, &layout, &x, 0).unwrap_err();
        assert!(matches!(error, EncodeError::OutOfRange { index: 1, .. }), "{scheme}: {error}");
    }
    let mut kept = vec![1, 2, 3];
    let id = PayloadId { round: RoundId(0), seed: Seed(0) };
    x[7] = f32::INFINITY;
    assert!(Encoder::new("int4".parse().unwrap()).encode(&layout, &x, id, &mut kept).is_err());
    assert!(kept.is_empty(), "no half-written payload is left");
}

#[test]
fn every_fault_has_its_error() {
    use DecodeError as E;
    let layout = layout(&[100, 70_000]);
    let good = encode("int4", &layout, &update(70_100, 3), 1).unwrap();
    let fault = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        change(&mut bytes);
        decode(&bytes, &layout).unwrap_err()
    };
    let resealed = |at: usize, to: &[u8]| {
        fault(&|bytes| {
            bytes[at..at + to.len()].copy_from_slice(to);
            reseal(bytes);
        })
    };
    assert!(matches!(fault(&|b| b.truncate(63)), E::Truncated { what: "the header", .. }));
    assert!(matches!(fault(&|b| b.truncate(70)), E::Truncated { what: "the header of a chunk", .. }));
    assert!(matches!(fault(&|b| b.truncate(b.len() - 1)), E::Truncated { what: "the body of a chunk", .. }));
    assert!(matches!(fault(&|b| b.push(0)), E::Trailing { count: 1 }));
    assert!(matches!(fault(&|b| b[0] = b'X'), E::Magic { .. }));
    assert!(matches!(fault(&|b| b[4] = 2), E::Version { found: 2, expected: 1 }));
    assert!(matches!(fault(&|b| b[30] ^= 1), E::Checksum { what: "the header", .. }));
    assert!(matches!(fault(&|b| b[100] ^= 1), E::Checksum { what: "a chunk", .. }));
    assert!(matches!(resealed(5, &[8]), E::Field { field: "kind", .. }));
    assert!(matches!(resealed(6, &[9]), E::Field { field: "bits", .. }));
    assert!(matches!(resealed(7, &[4]), E::Field { field: "rounding", .. }));
    assert!(matches!(resealed(8, &[63]), E::Field { field: "block", .. }));
    for gain in [f32::NAN, -1.0, f32::INFINITY, 1.5] {
        assert!(matches!(resealed(12, &gain.to_le_bytes()), E::Field { field: "gain", .. }), "{gain}");
    }
    assert!(matches!(resealed(16, &[0xff]), E::Layout { .. }));
    assert!(matches!(resealed(40, &[0xff]), E::Count { what: "the number of coordinates", .. }));
    assert!(matches!(resealed(48, &[0xff]), E::Count { what: "the number of body bytes", .. }));
    assert!(matches!(resealed(56, &[0xff]), E::Count { what: "the number of chunks", .. }));
    assert!(matches!(resealed(64, &[0xff]), E::Count { what: "the length of a chunk", .. }));
    assert!(matches!(resealed(72, &2000i16.to_le_bytes()), E::Content { chunk: 0, what: "top level" }));
    assert!(matches!(resealed(76, &[0xff]), E::Content { chunk: 0, what: "code" }));
    let mut buffer = vec![0.0; 3];
    let payload = Payload::parse(&good, &layout).unwrap();
    assert_eq!(payload.decode(&mut buffer), Err(E::Buffer { expected: 70_100, found: 3 }));
}

#[test]
fn two_chunks_cannot_trade_places() {
    let layout = layout(&[131_072]);
    let mut bytes = encode("int8", &layout, &update(131_072, 4), 1).unwrap();
    let (first, second) = bytes[HEADER_BYTES..].split_at_mut(8 + 2 + 1024 + 65_536);
    first.swap_with_slice(second);
    assert!(matches!(decode(&bytes, &layout), Err(DecodeError::Checksum { what: "a chunk", .. })));
}

#[test]
fn non_finite_raw_values_are_refused() {
    let layout = layout(&[2]);
    for (scheme, bad) in [("fp32", &f32::NAN.to_le_bytes()[..]), ("fp16", &[0, 0x7c]), ("bf16", &[0x80, 0x7f])] {
        let mut bytes = encode(scheme, &layout, &[1.0, 2.0], 0).unwrap();
        bytes[72..72 + bad.len()].copy_from_slice(bad);
        reseal(&mut bytes);
        assert!(matches!(decode(&bytes, &layout), Err(DecodeError::Content { .. })), "{scheme}");
    }
}

#[test]
fn decoding_leaves_nothing_of_what_was_in_the_buffer() {
    let layout = layout(&[1000, 66_000]);
    for scheme in SCHEMES {
        let bytes = encode(scheme, &layout, &update(67_000, 5), 2).unwrap();
        let payload = Payload::parse(&bytes, &layout).unwrap();
        let (mut ones, mut nans) = (vec![1.0; 67_000], vec![f32::NAN; 67_000]);
        payload.decode(&mut ones).unwrap();
        payload.decode(&mut nans).unwrap();
        assert_eq!(ones, nans, "{scheme}");
    }
}

#[test]
fn different_seeds_round_differently() {
    let layout = layout(&[5000]);
    let x = update(5000, 6);
    let bodies: BTreeSet<_> = (0..20).map(|seed| encode("int2", &layout, &x, seed).unwrap()[64..].to_vec()).collect();
    assert_eq!(bodies.len(), 20);
    assert_eq!(encode("int2", &layout, &x, 3).unwrap(), encode("int2", &layout, &x, 3).unwrap());
}

/// Sent + residual = raw, whatever the outcomes; and the residual stays bounded under every scheme.
#[test]
fn feedback_conserves_what_was_meant_and_never_diverges() {
    let layout = layout(&[3000]);
    for scheme in [
        "int8+ef",
        "int4+ef",
        "int2+ef",
        "int2:nearest+ef",
        "int2:tensor:nearest+ef",
        "int2:tensor+ef",
        "auto:0.5+ef",
        "sign+ef",
        "sign:0.5+ef",
    ] {
        let mut residual = Residual::default();
        let (mut meant, mut arrived) = (vec![0f64; 3000], vec![0f64; 3000]);
        let mut largest: f64 = 0.0;
        for round in 0..200 {
            let delta = update(3000, round);
            meant.iter_mut().zip(&delta).for_each(|(meant, &delta)| *meant += f64::from(delta));
            let intent = residual.intend(&delta);
            let bytes = encode(scheme, &layout, intent.vector(), round).unwrap();
            let payload = Payload::parse(&bytes, &layout).unwrap();
            assert!(payload.nmse(intent.vector()).unwrap() <= 0.9 + 1e-6, "{scheme} is contractive");
            residual = if round % 5 == 3 {
                intent.settle(Outcome::Returned).unwrap()
            } else {
                let decoded = decode(&bytes, &layout).unwrap();
                arrived.iter_mut().zip(&decoded).for_each(|(arrived, &decoded)| *arrived += f64::from(decoded));
                intent.settle(Outcome::Accepted(&payload)).unwrap()
            };
            largest = largest.max(residual.values().iter().map(|&r| f64::from(r).powi(2)).sum::<f64>());
        }
        let one: f64 = update(3000, 0).iter().map(|&x| f64::from(x).powi(2)).sum();
        assert!(largest < 400.0 * one, "{scheme}: the residual grew to {} updates", (largest / one).sqrt());
        for ((meant, arrived), &residual) in meant.iter().zip(&arrived).zip(residual.values()) {
            assert!((meant - arrived - f64::from(residual)).abs() < 1e-5, "{scheme}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn random_bytes_are_no_payload(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(decode(&bytes, &layout(&[10])).is_err());
    }
}

#[test]
fn what_was_encoded_here_can_be_taken_on_trust_but_must_fit_its_layout() {
    let layout = Layout::new([("a", vec![65_539])]).unwrap();
    let x: Vec<f32> = (0..layout.coordinates()).map(|i| (i as f32 * 0.37).sin()).collect();
    for scheme in ["fp32", "bf16", "int4", "int3:dithered"] {
        let mut bytes = encode(scheme, &layout, &x, 7).unwrap();
        let (mut parsed, mut trusted) = (vec![0.0; x.len()], vec![1.0; x.len()]);
        Payload::parse(&bytes, &layout).unwrap().decode(&mut parsed).unwrap();
        Payload::trust(&bytes, &layout).unwrap().decode(&mut trusted).unwrap();
        assert_eq!(parsed, trusted);
        let other = Layout::new([("b", vec![x.len()])]).unwrap();
        assert!(matches!(Payload::trust(&bytes, &other), Err(DecodeError::Layout { .. })));
        assert!(matches!(Payload::trust(&bytes[..bytes.len() - 1], &layout), Err(DecodeError::Truncated { .. })));
        // Damage to a body goes unnoticed, and does no more than change values.
        let body = HEADER_BYTES + 8;
        bytes[body..body + 1000].fill(0xFF);
        Payload::trust(&bytes, &layout).unwrap().decode(&mut trusted).unwrap();
        assert!(matches!(Payload::parse(&bytes, &layout), Err(DecodeError::Checksum { .. })));
    }
}
