//! Delivery receipts: built, signed, verified.
