//! `auto` by its public interface: rates, errors, budgets, bias.

#![allow(clippy::unwrap_used, clippy::print_stderr)] // a failing helper is a failing test

use nibble_codec::{Backend, EncodeError, Encoder, Layout, Payload, PayloadId, Scheme, Scratch};
use nibble_seed::{RoundId, Seed};
use proptest::prelude::*;

fn encode(scheme: &str, layout: &Layout, x: &[f32], seed: u64) -> Result<Vec<u8>, EncodeError> {
    let mut bytes = Vec::new();
    let id = PayloadId { round: RoundId(3), seed: Seed(seed) };
    Encoder::new(scheme.parse().unwrap()).encode(layout, x, id, &mut bytes)?;
    Ok(bytes)
}

/// Vectors for other implementations: `vectors/auto.json` says where in `vectors/auto.bin` payloads and their values are.
/// `auto.py`, written from docs/wire-format.md alone, decodes them to the same bits.
#[test]
fn the_vectors_are_what_we_make_and_decode() {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    let (mut cases, mut data) = (Vec::new(), Vec::new());
    for (number, (name, scheme, shapes, x)) in vectors().into_iter().enumerate() {
        let tensors = shapes.iter().enumerate().map(|(at, shape)| (format!("t{at}"), shape.clone()));
        let layout = Layout::new(tensors.clone()).unwrap();
        // The highest bits rotate the noise.
        let payload = encode(scheme, &layout, &x, number as u64 * 0x0357_0000_0000_0001).unwrap();
        let mut values = vec![f32::NAN; x.len()];
        Payload::parse(&payload, &layout).unwrap().decode(&mut values).unwrap();
        let mut place = |bytes: &[u8]| {
            data.extend_from_slice(bytes);
            [data.len() - bytes.len(), bytes.len()]
        };
        let values: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        cases.push(serde_json::json!({
            "name": name, "scheme": scheme, "layout": tensors.collect::<Vec<_>>(),
            "payload": place(&payload), "decoded": place(&values),
        }));
    }
    let lines: Vec<String> = cases.iter().map(|case| format!("  {case}")).collect();
    let index = format!("[\n{}\n]\n", lines.join(",\n"));
    if std::env::var_os("NIBBLE_REGENERATE").is_some() {
        std::fs::write(directory.join("auto.json"), &index).unwrap();
        std::fs::write(directory.join("auto.bin"), &data).unwrap();
    }
    assert_eq!(
        std::fs::read_to_string(directory.join("auto.json")).unwrap(),
        index,
        "NIBBLE_REGENERATE=1 makes it anew"
    );
    assert_eq!(std::fs::read(directory.join("auto.bin")).unwrap(), data);
}

/// Needs Python 3, with nothing installed; where there is none it says so.
#[test]
fn another_implementation_decodes_the_vectors_to_the_same_bits() {
    let tests = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let python = std::process::Command::new("python3")
        .arg(tests.join("auto.py"))
        .arg("check")
        .arg(tests.join("vectors"))
        .output();
    let Ok(output) = python else { return eprintln!("there is no python3: not checked") };
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("20 payloads, 1040 damaged ones refused"), "{said}");
}

/// Name, scheme, shapes and values.
type Case = (&'static str, &'static str, Vec<Vec<usize>>, Vec<f32>);

