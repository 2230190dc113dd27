//! The targets of `fuzz/`, by mutation of good payloads: no panic, no memory beyond what layout and payload declare.
//! `NIBBLE_FUZZ_CASES` says how many cases; by default as many as take seconds. And what takes no memory at all.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a failing helper is a failing test

use std::{
    alloc::{GlobalAlloc, Layout as Memory, System},
    cell::Cell,
};

use nibble_codec::{Encoder, Layout, Payload, PayloadId, Scratch};
use nibble_seed::{RoundId, Seed, Stream};

#[path = "../fuzz/targets.rs"]
#[allow(dead_code)]
mod targets;

/// Counts what one thread holds.
struct Counting;

thread_local! {
    static TAKEN: Cell<u64> = const { Cell::new(0) };
    static HELD: Cell<isize> = const { Cell::new(0) };
    static MOST: Cell<isize> = const { Cell::new(0) };
}

fn held(change: isize) {
    HELD.set(HELD.get() + change);
    MOST.set(MOST.get().max(HELD.get()));
}

// SAFETY: everything is the system's; only counts are added.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, memory: Memory) -> *mut u8 {
        held(memory.size() as isize);
        TAKEN.set(TAKEN.get() + 1);
        // SAFETY: as for this function.
        unsafe { System.alloc(memory) }
    }

    unsafe fn dealloc(&self, at: *mut u8, memory: Memory) {
        held(-(memory.size() as isize));
        // SAFETY: as for this function.
        unsafe { System.dealloc(at, memory) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// The tables of `auto` and one chunk's scratch, whatever the payload.
const FIXED: usize = 1 << 20;
/// One case in so many is of a payload of several chunks, which takes as long as many others.
const FEW: usize = 24;

/// Encoding, and decoding and folding a chunk of anything, take no memory once they have what they need, on one thread and
/// without feedback. (But a block that is cut short takes its codes, `tensor` its levels, and `auto`
/// within a kilobyte a trial.)
#[test]
fn nothing_is_allocated_once_there_is_enough() {
    let layout = Layout::new([("w", vec![300, 400]), ("b", vec![320])]).unwrap();
    let x: Vec<f32> = (0..layout.coordinates()).map(|i| (i as f32 * 0.7).sin() * 0.01).collect();
    let id = PayloadId { round: RoundId(3), seed: Seed(1) };
    let schemes = [
        "fp32",
        "fp16",
        "int8",
        "int4",
        "int2:nearest",
        "int4:dithered",
        "auto:0.1",
        "auto:1",
        "auto:4",
        "auto:30kB",
        "auto:step=0.001",
        "plan:40kB",
        "plan:12kB",
        "sign",
        "sign:0.1",
    ];
    for scheme in schemes {
        let (mut encoder, mut bytes) = (Encoder::new(scheme.parse().unwrap()), Vec::new());
        // Four times, as what was written and what is being written trade places.
        (0..4).for_each(|_| encoder.encode(&layout, &x, id, &mut bytes).unwrap());
        let before = TAKEN.get();
        encoder.encode(&layout, &x, id, &mut bytes).unwrap();
        let by_encoding = TAKEN.get() - before;
        assert_eq!(by_encoding, 0, "{scheme}: encoding");
        let payload = Payload::parse(&bytes, &layout).unwrap();
        let (mut scratch, mut sum, mut values) = (Scratch::default(), vec![0.0; 65_536], vec![0.0; 65_536]);
        let mut all = || {
            for chunk in 0..layout.chunks() {
                let len = layout.chunk_range(chunk).len();
                payload.fold_chunk(chunk, 0.5, &mut scratch, &mut sum[..len]).unwrap();
                payload.decode_chunk(chunk, &mut scratch, &mut values[..len]).unwrap();
            }
        };
        all();
        let before = TAKEN.get();
        all();
        assert_eq!(TAKEN.get() - before, 0, "{scheme}: chunks");
    }
}

fn mutate(bytes: &mut Vec<u8>, other: &[u8], stream: &mut Stream) {
    let mut below = |n: usize| ((stream.next_unit() * n as f64) as usize).min(n.saturating_sub(1));
    for _ in 0..=below(6) {
        let at = below(bytes.len().max(1));
        let Some(byte) = bytes.get_mut(at) else { return };
        match below(10) {
            0..=3 => *byte = below(256) as u8,
            4 => *byte ^= 1 << below(8),
            5 => *byte = [0, 1, 127, 128, 255][below(5)],
            // The header and the beginning of what follows say most.
            6 if bytes.len() > 90 => bytes[below(90)] = below(256) as u8,
            7 => bytes.truncate(at),
            8 => bytes.insert(at, below(256) as u8),
            _ => {
                let end = (at + below(40)).min(bytes.len()).min(other.len());
                if at < end {
                    bytes[at..end].copy_from_slice(&other[at..end]);
                }
            }
        }
    }
}

#[test]
fn mutated_payloads_neither_panic_nor_take_memory_that_they_do_not_declare() {
    let cases = std::env::var("NIBBLE_FUZZ_CASES").map_or(60_000, |cases| cases.parse().unwrap());
    let good = targets::good();
    assert!(good.len() > 45);
    for (layout, bytes) in &good {
        assert!(targets::payload(bytes, layout), "{} bytes", bytes.len());
    }
    let (long_ones, short_ones): (Vec<_>, Vec<_>) = good.into_iter().partition(|(layout, _)| layout.chunks() > 1);
    assert!(long_ones.len() > 25);
    let (mut accepted, mut most) = (0u64, 0);
    let start = std::env::var("NIBBLE_FUZZ_SEED").map_or(0, |seed| seed.parse().unwrap());
    for case in 0..cases {
        let mut stream = Seed(start).derive(nibble_seed::Purpose::Rounding, case, 0).stream();
        let long = (stream.next_unit() * FEW as f64) < 1.0;
        let good = if long { &long_ones } else { &short_ones };
        let pick = |stream: &mut Stream| ((stream.next_unit() * good.len() as f64) as usize).min(good.len() - 1);
        let ((layout, bytes), (_, other)) = (&good[pick(&mut stream)], &good[pick(&mut stream)]);
        let mut bytes = bytes.clone();
        mutate(&mut bytes, other, &mut stream);
        if stream.next_unit() < 0.9 {
            let len = (bytes.len() as u64).wrapping_sub(64).to_le_bytes();
            if let (Some(field), true) = (bytes.get_mut(48..56), stream.next_unit() < 0.8) {
                field.copy_from_slice(&len);
            }
            targets::reseal(&mut bytes);
        }
        MOST.set(HELD.get());
        let before = HELD.get();
        accepted += u64::from(targets::payload(&bytes, layout));
        // Values by two backends, and sums, are the test's own.
        let taken = (MOST.get() - before) as usize;
        let declared = 2 * (12 * layout.coordinates() + bytes.len());
        assert!(taken <= FIXED + declared, "case {case}: {taken} bytes for {} coordinates", layout.coordinates());
        most = most.max(taken);
        if case % 64 == 0 {
            targets::scheme(&bytes);
        }
    }
    assert!(
        accepted * 100 > cases,
        "{accepted} of {cases} are still payloads: mutations reach what is behind checksums"
    );
    println!("{cases} mutated payloads, {accepted} of them still good, at most {most} bytes of memory");
}
