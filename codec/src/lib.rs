//! Model updates as compact bytes, and back.
//!
//! A delta is a flat `f32` vector with a [`Layout`]. An [`Encoder`] turns it into the bytes of one *payload* under a
//! [`Coding`]; [`Payload::parse`] checks such bytes, whatever they are, and decodes them or folds them into a sum.
//! [`Residual`] keeps what compression left out and moves only when the outcome of an update is known.
//! `docs/wire-format.md` draws every byte.
//!
//! Absent on purpose: I/O, clocks, ambient randomness, and any knowledge of models or rounds.
#![no_std]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

mod auto;
mod block;
mod checksum;
mod dither;
mod encode;
mod error;
mod frame;
mod gain;
mod header;
mod layout;
mod parallel;
mod payload;
mod plan;
mod prelude;
mod raw;
mod residual;
mod scheme;
mod sign;
mod simd;
mod sizes;
mod sums;

pub use auto::Scratch;
pub use block::MOST_MAGNITUDE;
pub use dither::stratified;
pub use encode::{Encoder, PayloadId};
pub use error::{DecodeError, EncodeError, LayoutError, SchemeError};
pub use frame::{Frame, PREFIX_BYTES};
pub use header::{HEADER_BYTES, Header};
pub use layout::{CHUNK_COORDINATES, Layout, Tensor};
pub use payload::Payload;
pub use plan::{Piece, Plan};
pub use residual::{Intent, Outcome, Residual};
pub use scheme::{BlockCoding, Coding, Grain, PlanCoding, Rounding, Scheme, SignCoding, Target};
pub use simd::Backend;
