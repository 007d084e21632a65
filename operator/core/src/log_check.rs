//! Does the relay's log continue what was seen before?
//!
//! The highest head ever seen is kept durably and sent to the relay, which answers with a consistency proof from there to
//! its present head. A smaller log, another root at the same size, or a proof that does not hold means entries were lost
//! or rewritten (promise N2). No proof yet means nothing either way. A log of another name continues it only if the relay
//! says that it was adopted in place of the one that was seen (`paramant-relay log adopt`). Pure.

use paramant_protocol::control::{LogMark, LogReport};
use paramant_tlog::{Hash, Tree, verify};

/// What a report says about the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Continuity {
    /// It continues the mark, or there is no mark.
    Continues,
    /// A person retired the log of the mark; this one begins anew in its place.
    Adopted,
    /// The report holds no proof from the mark.
    Unproven,
    /// It does not.
    Broken {
        /// What was found, in one sentence.
        found: String,
    },
}

/// Compares a report with the highest head seen before.
pub fn continuity(mark: Option<&LogMark>, report: &LogReport) -> Continuity {
    let Some(mark) = mark else { return Continuity::Continues };
    if let Some(known) = mark.origin.as_ref().filter(|known| **known != report.origin) {
        return if report.retired.contains(known) {
            Continuity::Adopted
        } else {
            Continuity::Broken {
                found: format!("the relay's log is called {}, and it was {known}", report.origin),
            }
        };
    }
    if report.checkpoint.is_none() && report.size == 0 && mark.size > 0 {
        // A relay that has only just started has not read its last checkpoint yet.
        return Continuity::Unproven;
    }
    if report.size < mark.size {
        return Continuity::Broken {
            found: format!("the log has {} entries, and {} were seen before", report.size, mark.size),
        };
    }
    if report.size == mark.size {
        return if report.root == mark.root {
            Continuity::Continues
        } else {
            Continuity::Broken {
                found: format!("the log's root at {} entries is another one than before", mark.size),
            }
        };
    }
    if mark.size == 0 {
        return Continuity::Continues;
    }
    let Some(proof) = report.consistency.as_ref().filter(|proof| proof.from == mark.size) else {
        return Continuity::Unproven;
    };
    let nodes: Option<Vec<Hash>> = proof.proof.iter().map(|node| hash(node)).collect();
    let holds = match (nodes, hash(&mark.root), hash(&report.root)) {
        (Some(nodes), Some(old), Some(new)) => {
            verify::consistency(Tree::Sha256, mark.size, &old, report.size, &new, &nodes).is_ok()
        }
        _ => false,
    };
    if holds {
        Continuity::Continues
    } else {
        Continuity::Broken {
            found: format!(
                "the log at {} entries does not continue the one at {} entries",
                report.size, mark.size
            ),
        }
    }
}

fn hash(text: &str) -> Option<Hash> {
    hex::decode(text).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use paramant_protocol::control::{ConsistencyReport, FenceReport};
    use paramant_tlog::{Node, proof};

    use super::*;

    /// A tree over numbered entries, its nodes computed as they are asked for.
    struct Tiny;

    impl proof::ReadNode for Tiny {
        type Error = std::convert::Infallible;

        fn node(&mut self, node: Node) -> Result<Hash, Self::Error> {
            Ok(complete(u32::from(node.level), node.index))
        }
    }

    fn complete(level: u32, index: u64) -> Hash {
        match level {
            0 => paramant_tlog::entry_leaf(&index.to_be_bytes()),
            _ => Tree::Sha256.node(&complete(level - 1, 2 * index), &complete(level - 1, 2 * index + 1)),
        }
    }

    fn mark(size: u64) -> LogMark {
        let root = hex::encode(proof::root(Tree::Sha256, &mut Tiny, size).unwrap());
        LogMark { origin: None, size, root }
    }

    fn report(from: u64, size: u64) -> LogReport {
        let nodes = proof::consistency(Tree::Sha256, &mut Tiny, from, size).unwrap();
        LogReport {
            origin: "relay.acme.example/log".into(),
            size,
            root: mark(size).root,
            checkpoint_at: None,
            checkpoint: Some("note".into()),
            consistency: Some(ConsistencyReport { from, proof: nodes.iter().map(hex::encode).collect() }),
            fence: FenceReport::default(),
            retired: Vec::new(),
            witnesses: None,
        }
    }

    #[test]
    fn a_log_that_grew_continues_and_one_proof_serves_one_mark() {
        for (from, size) in [(1, 2), (3, 7), (4, 8), (6, 6), (7, 13)] {
            assert_eq!(
                continuity(Some(&mark(from)), &report(from, size)),
                Continuity::Continues,
                "{from} to {size}"
            );
        }
        assert_eq!(continuity(None, &report(3, 7)), Continuity::Continues);
        assert_eq!(
            continuity(Some(&mark(4)), &report(3, 7)),
            Continuity::Unproven,
            "the proof is from an older mark"
        );
        let silent = LogReport { consistency: None, ..report(3, 7) };
        assert_eq!(continuity(Some(&mark(3)), &silent), Continuity::Unproven);
    }

    #[test]
    fn a_smaller_another_or_a_garbled_log_is_broken() {
        let broken = |mark: &LogMark, report: &LogReport| {
            assert!(
                matches!(continuity(Some(mark), report), Continuity::Broken { .. }),
                "{mark:?} {report:?}"
            );
        };
        broken(&mark(8), &report(3, 7));
        broken(&LogMark { root: mark(6).root, ..mark(7) }, &report(3, 7));
        broken(&LogMark { root: mark(4).root, ..mark(3) }, &report(3, 7));
        let mut garbled = report(3, 7);
        garbled.consistency.as_mut().unwrap().proof[0] = "zz".into();
        broken(&mark(3), &garbled);
        broken(&mark(3), &LogReport { root: mark(6).root, ..report(3, 7) });
    }

    #[test]
    fn a_log_of_another_name_must_have_been_adopted_in_place_of_the_one_that_was_seen() {
        let named = |name: &str| LogMark { origin: Some(name.into()), ..mark(7) };
        let ours = report(7, 9);
        assert_eq!(continuity(Some(&named("relay.acme.example/log")), &ours), Continuity::Continues);
        let other = continuity(Some(&named("old.acme.example/log")), &ours);
        assert!(matches!(other, Continuity::Broken { .. }), "{other:?}");
        let retired = vec!["old.acme.example/log".to_owned(), "older.acme.example/log".to_owned()];
        for size in [1, 3] {
            let adopted = LogReport { retired: retired.clone(), ..report(1, size) };
            for name in &retired {
                assert_eq!(continuity(Some(&named(name)), &adopted), Continuity::Adopted);
            }
        }
    }

    #[test]
    fn a_relay_that_has_only_just_started_is_given_time() {
        let starting = LogReport { size: 0, checkpoint: None, ..report(0, 0) };
        assert_eq!(continuity(Some(&mark(3)), &starting), Continuity::Unproven);
    }
}
