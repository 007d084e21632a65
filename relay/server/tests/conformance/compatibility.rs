//! `docs/compatibility.md`: what clients see of each endpoint, printed from the cases and the answers they got. A case that
//! does not hold yet shows as that, and none of its answers is believed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::Value as Json;

use crate::coverage::{Endpoint, Rules, named};
use crate::language::{Case, Section};
use crate::matching::kind;
use crate::runner::{Outcome, Seen};
use crate::suite::WRITE;

/// Headers that a client may read.
const HEADERS: [&str; 12] = [
    "Content-Disposition",
    "Content-Type",
    "Deprecation",
    "Link",
    "Retry-After",
    "Sunset",
    "WWW-Authenticate",
    "X-Burned",
    "X-Hash",
    "X-Paramant-Burned",
    "X-Paramant-Hash",
    "X-Paramant-Receipt",
];

pub(crate) fn check(
    rules: &Rules,
    sections: &[(String, Section)],
    outcomes: &BTreeMap<String, Outcome>,
    not_yet: &BTreeSet<String>,
) {
    let (path, page) = (page(), render(rules, sections, outcomes, not_yet));
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(&path, page).unwrap();
        return;
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = page.lines().zip(there.lines()).find(|(made, kept)| made != kept);
    assert!(
        there == page,
        "docs/compatibility.md is stale: run {WRITE}=1 cargo test -p paramant-relay --test conformance; first difference: {differs:?}"
    );
}

fn page() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/compatibility.md")
}

/// What was seen of one status of an endpoint.
#[derive(Default)]
struct Answers {
    headers: BTreeSet<&'static str>,
    fields: BTreeMap<String, BTreeSet<&'static str>>,
}

fn render(
    rules: &Rules,
    sections: &[(String, Section)],
    outcomes: &BTreeMap<String, Outcome>,
    not_yet: &BTreeSet<String>,
) -> String {
    let cases: Vec<&Case> = sections.iter().flat_map(|(_, section)| &section.cases).collect();
    let mut seen: BTreeMap<&str, BTreeMap<u16, Answers>> = BTreeMap::new();
    for outcome in outcomes.values().filter(|outcome| outcome.problem.is_none()) {
        for one in &outcome.seen {
            if let Some(endpoint) = endpoint_of(rules, one) {
                let answers = seen.entry(endpoint.name.as_str()).or_default();
                answers.entry(one.answer.status).or_default().add(one);
            }
        }
    }
    let mut page = head(rules, &cases, not_yet);
    for group in &rules.groups {
        let _ = write!(page, "\n## {} {}\n", group.section, group.title);
        for endpoint in &group.endpoints {
            let proving = |case: &&&Case| case.proves.iter().any(|proves| named(proves) == endpoint.name);
            let proving: Vec<&Case> = cases.iter().filter(proving).copied().collect();
            describe(&mut page, endpoint, seen.get(endpoint.name.as_str()), &proving, not_yet);
        }
    }
    page
}

fn head(rules: &Rules, cases: &[&Case], not_yet: &BTreeSet<String>) -> String {
    let mut page = "# Compatibility\n\n\
        What clients of ParamantRelay v3 see of this relay, endpoint by endpoint. Printed by \
        `PARAMANT_WRITE_DOCS=1 cargo test -p paramant-relay --test conformance` from\n\
        [spec/conformance](spec/conformance/README.md) and the answers it got from a running relay: change the cases, not this page.\n\n\
        - **CORE** is what published clients need, **EXTRA** exists in the public relay and no published client depends on it, **ext** is an addition.\n\
        - P is public, K needs an API key (or a DID signature), A the admin token.\n\
        - Fields are those of JSON answers with their kinds; `[]` stands for the elements of an array. A status that no case provokes is not listed.\n"
        .to_owned();
    let listed = cases.iter().filter(|case| not_yet.contains(&case.id)).count();
    let _ = writeln!(page, "\n{} cases; {} of them do not hold yet and are marked.", cases.len(), listed);
    page.push_str("\n## Rules that decide whether clients work\n\n| rule | what | cases |\n|---|---|---|\n");
    for rule in rules.rules.iter().filter(|rule| rule.required) {
        let proving = cases.iter().filter(|case| case.proves.iter().any(|proves| named(proves) == rule.name));
        let ids: Vec<String> = proving.map(|case| mark(&case.id, not_yet)).collect();
        let _ = writeln!(page, "| {} | {} | {} |", rule.name, rule.says, ids.join(", "));
    }
    page
}

