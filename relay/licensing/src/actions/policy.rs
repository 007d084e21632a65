//! What the admin's policy makes of a request that was admitted and logged: a pure function. No input is the licence, its tier or whether
//! the vendor can be reached.

use jiff::{SignedDuration, Timestamp};
use paramant_protocol::control::{RemoteAnswer, RemoteAnswers};
use serde::{Deserialize, Serialize};

use super::request::{Ask, Request};

/// A request that nobody answers dies after this.
pub const PATIENCE: SignedDuration = SignedDuration::from_hours(4 * 24);

/// What an admin said of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Said {
    /// Yes.
    Approve,
    /// No.
    Deny,
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It takes effect. `by_admin`: because somebody agreed to it.
    Accept {
        /// Whether the policy asked.
        by_admin: bool,
    },
    /// It waits for an admin.
    Wait,
    /// An admin said no.
    Deny,
    /// Its time is over.
    Lapse,
    /// The policy refuses its kind.
    Refuse,
}

/// Until when a request can be agreed to.
pub fn ends_at(request: &Request, received: Timestamp) -> Timestamp {
    received.checked_add(PATIENCE).unwrap_or(Timestamp::MAX).min(request.expires_at)
}

/// The policy's word for a kind of request. What is none of the four is refused before it comes here.
pub fn rule(answers: &RemoteAnswers, ask: &Ask) -> RemoteAnswer {
    match ask {
        Ask::SupportKey { .. } => answers.support_key,
        Ask::UpdateOffer(_) => answers.update_offer,
        Ask::Drain { .. } => answers.drain,
        Ask::CapabilitySet { .. } => answers.capability,
        Ask::Unknown(_) => RemoteAnswer::Refuse,
    }
}

/// Answers a request. The first that applies: the policy refuses it; an admin said no; its time is over; it waits, or is accepted.
pub fn answer(
    request: &Request,
    received: Timestamp,
    answers: &RemoteAnswers,
    said: Option<Said>,
    now: Timestamp,
) -> Answer {
    let rule = rule(answers, &request.ask);
    match (rule, said) {
        (RemoteAnswer::Refuse, _) => Answer::Refuse,
        (_, Some(Said::Deny)) => Answer::Deny,
        _ if now >= ends_at(request, received) => Answer::Lapse,
        (RemoteAnswer::Allow, _) => Answer::Accept { by_admin: false },
        (RemoteAnswer::Ask, Some(Said::Approve)) => Answer::Accept { by_admin: true },
        (RemoteAnswer::Ask, None) => Answer::Wait,
    }
}
