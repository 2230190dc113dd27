//! `nibble-server`.

fn main() {}
