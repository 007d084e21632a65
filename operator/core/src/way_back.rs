//! Can this release run over the data that is there, and could the one that runs now run again after it?
//!
//! A release reads and writes data of the previous schema until `commit-upgrade`; after that only releases that know the
//! schema can read it. What a relay reports is believed before what an image calls itself; a label that is absent is no
//! knowledge and forbids nothing, for the relay's own check at its start remains. Pure; called by [`crate::decide`].

use paramant_protocol::control::DataReport;
use semver::Version;

use crate::gate::Gate;
use crate::release::Release;
use crate::rules::Rules;

/// What runs now.
#[derive(Debug, Clone, Copy, Default)]
pub struct Running<'a> {
    /// Which releases can read its data, as it said last.
    pub data: Option<DataReport>,
    /// What its image calls itself.
    pub release: Option<&'a Release>,
    /// The version it reports.
    pub version: Option<&'a str>,
}

impl Running<'_> {
    fn version(&self) -> Option<&str> {
        self.release.and_then(|release| release.version.as_deref()).or(self.version)
    }

    fn schema(&self) -> Option<u32> {
        let labelled = self.release.and_then(|release| release.schema);
        self.data.map(|data| data.schema).or(labelled)
    }
}

/// Whether `target` may follow what runs. `known` is a release that ran well here before and that a person pinned: going
/// back to it is no downgrade that a policy must allow.
pub fn gate(target: &Release, running: &Running<'_>, known: bool, rules: &Rules) -> Gate {
    let name = target.version.as_deref().unwrap_or("the release");
    if let (Some(schema), Some(data)) = (target.schema, running.data)
        && schema < data.min_reader
    {
        return Gate::Never {
            reason: "CannotReadData",
            message: format!(
                "{name} knows data up to schema {schema}, and what the relay has written can only be read from schema {} on: name a newer release in spec.image, or restore a backup from before",
                data.min_reader
            ),
        };
    }
    if known {
        return Gate::Open;
    }
    if let (Some(min_reader), Some(schema)) = (target.min_reader, running.schema())
        && min_reader > schema
        && !rules.allow_no_rollback
    {
        return Gate::Never {
            reason: "NoWayBack",
            message: format!(
                "the release that runs knows data up to schema {schema} and could not read again what {name} writes (schema {min_reader} and later), so it could not be rolled back: go by a release in between, or set spec.updates.allowNoRollback in the policy"
            ),
        };
    }
    if let (Some(wanted), Some(runs)) = (target.version.as_deref(), running.version())
        && is_lower(wanted, runs)
        && !rules.allow_downgrade
    {
        return Gate::Never {
            reason: "DowngradeRefused",
            message: format!(
                "{wanted} is older than {runs}, which runs: set spec.updates.allowDowngrade in the policy, or pin the digest with spec.update.pin if it ran well here before"
            ),
        };
    }
    Gate::Open
}

/// Whether one version is lower than another. What is no version is not lower.
pub(crate) fn is_lower(wanted: &str, runs: &str) -> bool {
    match (version(wanted), version(runs)) {
        (Some(wanted), Some(runs)) => wanted.cmp_precedence(&runs).is_lt(),
        _ => false,
    }
}

/// Whether it can be compared at all.
pub(crate) fn is_version(text: &str) -> bool {
    version(text).is_some()
}