fn vectors() -> Vec<Case> {
    let matrix = || vec![vec![60, 90], vec![60], vec![0, 3], vec![]];
    let values = |seed| {
        let mut x = structured(60, 90, seed);
        x.extend(bell(61, seed));
        x
    };
    let mut cases: Vec<Case> =
        ["auto:0.4", "auto:1", "auto:2.5", "auto:6", "auto:1100B", "auto:step=0.0001", "auto:0.5+ef"]
            .into_iter()
            .map(|scheme| ("rows and columns", scheme, matrix(), values(5)))
            .collect();
    let mut spikes = bell(3000, 8);
    (0..3000).step_by(501).for_each(|at| spikes[at] *= 3000.0);
    cases.push(("escapes", "auto:2", vec![vec![3000]], spikes.clone()));
    cases.push(("escapes of wide classes", "auto:9", vec![vec![3000]], spikes));
    cases.push(("two chunks, a short last row", "auto:1", vec![vec![70_000]], bell(70_000, 9)));
    cases.push(("all lanes with raw bits", "auto:6", vec![vec![150, 300]], structured(150, 300, 12)));
    cases.push(("sampled by far", "auto:0.124", vec![vec![200, 300], vec![7000, 1]], bell(67_000, 10)));
    cases.push(("a wide chunk and a short one", "auto:0.06", vec![vec![270_000]], bell(270_000, 13)));
    cases.push(("four lanes", "auto:3", vec![vec![9000]], bell(9000, 16)));
    cases.push(("eight lanes", "auto:2", vec![vec![13_000]], bell(13_000, 14)));
    cases.push(("all lanes", "auto:1", vec![vec![33_000]], bell(33_000, 15)));
    cases.push(("zeros", "auto:1", vec![vec![40, 50], vec![3]], vec![0.0; 2003]));
    cases.push(("nothing", "auto:1", vec![], vec![]));
    cases.push(("one value", "auto:8", vec![vec![]], vec![-0.375]));
    cases.push(("tiny", "auto:step=1e-30", vec![vec![600]], bell(600, 11).iter().map(|x| x * 1e-30).collect()));
    cases
}

fn nmse(scheme: &str, layout: &Layout, x: &[f32]) -> f64 {
    nmse_of(scheme, layout, x, 1)
}

fn nmse_of(scheme: &str, layout: &Layout, x: &[f32], seed: u64) -> f64 {
    Payload::parse(&encode(scheme, layout, x, seed).unwrap(), layout).unwrap().nmse(x).unwrap()
}

/// Standard normal values (Box and Muller 1958).
fn normal(len: usize, seed: u64) -> Vec<f32> {
    let seed = Seed(seed);
    let unit = |i: usize| 1.0 - seed.unit_at(i as u64);
    let draw = |i: usize| {
        let radius = (-2.0 * f64::from(unit(2 * i)).ln()).sqrt();
        (radius * (std::f64::consts::TAU * f64::from(unit(2 * i + 1))).cos()) as f32
    };
    (0..len).map(draw).collect()
}

/// Nearly normal values by exact arithmetic, the same everywhere: sums of twelve uniform ones.
fn bell(len: usize, seed: u64) -> Vec<f32> {
    let draw = |i: usize| (0..12).map(|part| Seed(seed).unit_at((12 * i + part) as u64)).sum::<f32>() - 6.0;
    (0..len).map(draw).collect()
}

/// A matrix whose rows and columns have scales of their own, over four octaves each, with some rows all zero.
fn structured(rows: usize, columns: usize, seed: u64) -> Vec<f32> {
    let noise = bell(rows * columns, seed);
    let scale = |i: usize| {
        let exponent = 4.0 * Seed(seed ^ 77).unit_at(i as u64);
        (1.0 + exponent.fract()) * (1 << exponent as u32) as f32
    };
    let value = |i: usize| {
        let (row, column) = (i / columns, i % columns);
        if row % 9 == 4 { 0.0 } else { noise[i] * scale(row) * scale(100_000 + column) }
    };
    (0..rows * columns).map(value).collect()
}

