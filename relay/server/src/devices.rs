//! Device keys: registered, looked up, committed to in the log.
