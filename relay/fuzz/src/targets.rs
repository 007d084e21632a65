//! The targets, by the crate whose readers they check.
//!
//! Most need only the formats, which compile in a minute. Those of the auditor and of the relay itself bring HTTP, TLS and a
//! store with them, so each stands behind a feature of its own: the long run compiles what it needs.

mod answers;
#[cfg(feature = "client")]
mod auditor;
mod control;
mod documents;
#[cfg(feature = "server")]
mod hooks;
mod hosts;
mod licence;
#[cfg(feature = "client")]
mod manifest;
mod names;
mod notes;
mod proofs;
mod reply;
mod requests;
#[cfg(feature = "server")]
mod settings;
mod tiles;
mod token;
mod transfers;
mod uploads;
mod witnesses;

use crate::Target;

/// Targets that need the same crates.
#[derive(Debug, Clone, Copy)]
pub struct Group {
    /// The feature of this crate that has them; none for those that are always there.
    pub feature: Option<&'static str>,
    /// The targets.
    pub targets: &'static [Target],
}

/// Every target that was compiled in.
pub const GROUPS: &[Group] = &[
    Group { feature: None, targets: FORMATS },
    #[cfg(feature = "client")]
    Group {
        feature: Some("client"),
        targets: &[auditor::ARCHIVE, auditor::LOGGED, auditor::STATE, auditor::VKEYS, manifest::MANIFEST],
    },
    #[cfg(feature = "server")]
    Group { feature: Some("server"), targets: &[hooks::HOOK_URL, settings::SETTINGS] },
];

const FORMATS: &[Target] = &[
    notes::NOTE,
    notes::CHECKPOINT,
    notes::VKEY,
    tiles::PATH,
    tiles::BUNDLE,
    documents::ENTRY,
    documents::JSON,
    documents::RECEIPT,
    documents::STH,
    proofs::TLOG_PROOF,
    proofs::PROOF,
    tiles::PQHB,
    witnesses::WITNESS,
    witnesses::POLICY,
    control::CONTROL,
    answers::ANSWERS,
    hosts::HOSTS,
    licence::LICENCE,
    names::NAMES,
    reply::REPLY,
    requests::CONDITIONS,
    requests::GOSSIP,
    token::TOKEN,
    transfers::TRANSFERS,
    uploads::UPLOAD,
];
