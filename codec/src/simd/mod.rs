//! One portable kernel, compiled for each CPU feature set and chosen at run time.
//!
//! `block::kernel` is ordinary Rust in a shape that vectorises. Here it is instantiated under `#[target_feature]`, so
//! one binary runs AVX-512 where there is AVX-512; other architectures use the instance for their baseline, which on
//! aarch64 includes NEON. The only unsafe code is the call into an instance whose features were detected.
#![allow(unsafe_code)]

use crate::{
    block::{Level, SegmentCoding, kernel, reference},
    raw::Raw,
};

/// Which instance of the kernels to run. All give the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// The specification, one coordinate at a time.
    Reference,
    /// The kernels for the baseline of the target.
    Portable,
    /// The kernels for x86-64 with AVX2.
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
            let avx2 = has!("avx2");
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
        impl Kernels {
            $(#[$doc])*
            #[allow(clippy::too_many_arguments)]
            pub(crate) fn $name(self, $($arg: $type),*) $(-> $result)? {
                #[cfg(target_arch = "x86_64")]
                #[target_feature(enable = "avx2")]
                fn avx2($($arg: $type),*) $(-> $result)? {
                    $kernel
                }
                #[cfg(target_arch = "x86_64")]
                #[target_feature(enable = "avx2,avx512f,avx512bw,avx512dq,avx512vl")]
                fn avx512($($arg: $type),*) $(-> $result)? {
                    $kernel
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
