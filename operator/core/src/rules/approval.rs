//! Has a person agreed to this image?
//!
//! A digest that a person wrote (in `spec.image`, as a pin, as `update-now`) approves itself; under an approval policy a tag
//! needs `spec.update.approve.digest`, and an offer its sequence besides. An approval is for one digest under the keys it was first
//! seen under: when a tag means another digest, when the offer is made anew, or when other keys count, it is void. Changes that keep the image need no approval. Pure.

use paramant_crds::policy::Mode;

use super::Rules;
use crate::change::Change;
use crate::digest::Digest;
use crate::durable::Approved;
use crate::gate::Gate;

/// What is asked about.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// What changes.
    pub change: Change,
    /// The image that would run.
    pub image: &'a Digest,
    /// Its release, if it says so.
    pub version: Option<&'a str>,
    /// A person wrote this very digest.
    pub written: bool,
    /// The tier of the licence in force.
    pub tier: Option<&'a str>,
    /// It waits for a person already. A tier that ends does not decide in their place.
    pub waits: bool,
    /// The sequence of the offer that it came as, if it did.
    pub offer: Option<u64>,
    /// The fingerprint of the keys in force.
    pub trust: &'a Digest,
    /// The approval in the spec.
    pub approved: Option<&'a Approved>,
    /// The relay's namespace and name, for the command a person may copy.
    pub relay: (&'a str, &'a str),
}

/// The reason while a person is asked.
pub const AWAITING: &str = "AwaitingApproval";

