//! Raw codings: every coordinate by itself, as IEEE binary32, binary16 or bfloat16, little-endian.

use half::{bf16, f16};

use crate::scheme::Coding;

/// A raw coding's number type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Raw {
    Fp32,
    Fp16,
    Bf16,
}

impl Coding {
    /// The number type of a raw coding.
    pub(crate) fn raw(self) -> Option<Raw> {
        match self {
            Self::Fp32 => Some(Raw::Fp32),
            Self::Fp16 => Some(Raw::Fp16),
            Self::Bf16 => Some(Raw::Bf16),
            Self::Block(_) | Self::Auto(_) | Self::Plan(_) | Self::Sign(_) => None,
        }
    }
}

impl Raw {
    /// Bytes of a coordinate.
    pub(crate) fn width(self) -> usize {
        match self {
            Self::Fp32 => 4,
            Self::Fp16 | Self::Bf16 => 2,
        }
    }

    /// Largest finite magnitude.
    pub(crate) fn limit(self) -> f32 {
        match self {
            Self::Fp32 => f32::MAX,
            Self::Fp16 => f16::MAX.to_f32(),
            Self::Bf16 => bf16::MAX.to_f32(),
        }
    }

    /// Writes `x` to `out`, which holds `width` bytes a coordinate. Returns whether every value stayed finite.
    #[inline(always)]
    pub(crate) fn encode(self, x: &[f32], out: &mut [u8]) -> bool {
        match self {
            Self::Fp32 => {
                for (&x, out) in x.iter().zip(out.chunks_exact_mut(4)) {
                    out.copy_from_slice(&x.to_le_bytes());
                }
                x.iter().fold(true, |finite, x| finite & x.is_finite())
            }
            Self::Fp16 => each(x, out, |x| f16::from_f32(x).to_le_bytes(), |x| f16::from_f32(x).is_finite()),
            Self::Bf16 => each(x, out, |x| bf16::from_f32(x).to_le_bytes(), |x| bf16::from_f32(x).is_finite()),
        }
    }

    /// Whether every value in `bytes` is finite.
    #[inline(always)]
    pub(crate) fn is_finite(self, bytes: &[u8]) -> bool {
        let mut finite = true;
        self.each_value(bytes, |_, value| finite &= value.is_finite());
        finite
    }

    /// Writes the values in `bytes` to `out`.
    #[inline(always)]
    pub(crate) fn decode(self, bytes: &[u8], out: &mut [f32]) {
        self.each_value(bytes, |i, value| out[i] = value);
    }

    /// Adds `weight` times the values in `bytes` to `sum`.
    #[inline(always)]
    pub(crate) fn fold(self, bytes: &[u8], weight: f64, sum: &mut [f64]) {
        self.each_value(bytes, |i, value| sum[i] += weight * f64::from(value));
    }

    /// Calls `f` with the index and value of every coordinate in `bytes`.
    #[inline(always)]
    fn each_value(self, bytes: &[u8], mut f: impl FnMut(usize, f32)) {
        match self {
            Self::Fp32 => {
                for (i, &bytes) in bytes.as_chunks::<4>().0.iter().enumerate() {
                    f(i, f32::from_le_bytes(bytes));
                }
            }
            Self::Fp16 => {
                for (i, &bytes) in bytes.as_chunks::<2>().0.iter().enumerate() {
                    f(i, f16::from_le_bytes(bytes).to_f32());
                }
            }
            Self::Bf16 => {
                for (i, &bytes) in bytes.as_chunks::<2>().0.iter().enumerate() {
                    f(i, bf16::from_le_bytes(bytes).to_f32());
                }
            }
        }
    }
}

#[inline(always)]
fn each(x: &[f32], out: &mut [u8], bytes: impl Fn(f32) -> [u8; 2], finite: impl Fn(f32) -> bool) -> bool {
    for (&x, out) in x.iter().zip(out.chunks_exact_mut(2)) {
        out.copy_from_slice(&bytes(x));
    }
    x.iter().fold(true, |all, &x| all & finite(x))
}
