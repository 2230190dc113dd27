//! Every backend against the reference, bit for bit, and the reference against its promises.

use alloc::{vec, vec::Vec};

use nibble_seed::Seed;
use proptest::prelude::*;

use super::{MOST_MAGNITUDE, SegmentCoding, reference};
use crate::{
    scheme::{BlockCoding, Grain, Rounding},
    simd::{Backend, Kernels},
};

fn any_coding() -> impl Strategy<Value = BlockCoding> {
    let rounding = prop_oneof![Just(Rounding::Stochastic), Just(Rounding::Nearest), Just(Rounding::Dithered)];
    let grain = prop_oneof![4 => Just(Grain::Block(64)), 1 => Just(Grain::Block(32)), 1 => Just(Grain::Block(512)), 1 => Just(Grain::Tensor)];
    (2u8..=8, rounding, grain).prop_map(|(bits, rounding, grain)| {
        let mut coding = BlockCoding::new(bits).unwrap();
        (coding.rounding, coding.grain) = (rounding, grain);
        coding
    })
}

/// Values over many orders of magnitude, with zeros, runs of zeros, denormals and the largest magnitude.
fn any_vector() -> impl Strategy<Value = Vec<f32>> {
    let value = prop_oneof![
        6 => -1.0f32..1.0,
        2 => (-100i32..100).prop_map(|e| 2f32.powi(e) * 1.3),
        2 => Just(0.0),
        1 => Just(-0.0),
        1 => Just(f32::from_bits(1)),
        1 => Just(-MOST_MAGNITUDE),
    ];
    let runs = prop::collection::vec((value, 1usize..80), 1..12);
    (runs, -20f32..20.0).prop_map(|(runs, exponent)| {
        let noise = Seed(9);
        let mut x = Vec::new();
        for (value, count) in runs {
            let wobble = |i| value * (0.5 + noise.unit_at(i as u64)) * 2f32.powf(exponent);
            let scaled = |i| if value.abs() == MOST_MAGNITUDE || value.abs() < 1e-40 { value } else { wobble(i) };
            x.extend((0..count).map(|i| scaled(i).clamp(-MOST_MAGNITUDE, MOST_MAGNITUDE)));
        }
        x
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_backend_is_the_reference(coding in any_coding(), x in any_vector(), seed: u64, gain in 0.25f32..2.0) {
        let coding = SegmentCoding::new(coding, Seed(seed), 65_536, x.len());
        let mut expected = vec![0; coding.segment_bytes(x.len())];
        prop_assert!(reference::encode(&coding, &x, None, &mut expected));
        let mut decoded = vec![f32::NAN; x.len()];
        reference::decode(&coding, &expected, gain, &mut decoded);
        let mut sum = vec![0.25; x.len()];
        reference::fold(&coding, &expected, gain, 3.0, &mut sum);
        let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        for &backend in Backend::available() {
            let kernels = Kernels::new(backend);
            let mut bytes = vec![0xaa; expected.len()];
            prop_assert!(kernels.encode(&coding, &x, None, &mut bytes));
            prop_assert_eq!(&bytes, &expected, "{:?}", backend);
            let mut values = vec![f32::NAN; x.len()];
            kernels.decode(&coding, &bytes, gain, &mut values);
            prop_assert_eq!(bits(&values), bits(&decoded), "{:?}", backend);
            let mut folded = vec![0.25; x.len()];
            kernels.fold(&coding, &bytes, gain, 3.0, &mut folded);
            prop_assert_eq!(&folded, &sum, "{:?}", backend);
            prop_assert_eq!(kernels.undefined(&coding, &bytes, x.len()), None);
        }
    }

    #[test]
    fn every_backend_finds_the_same_fault(coding in any_coding(), x in any_vector(), at: usize, flip in 1u8..) {
        let coding = SegmentCoding::new(coding, Seed(1), 0, x.len());
        let mut bytes = vec![0; coding.segment_bytes(x.len())];
        prop_assert!(reference::encode(&coding, &x, None, &mut bytes));
        let at = at % bytes.len();
        bytes[at] ^= flip;
        let expected = reference::undefined(&coding, &bytes, x.len());
        for &backend in Backend::available() {
            let found = Kernels::new(backend).undefined(&coding, &bytes, x.len());
            prop_assert_eq!(found.is_some(), expected.is_some(), "{:?}", backend);
        }
    }

    #[test]
    fn no_error_exceeds_a_step(coding in any_coding(), x in any_vector()) {
        let (bits, rounding) = (coding.bits(), coding.rounding);
        let coding = SegmentCoding::new(coding, Seed(5), 0, x.len());
        let mut bytes = vec![0; coding.segment_bytes(x.len())];
        prop_assert!(reference::encode(&coding, &x, None, &mut bytes));
        let mut decoded = vec![0.0; x.len()];
        reference::decode(&coding, &bytes, 1.0, &mut decoded);
        let whole = x.iter().fold(0f64, |most, x| most.max(f64::from(x.abs())));
        for (x, decoded) in x.chunks(coding.block).zip(decoded.chunks(coding.block)) {
            let most = x.iter().fold(0f64, |most, x| most.max(f64::from(x.abs())));
            // A scale is at most a sixteenth octave above the block's magnitude, and never below the ends of the codes.
            let scale = most.max(whole * 2f64.powf(-254.0 / 16.0)).max(2f64.powi(-100)) * 2f64.powf(1.0 / 16.0);
            let step = scale / f64::from((1 << (bits - 1)) - 1);
            let bound = if rounding == Rounding::Stochastic { step } else { step / 2.0 };
            for (&x, &decoded) in x.iter().zip(decoded) {
                let error = (f64::from(x) - f64::from(decoded)).abs();
                prop_assert!(error <= bound * 1.0001, "{x:e} became {decoded:e}, step {step:e}");
            }
        }
    }
}

#[test]
fn what_cannot_be_represented_is_refused_by_every_backend() {
    for &backend in Backend::available() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -f32::MAX, MOST_MAGNITUDE * 1.000_001] {
            for at in [0, 63, 64, 99] {
                let mut x = vec![0.5; 100];
                x[at] = bad;
                let coding = SegmentCoding::new(BlockCoding::new(4).unwrap(), Seed(0), 0, x.len());
                let mut out = vec![0; coding.segment_bytes(x.len())];
                assert!(!Kernels::new(backend).encode(&coding, &x, None, &mut out), "{backend:?} took {bad} at {at}");
            }
        }
    }
}
