//! SIGTERM is the drain.
