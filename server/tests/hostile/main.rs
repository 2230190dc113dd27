//! Hostile, broken and confused peers against a real coordinator: loopback sockets, TLS, SQLite, a spool on disk.
//!
//! Bad inputs are rows of tables. After every row the driver asserts that the store and the spool hold what they held
//! before (but for what the row says it leaves), that the heap has not grown, that the round is still open, and that honest
//! clients go on; at the end of a table the round closes, and its model is, to the bit, the mean of the honest updates.
//! Nothing may panic, and nothing that a peer sends is worth an error in the log.
//!
//! Absent on purpose: crashes (the simulator's end-to-end tests), arbitrary payload bytes (the codec's tests).

#![allow(clippy::unwrap_used)] // a failing helper is a failing test

mod certificates;
mod client;
mod enrolment;
mod house;
mod logs;
mod memory;
mod payload;
mod questions;
mod races;
mod scenes;
mod sockets;
mod table;
mod uploads;
