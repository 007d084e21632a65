//! Licence documents and the state function.
