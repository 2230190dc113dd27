//! One portable kernel, compiled for each CPU feature set and chosen at run time.
//!
//! `block::kernel` is ordinary Rust in a shape that vectorises. Here it is instantiated under `#[target_feature]`, so
//! one binary runs AVX-512 where there is AVX-512; other architectures use the instance for their baseline, which on
//! aarch64 includes NEON. Unsafe are the calls into
//! instances whose features were detected, the few instructions that no loop can say, and a prefetch.
#![allow(unsafe_code)]

use crate::{
    auto::{
        count::{self, Counted},
        kernel::{self as auto, LANES, Reader},
        keys::{self, Carried, Key, Places, Values},
        lanes::States,
        lookups::{Pops, Pushes},
        means::{self, Room},
        normal::Tails,
        push::{self, Pushed, Word},
        raw_bits::{self, RawSink},
        sample::{self, Asked},
        shape::{self, Insides, Sizes},
        steps,
        tables::{self, COMPONENTS},
    },
    block::{Level, SegmentCoding, kernel, reference},
    dither::Dither,
    raw::Raw,
    sign::{self, Rows},
};

/// Which instance of the kernels to run. All give the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// The specification, one coordinate at a time.
    Reference,
    /// The kernels for the baseline of the target.
    Portable,
    /// The kernels for x86-64 with AVX2 (and POPCNT).
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// The kernels for x86-64 with AVX-512 F, BW, DQ and VL.
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Backend {
    /// Every backend that this CPU runs, slowest first.
    #[must_use]
    pub fn available() -> &'static [Self] {
        #[cfg(all(target_arch = "x86_64", feature = "std"))]
        {
            use std::is_x86_feature_detected as has;
            let avx2 = has!("avx2") && has!("popcnt");
            if avx2 && has!("avx512f") && has!("avx512bw") && has!("avx512dq") && has!("avx512vl") {
                return &[Self::Reference, Self::Portable, Self::Avx2, Self::Avx512];
            }
            if avx2 {
                return &[Self::Reference, Self::Portable, Self::Avx2];
            }
        }
        &[Self::Reference, Self::Portable]
    }

    /// The fastest backend that this CPU runs.
    #[must_use]
    pub fn detect() -> Self {
        Self::available().last().copied().unwrap_or(Self::Portable)
    }
}

/// A backend that was found to be available: the proof that its instances may be entered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kernels(Backend);

impl Kernels {
    /// The kernels of `backend`, or of the fastest one if this CPU lacks it.
    pub(crate) fn new(backend: Backend) -> Self {
        Self(if Backend::available().contains(&backend) { backend } else { Backend::detect() })
    }
}

