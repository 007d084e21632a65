//! Accept loop with timeouts and caps.
