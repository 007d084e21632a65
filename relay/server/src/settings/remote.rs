//! What becomes of a vendor's requests on a relay without an operator, as `relay.yaml` has it below `remoteActions`.
//!
//! ```yaml
//! remoteActions:            # Allow, Ask or Refuse; these are the defaults
//!   supportKey: Ask
//!   updateOffer: Allow      # it is shown, and never applied by itself
//!   drain: Ask
//!   capability: Allow
//!   supportDuration: 8h     # 5m to 24h: the longest that a support key works
//! ```

use paramant_licensing::actions::{LONGEST_SUPPORT, SHORTEST_SUPPORT};
use paramant_protocol::control::{RemoteAnswer, RemoteAnswers, RemoteDirective, SUPPORT_SECONDS};
use paramant_protocol::period::Period;
use serde::Deserialize;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct RemoteYaml {
    support_key: Option<AnswerYaml>,
    update_offer: Option<AnswerYaml>,
    drain: Option<AnswerYaml>,
    capability: Option<AnswerYaml>,
    support_duration: Option<Period>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
enum AnswerYaml {
    Allow,
    Ask,
    Refuse,
}

impl RemoteYaml {
    pub(super) fn checked(self) -> Result<RemoteDirective, String> {
        let said = |answer: Option<AnswerYaml>, usual| match answer {
            None => usual,
            Some(AnswerYaml::Allow) => RemoteAnswer::Allow,
            Some(AnswerYaml::Ask) => RemoteAnswer::Ask,
            Some(AnswerYaml::Refuse) => RemoteAnswer::Refuse,
        };
        let seconds = self.support_duration.map_or(SUPPORT_SECONDS, |period| period.as_duration().as_secs());
        if !(SHORTEST_SUPPORT..=LONGEST_SUPPORT).contains(&seconds) {
            return Err("remoteActions.supportDuration must be 5m to 24h".to_owned());
        }
        let usual = RemoteAnswers::default();
        let answers = RemoteAnswers {
            support_key: said(self.support_key, usual.support_key),
            update_offer: said(self.update_offer, usual.update_offer),
            drain: said(self.drain, usual.drain),
            capability: said(self.capability, usual.capability),
        };
        Ok(RemoteDirective { answers, support_seconds: Some(seconds), ..RemoteDirective::default() })
    }
}
