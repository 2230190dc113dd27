//! One portable kernel, compiled for each CPU feature set and chosen at run time.
//!
//! `block::kernel` is ordinary Rust in a shape that vectorises. Here it is instantiated under `#[target_feature]`, so
//! one binary runs AVX-512 where there is AVX-512; other architectures use the instance for their baseline, which on
//! aarch64 includes NEON. Unsafe are the calls into
//! instances whose features were detected, the few instructions that no loop can say (`avx512`), and a prefetch.
#![allow(unsafe_code)]

#[cfg(target_arch = "x86_64")]
mod avx512;

use crate::{
    auto::{
        count::{self, Counted},
        kernel::{self as auto, LANES, Reader},
        keys::{self, Key, Places, Values},
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
    avx512: keys::choose(dither, 1, classes, out, &Places, |chosen, from, out| avx512::compact(chosen, from, out))
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
        &Values::new(x, |of: &[f32; keys::DEPTHS], depths: &[u32; LANES]| avx512::inverses(of, depths)),
        |chosen, from, out| avx512::compact(chosen, from, out)
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
        avx512::look_up(all, places, symbols);
    })
}

dispatch! {
    /// See [`count::count`].
    fn count(tables: &Pushes, keys: &[Key], values: &[f32], scale: f32) -> Counted,
    reference: count::count(tables, keys, values, scale, auto::look_up),
    kernel: count::count(tables, keys, values, scale, auto::look_up),
    avx512: count::count(tables, keys, values, scale, |all, places, costs| avx512::look_up(all, places, costs))
}

dispatch! {
    /// See [`count::weigh`].
    fn weigh(tables: &Pushes, keys: &[Key], values: &[f32], scale: f32, weights: &[f32]) -> Counted,
    reference: count::weigh(tables, keys, values, scale, weights, auto::look_up),
    kernel: count::weigh(tables, keys, values, scale, weights, auto::look_up),
    avx512: count::weigh(tables, keys, values, scale, weights, |all, places, costs| avx512::look_up(all, places, costs))
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
    avx512: push::push(symbols, lanes, states, words, |full, states, room| avx512::emit(full, states, room))
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
        |low, words, states| avx512::refill(low, words, states),
        |room: &[u8; raw_bits::ROOM], at: u32, counts: &[u32; LANES]| avx512::spread(room, at, counts)
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