/// Independent values of three laws. The bounds for normal ones are the goals of `auto`; those of the others are 1.5 % above
/// what was measured, as their errors hang on the few largest values.
#[test]
fn errors_on_independent_values_stay_below_the_goals() {
    const LEN: usize = 1 << 18;
    let layout = Layout::new([("x", vec![LEN])]).unwrap();
    let normal = normal(4 * LEN, 1);
    let (signs, others) = (&normal[LEN..2 * LEN], &normal[LEN..]);
    let lognormal = (0..LEN).map(|i| normal[i].exp().copysign(signs[i])).collect();
    let student = |i: usize| normal[i] / (others[3 * i..][..3].iter().map(|z| z * z).sum::<f32>() / 3.0).sqrt();
    // EDEN (Vargaftik et al. 2022) has 0.571, 0.133, 0.0358, 0.0096, 4.1e-5 at 1, 2, 3, 4 and 8 bits, and 1.571/R - 1 at R
    // bits below 1, on any vector.
    let rates = [0.1, 0.5, 1.0, 2.0, 3.0, 4.0, 8.0];
    let laws: [(&str, Vec<f32>, [f64; 7]); 3] = [
        ("normal", normal[..LEN].to_vec(), [14.71, 2.05, 0.57, 0.101, 0.0235, 0.0058, 2.26e-5]),
        ("lognormal", lognormal, [12.5, 1.55, 0.392, 0.0631, 0.0141, 0.00345, 1.355e-5]),
        ("student", (0..LEN).map(student).collect(), [13.4, 1.65, 0.432, 0.0714, 0.0164, 0.00400, 1.56e-5]),
    ];
    for (law, x, cells) in laws {
        for (rate, most) in rates.into_iter().zip(cells) {
            // Where few coordinates have a symbol, one encoding is known to 2 %: the mean of many.
            let (scheme, times) = (format!("auto:{rate}"), if rate < 0.5 { 24 } else { 4 });
            let found = (0..times).map(|seed| nmse_of(&scheme, &layout, &x, seed)).sum::<f64>() / times as f64;
            assert!(found < most, "{law}, {rate} bits: {found}");
        }
    }
}

#[test]
fn rows_and_columns_are_used() {
    let layout = Layout::new([("w", vec![300, 500]), ("b", vec![300])]).unwrap();
    let mut x = structured(300, 500, 2);
    x.extend(normal(300, 3));
    let flat = Layout::new([("w", vec![150_000]), ("b", vec![300])]).unwrap();
    for rate in ["0.25", "1", "4"] {
        let (with, without) = (nmse(&format!("auto:{rate}"), &layout, &x), nmse(&format!("auto:{rate}"), &flat, &x));
        assert!(with < 0.75 * without, "{rate} bits: {with} against {without}");
    }
}

/// n times the error of a mean of n independent encodings is that of one, which is what unbiased means.
#[test]
fn the_mean_of_many_encodings_is_the_vector() {
    let layout = Layout::new([("w", vec![400, 600])]).unwrap();
    let x: Vec<f32> = structured(400, 600, 4).iter().map(|x| x.signum() * x.abs().sqrt()).collect();
    for scheme in ["auto:0.15", "auto:0.5", "auto:1", "auto:2.5", "auto:6"] {
        let mut encoder = Encoder::new(scheme.parse().unwrap());
        let (mut bytes, mut decoded) = (Vec::new(), vec![0.0; x.len()]);
        let (mut sum, mut error) = (vec![0f64; x.len()], 0.0);
        for seed in 0..100 {
            let id = PayloadId { round: RoundId(3), seed: Seed(seed) };
            encoder.encode(&layout, &x, id, &mut bytes).unwrap();
            Payload::parse(&bytes, &layout).unwrap().decode(&mut decoded).unwrap();
            for ((sum, &y), &x) in sum.iter_mut().zip(&decoded).zip(&x) {
                *sum += f64::from(y) / 100.0;
                error += (f64::from(y) - f64::from(x)).powi(2) / 100.0;
            }
        }
        let squares = sum.iter().zip(&x).map(|(sum, &x)| (sum - f64::from(x)).powi(2));
        let (of_mean, fourth) =
            squares.fold((0.0, 0.0), |(sum, fourth), square| (sum + square, fourth + square * square));
        // Squares of near-normal terms, whose sum has twice the squares of their variances as its own: fourth powers over
        // 3 are those, so that this is its deviation. Three of them are within 2 %.
        let deviation = (2.0 / 3.0 * fourth).sqrt() / of_mean;
        assert!(3.0 * deviation < 0.02, "{scheme}: too few coordinates, a deviation of {deviation}");
        assert!((of_mean * 100.0 / error - 1.0).abs() < 0.02, "{scheme}: {} ± {deviation}", of_mean * 100.0 / error);
    }
}

