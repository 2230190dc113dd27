//! Seeds, identities, and the random streams derived from them.
//!
//! Every random number in Nibble comes from a counter-based SplitMix64 (Steele, Lea, Flood: "Fast splittable
//! pseudorandom number generators", OOPSLA 2014) keyed by *(seed, purpose, a, b)*, where `a` and `b` are usually the
//! round and the client. The n-th number of a stream can be computed alone, so no result depends on threads, on the
//! order of work, or on what was drawn before.
//!
//! Absent on purpose: ambient randomness, state shared between streams, cryptographic strength.
#![no_std]

extern crate alloc;

mod ids;
mod stream;

pub use ids::{ClientId, RoundId};
pub use stream::{Purpose, Seed, Stream};
