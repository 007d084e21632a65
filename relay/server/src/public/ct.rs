//! The published JSON API of the log (protocol section 6.3).