/// Vectors that have hardly any structure, or hardly any values: where sizes would jump.
fn flat(kind: usize, len: usize, seed: u64) -> Vec<f32> {
    let mut stream = Seed(seed).derive(nibble_seed::Purpose::Init, kind as u64, 0).stream();
    let normal = normal(len, seed + 77);
    let (mut u, share) = (move || stream.next_unit() as f32, [0.1, 0.02, 0.3][seed as usize % 3]);
    let value = |at: usize| match kind {
        0 => f32::from(u() < share) * if u() < 0.5 { 1.0 } else { -1.0 },
        1 => f32::from(u() < 0.05) * normal[at],
        2 => (u() - 0.5).signum() * (1.0 - u()).ln(),
        3 => (core::f32::consts::PI * (0.999_99 * u() - 0.499_995)).tan(),
        _ => normal[at],
    };
    (0..len).map(value).collect()
}

#[test]
fn budgets_are_met_where_sizes_would_jump() {
    let mut stream = Seed(12).stream();
    let mut missed = Vec::new();
    for case in 0..200 {
        let kind = case % 5;
        let shape = match case % 3 {
            0 => vec![300, 400],
            1 => vec![20 + (stream.next_unit() * 200.0) as usize, 20 + (stream.next_unit() * 300.0) as usize],
            _ => vec![4_000 + (stream.next_unit() * 100_000.0) as usize],
        };
        let layout = Layout::new([("w", shape), ("b", vec![case % 7 * 30])]).unwrap();
        let x = flat(kind, layout.coordinates(), case as u64);
        // From 0.05 to 5 bits a coordinate, where there are as many.
        let rate = 0.05 * 100f64.powf(stream.next_unit());
        let budget = 130.max((layout.coordinates() as f64 * rate / 8.0) as usize);
        let payload = encode(&format!("auto:{budget}B"), &layout, &x, case as u64).unwrap();
        let error = Payload::parse(&payload, &layout).unwrap().nmse(&x).unwrap();
        assert!(error.is_finite(), "{kind} at {rate}: {error}");
        let bytes = payload.len();
        assert!(bytes <= budget, "{bytes} of {budget}");
        // Which coordinates have a symbol is drawn anew with every step: that is a few bytes more or less.
        let grain = if budget < 200 { 4.0 } else { 1.0 };
        // Two or three kinds of values take no more than so many bits, however fine the step.
        if bytes as f64 + grain < 0.995 * budget as f64 && !(kind < 2 && rate > 0.4) {
            missed.push((kind, layout.tensors()[0].shape.clone(), rate, bytes as f64 / budget as f64 - 1.0));
        }
    }
    assert!(missed.is_empty(), "{missed:?}");
}

#[test]
fn budgets_are_met_from_below() {
    let mut stream = Seed(11).stream();
    for case in 0..200 {
        let (rows, columns) = (20 + (stream.next_unit() * 200.0) as usize, 20 + (stream.next_unit() * 300.0) as usize);
        let layout = Layout::new([("w", vec![rows, columns]), ("b", vec![rows])]).unwrap();
        let mut x = if case % 2 == 0 { structured(rows, columns, case) } else { normal(rows * columns, case) };
        x.extend(normal(rows, case + 1000));
        let budget = if case % 4 == 0 { 200 } else { 1500 } + (stream.next_unit() * (rows * columns) as f64) as usize;
        let bytes = encode(&format!("auto:{budget}B"), &layout, &x, case).unwrap();
        assert!(
            bytes.len() <= budget && bytes.len() as f64 + 1.0 >= 0.995 * budget as f64,
            "{} of {budget}",
            bytes.len()
        );
    }
}

#[test]
fn rows_of_all_magnitudes_that_floats_have_fit_in_one_payload() {
    let layout = Layout::new([("w", vec![26, 40])]).unwrap();
    let noise = bell(26 * 40, 12);
    let x: Vec<f32> = (0..26 * 40).map(|i| noise[i] * 2f32.powi(10 * (i as i32 / 40) - 140)).collect();
    for scheme in ["auto:3", "auto:8"] {
        let bytes = encode(scheme, &layout, &x, 3).unwrap();
        let payload = Payload::parse(&bytes, &layout).unwrap();
        assert!(payload.nmse(&x).unwrap() < 0.1, "{scheme} {} {:?}", bytes.len(), payload.nmse(&x));
    }
}

