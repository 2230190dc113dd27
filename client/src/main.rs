//! `nibble-client`.

fn main() {}
