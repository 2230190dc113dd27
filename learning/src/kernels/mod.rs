//! The two matrix kernels all layers are made of, in portable code over fixed-size vectors, chosen once at run time.
//!
//! Every output element is one accumulator that runs over its products in a fixed order with fused multiply-adds, so
//! vector width and register blocking never show in a result: AVX-512, AVX2 and NEON agree bit for bit. A CPU without
//! fused multiply-add rounds twice per product and differs from them in the last bits.

mod aligned;
mod axpy;
mod dense;
mod grey;
mod round;
mod simd;
mod sparse;
mod squares;
mod transpose;

pub(crate) use aligned::Aligned;
pub(crate) use axpy::Axpy;
pub(crate) use dense::Dense;
pub(crate) use grey::Grey;
pub(crate) use round::Round;
pub(crate) use simd::{Backend, Kernel, Simd};
pub(crate) use sparse::{Entry, Row, Sparse};
pub(crate) use squares::SumSquares;
pub(crate) use transpose::Transpose;

#[cfg(test)]
mod tests;