#[test]
fn empty_tensors_stand_beside_long_ones() {
    let layout = Layout::new([("a", vec![0, 5]), ("b", vec![400, 500]), ("c", vec![0])]).unwrap();
    let x = structured(400, 500, 3);
    for scheme in ["auto:1", "auto:step=0.1"] {
        let payload = encode(scheme, &layout, &x, 1).unwrap();
        let mut values = vec![f32::NAN; x.len()];
        Payload::parse(&payload, &layout).unwrap().decode(&mut values).unwrap();
        assert!(values.iter().all(|value| value.is_finite()), "{scheme}");
    }
}

#[test]
fn what_cannot_fit_says_what_it_takes() {
    let layout = Layout::new([("w", vec![100, 100])]).unwrap();
    let x = normal(10_000, 5);
    let Err(EncodeError::Budget { budget: 70, needed, .. }) = encode("auto:70B", &layout, &x, 1) else {
        panic!("70 bytes are no more than the header");
    };
    assert_eq!(needed, 73, "one byte of signs");
    encode(&format!("auto:{needed}B"), &layout, &x, 1).unwrap();
    let error = encode("auto:step=1e-12", &layout, &x, 1).unwrap_err();
    assert!(matches!(error, EncodeError::OutOfRange { .. }), "{error}");
}

#[test]
fn whoever_names_the_least_bytes_gets_a_payload() {
    for len in [1, 100, 5_000, 70_000, 200_000, 1_000_003] {
        let (layout, x) = (Layout::new([("x", vec![len])]).unwrap(), normal(len, 5));
        for name in ["auto", "plan"] {
            let short_of = |bytes: u64| format!("{name}:{bytes}B").parse::<Scheme>().unwrap().coding.short_of(&layout);
            let least = short_of(1).unwrap();
            assert_eq!((short_of(least - 1), short_of(least)), (Some(least), None), "{name}, {len} values");
            let payload = encode(&format!("{name}:{least}B"), &layout, &x, 6).unwrap();
            assert!(payload.len() as u64 <= least, "{name}, {len} values: {} bytes, not {least}", payload.len());
            if name == "auto" && layout.chunks() > 1 {
                continue; // chunks in which nothing is asked have no bytes, so fewer may be enough
            }
            let refused = encode(&format!("{name}:{}B", least - 1), &layout, &x, 6).unwrap_err();
            let named = matches!(refused, EncodeError::Budget { needed, .. } if needed == least);
            assert!(named, "{name}, {len} values: {refused}");
        }
    }
}

/// Four chunks of the layout are one of the payload at low rates, unless that would have too many symbols: each of the four
/// decodes to the same, whatever the scratch held before.
#[test]
fn wide_chunks_are_read_one_part_at_a_time() {
    let layout = Layout::new([("w", vec![400, 900])]).unwrap();
    let even = bell(360_000, 3);
    let mut crowded = even.clone();
    crowded[..100_000].iter_mut().for_each(|x| *x *= 300.0);
    for (x, scheme, together) in [(&even, "auto:0.05", 4), (&even, "auto:0.3", 1), (&crowded, "auto:0.12", 1)] {
        let payloads = [1, 2].map(|seed| encode(scheme, &layout, x, seed).unwrap());
        let budget = 360_000.0 * scheme.split(':').nth(1).unwrap().parse::<f64>().unwrap() / 8.0;
        let payloads = payloads.each_ref().map(|bytes| Payload::parse(bytes, &layout).unwrap());
        let chunks = if together == 4 { 2 } else { 6 };
        let mut scratch = Scratch::default();
        let mut all = payloads.each_ref().map(|_| vec![0.0; x.len()]);
        for (payload, all) in payloads.iter().zip(&mut all) {
            assert_eq!((payload.together(), payload.header().chunks), (together, chunks), "{scheme}");
            assert!((0.995 * budget..=budget).contains(&(payload.len_bytes() as f64)), "{scheme}");
            payload.decode(all).unwrap();
        }
        // From one to the other and back, so that nothing that is held is of use.
        for chunk in (0..layout.chunks()).chain([0, 3, 3]) {
            let range = layout.chunk_range(chunk);
            for (payload, all) in payloads.iter().zip(&all) {
                let mut alone = vec![9.0; range.len()];
                payload.decode_chunk(chunk, &mut scratch, &mut alone).unwrap();
                assert_eq!(alone, all[range.clone()]);
            }
        }
    }
}

