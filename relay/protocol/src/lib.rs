//! Wire types of the relay's interfaces. Pure: no I/O, no clock.
//!
//! Who may call it: every other crate but `crds` and `log`. Shapes follow the published protocol; where one differs, the
//! item says why.

pub mod control;
