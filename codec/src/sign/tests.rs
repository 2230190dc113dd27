//! Every backend against the reference, bit for bit; how chunks are cut and bytes divided; what decoders refuse.

use alloc::{vec, vec::Vec};

use nibble_seed::Seed;
use proptest::prelude::*;

use super::{
    Block, Cut, LEAST, MOST, PIECE, most_body_bytes, reference, rows,
    share::{Share, divide},
};
use crate::simd::{Backend, Kernels};

fn block(start: usize, len: usize, size: usize) -> Block {
    Block { start, len, size, is_last: true }
}

/// Values over many magnitudes, with denormals, zeros of both signs and the largest that there are.
fn vector(len: usize, seed: u64, exponent: i32) -> Vec<f32> {
    let value = |i: usize| match i % 97 {
        3 => -0.0,
        5 => f32::from_bits(1),
        7 if exponent > 90 => -MOST,
        _ => (Seed(seed).unit_at(i as u64) - 0.5) * 2f32.powi(exponent),
    };
    (0..len).map(value).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn all_backends_turn_to_the_same_bits(
        (power, missing, share) in (6u32..=16, 0.0f64..0.5, 0.0f64..1.0),
        start in 0usize..1 << 40,
        seed in any::<u64>(),
        exponent in -140i32..99,
        gain in prop::sample::select(vec![0.0f32, 0.3, 1.0]),
    ) {
        let size = 1 << power;
        let block = block(start, size - (missing * size as f64) as usize, size);
        let (x, dither) = (vector(block.len, seed, exponent), block.dither(Seed(seed)));
        let count = 1 + (share.powi(3) * (size / 8 - 1) as f64) as usize;
        let factor = 2f32.powi(-exponent.max(-126));
        let mut expected = None;
        for &backend in Backend::available() {
            let kernels = Kernels::new(backend);
            // What was in memory before is no part of the result.
            let (mut memory, mut signs) = (vec![f32::NAN; 100], vec![0xA5; count]);
            let sum = kernels.encode_signs(block, &x, factor, dither, (&mut memory, &mut signs));
            let (unit, mut values, mut sums) = (0.37 * gain, vec![f32::NAN; block.len], vec![1.0; block.len]);
            kernels.decode_signs(block, (&signs, unit), dither, &mut memory, &mut values);
            kernels.fold_signs(block, (&signs, unit), dither, &mut memory, 0.5, &mut sums);
            prop_assert!(sums.iter().zip(&values).all(|(&sum, &value)| sum == 1.0 + 0.5 * f64::from(value)));
            let bits: Vec<u32> = values.iter().map(|value| value.to_bits()).collect();
            let found = (sum.to_bits(), signs, bits, kernels.energy(&x).to_bits());
            let expected = expected.get_or_insert_with(|| found.clone());
            prop_assert!(*expected == found, "{backend:?} differs");
        }
    }

    #[test]
    fn blocks_tile_their_chunk_and_have_no_more_bytes_than_the_most(len in 1usize..=65_536, rate in 0u64..8000) {
        let cut = Cut::new(len as u64 * rate / 8000, len);
        let blocks: Vec<Block> = cut.blocks(100..100 + len).collect();
        let mut next = 100;
        for block in &blocks {
            prop_assert!(block.start == next && block.len > 0 && block.len <= block.size && block.size >= LEAST);
            prop_assert!(block.size.is_power_of_two() && block.is_last == (next + block.len == 100 + len));
            next += block.len;
        }
        prop_assert_eq!(next, 100 + len);
        let most: usize = blocks.iter().map(|block| 6 + block.size / 8).sum();
        prop_assert!(most <= most_body_bytes(len));
    }

    #[test]
    fn bytes_are_divided_by_what_they_take_away(
        blocks in prop::collection::vec((1usize..=65_536, prop::sample::select(vec![0.0, 1e-280, 1e-9, 0.3, 2.0, 1e7])), 1..40),
        total in 0usize..20_000,
    ) {
        let share = |&(len, energy): &(usize, f64)| Share {
            block: block(0, len, len.next_power_of_two().max(LEAST)), magnitude: u32::from(energy > 0.0), energy, bytes: 0,
        };
        let mut shares: Vec<Share> = blocks.iter().map(share).collect();
        divide(&mut shares, total);
        let (used, room) = shares.iter().fold((0, 0), |(used, room), share| {
            (used + share.bytes, room + if share.energy > 0.0 { share.block.size / 8 } else { 0 })
        });
        let least = shares.iter().filter(|share| share.energy > 0.0).count();
        prop_assert_eq!(used, total.clamp(least, room.max(least)));
        for share in &shares {
            prop_assert!((share.energy == 0.0) == (share.bytes == 0) && share.bytes <= share.block.size / 8);
        }
        // To move a byte from any block to any other takes no error away, but for what rounding does.
        let error = |share: &Share, bytes: f64| share.energy * share.block.len as f64 / bytes;
        for from in shares.iter().filter(|share| share.bytes > 2) {
            for to in shares.iter().filter(|share| share.energy > 0.0 && share.bytes + 2 <= share.block.size / 8) {
                let (less, more) = (from.bytes as f64, to.bytes as f64);
                let lost = error(from, less - 2.0) - error(from, less);
                let won = error(to, more) - error(to, more + 2.0);
                let rounding = error(from, less - 1.0) - error(from, less + 1.0) + error(to, more) - error(to, more + 1.0);
                prop_assert!(won <= lost + 2.0 * rounding, "{less} {more}");
            }
        }
    }
}

