//! `nibble-sim`
fn main() {}