#[test]
fn a_step_bounds_the_error_and_chunks_stand_alone() {
    let layout = Layout::new([("w", vec![200, 900])]).unwrap();
    let x = structured(200, 900, 6);
    let bytes = encode("auto:step=0.01", &layout, &x, 7).unwrap();
    let payload = Payload::parse(&bytes, &layout).unwrap();
    let mut all = vec![0.0; x.len()];
    payload.decode(&mut all).unwrap();
    // Values far above the step are as exact as the step, half of it at most.
    let worst = x.iter().zip(&all).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max);
    assert!(worst <= 0.0101, "{worst}");
    let mut scratch = Scratch::default();
    for chunk in 0..layout.chunks() {
        let range = layout.chunk_range(chunk);
        let mut alone = vec![9.0; range.len()];
        payload.decode_chunk(chunk, &mut scratch, &mut alone).unwrap();
        assert_eq!(alone, all[range.clone()]);
        let mut sum = vec![1.0; range.len()];
        payload.fold_chunk(chunk, 0.5, &mut scratch, &mut sum).unwrap();
        assert!(sum.iter().zip(&alone).all(|(&sum, &y)| sum == 1.0 + 0.5 * f64::from(y)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// Chunks of one lane and of sixteen, classes that are sampled and that have raw bits, escapes, values beyond all tables.
    #[test]
    fn all_backends_write_and_read_the_same_bits(
        (rows, columns) in prop_oneof![(1usize..40, 1usize..400), (150usize..260, 150usize..400)],
        scheme in prop::sample::select(vec!["auto:0.1", "auto:1", "auto:3", "auto:8", "auto:step=0.001", "auto:step=3"]),
        seed in any::<u64>(),
        outlier in prop::sample::select(vec![1.0, 30.0, 9e3]),
    ) {
        let layout = Layout::new([("w", vec![rows, columns])]).unwrap();
        let mut x = structured(rows, columns, seed);
        x.iter_mut().step_by(97).for_each(|x| *x *= outlier);
        let id = PayloadId { round: RoundId(3), seed: Seed(seed) };
        let mut expected: Option<(Vec<u8>, Vec<f32>)> = None;
        for &backend in Backend::available() {
            let mut bytes = Vec::new();
            let encoded = Encoder::with_backend(scheme.parse().unwrap(), backend).encode(&layout, &x, id, &mut bytes);
            if let Err(error) = encoded {
                prop_assert!(matches!(error, EncodeError::Budget { .. } | EncodeError::OutOfRange { .. }), "{error}");
                prop_assert!(expected.is_none(), "{backend:?} alone cannot");
                continue;
            }
            let payload = Payload::parse_with(&bytes, &layout, backend).unwrap();
            let mut values = vec![f32::NAN; x.len()];
            payload.decode(&mut values).unwrap();
            let (expected_bytes, expected_values) = expected.get_or_insert_with(|| (bytes.clone(), values.clone()));
            prop_assert!(*expected_bytes == bytes, "{backend:?} writes other bytes");
            prop_assert!(*expected_values == values, "{backend:?} reads other values");
        }
    }
}

/// Tensors that are passed over in parts, short ones, and more threads than there are chunks.
#[test]
fn threads_change_no_byte() {
    let layout = Layout::new([("w", vec![900, 500]), ("b", vec![900]), ("flat", vec![150_000])]).unwrap();
    let mut x = structured(900, 500, 21);
    x.extend(normal(900, 22));
    x.extend(flat(3, 150_000, 23));
    let id = PayloadId { round: RoundId(1), seed: Seed(4) };
    for scheme in ["auto:0.1", "auto:1", "auto:4", "auto:step=0.05"] {
        let mut expected = Vec::new();
        Encoder::new(scheme.parse().unwrap()).encode(&layout, &x, id, &mut expected).unwrap();
        for threads in [2, 3, 8, 13] {
            let mut encoder = Encoder::new(scheme.parse().unwrap()).with_threads(threads.try_into().unwrap());
            for _ in 0..2 {
                let mut bytes = Vec::new();
                encoder.encode(&layout, &x, id, &mut bytes).unwrap();
                assert!(bytes == expected, "{scheme}, {threads} threads");
            }
        }
    }
}
