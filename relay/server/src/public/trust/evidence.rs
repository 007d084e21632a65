//! Which facts speak of which promise.

use paramant_licensing::online::telemetry::SCHEMA;
use paramant_protocol::entry::Kind;

use super::facts::{Facts, Leaves, Online};

/// One fact, as it is shown.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) what: &'static str,
    pub(super) said: Said,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    Words(String),
    Hashes(Vec<String>),
    /// Entries of a kind, with the link to them.
    Entries {
        count: u64,
        kind: &'static str,
    },
    /// Paths of this relay.
    Paths(&'static [&'static str]),
}

/// What this relay shows of a promise now.
pub(super) fn of(promise: &str, facts: &Facts) -> Vec<Line> {
    let entries = |kind| entries(facts, kind);
    let all = |kinds: &[Kind]| kinds.iter().map(|kind| entries(*kind)).collect::<Vec<_>>();
    match promise {
        "L1" => vec![hashes("Keys that may sign licences (Ed25519)", &facts.offline_keys), licence(facts)],
        "L2" => vec![licence(facts), paths("For programs", &["/health"])],
        "L3" => vec![online(facts), leaves(facts), entries(Kind::OutboundCall)],
        "L4" => vec![online(facts), entries(Kind::LicenseCheckin)],
        "L5" => vec![
            line("Identity that a request names", facts.identity.clone()),
            telemetry(facts),
            entries(Kind::LicenseCheckin),
        ],
        "L6" => vec![vendor_keys(facts), entries(Kind::LicenseCheckin)],
        "L7" => vec![licence(facts), entries(Kind::LicenseChanged)],
        "L8" => all(&[Kind::TelemetryChanged, Kind::CapabilityChanged]),
        "S1" | "S3" => {
            vec![telemetry(facts), entries(Kind::TelemetryChanged), entries(Kind::LicenseCheckin)]
        }
        "S2" => vec![telemetry(facts), leaves(facts)],
        "S4" => vec![line("Schema of this release", SCHEMA.to_string()), entries(Kind::TelemetryChanged)],
        "S5" => vec![leaves(facts), entries(Kind::OutboundCall)],
        "S6" => vec![
            entries(Kind::OutboundCall),
            words("When they are written", "for each destination and hour, once the hour is over"),
        ],
        "V1" | "V2" | "V5" => vec![line("Version that runs here", facts.version.to_owned())],
        "V3" => vec![tree(facts), checkpoint()],
        "V4" => vec![
            checkpoint(),
            paths("Keys and policy", &["/log/vkeys", "/log/policy"]),
            paths("The whole log", &["/log/archive"]),
        ],
        "R1" => all(&[Kind::VendorRequest, Kind::RemoteActionRefused]),
        "R2" => all(&[Kind::VendorRequest, Kind::VendorRequestDecided, Kind::VendorSilence]),
        "R3" => {
            let kinds = [
                Kind::SupportKeyIssued,
                Kind::SupportKeyUsed,
                Kind::SupportKeyRevoked,
                Kind::SupportKeyExpired,
            ];
            std::iter::once(support_key(facts)).chain(all(&kinds)).collect()
        }
        "R4" => all(&[Kind::UpdateOffered, Kind::UpdateApproved, Kind::UpdateStarted]),
        "R5" => vec![drain(facts), entries(Kind::DrainChanged)],
        "R6" => all(&[Kind::CapabilityChanged]),
        // Not how many: that is nearly the number of users.
        "N1" => vec![paths("Registrations in the log", &["/ct?kind=key_registered"])],
        "N2" => vec![tree(facts), checkpoint(), paths("All tree heads", &["/log/sth", "/log/gossip"])],
        "N3" => all(&[Kind::VendorRequest, Kind::RemoteActionRefused]),
        "N4" => vec![support_key(facts), entries(Kind::SupportKeyUsed)],
        "N5" => vec![tree(facts), checkpoint(), entries(Kind::LogClosed)],
        _ => Vec::new(),
    }
}

fn line(what: &'static str, said: String) -> Line {
    Line { what, said: Said::Words(said) }
}

