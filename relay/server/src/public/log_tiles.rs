//! The C2SP read API of the log: checkpoint, tiles, entry bundles.