/// Defines a method of [`Kernels`] that runs the reference or the kernel on the chosen backend.
macro_rules! dispatch {
    ($(#[$doc:meta])* fn $name:ident($($arg:ident: $type:ty),*) $(-> $result:ty)?, reference: $reference:expr, kernel: $kernel:expr) => {
        dispatch! {
            $(#[$doc])* fn $name($($arg: $type),*) $(-> $result)?, reference: $reference, kernel: $kernel, avx512: $kernel
        }
    };
    ($(#[$doc:meta])* fn $name:ident($($arg:ident: $type:ty),*) $(-> $result:ty)?, reference: $reference:expr, kernel: $kernel:expr, avx512: $avx512:expr) => {
        impl Kernels {
            $(#[$doc])*
            #[allow(clippy::too_many_arguments)]
            pub(crate) fn $name(self, $($arg: $type),*) $(-> $result)? {
                #[cfg(target_arch = "x86_64")]
                #[target_feature(enable = "avx2,popcnt")]
                fn avx2($($arg: $type),*) $(-> $result)? {
                    $kernel
                }
                #[cfg(target_arch = "x86_64")]
                #[target_feature(enable = "avx2,popcnt,avx512f,avx512bw,avx512dq,avx512vl")]
                fn avx512($($arg: $type),*) $(-> $result)? {
                    $avx512
                }
                match self.0 {
                    Backend::Reference => $reference,
                    Backend::Portable => $kernel,
                    // SAFETY: `Kernels` is only made for backends that `Backend::available` detected on this CPU.
                    #[cfg(target_arch = "x86_64")]
                    Backend::Avx2 => unsafe { avx2($($arg),*) },
                    // SAFETY: as above.
                    #[cfg(target_arch = "x86_64")]
                    Backend::Avx512 => unsafe { avx512($($arg),*) },
                }
            }
        }
    };
}

/// Asks for the memory 2 KiB beyond `block`: processors' own prefetching stops at the end of every page.
#[inline(always)]
pub(crate) fn prefetch(block: &[f32]) {
    #[cfg(target_arch = "x86_64")]
    for line in 0..block.len() / 16 {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let ahead = block.as_ptr().cast::<i8>().wrapping_add(2048 + 64 * line);
        // SAFETY: a prefetch reads nothing and never faults, whatever the address.
        unsafe { _mm_prefetch(ahead, _MM_HINT_T0) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = block;
}

dispatch! {
    /// Encodes a segment; see [`reference::encode`].
    fn encode(coding: &SegmentCoding, x: &[f32], level: Option<Level>, out: &mut [u8]) -> bool,
    reference: reference::encode(coding, x, level, out),
    kernel: kernel::encode(coding, x, level, out)
}

dispatch! {
    /// Decodes a valid segment; see [`reference::decode`].
    fn decode(coding: &SegmentCoding, bytes: &[u8], gain: f32, out: &mut [f32]),
    reference: reference::decode(coding, bytes, gain, out),
    kernel: kernel::decode(coding, bytes, gain, out)
}

dispatch! {
    /// Adds `weight` times the decoded values to `sum`.
    fn fold(coding: &SegmentCoding, bytes: &[u8], gain: f32, weight: f64, sum: &mut [f64]),
    reference: reference::fold(coding, bytes, gain, weight, sum),
    kernel: kernel::fold(coding, bytes, gain, weight, sum)
}

dispatch! {
    /// What is undefined in the bytes of a segment of `len` coordinates, if anything is.
    fn undefined(coding: &SegmentCoding, bytes: &[u8], len: usize) -> Option<&'static str>,
    reference: reference::undefined(coding, bytes, len),
    kernel: kernel::undefined(coding, bytes, len)
}

// Raw codings are their own reference: a conversion leaves nothing to be said twice.
dispatch! {
    /// Adds `weight` times raw values to `sum`.
    fn fold_raw(raw: Raw, bytes: &[u8], weight: f64, sum: &mut [f64]),
    reference: raw.fold(bytes, weight, sum),
    kernel: raw.fold(bytes, weight, sum)
}

dispatch! {
    /// Whether every raw value is finite.
    fn is_finite_raw(raw: Raw, bytes: &[u8]) -> bool,
    reference: raw.is_finite(bytes),
    kernel: raw.is_finite(bytes)
}

dispatch! {
    /// Encodes raw values; see [`Raw::encode`].
    fn encode_raw(raw: Raw, x: &[f32], out: &mut [u8]) -> bool,
    reference: raw.encode(x, out),
    kernel: raw.encode(x, out)
}

dispatch! {
    /// Largest magnitude as the bits of a float; see [`kernel::magnitude_bits`].
    fn magnitude_bits(x: &[f32]) -> u32,
    reference: kernel::magnitude_bits(x),
    kernel: kernel::magnitude_bits(x)
}

dispatch! {
    /// See [`sign::kernel::energy`].
    fn energy(x: &[f32]) -> f64,
    reference: sign::kernel::energy(x),
    kernel: sign::kernel::energy(x)
}

dispatch! {
    /// Rotates a block and packs the signs of the rows that are kept; see [`sign::reference::encode`].
    fn encode_signs(block: sign::Block, x: &[f32], factor: f32, dither: Dither, out: (&mut Rows, &mut [u8])) -> f64,
    reference: sign::reference::encode(block, x, factor, dither, out.1),
    kernel: sign::kernel::encode(block, x, factor, dither, out)
}

dispatch! {
    /// The values of a block, from its signs and what one of their sums stands for.
    fn decode_signs(block: sign::Block, coded: (&[u8], f32), dither: Dither, rows: &mut Rows, out: &mut [f32]),
    reference: sign::reference::decode(block, coded.0, coded.1, dither, |at, value| out[at] = value),
    kernel: sign::kernel::decode(block, coded, dither, rows, out, |out, value| *out = value)
}

dispatch! {
    /// Adds `weight` times the values of a block to `sum`.
    fn fold_signs(
        block: sign::Block, coded: (&[u8], f32), dither: Dither, rows: &mut Rows, weight: f64, sum: &mut [f64]
    ),
    reference: sign::reference::decode(block, coded.0, coded.1, dither, |at, value| sum[at] += weight * f64::from(value)),
    kernel: sign::kernel::decode(block, coded, dither, rows, sum, |sum, value| *sum += weight * f64::from(value))
}

dispatch! {
    /// See [`means::means`].
    fn means(
        x: &[f32], weights: &[f32], rows: &mut [f64], columns: (&mut [f64], &mut [f64]), room: &mut Room
    ) -> u32,
    reference: means::means(x, weights, rows, columns, room),
    kernel: means::means(x, weights, rows, columns, room)
}

dispatch! {
    /// See [`keys::classes`].
    fn classes(row: i32, columns: &[i32], out: &mut [i8]),
    reference: keys::classes(row, columns, out),
    kernel: keys::classes(row, columns, out)
}

dispatch! {
    /// See [`keys::keys`].
    fn keys(dither: Dither, every: u32, classes: &[i8], out: &mut [Key]),
    reference: keys::keys(dither, every, classes, out),
    kernel: keys::keys(dither, every, classes, out)
}

dispatch! {
    /// See [`keys::least`].
    fn least(classes: &[i8]) -> i8,
    reference: keys::least(classes),
    kernel: keys::least(classes)
}

dispatch! {
    /// See [`keys::choose`]: for a decoder, with their places.
    fn choose_places(dither: Dither, classes: &[i8], out: (&mut [Key], &mut [u32])) -> Option<usize>,
    reference: keys::choose(dither, 1, classes, out, &Places, keys::compact),
    kernel: keys::choose(dither, 1, classes, out, &Places, keys::compact),
    avx512: keys::choose(dither, 1, classes, out, &Places, |chosen, from, out| compact_avx512(chosen, from, out))
}

dispatch! {
    /// See [`keys::choose`]: for an encoder, with their values.
    fn choose_values(
        dither: Dither, every: u32, classes: &[i8], x: &[f32], out: (&mut [Key], &mut [f32])
    ) -> Option<usize>,
    reference: keys::choose(dither, every, classes, out, &Values::new(x, keys::inverses), keys::compact),
    kernel: keys::choose(dither, every, classes, out, &Values::new(x, keys::inverses), keys::compact),
    avx512: keys::choose(
        dither, every, classes, out,
        &Values::new(x, |of: &[f32; keys::DEPTHS], depths: &[u32; LANES]| inverses_avx512(of, depths)),
        |chosen, from, out| compact_avx512(chosen, from, out)
    )
}

dispatch! {
    /// See [`auto::quantize`].
    fn quantize(
        tables: &Pushes, keys: &[Key], values: &[f32], scale: f32, symbols: &mut [Pushed], raw: &mut RawSink
    ),
    reference: auto::quantize_each(tables, keys, values, scale, symbols, raw),
    kernel: auto::quantize(tables, keys, values, scale, symbols, raw, auto::look_up),
    avx512: auto::quantize(tables, keys, values, scale, symbols, raw, |all, places, symbols| {
        look_up_avx512(all, places, symbols);
    })
}

dispatch! {
    /// See [`count::count`].
    fn count(tables: &Pushes, keys: &[Key], values: &[f32], scale: f32) -> Counted,
    reference: count::count(tables, keys, values, scale, auto::look_up),
    kernel: count::count(tables, keys, values, scale, auto::look_up),
    avx512: count::count(tables, keys, values, scale, |all, places, costs| look_up_avx512(all, places, costs))
}

dispatch! {
    /// See [`count::weigh`].
    fn weigh(tables: &Pushes, keys: &[Key], values: &[f32], scale: f32, weights: &[f32]) -> Counted,
    reference: count::weigh(tables, keys, values, scale, weights, auto::look_up),
    kernel: count::weigh(tables, keys, values, scale, weights, auto::look_up),
    avx512: count::weigh(tables, keys, values, scale, weights, |all, places, costs| look_up_avx512(all, places, costs))
}

dispatch! {
    /// See [`sample::ask`].
    fn ask(classes: &[i8], x: &[f32], inverse: f32, asked: Asked<'_>),
    reference: sample::ask(classes, x, inverse, asked),
    kernel: sample::ask(classes, x, inverse, asked)
}

dispatch! {
    /// See [`shape::mixture`].
    fn mixture(sizes: &Sizes, insides: &Insides) -> [f64; COMPONENTS],
    reference: shape::mixture(sizes, insides),
    kernel: shape::mixture(sizes, insides)
}

dispatch! {
    /// See [`tables::mix`].
    fn mix(components: &[Tails; COMPONENTS], weights: &[u8; COMPONENTS], out: &mut Tails),
    reference: tables::mix(components, weights, out),
    kernel: tables::mix(components, weights, out)
}

dispatch! {
    /// See [`push::push`].
    fn push(symbols: &[Pushed], lanes: usize, states: &mut States, words: &mut [Word]) -> usize,
    reference: push::push_each(symbols, lanes, states, words),
    kernel: push::push(symbols, lanes, states, words, push::emit),
    avx512: push::push(symbols, lanes, states, words, |full, states, room| emit_avx512(full, states, room))
}

dispatch! {
    /// See [`auto::pop`].
    fn pop(
        tables: &Pops, keys: &[Key], lanes: usize, reader: &mut Reader<'_>, values: &mut [f32]
    ) -> Result<(), &'static str>,
    reference: auto::pop_each(tables, keys, lanes, reader, values),
    kernel: auto::pop(tables, keys, lanes, reader, values, auto::refill, raw_bits::spread),
    avx512: auto::pop(
        tables, keys, lanes, reader, values,
        |low, words, states| refill_avx512(low, words, states),
        |room: &[u8; raw_bits::ROOM], at: u32, counts: &[u32; LANES]| spread_avx512(room, at, counts)
    )
}

// A product for every coordinate leaves nothing to be said twice.
dispatch! {
    /// See [`steps::scale`].
    fn scale(steps: &[f32], unit: f32, out: &mut [f32]),
    reference: steps::scale(steps, unit, out),
    kernel: steps::scale(steps, unit, out)
}

dispatch! {
    /// See [`steps::scale_at`].
    fn scale_at(places: (&[u32], usize), steps: &[f32], unit: f32, out: &mut [f32]),
    reference: steps::scale_at(places, steps, unit, out),
    kernel: steps::scale_at(places, steps, unit, out)
}

dispatch! {
    /// See [`steps::fold`].
    fn fold_steps(steps: &[f32], unit: f32, weight: f64, sum: &mut [f64]),
    reference: steps::fold(steps, unit, weight, sum),
    kernel: steps::fold(steps, unit, weight, sum)
}

dispatch! {
    /// See [`steps::fold_at`].
    fn fold_steps_at(places: (&[u32], usize), steps: &[f32], unit: f32, weight: f64, sum: &mut [f64]),
    reference: steps::fold_at(places, steps, unit, weight, sum),
    kernel: steps::fold_at(places, steps, unit, weight, sum)
}

/// [`auto::refill`]: what a loop over lanes cannot say is an instruction here.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
#[inline]
fn refill_avx512(low: &[u32; LANES], words: &[u32; LANES], states: &mut [u32; LANES]) -> usize {
    use core::arch::x86_64::*;
    // SAFETY: the arrays are of 64 bytes each, and these loads and stores do not need them aligned.
    unsafe {
        let low = _mm512_loadu_si512(low.as_ptr().cast());
        let empty = _mm512_cmplt_epu32_mask(low, _mm512_set1_epi32(1 << 16));
        let words = _mm512_maskz_expand_epi32(empty, _mm512_loadu_si512(words.as_ptr().cast()));
        let refilled = _mm512_or_si512(_mm512_slli_epi32::<16>(low), words);
        _mm512_storeu_si512(states.as_mut_ptr().cast(), _mm512_mask_mov_epi32(low, empty, refilled));
        empty.count_ones() as usize
    }
}

/// [`keys::compact`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
#[inline]
fn compact_avx512<C: Carried>(
    chosen: &[u32; LANES],
    (some, carry): (&[Key; LANES], &[C; LANES]),
    (keys, carried): (&mut [Key], &mut [C]),
) -> usize {
    use core::arch::x86_64::*;
    const { assert!(size_of::<C>() == 4 && size_of::<Key>() == 4) };
    let (Some(keys), Some(carried)) = (keys.first_chunk_mut::<LANES>(), carried.first_chunk_mut::<LANES>()) else {
        return keys::compact(chosen, (some, carry), (keys, carried));
    };
    // SAFETY: all arrays are of 64 bytes, and these loads and stores do not need them aligned. A key is a u32, and what goes
    // with it has 32 bits that may be any.
    unsafe {
        let chosen = _mm512_loadu_si512(chosen.as_ptr().cast());
        let mask = _mm512_test_epi32_mask(chosen, chosen);
        let some = _mm512_maskz_compress_epi32(mask, _mm512_loadu_si512(some.as_ptr().cast()));
        let carry = _mm512_maskz_compress_epi32(mask, _mm512_loadu_si512(carry.as_ptr().cast()));
        _mm512_storeu_si512(keys.as_mut_ptr().cast(), some);
        _mm512_storeu_si512(carried.as_mut_ptr().cast(), carry);
        mask.count_ones() as usize
    }
}

/// [`raw_bits::spread`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn spread_avx512(room: &[u8; raw_bits::ROOM], at: u32, counts: &[u32; LANES]) -> ([u32; LANES], u32) {
    use core::arch::x86_64::*;
    let mut bits = [0; LANES];
    // SAFETY: arrays are of 64 bytes, these loads and stores do not need them aligned, and places in `room` are clamped to those of
    // its first byte and of the last with three behind it.
    unsafe {
        let (zero, one) = (_mm512_setzero_si512(), _mm512_set1_epi32(1));
        let counts = _mm512_loadu_si512(counts.as_ptr().cast());
        // Sums of all up to each: of two, of four, of eight, of sixteen.
        let mut ends = _mm512_add_epi32(counts, _mm512_alignr_epi32::<15>(counts, zero));
        ends = _mm512_add_epi32(ends, _mm512_alignr_epi32::<14>(ends, zero));
        ends = _mm512_add_epi32(ends, _mm512_alignr_epi32::<12>(ends, zero));
        ends = _mm512_add_epi32(ends, _mm512_alignr_epi32::<8>(ends, zero));
        let starts = _mm512_add_epi32(_mm512_sub_epi32(ends, counts), _mm512_set1_epi32(at as i32));
        let last = _mm512_set1_epi32(raw_bits::ROOM as i32 - 4);
        let places = _mm512_sub_epi32(last, _mm512_min_epu32(_mm512_srli_epi32::<3>(starts), last));
        let fours = _mm512_i32gather_epi32::<1>(places, room.as_ptr().cast());
        let turned = _mm512_set4_epi32(0x0c0d_0e0f, 0x0809_0a0b, 0x0405_0607, 0x0001_0203);
        let fours = _mm512_shuffle_epi8(fours, turned);
        let taken = _mm512_srlv_epi32(fours, _mm512_and_si512(starts, _mm512_set1_epi32(7)));
        let mask = _mm512_sub_epi32(_mm512_sllv_epi32(one, counts), one);
        _mm512_storeu_si512(bits.as_mut_ptr().cast(), _mm512_and_si512(taken, mask));
        let end = _mm512_extracti32x4_epi32::<3>(ends);
        (bits, _mm_cvtsi128_si32(_mm_shuffle_epi32::<0xff>(end)) as u32)
    }
}

/// [`keys::inverses`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
#[inline]
fn inverses_avx512(of: &[f32; keys::DEPTHS], depths: &[u32; LANES]) -> [f32; LANES] {
    use core::arch::x86_64::*;
    const { assert!(keys::DEPTHS == 64) };
    let mut found = [0.0; LANES];
    // SAFETY: arrays are of 64 bytes or four times that, and these loads and stores do not need them aligned.
    unsafe {
        let depths = _mm512_loadu_si512(depths.as_ptr().cast());
        let quarter = |at: usize| _mm512_loadu_ps(of.as_ptr().add(16 * at));
        let low = _mm512_permutex2var_ps(quarter(0), depths, quarter(1));
        let high = _mm512_permutex2var_ps(quarter(2), depths, quarter(3));
        let is_high = _mm512_test_epi32_mask(depths, _mm512_set1_epi32(32));
        _mm512_storeu_ps(found.as_mut_ptr(), _mm512_mask_mov_ps(low, is_high, high));
    }
    found
}

/// [`auto::look_up`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
#[inline]
fn look_up_avx512<T: Carried>(all: &[T; Pushes::LEN], places: &[u32; LANES], found: &mut [T; LANES]) {
    use core::arch::x86_64::*;
    const { assert!(Pushes::LEN.is_power_of_two() && size_of::<T>() == 4) };
    // SAFETY: the mask keeps places inside `all`, and the others are arrays of 64 bytes. What is found has 32 bits that may be any.
    unsafe {
        let places = _mm512_loadu_si512(places.as_ptr().cast());
        let places = _mm512_and_si512(places, _mm512_set1_epi32(Pushes::LEN as i32 - 1));
        let at_places = _mm512_i32gather_epi32::<4>(places, all.as_ptr().cast());
        _mm512_storeu_si512(found.as_mut_ptr().cast(), at_places);
    }
}

/// [`push::emit`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
#[inline]
fn emit_avx512(full: &[u32; LANES], states: &[u32; LANES], room: &mut [Word]) -> usize {
    use core::arch::x86_64::*;
    let Some(room) = room.last_chunk_mut::<LANES>() else { return 0 };
    // SAFETY: all arrays are as long as what is read and written, and these loads and stores do not need them aligned.
    unsafe {
        let full = _mm512_loadu_si512(full.as_ptr().cast());
        let mask = _mm512_test_epi32_mask(full, full);
        let count = mask.count_ones();
        let words = _mm512_maskz_compress_epi32(mask, _mm512_loadu_si512(states.as_ptr().cast()));
        // To the end of sixteen words, of which the others do not count: a store of some words is slow.
        let steps = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
        let turned = _mm512_permutexvar_epi32(_mm512_add_epi32(steps, _mm512_set1_epi32(count as i32)), words);
        _mm256_storeu_si256(room.as_mut_ptr().cast(), _mm512_cvtepi32_epi16(turned));
        count as usize
    }
}
