//! Is there anything to apply? An intent is covered when everything it says is already true of the live object.
//!
//! The live object may say more: defaults of the API server, fields and list items of other managers. Lists that
//! Kubernetes merges by key are compared by key, all others item by item; quantities are compared by value. A field that an
//! intent no longer has cannot be seen this way, so each intent carries the digest of itself in an annotation
//! ([`crate::children::seal`]): dropping a field changes the digest, and the digest is not covered. Pure and total.

mod quantity;

use serde_json::Value;

pub use self::quantity::Quantity;

/// Whether `live` already is what `intent` says, so that applying it would change nothing.
pub fn covers(intent: &Value, live: &Value) -> bool {
    value(intent, live, Place::default())
}

/// Where a value stands: the field that holds it and the field that holds the object with that field.
#[derive(Debug, Clone, Copy, Default)]
struct Place<'a> {
    enclosing: &'a str,
    field: &'a str,
}

impl<'a> Place<'a> {
    fn child(self, field: &'a str) -> Self {
        Self { enclosing: self.field, field }
    }

    /// `requests: {cpu: …}`, `limits: {…}` and `capacity: {…}` hold quantities, `sizeLimit: …` is one.
    fn holds_quantity(self) -> bool {
        matches!(self.enclosing, "requests" | "limits" | "capacity") || self.field == "sizeLimit"
    }

    /// The keys by which Kubernetes merges this list, if it does (`x-kubernetes-list-map-keys`).
    fn merge_keys(self) -> Option<&'static [&'static str]> {
        match (self.enclosing, self.field) {
            (_, "containers" | "initContainers" | "volumes" | "imagePullSecrets" | "env") => Some(&["name"]),
            (_, "volumeMounts") => Some(&["mountPath"]),
            (_, "volumeDevices") => Some(&["devicePath"]),
            (_, "topologySpreadConstraints") => Some(&["topologyKey", "whenUnsatisfiable"]),
            ("containers" | "initContainers", "ports") => Some(&["containerPort", "protocol"]),
            ("spec", "ports") => Some(&["port", "protocol"]),
            ("metadata", "ownerReferences") => Some(&["uid"]),
            _ => None,
        }
    }
}

fn value(intent: &Value, live: &Value, place: Place<'_>) -> bool {
    match (intent, live) {
        (Value::Object(intent), Value::Object(live)) => {
            intent.iter().all(|(field, wanted)| match live.get(field) {
                Some(found) => value(wanted, found, place.child(field)),
                None => says_nothing(wanted),
            })
        }
        (Value::Array(intent), Value::Array(live)) => list(intent, live, place),
        (Value::String(a), Value::String(b)) => a == b || (place.holds_quantity() && same_quantity(a, b)),
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (a, b) => a == b,
    }
}

/// An empty list and a missing one are the same to the API server, which drops the former.
fn says_nothing(wanted: &Value) -> bool {
    match wanted {
        Value::Null => true,
        Value::Object(map) => map.values().all(says_nothing),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

fn list(intent: &[Value], live: &[Value], place: Place<'_>) -> bool {
    match place.merge_keys() {
        Some(keys) => intent.iter().all(|wanted| {
            live.iter().any(|found| {
                keys.iter().all(|key| same_key(key, wanted, found)) && value(wanted, found, place)
            })
        }),
        None => {
            intent.len() == live.len()
                && intent.iter().zip(live).all(|(wanted, found)| value(wanted, found, place))
        }
    }
}

fn same_key(key: &str, wanted: &Value, found: &Value) -> bool {
    // The one merge key with a default.
    let default = if key == "protocol" { Value::from("TCP") } else { Value::Null };
    wanted.get(key).unwrap_or(&default) == found.get(key).unwrap_or(&default)
}

fn same_quantity(a: &str, b: &str) -> bool {
    match (a.parse::<Quantity>(), b.parse::<Quantity>()) {
        (Ok(a), Ok(b)) => a == b,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
