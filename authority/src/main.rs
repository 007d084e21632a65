//! Reference authority.

fn main() {}
