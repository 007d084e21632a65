//! The dual-tree log engine.
