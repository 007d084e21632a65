//! All cases: which relay each runs against, what came of it, and the list of those that are known not to hold yet.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use crate::coverage::Rules;
use crate::language::{self, Case, Section};
use crate::relay::{Relay, Setup, setups};
use crate::runner::{Outcome, run};

/// Cases that share one relay process, one after the other.
struct Group<'a> {
    setup: &'a Setup,
    cases: Vec<&'a Case>,
}

/// As many relays at a time: more make a small machine slower, not faster.
const WORKERS: usize = 4;

/// Ids of cases whose endpoint is not served yet, or is answered differently. A case that passes leaves the list.
pub(crate) fn not_yet() -> BTreeSet<String> {
    language::read(&language::directory().join("not-yet.json"))
}

pub(crate) fn run_all(sections: &[(String, Section)], only: Option<&str>) -> BTreeMap<String, Outcome> {
    let setups = setups();
    let mut groups: BTreeMap<(String, String, String), Group> = BTreeMap::new();
    for (file, section) in sections {
        for case in section.cases.iter().filter(|case| only.is_none_or(|only| case.id.contains(only))) {
            let setup =
                setups.get(&case.relay).unwrap_or_else(|| panic!("{}: no relay {:?}", case.id, case.relay));
            let own = if case.alone { case.id.clone() } else { String::new() };
            let group = groups.entry((file.clone(), case.relay.clone(), own));
            group.or_insert_with(|| Group { setup, cases: Vec::new() }).cases.push(case);
        }
    }
    let (waiting, done) = (Mutex::new(groups.into_values().collect::<Vec<_>>()), Mutex::new(BTreeMap::new()));
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                while let Some(group) = { waiting.lock().unwrap().pop() } {
                    let outcomes = run_group(&group);
                    done.lock().unwrap().extend(outcomes);
                }
            });
        }
    });
    done.into_inner().unwrap()
}

fn run_group(group: &Group) -> Vec<(String, Outcome)> {
    let relay = Relay::start(group.setup);
    let outcome = |case: &Case| match &relay {
        Ok(relay) => run(case, relay.address),
        Err(problem) => Outcome { problem: Some(problem.clone()), ..Outcome::default() },
    };
    group.cases.iter().map(|case| (case.id.clone(), outcome(case))).collect()
}

/// Set, what follows from the cases is written instead of compared: the page about compatibility, and `not-yet.json` without
/// the cases that hold by now. Nothing is ever added to that list.
pub(crate) const WRITE: &str = "PARAMANT_WRITE_DOCS";

#[test]
fn every_case_is_answered_as_the_document_says() {
    let (sections, mut not_yet, writing) =
        (language::sections(), not_yet(), std::env::var_os(WRITE).is_some());
    let only = std::env::var("PARAMANT_CONFORMANCE_ONLY").ok();
    let outcomes = run_all(&sections, only.as_deref());
    let (mut wrong, mut table, mut last) = (Vec::new(), String::new(), "");
    for (title, case) in
        sections.iter().flat_map(|(_, section)| section.cases.iter().map(|case| (&section.title, case)))
    {
        let Some(outcome) = outcomes.get(&case.id) else { continue };
        if title != last {
            table.push_str(&format!("\n{title}\n"));
            last = title;
        }
        let result = match &outcome.problem {
            None if not_yet.contains(&case.id) && !writing => {
                wrong.push(format!("{} holds: take it out of not-yet.json ({WRITE}=1 does)", case.id));
                "holds, and is listed as not yet".to_owned()
            }
            None => {
                not_yet.remove(&case.id);
                "holds".to_owned()
            }
            Some(problem) if not_yet.contains(&case.id) => format!("not yet: {problem}"),
            Some(problem) => {
                wrong.push(format!("{}: {problem}", case.id));
                format!("FAILS: {problem}")
            }
        };
        table.push_str(&format!("{:<40} | {:<60} | {result}\n", case.id, case.proves.join(", ")));
    }
    println!("{table}");
    let ids: BTreeSet<&String> =
        sections.iter().flat_map(|(_, section)| &section.cases).map(|case| &case.id).collect();
    wrong.extend(
        not_yet
            .iter()
            .filter(|id| !ids.contains(id))
            .map(|id| format!("not-yet.json names {id}: no such case")),
    );
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), outcomes.len(), wrong.join("\n"));
    if only.is_some() {
        return;
    }
    if writing {
        let left = serde_json::to_string_pretty(&not_yet).unwrap();
        std::fs::write(language::directory().join("not-yet.json"), format!("{left}\n")).unwrap();
    }
    crate::compatibility::check(&Rules::read(), &sections, &outcomes, &not_yet);
}
