//! Vectors of `f32` and the choice of instruction set at run time.
//!
//! The only unsafe code of the crate: calling functions compiled for instructions that the CPU was asked about, and
//! unaligned vector loads and stores of slices whose length was checked. The standard library offers neither safely
//! without compiling the whole program for one CPU. The tokens ([`Avx512`], [`Avx2`]) can only be made by
//! [`Backend::run`] after detection, which is what makes their methods sound.
#![allow(unsafe_code)]

/// A vector instruction set; a value of it proves that the CPU has it.
pub(crate) trait Simd: Copy {
    /// `LANES` floats in a register.
    type Vector: Copy;
    /// Floats in a vector; divides 16.
    const LANES: usize;
    /// Whether the CPU has 32 vector registers rather than 16, which sets the size of the register tiles.
    const MANY_REGISTERS: bool;
    /// All lanes `value`.
    fn splat(self, value: f32) -> Self::Vector;
    /// The first `LANES` floats of `from`.
    fn load(self, from: &[f32]) -> Self::Vector;
    /// Writes the first `LANES` floats of `to`.
    fn store(self, value: Self::Vector, to: &mut [f32]);
    /// `a * b + c`, rounded once where the CPU can.
    fn mul_add(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;
}

/// Work that can be compiled for any instruction set.
pub(crate) trait Kernel {
    /// Does the work. Implementations are `#[inline(always)]`, so that they are compiled for the caller's instructions.
    fn run<S: Simd>(self, simd: S);
}

/// The instruction set to use: one this CPU has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Backend(Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    Portable,
    /// What aarch64 runs, for tests elsewhere, slowly.
    #[cfg(test)]
    PortableFused,
}

impl Backend {
    /// The fastest this CPU has.
    pub(crate) fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            if avx2
                && is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
            {
                return Self(Kind::Avx512);
            }
            if avx2 {
                return Self(Kind::Avx2);
            }
        }
        Self(Kind::Portable)
    }

    /// All that this CPU has, the fastest first.
    #[cfg(test)]
    pub(crate) fn available() -> Vec<Self> {
        let kinds: &[Kind] = match Self::detect().0 {
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => &[Kind::Avx512, Kind::Avx2, Kind::PortableFused, Kind::Portable],
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => &[Kind::Avx2, Kind::PortableFused, Kind::Portable],
            _ => &[Kind::PortableFused, Kind::Portable],
        };
        kinds.iter().copied().map(Self).collect()
    }

    /// Whether products are added with one rounding, as on every backend but the portable one of some CPUs.
    #[cfg(test)]
    pub(crate) fn is_fused(self) -> bool {
        self.0 != Kind::Portable || FUSED
    }

    /// Runs `kernel` with this instruction set.
    pub(crate) fn run<K: Kernel>(self, kernel: K) {
        match self.0 {
            // SAFETY: a backend of this kind is made only where all features of `run_avx512` were detected.
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => unsafe { run_avx512(kernel) },
            // SAFETY: a backend of this kind is made only where all features of `run_avx2` were detected.
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => unsafe { run_avx2(kernel) },
            Kind::Portable => kernel.run(Portable::<FUSED>),
            #[cfg(test)]
            Kind::PortableFused => kernel.run(Portable::<true>),
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")]
fn run_avx512<K: Kernel>(kernel: K) {
    kernel.run(x86::Avx512::detected());
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn run_avx2<K: Kernel>(kernel: K) {
    kernel.run(x86::Avx2::detected());
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use core::arch::x86_64::{
        __m256, __m512, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_set1_ps, _mm256_storeu_ps, _mm512_fmadd_ps,
        _mm512_loadu_ps, _mm512_set1_ps, _mm512_storeu_ps,
    };

    use super::Simd;

    macro_rules! x86_simd {
        ($name:ident, $feature:literal, $vector:ty, $lanes:literal, $many:literal,
         $splat:ident, $load:ident, $store:ident, $mul_add:ident) => {
            #[derive(Clone, Copy)]
            pub(super) struct $name(());

            impl $name {
                /// Callable without `unsafe` only where the feature is enabled, hence present.
                #[target_feature(enable = $feature)]
                pub(super) fn detected() -> Self {
                    Self(())
                }
            }

            impl Simd for $name {
                type Vector = $vector;
                const LANES: usize = $lanes;
                const MANY_REGISTERS: bool = $many;

                #[inline(always)]
                fn splat(self, value: f32) -> $vector {
                    // SAFETY: `self` proves the feature.
                    unsafe { $splat(value) }
                }

                #[inline(always)]
                fn load(self, from: &[f32]) -> $vector {
                    let from = &from[..$lanes];
                    // SAFETY: `self` proves the feature; the slice has `LANES` floats, unaligned is allowed.
                    unsafe { $load(from.as_ptr()) }
                }

                #[inline(always)]
                fn store(self, value: $vector, to: &mut [f32]) {
                    let to = &mut to[..$lanes];
                    // SAFETY: `self` proves the feature; the slice has `LANES` floats, unaligned is allowed.
                    unsafe { $store(to.as_mut_ptr(), value) }
                }

                #[inline(always)]
                fn mul_add(self, a: $vector, b: $vector, c: $vector) -> $vector {
                    // SAFETY: `self` proves the feature.
                    unsafe { $mul_add(a, b, c) }
                }
            }
        };
    }

    x86_simd!(Avx512, "avx512f", __m512, 16, true, _mm512_set1_ps, _mm512_loadu_ps, _mm512_storeu_ps, _mm512_fmadd_ps);
    x86_simd!(Avx2, "avx2,fma", __m256, 8, false, _mm256_set1_ps, _mm256_loadu_ps, _mm256_storeu_ps, _mm256_fmadd_ps);
}

/// Whether every CPU of this architecture has fused multiply-add; elsewhere `f32::mul_add` may be a slow library call.
const FUSED: bool = cfg!(target_arch = "aarch64");

/// Plain arrays of four, which compilers turn into whatever the target always has (SSE2, NEON).
#[derive(Clone, Copy)]
struct Portable<const FUSED: bool>;

impl<const FUSED: bool> Simd for Portable<FUSED> {
    type Vector = [f32; 4];
    const LANES: usize = 4;
    const MANY_REGISTERS: bool = FUSED;

    #[inline(always)]
    fn splat(self, value: f32) -> [f32; 4] {
        [value; 4]
    }

    #[inline(always)]
    fn load(self, from: &[f32]) -> [f32; 4] {
        [from[0], from[1], from[2], from[3]]
    }

    #[inline(always)]
    fn store(self, value: [f32; 4], to: &mut [f32]) {
        to[..4].copy_from_slice(&value);
    }

    #[inline(always)]
    fn mul_add(self, a: [f32; 4], b: [f32; 4], c: [f32; 4]) -> [f32; 4] {
        core::array::from_fn(|i| if FUSED { a[i].mul_add(b[i], c[i]) } else { a[i] * b[i] + c[i] })
    }
}
