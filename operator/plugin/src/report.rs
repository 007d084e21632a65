//! A support bundle: what it holds, what is hidden in it, how it is written.
//!
//! Invariant: a file enters a [`bundle::Bundle`] through a [`redact::Redactor`] and no other way, and so do the reasons why
//! something is missing. Secrets are never asked for; what looks like one in anything else is replaced.

pub(crate) mod bundle;
pub(crate) mod patterns;
pub(crate) mod redact;
