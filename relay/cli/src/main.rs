//! `paramant`.

fn main() {}
