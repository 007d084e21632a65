//! The control listener: mutual TLS, spoken only by the operator.
