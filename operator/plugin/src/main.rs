//! `kubectl paramant`.

fn main() {}
