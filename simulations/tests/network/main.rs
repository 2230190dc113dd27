//! Coordinators and clients as real processes, over real sockets: what they promise when they are killed, interrupted,
//! lied to or left alone.
//!
//! `harness` starts and kills the programs, and plays clients of its own on the generated stubs where a test must decide
//! on every byte. Random moments come from seeded streams; the seeds are in the tests. A pause is a moment to kill at,
//! or the time between two attempts, and never stands for something that a test relies on.
#![allow(clippy::disallowed_methods)] // deadlines of tests are in real time
#![allow(clippy::unwrap_used)]

mod absences;
mod asynchronous;
mod budgets;
mod data;
mod endings;
mod harness;
mod kills;
mod one_hash;
mod operator;
mod shutdown;
mod spooled;
mod stragglers;
mod transport;
mod unit_vectors;
