//! What each kind of entry means, for people: on the pages at `/ct` and in feeds. Nothing is decided by these words.

use paramant_protocol::entry::body::Kind;

/// A kind in a few words, and in a sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) title: &'static str,
    pub(super) sentence: &'static str,
}

pub(super) fn told(kind: Kind) -> Told {
    let (title, sentence) = match kind {
        Kind::Transfer => (
            "File accepted",
            "An encrypted file was uploaded and kept. Which file, from whom and for whom is not in the log; whoever sent or read it can prove that this is its entry.",
        ),
        Kind::TransferClaimed => (
            "Download begun",
            "A reader was given the right to read a file, before the first byte left. The entry names the file by a blinded number.",
        ),
        Kind::TransferBurned => (
            "File destroyed",
            "The key of a stored file was destroyed, so that nobody can read it here any more.",
        ),
        Kind::KeyRegistered => (
            "Device key registered",
            "A device registered the keys that files are encrypted to, or a DID. The entry commits to them, so that they cannot be swapped unnoticed.",
        ),
        Kind::RelayStarted => {
            ("Relay started", "The relay's process started; the entry names its release and its identity.")
        }
        Kind::LicenseCheckin => (
            "Licence checked",
            "The relay asked its licence server; the entry commits to what was sent and answered.",
        ),
        Kind::LicenseChanged => ("Licence changed", "What the licence grants changed."),
        Kind::TelemetryChanged => {
            ("Telemetry changed", "The admin switched telemetry on or off, for one schema version.")
        }
        Kind::OutboundCall => {
            ("Outbound calls", "Calls left the relay. Frequent ones are summed per destination and hour.")
        }
        Kind::SupportKeyIssued => {
            ("Support key issued", "The vendor was given a read-only key that ends by itself.")
        }
        Kind::SupportKeyRevoked => ("Support key revoked", "The admin took a support key back."),
        Kind::SupportKeyExpired => ("Support key ended", "A support key ran out."),
        Kind::SupportKeyUsed => {
            ("Support key used", "A support key was used; uses are summed per key and hour.")
        }
        Kind::UpdateOffered => {
            ("Update offered", "The vendor offered a release. An offer changes nothing by itself.")
        }
        Kind::UpdateApproved => ("Update approved", "The admin approved an offered release."),
        Kind::UpdateStarted => ("Update started", "The replacement by another release began."),
        Kind::UpdateFinished => ("Update finished", "The new release is healthy."),
        Kind::UpdateRolledBack => ("Update rolled back", "The release before came back."),
        Kind::DrainChanged => (
            "Uploads paused or resumed",
            "The relay began to refuse uploads, or takes them again. Downloads go on either way.",
        ),
        Kind::RemoteActionRefused => (
            "Vendor request refused",
            "A verified message of the vendor asked for something that it may not do.",
        ),
        Kind::VendorRequest => (
            "Vendor request",
            "The vendor asked for one of the four things that it may ask for; the entry holds the signed request.",
        ),
        Kind::VendorSilence => (
            "Vendor's statement of silence",
            "The vendor states in a signed document how many requests it has made to this relay so far.",
        ),
        Kind::VendorRequestDecided => (
            "Vendor request answered",
            "The admin agreed to a request of the vendor or refused it, or nobody answered in time.",
        ),
        Kind::CapabilityChanged => (
            "Capabilities changed",
            "The vendor changed what the licence grants; the entry names before and after.",
        ),
        Kind::AdminChanged => ("Administration changed", "A credential or a key was changed by the admin."),
        Kind::ClockCorrected => (
            "Clock corrected",
            "The clock of the relay's machine was set back, or the earliest time that licences are judged by was moved.",
        ),
        Kind::LogKeyRotated => {
            ("Log key rotated", "A key that signs this log came or went. Both sign during the overlap.")
        }
        Kind::SthAnchor => (
            "Tree heads anchored",
            "All tree heads signed so far are chained into one hash, so that none can be dropped unnoticed.",
        ),
        Kind::LogClosed => ("Log closed", "The last entry of this log."),
        Kind::DidRevoked => {
            ("Identifier revoked", "A DID was taken back by its account; it signs no requests any more.")
        }
        Kind::LogAdopted => (
            "Log begun anew",
            "This log was begun in place of another one; the entry names that log and its last known checkpoint.",
        ),
    };
    Told { title, sentence }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_two_kinds_have_one_title() {
        let titles: HashSet<_> = Kind::ALL.iter().map(|kind| told(*kind).title).collect();
        assert_eq!(titles.len(), Kind::ALL.len());
    }
}