/// 65,536 is one block whatever the rate; a tail is cut where bytes are many, and padded where they are few.
#[test]
fn chunks_are_cut_where_padding_costs_more() {
    let sizes = |len: usize, bytes: u64| -> Vec<usize> {
        Cut::new(bytes, len).blocks(0..len).map(|block| block.size).collect()
    };
    assert_eq!(sizes(65_536, 100), [65_536]);
    assert_eq!(sizes(1, 1000), [64]);
    assert_eq!(sizes(57_344, 7000), [65_536], "seven eighths");
    assert_eq!(sizes(57_343, 7000), [32_768, 16_384, 8192]);
    assert_eq!(sizes(39_000, 4900), [32_768, 4096, 2048, 128]);
    assert_eq!(sizes(39_000, 100), [65_536]);
    assert_eq!(sizes(1500, 72 + 22), [2048]);
}

#[test]
fn rows_and_what_a_decoder_adds_stay_exact() {
    assert_eq!([1, 8, 9, 512, 513, 8192].map(rows), [64, 64, 128, 4096, 8192, 65_536]);
    // The largest sum that there is: signs that all agree with one coordinate, of which the decoder finds all.
    for size in [64, PIECE, 65_536] {
        let block = block(0, size, size);
        let dither = block.dither(Seed(1));
        let mut x = vec![0.0; size];
        x[size / 3] = 1.0;
        let mut signs = vec![0; size / 8];
        let sum = reference::encode(block, &x, 1.0, dither, &mut signs);
        let mut largest = 0f32;
        reference::decode(block, &signs, 1.0, dither, |_, value| largest = largest.max(value.abs()));
        assert!(largest <= (1 << 22) as f32 && f64::from(largest) <= sum, "{largest} {sum}");
    }
}

#[test]
fn what_is_undefined_in_a_body_is_named() {
    // Blocks of 128 and of 64, of which the last may have what is left.
    let cut = Cut::new(1000, 192);
    let check = |body: &[u8]| cut.check(0..192, body);
    let body = |count: u16, scale: f32, signs: usize, rest: &[u8]| {
        [&count.to_le_bytes()[..], &scale.to_le_bytes(), &vec![1; signs], rest].concat()
    };
    let last = [&1f32.to_le_bytes()[..], &[7; 8]].concat();
    assert_eq!(check(&body(16, 1.0, 16, &last)), Ok(()));
    assert_eq!(check(&body(1, 0.0, 1, &[])), Ok(()), "a last block of zeros has no bytes");
    assert_eq!(check(&[&[0, 0][..], &last].concat()), Ok(()));
    assert_eq!(check(&[]), Err("block: its count is missing"));
    assert_eq!(check(&[1, 0, 0, 0, 0]), Err("block: its scale is missing"));
    assert_eq!(check(&body(16, 1.0, 15, &[])), Err("block: signs are missing"));
    assert_eq!(check(&body(17, 1.0, 17, &last)), Err("count of signs"));
    assert_eq!(check(&body(16, 1.0, 16, &last[..4])), Err("count of signs"));
    assert_eq!(check(&body(16, 1.0, 16, &[&last[..], &[0]].concat())), Err("count of signs"));
    for scale in [f32::NAN, f32::INFINITY, -1.0, -0.0, 3e31] {
        assert_eq!(check(&body(16, scale, 16, &last)), Err("scale"), "{scale}");
    }
}
