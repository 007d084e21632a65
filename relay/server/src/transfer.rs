//! The transfer path: accept, store, claim, burn, expire.
