//! Headers every public answer carries.
