//! Tree mathematics.
