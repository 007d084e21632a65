//! Probes and metrics listener.