/// As people write versions: with a `v` before it, with one or two numbers.
fn version(text: &str) -> Option<Version> {
    let text = text.trim();
    let text = text.strip_prefix(['v', 'V']).unwrap_or(text);
    let end = text.find(['-', '+']).unwrap_or(text.len());
    let (core, rest) = text.split_at_checked(end)?;
    let missing = 2_usize.saturating_sub(core.matches('.').count());
    Version::parse(&format!("{core}{}{rest}", ".0".repeat(missing))).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use jiff::Timestamp;

    use super::*;
    use crate::observation::Referenced;

    fn rules() -> Rules {
        Rules::of(&Referenced::Unreferenced, Timestamp::UNIX_EPOCH)
    }

    fn allowing(downgrade: bool, no_rollback: bool) -> Rules {
        let mut rules = rules();
        (rules.allow_downgrade, rules.allow_no_rollback) = (downgrade, no_rollback);
        rules
    }

    fn release(version: &str, schema: u32, min_reader: u32) -> Release {
        Release { version: Some(version.into()), schema: Some(schema), min_reader: Some(min_reader) }
    }

    fn reason(gate: &Gate) -> &'static str {
        gate.blocked().map_or("", |(reason, _)| reason)
    }

    #[test]
    fn versions_are_compared_as_people_write_them() {
        for (wanted, runs, lower) in [
            ("1.0.0", "1.1.0", true),
            ("1.1.0", "1.0.0", false),
            ("1.10", "1.9", false),
            ("v1.2", "1.10.0", true),
            ("1.1.0-rc.1", "1.1.0", true),
            ("1.1.0", "1.1.0-rc.1", false),
            ("1.1.0+build.1", "1.1.0+build.2", false),
            ("nightly", "1.0.0", false),
            ("1.0.0", "nightly", false),
            ("", "1.0.0", false),
            ("é", "1", false),
        ] {
            assert_eq!(is_lower(wanted, runs), lower, "{wanted} after {runs}");
        }
    }

    #[test]
    fn an_older_release_needs_permission_unless_it_ran_well_here() {
        let current = release("1.1.0", 1, 1);
        let running = Running { release: Some(&current), ..Running::default() };
        let older = release("1.0.0", 1, 1);
        assert_eq!(reason(&gate(&older, &running, false, &rules())), "DowngradeRefused");
        assert!(gate(&older, &running, true, &rules()).is_open());
        assert!(gate(&older, &running, false, &allowing(true, false)).is_open());
        assert!(gate(&current, &running, false, &rules()).is_open());
        let reported = Running { version: Some("1.1.0"), ..Running::default() };
        assert_eq!(reason(&gate(&older, &reported, false, &rules())), "DowngradeRefused");
    }

    #[test]
    fn what_cannot_read_the_data_never_runs() {
        let data = Some(DataReport { schema: 2, min_reader: 2, committed: 2 });
        let running = Running { data, ..Running::default() };
        let anything = allowing(true, true);
        for known in [true, false] {
            assert_eq!(reason(&gate(&release("1.0.0", 1, 1), &running, known, &anything)), "CannotReadData");
        }
        let uncommitted = Running { data: data.map(|data| DataReport { min_reader: 1, ..data }), ..running };
        assert!(gate(&release("1.0.0", 1, 1), &uncommitted, true, &rules()).is_open());
    }

    #[test]
    fn what_could_not_be_undone_needs_permission() {
        let data = Some(DataReport { schema: 1, min_reader: 1, committed: 1 });
        let running = Running { data, ..Running::default() };
        assert!(gate(&release("1.1.0", 2, 1), &running, false, &rules()).is_open());
        assert_eq!(reason(&gate(&release("2.0.0", 3, 2), &running, false, &rules())), "NoWayBack");
        let allowed = allowing(false, true);
        assert!(gate(&release("2.0.0", 3, 2), &running, false, &allowed).is_open());
        let labelled = release("1.0.0", 1, 1);
        let by_label = Running { release: Some(&labelled), ..Running::default() };
        assert_eq!(reason(&gate(&release("2.0.0", 3, 2), &by_label, false, &rules())), "NoWayBack");
    }

    #[test]
    fn without_labels_nothing_is_known_and_nothing_forbidden() {
        let data = Some(DataReport { schema: 9, min_reader: 9, committed: 9 });
        let running = Running { data, version: Some("9.0.0"), ..Running::default() };
        assert!(gate(&Release::default(), &running, false, &rules()).is_open());
    }
}
