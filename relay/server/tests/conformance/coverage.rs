//! What has to be proven: the rules and endpoints of the protocol document, transcribed into `rules.yaml`.

use std::collections::BTreeSet;

use serde::Deserialize;

use crate::language::{self, Section};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rules {
    pub(crate) rules: Vec<Rule>,
    pub(crate) groups: Vec<Endpoints>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rule {
    pub(crate) name: String,
    pub(crate) says: String,
    /// Without a case that proves it the suite is not complete.
    #[serde(default)]
    pub(crate) required: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Endpoints {
    pub(crate) section: String,
    pub(crate) title: String,
    pub(crate) endpoints: Vec<Endpoint>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Endpoint {
    pub(crate) name: String,
    pub(crate) marker: Marker,
    pub(crate) auth: String,
    /// Methods of the published SDKs that call it.
    #[serde(default)]
    pub(crate) clients: String,
    /// Where this relay differs from the public one on purpose.
    #[serde(default)]
    pub(crate) differs: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) enum Marker {
    #[serde(rename = "CORE")]
    Core,
    #[serde(rename = "EXTRA")]
    Extra,
    #[serde(rename = "ext")]
    Extension,
}

impl Marker {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Core => "CORE",
            Self::Extra => "EXTRA",
            Self::Extension => "ext",
        }
    }
}

impl Rules {
    pub(crate) fn read() -> Self {
        language::read(&language::directory().join("rules.yaml"))
    }

    pub(crate) fn endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        self.groups.iter().flat_map(|group| &group.endpoints)
    }

    /// Names that no case may leave out.
    fn required(&self) -> Vec<&str> {
        let rules = self.rules.iter().filter(|rule| rule.required).map(|rule| rule.name.as_str());
        let core = self.endpoints().filter(|endpoint| endpoint.marker == Marker::Core);
        rules.chain(core.map(|endpoint| endpoint.name.as_str())).collect()
    }

    fn known(&self) -> BTreeSet<&str> {
        let rules = self.rules.iter().map(|rule| rule.name.as_str());
        rules.chain(self.endpoints().map(|endpoint| endpoint.name.as_str())).collect()
    }
}

/// The rule or endpoint that `C4` or `5.3: KEM not loaded` names.
pub(crate) fn named(proves: &str) -> &str {
    proves.split(": ").next().unwrap_or(proves)
}

fn unproven<'a>(rules: &'a Rules, sections: &[(String, Section)]) -> Vec<&'a str> {
    let cases = sections.iter().flat_map(|(_, section)| &section.cases);
    let proven: BTreeSet<&str> = cases.flat_map(|case| &case.proves).map(|proves| named(proves)).collect();
    rules.required().into_iter().filter(|name| !proven.contains(name)).collect()
}

#[test]
fn every_core_endpoint_and_every_rule_is_named_by_a_case() {
    let (rules, mut sections) = (Rules::read(), language::sections());
    let missing = unproven(&rules, &sections);
    assert!(missing.is_empty(), "no case proves {missing:?}");
    let seventeen =
        (1..=17).filter(|n| rules.rules.iter().any(|rule| rule.required && rule.name == format!("C{n}")));
    assert_eq!(seventeen.count(), 17, "rules.yaml holds C1 to C17");

    // The check sees a gap.
    for case in sections.iter_mut().flat_map(|(_, section)| &mut section.cases) {
        case.proves.retain(|proves| !["C4", "POST /v2/ack"].contains(&named(proves)));
    }
    assert_eq!(unproven(&rules, &sections), ["C4", "POST /v2/ack"]);
}

#[test]
fn cases_have_ids_of_their_own_and_prove_what_there_is() {
    let (rules, sections) = (Rules::read(), language::sections());
    let (known, mut ids) = (rules.known(), BTreeSet::new());
    assert_eq!(
        known.len(),
        rules.rules.len() + rules.endpoints().count(),
        "a name stands twice in rules.yaml"
    );
    for case in sections.iter().flat_map(|(_, section)| &section.cases) {
        assert!(ids.insert(&case.id), "two cases are called {}", case.id);
        assert!(!case.proves.is_empty(), "{} proves nothing", case.id);
        for proves in &case.proves {
            assert!(
                known.contains(named(proves)),
                "{} proves {proves:?}, which rules.yaml does not know",
                case.id
            );
        }
    }
}
