//! A vendor's requests: what the relay is told of the admin's answers, and what is shown of the requests.
//!
//! The relay decides, logs and acts; here a policy becomes its directive ([`answers`]), its report becomes status and a
//! condition ([`shown`]), and two statuses become events ([`news`]). Nothing here carries a request out. Pure.

pub mod answers;
pub mod news;
pub mod shown;

/// What a request that waits is called in reasons of conditions and events.
pub(crate) fn waiting_reason(kind: &str) -> &'static str {
    match kind {
        SUPPORT_KEY => "SupportKeyRequested",
        "update_offer" => "UpdateOffered",
        "drain" => "DrainRequested",
        "capability_set" => "CapabilityChangeRequested",
        _ => "RequestPending",
    }
}

/// The kind of a request for a support key.
pub(crate) const SUPPORT_KEY: &str = "support_key";