fn words(what: &'static str, said: &str) -> Line {
    line(what, said.to_owned())
}

fn hashes(what: &'static str, hashes: &[String]) -> Line {
    Line { what, said: Said::Hashes(hashes.to_vec()) }
}

fn paths(what: &'static str, paths: &'static [&'static str]) -> Line {
    Line { what, said: Said::Paths(paths) }
}

fn entries(facts: &Facts, kind: Kind) -> Line {
    let said = Said::Entries { count: facts.counts.of(kind), kind: kind.name() };
    Line { what: super::super::plain_words::told(kind).title, said }
}

fn licence(facts: &Facts) -> Line {
    words("What counts now", if facts.licensed { "a licence" } else { "Community Edition" })
}

fn vendor_keys(facts: &Facts) -> Line {
    let what = "Keys that may sign replies (ML-DSA-65, their SHA3-256)";
    if facts.online_keys.is_empty() {
        words(what, "none is pinned: no reply and no request of a vendor counts here")
    } else {
        hashes(what, &facts.online_keys)
    }
}

fn online(facts: &Facts) -> Line {
    let said = match facts.online {
        Online::Off => "switched off",
        Online::WithoutKey => "switched on, but there is no key to ask with: nobody is asked",
        Online::Asks => "switched on, and there is a key to ask with",
        Online::ByHand => "by hand: requests and replies are carried as files, and nobody is asked",
    };
    words("Online check", said)
}

fn leaves(facts: &Facts) -> Line {
    let said = match facts.leaves {
        Leaves::Nothing => "nothing is switched on that would",
        Leaves::ThroughCouriers => "through couriers; the relay's own process dials nobody",
        Leaves::FromHere => "the relay's own process dials, as its settings say: it runs without a courier",
    };
    words("How calls leave", said)
}

fn telemetry(facts: &Facts) -> Line {
    words("Telemetry", if facts.telemetry { "on" } else { "off" })
}

fn support_key(facts: &Facts) -> Line {
    words("Support key", if facts.support_key { "one is in force now" } else { "none is in force" })
}

fn drain(facts: &Facts) -> Line {
    let said = if facts.vendor_drain { "in force now: new uploads are refused" } else { "none is in force" };
    words("Drain that the vendor asked for", said)
}

fn tree(facts: &Facts) -> Line {
    line("Entries that are published", facts.size.to_string())
}

fn checkpoint() -> Line {
    paths("Newest checkpoint", &["/log/checkpoint"])
}

#[cfg(test)]
mod tests {
    use super::super::promises::EMBEDDED;
    use super::super::tally::Counts;
    use super::*;

    fn facts() -> Facts {
        Facts {
            version: "1",
            origin: String::new(),
            identity: String::new(),
            size: 1,
            root: String::new(),
            published: String::new(),
            licensed: false,
            offline_keys: Vec::new(),
            online_keys: Vec::new(),
            online: Online::Off,
            telemetry: false,
            leaves: Leaves::Nothing,
            support_key: false,
            vendor_drain: false,
            counts: Counts::default(),
        }
    }

    #[test]
    fn every_promise_has_something_to_show_and_nothing_else_does() {
        for promise in &EMBEDDED.promises {
            assert!(!of(&promise.id, &facts()).is_empty(), "{}", promise.id);
        }
        assert_eq!(of("X1", &facts()), []);
    }

    #[test]
    fn nothing_counts_what_is_nearly_the_number_of_users() {
        let counted = |kind: Kind| {
            let shown = EMBEDDED.promises.iter().flat_map(|promise| of(&promise.id, &facts()));
            shown
                .filter(|line| matches!(line.said, Said::Entries { kind: shown, .. } if shown == kind.name()))
                .count()
        };
        assert!(counted(Kind::VendorRequest) > 0, "a kind that is counted is seen");
        for kind in [Kind::KeyRegistered, Kind::AdminChanged, Kind::DidRevoked, Kind::Transfer] {
            assert_eq!(counted(kind), 0, "{}", kind.name());
        }
    }
}
