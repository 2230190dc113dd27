//! The listener over simulated networks, in virtual time: nothing here sleeps.

#![allow(clippy::unwrap_used)] // a failing helper is a failing test

mod client;
mod deadlines;
mod house;
mod identities;
mod limits;
mod metering;
mod network;
mod shutdown;
mod sockets;
