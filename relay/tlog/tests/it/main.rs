//! Integration tests of the tree mathematics and the signed formats.
