//! For each rule of each definition, one manifest it refuses and the nearest one it accepts.
//!
//! Three judges read this table: the API server (in the end-to-end tests), a CEL interpreter and
//! [`validation`](crate::validation) (in this crate's tests), and the operator's own checks. A rule in a definition that
//! no row names fails a test here, so a new rule comes with its proof.

mod license;
mod policy;
mod relay;

use serde_json::Value;

use crate::clause::Clause;

/// Which resource a row is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `ParamantRelay`
    Relay,
    /// `ParamantLicense`
    License,
    /// `ParamantPolicy`
    Policy,
}

impl Kind {
    /// As manifests spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Relay => "ParamantRelay",
            Self::License => "ParamantLicense",
            Self::Policy => "ParamantPolicy",
        }
    }
}

/// One rule at one place, refusing and accepting.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// The resource.
    pub kind: Kind,
    /// Where the rule hangs in the schema: empty for the root, else as in `spec.updates.windows[].duration`.
    pub at: &'static str,
    /// The rule.
    pub clause: Clause,
    /// For a rule about change: the object as created first.
    pub before: Option<Sketch>,
    /// For a rule that reads status: what is written to the status of `before`, as YAML.
    pub reported: Option<&'static str>,
    /// What the rule refuses, with its message and for no other reason.
    pub refused: Sketch,
    /// What it accepts.
    pub accepted: Sketch,
}

/// A manifest in two words: its name and its spec (YAML in flow style).
#[derive(Debug, Clone, Copy)]
pub struct Sketch {
    /// `metadata.name`
    pub name: &'static str,
    /// `spec`
    pub spec: &'static str,
}

impl Sketch {
    /// The whole manifest as YAML.
    pub fn manifest(&self, kind: Kind) -> String {
        format!(
            "apiVersion: paramant.app/v1alpha1\nkind: {}\nmetadata: {{ name: {:?} }}\nspec: {}\n",
            kind.as_str(),
            self.name,
            self.spec
        )
    }
}

/// The whole table.
pub fn rows() -> impl Iterator<Item = &'static Row> {
    relay::ROWS.iter().chain(license::ROWS).chain(policy::ROWS)
}

/// A rule where it hangs in a schema.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PlacedRule {
    /// As [`Row::at`].
    pub at: String,
    /// The expression.
    pub cel: String,
    /// The message.
    pub message: String,
}

/// Every rule of an OpenAPI v3 schema, as generated here or as an API server returns it.
pub fn placed_rules(schema: &Value) -> Vec<PlacedRule> {
    let mut rules = Vec::new();
    collect_rules(schema, "", &mut rules);
    rules
}

fn collect_rules(schema: &Value, at: &str, rules: &mut Vec<PlacedRule>) {
    let text = |rule: &Value, key: &str| rule.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    for rule in schema.get("x-kubernetes-validations").and_then(Value::as_array).into_iter().flatten() {
        rules.push(PlacedRule { at: at.to_owned(), cel: text(rule, "rule"), message: text(rule, "message") });
    }
    for (name, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let below = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
        collect_rules(property, &below, rules);
    }
    if let Some(items) = schema.get("items") {
        collect_rules(items, &format!("{at}[]"), rules);
    }
    if let Some(values) = schema.get("additionalProperties") {
        collect_rules(values, &format!("{at}.*"), rules);
    }
}

/// The name rows use unless they are about names.
const NAME: &str = "row";

const fn row(
    kind: Kind,
    at: &'static str,
    clause: Clause,
    refused: &'static str,
    accepted: &'static str,
) -> Row {
    Row {
        kind,
        at,
        clause,
        before: None,
        reported: None,
        refused: Sketch { name: NAME, spec: refused },
        accepted: Sketch { name: NAME, spec: accepted },
    }
}

const fn change(
    at: &'static str,
    clause: Clause,
    before: &'static str,
    refused: &'static str,
    accepted: &'static str,
) -> Row {
    let before = Some(Sketch { name: NAME, spec: before });
    Row { before, ..row(Kind::Relay, at, clause, refused, accepted) }
}

const fn named(
    kind: Kind,
    clause: Clause,
    spec: &'static str,
    refused: &'static str,
    accepted: &'static str,
) -> Row {
    Row {
        refused: Sketch { name: refused, spec },
        accepted: Sketch { name: accepted, spec },
        ..row(kind, "", clause, spec, spec)
    }
}

#[cfg(test)]
mod tests;