impl Rules {
    /// Whether a person, or the policy in their name, agreed.
    pub fn approval_gate(&self, asked: &Asked<'_>) -> Gate {
        let suspension = self.suspension();
        if !suspension.is_open() || asked.change != Change::Image || asked.written || !self.asks(asked) {
            return suspension;
        }
        let approved = asked.approved.is_some_and(|it| it.digest == *asked.image);
        if self.mode == Mode::ByTier && asked.tier.is_none() && !asked.waits && !approved {
            return Gate::Closed {
                reason: "TierUnknown",
                message: "waiting for the relay to say which tier its licence grants, by which the policy tells whether a person is asked".into(),
                until: None,
            };
        }
        match asked.approved {
            Some(it) if it.digest == *asked.image && it.sequence != asked.offer => {
                let why = match (asked.offer, it.sequence) {
                    (None, _) => "spec.update.approve names the sequence of an offer, and spec.image was not offered: leave the sequence out".to_owned(),
                    (Some(offer), None) => format!("spec.update.approve names no offer, and what waits is offer {offer}: name it"),
                    (Some(offer), Some(other)) => format!("spec.update.approve is about offer {other}, and what waits is offer {offer}: look again and name it"),
                };
                waits(format!("{why}: {}", patch(asked.relay, &approve(asked.image, asked.offer, true))))
            }
            Some(it) if it.digest == *asked.image && it.trust == *asked.trust => Gate::Open,
            Some(it) if it.digest == *asked.image => waits(format!(
                "the approval of {} is void, because other verification keys count since it was given: withdraw it, and give it again: {}; {}",
                asked.image.short(),
                patch(asked.relay, r#"{"spec":{"update":{"approve":null}}}"#),
                patch(asked.relay, &approve(asked.image, asked.offer, false))
            )),
            _ => waits(format!(
                "{}{} waits for approval: {}",
                asked.offer.map_or_else(String::new, |offer| format!("offer {offer}, ")),
                asked.version.map_or_else(
                    || asked.image.short().to_owned(),
                    |version| { format!("release {version} ({})", asked.image.short()) }
                ),
                patch(asked.relay, &approve(asked.image, asked.offer, asked.approved.is_some()))
            )),
        }
    }

    fn asks(&self, asked: &Asked<'_>) -> bool {
        match self.mode {
            Mode::Approval => true,
            // A tier that nobody knows may be the one that asks.
            Mode::ByTier => asked.waits || asked.tier.is_none_or(|tier| tier == "Enterprise"),
            Mode::Manual | Mode::Window => false,
        }
    }
}

fn waits(message: String) -> Gate {
    Gate::Closed { reason: AWAITING, message, until: None }
}

/// The approval. `clears`: of a sequence that an earlier one may have named.
fn approve(image: &Digest, offer: Option<u64>, clears: bool) -> String {
    let sequence = match (offer, clears) {
        (Some(offer), _) => format!(r#","sequence":{offer}"#),
        (None, true) => r#","sequence":null"#.to_owned(),
        (None, false) => String::new(),
    };
    format!(r#"{{"spec":{{"update":{{"approve":{{"digest":"{image}"{sequence}}}}}}}}}"#)
}

fn patch((namespace, name): (&str, &str), patch: &str) -> String {
    format!(
        "kubectl -n {namespace} patch prelay {name} --type merge --field-manager=paramant-admin -p '{patch}'"
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use jiff::Timestamp;
    use serde_json::json;

    use super::*;
    use crate::observation::Referenced;

    fn digest(n: u8) -> Digest {
        Digest::of_json(&json!(n))
    }

    fn rules(mode: Mode) -> Rules {
        let rules = Rules::of(&Referenced::Unreferenced, Timestamp::UNIX_EPOCH);
        Rules { mode, ..rules }
    }

    fn ask<'a>(image: &'a Digest, trust: &'a Digest) -> Asked<'a> {
        Asked {
            change: Change::Image,
            image,
            version: None,
            written: false,
            tier: None,
            waits: false,
            offer: None,
            trust,
            approved: None,
            relay: ("transfers", "health"),
        }
    }

    #[test]
    fn only_a_policy_that_asks_holds_a_tag_back() {
        let (image, trust) = (digest(1), digest(9));
        for (mode, tier, open) in [
            (Mode::Manual, Some("Enterprise"), true),
            (Mode::Window, Some("Enterprise"), true),
            (Mode::Approval, None, false),
            (Mode::ByTier, Some("Enterprise"), false),
            (Mode::ByTier, Some("Pro"), true),
            (Mode::ByTier, Some("Community"), true),
            (Mode::ByTier, None, false),
        ] {
            let gate = rules(mode).approval_gate(&Asked { tier, ..ask(&image, &trust) });
            assert_eq!(gate.is_open(), open, "{mode:?} {tier:?}");
            let gate = rules(mode).approval_gate(&Asked { tier, waits: true, ..ask(&image, &trust) });
            assert_eq!(gate.is_open(), open && mode != Mode::ByTier, "{mode:?} {tier:?}, while it waits");
        }
    }

    #[test]
    fn what_keeps_the_image_and_what_a_person_wrote_needs_no_approval() {
        let (image, trust) = (digest(1), digest(9));
        let rules = rules(Mode::Approval);
        for change in [Change::Pod, Change::Licence] {
            assert!(rules.approval_gate(&Asked { change, ..ask(&image, &trust) }).is_open());
        }
        assert!(rules.approval_gate(&Asked { written: true, ..ask(&image, &trust) }).is_open());
    }

    #[test]
    fn an_approval_is_for_one_digest_under_the_keys_it_was_given_under() {
        let (image, trust) = (digest(1), digest(9));
        let rules = rules(Mode::Approval);
        let with = |digest: Digest, sequence, trust: Digest| Approved { digest, sequence, trust };
        for (approved, open, says) in [
            (with(digest(1), None, digest(9)), true, ""),
            (with(digest(2), None, digest(9)), false, "waits for approval"),
            (with(digest(1), None, digest(8)), false, "void"),
            (with(digest(1), Some(7), digest(9)), false, "not offered"),
        ] {
            let gate = rules.approval_gate(&Asked { approved: Some(&approved), ..ask(&image, &trust) });
            assert_eq!(gate.is_open(), open, "{approved:?}");
            if let Some((reason, message)) = gate.blocked() {
                assert_eq!(reason, "AwaitingApproval");
                assert!(message.contains(says), "{message}");
                let command = format!(
                    r#"kubectl -n transfers patch prelay health --type merge --field-manager=paramant-admin -p '{{"spec":{{"update":{{"approve":{{"digest":"{image}""#
                );
                assert!(message.contains(&command), "{message}");
            }
        }
    }

    #[test]
    fn an_offer_is_approved_by_its_digest_and_its_sequence() {
        let (image, trust) = (digest(1), digest(9));
        let rules = rules(Mode::Approval);
        let approved = |n, sequence| Approved { digest: digest(n), sequence, trust: digest(9) };
        for (approved, open, says) in [
            (Some(approved(1, Some(7))), true, ""),
            (Some(approved(1, Some(6))), false, "is about offer 6, and what waits is offer 7"),
            (Some(approved(1, None)), false, "names no offer, and what waits is offer 7"),
            (Some(approved(2, Some(7))), false, "offer 7, release 1.1.0"),
            (None, false, "offer 7, release 1.1.0"),
        ] {
            let asked = Asked { offer: Some(7), version: Some("1.1.0"), ..ask(&image, &trust) };
            let gate = rules.approval_gate(&Asked { approved: approved.as_ref(), ..asked });
            assert_eq!(gate.is_open(), open, "{approved:?}");
            if let Some((_, message)) = gate.blocked() {
                let patch = format!(
                    r#"-p '{{"spec":{{"update":{{"approve":{{"digest":"{image}","sequence":7}}}}}}}}'"#
                );
                assert!(message.contains(says) && message.ends_with(&patch), "{message}");
            }
        }
    }
}
