//! A vendor's requests: what the relay is told of the admin's answers.
//!
//! The relay decides, logs and acts; here a policy becomes its directive ([`answers`]). Nothing here carries a request out. Pure.

pub mod answers;