fn mark(id: &str, not_yet: &BTreeSet<String>) -> String {
    if not_yet.contains(id) { format!("{id} (not yet)") } else { id.to_owned() }
}

fn describe(
    page: &mut String,
    endpoint: &Endpoint,
    seen: Option<&BTreeMap<u16, Answers>>,
    proving: &[&Case],
    not_yet: &BTreeSet<String>,
) {
    let _ = write!(page, "\n### `{}`\n{} · {}", endpoint.name, endpoint.marker.text(), endpoint.auth);
    if !endpoint.clients.is_empty() {
        let _ = write!(page, " · {}", endpoint.clients);
    }
    page.push('\n');
    if let Some(seen) = seen {
        page.push_str("\n| status | fields | headers |\n|---|---|---|\n");
        for (status, answers) in seen {
            let _ = writeln!(page, "| {status} | {} | {} |", answers.fields(), answers.headers());
        }
    } else if !proving.is_empty() {
        page.push_str("\nNot served yet.\n");
    }
    if !proving.is_empty() {
        page.push('\n');
    }
    for case in proving {
        let _ = writeln!(page, "- {} (`{}`)", case.says, mark(&case.id, not_yet));
    }
    if !endpoint.differs.is_empty() {
        page.push_str("\nDifferent from the public relay:\n");
    }
    for differs in &endpoint.differs {
        let _ = writeln!(page, "- {differs}");
    }
}

fn endpoint_of<'a>(rules: &'a Rules, seen: &Seen) -> Option<&'a Endpoint> {
    let path = seen.target.split('?').next().unwrap_or_default();
    let fits = |endpoint: &&Endpoint| {
        let Some((method, template)) = endpoint.name.split_once(' ') else { return false };
        let (known, there): (Vec<&str>, Vec<&str>) =
            (template.split('/').collect(), path.split('/').collect());
        let same =
            |(known, there): (&&str, &&str)| known == there || known.starts_with(':') && !there.is_empty();
        method == seen.method && known.len() == there.len() && known.iter().zip(&there).all(same)
    };
    // Words before parameters: /v2/sth/history is no /v2/sth/:unixms.
    let parameters = |endpoint: &&Endpoint| endpoint.name.matches(':').count();
    rules.endpoints().filter(fits).min_by_key(parameters)
}

impl Answers {
    fn add(&mut self, seen: &Seen) {
        let there = HEADERS.iter().filter(|name| seen.answer.header(name).is_some());
        self.headers.extend(there);
        if let Ok(json) = serde_json::from_slice::<Json>(&seen.answer.body) {
            self.collect("", &json);
        }
    }

    fn collect(&mut self, place: &str, json: &Json) {
        match json {
            Json::Object(fields) => {
                for (name, value) in fields {
                    let place = if place.is_empty() { name.clone() } else { format!("{place}.{name}") };
                    self.collect(&place, value);
                }
            }
            Json::Array(items) if !items.is_empty() => {
                for item in items {
                    self.collect(&format!("{place}[]"), item);
                }
            }
            // Whether an answer carries a tree head depends on when the last one was signed.
            Json::Null if place.ends_with("merkle_proof.sth") => {}
            other => _ = self.fields.entry(place.to_owned()).or_default().insert(kind(other)),
        }
    }

    fn fields(&self) -> String {
        let field = |(name, kinds): (&String, &BTreeSet<&str>)| {
            format!("`{name}` {}", kinds.iter().copied().collect::<Vec<_>>().join(" or "))
        };
        self.fields.iter().map(field).collect::<Vec<_>>().join(", ")
    }

    fn headers(&self) -> String {
        self.headers.iter().copied().collect::<Vec<_>>().join(", ")
    }
}
