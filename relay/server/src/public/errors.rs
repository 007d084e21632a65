//! Error answers of the public listener.
